//! Large inputs, made rather than kept: what is cheap once must not cost the square of its length, nor many times its
//! size.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use workstead::testkit::fuzz::Target;

use super::mutate::WORDS;

/// Every word over and over, up to this length, and what is large by nature.
pub fn large(target: Target, length: usize) -> Vec<(String, Vec<u8>)> {
    let length = length.min(target.longest);
    let mut inputs: Vec<(String, Vec<u8>)> = WORDS
        .iter()
        .map(|word| {
            let name = format!("'{}' over and over", word.escape_ascii());
            (name, word.repeat(length / word.len()))
        })
        .collect();
    let named: Vec<(&str, String)> = match target.name {
        "yaml" => vec![
            ("sixty anchors around many values", nested_anchors()),
            (
                "a mapping of very many keys",
                numbered("key", ": 1\n", 40_000),
            ),
            ("very many anchors", numbered("- &a", " b\n", 40_000)),
            ("a long text", format!("a: {}", "x".repeat(1_000_000))),
        ],
        "verdict" => vec![
            (
                "very many unknown fields",
                workspace(&numbered("  k", ": 1\n", 40_000)),
            ),
            (
                "very many variables",
                workspace(&format!(
                    "  env:\n{}",
                    numbered("  - {name: N", ", value: v}\n", 20_000)
                )),
            ),
            (
                "a very long name",
                workspace("").replace("name: a", &format!("name: {}", "a".repeat(900_000))),
            ),
            (
                "very many objects",
                numbered(
                    "---\nkind: K\napiVersion: v\nmetadata: {name: n",
                    "}\n",
                    999,
                ),
            ),
        ],
        "tree" => vec![(
            "an entry over and over",
            format!("blob x\ntree {}", "100644 a.yaml 0,".repeat(10_000)),
        )],
        "inventory" => vec![(
            "very many entries",
            format!(
                "1\n{}",
                numbered("ns_n", "_workstead.dev_Workspace v1alpha1 - 0\n", 15_000)
            ),
        )],
        "sealed" => vec![
            ("very many recipients", armored(&header(15_000))),
            (
                "a recipient of very many words",
                armored(&format!("{HEAD}-> {}\n--- x\n", "a ".repeat(300_000))),
            ),
            (
                "a long line",
                format!("{BEGIN}{}\n{END}", "A".repeat(1_000_000)),
            ),
            (
                "a SOPS document of very many recipients",
                format!(
                    "A: ENC[AES256_GCM,data:,iv:,tag:,type:str]\nsops:\n  mac: x\n  lastmodified: x\n  age:\n{}",
                    numbered("  - {recipient: age1", ", enc: x}\n", 9_000)
                ),
            ),
            (
                "a SOPS document of very many values",
                format!(
                    "{}sops: {{}}\n",
                    numbered("K", ": ENC[AES256_GCM,data:,iv:,tag:,type:str]\n", 9_000)
                ),
            ),
        ],
        "plaintext" => vec![
            (
                "very many variables",
                format!("{BINDING}env:\n{}", numbered("  K", ": x\n", 50_000)),
            ),
            (
                "very many files",
                format!(
                    "{BINDING}files:\n{}",
                    numbered("  f", ": {content: x}\n", 30_000)
                ),
            ),
            (
                "a long value",
                format!("{BINDING}env: {{A: \"{}\"}}\n", "\\n".repeat(60_000)),
            ),
            (
                "a long file",
                format!("{BINDING}files: {{a: {{b64: {}}}}}\n", "A".repeat(900_000)),
            ),
        ],
        _ => Vec::new(),
    };
    inputs.extend(
        named
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text.into_bytes())),
    );
    inputs
        .iter_mut()
        .for_each(|(_, input)| input.truncate(target.longest));
    inputs
}

const BINDING: &str = "binding: {namespace: a, name: b}\n";
const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----\n";
const END: &str = "-----END AGE ENCRYPTED FILE-----\n";
const HEAD: &str = "age-encryption.org/v1\n";

/// The header of an age file.
fn header(stanzas: usize) -> String {
    let body = STANDARD_NO_PAD.encode([0; 32]);
    format!(
        "{HEAD}{}--- {body}\n",
        format!("-> X25519 {body}\n{body}\n").repeat(stanzas)
    )
}

fn armored(binary: &str) -> String {
    let text = STANDARD.encode(binary);
    let lines = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap());
    format!("{BEGIN}{}\n{END}", lines.collect::<Vec<_>>().join("\n"))
}

fn nested_anchors() -> String {
    let anchors = numbered("&a", " [", 60);
    format!("{anchors}{}{}", "1,".repeat(90_000), "]".repeat(60))
}

fn numbered(before: &str, after: &str, count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        write!(text, "{before}{number}{after}").unwrap();
    }
    text
}

fn workspace(more: &str) -> String {
    format!(
        "apiVersion: workstead.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: a\nspec:\n  owner: a@example.com\n  image: i\n{more}"
    )
}
