//! Plain text that looks like a secret, where anybody can read it: in the `env` of a Workspace.
//!
//! It judges a name and a value, and repeats neither. False alarms cost more than a miss: who is warned for nothing stops
//! reading warnings. So what says where a secret is (a path, an address, a reference) is none.

use std::fmt;

/// Why a variable looks like a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// It has the form of a token; whose.
    Token(&'static str),
    /// It holds a private key.
    PrivateKey,
    /// It holds a JSON Web Token.
    WebToken,
    /// It is an address with a password in it.
    Address,
    /// Its name says so.
    Name,
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(whose) => write!(f, "its value has the form of {whose}"),
            Self::PrivateKey => f.write_str("its value holds a private key"),
            Self::WebToken => f.write_str("its value holds a JSON Web Token"),
            Self::Address => f.write_str("its value is an address with a password in it"),
            Self::Name => f.write_str("its name says that it is secret"),
        }
    }
}

/// A kind of token: how it begins, how long the rest is at least, whose it is.
struct Token {
    prefix: &'static str,
    rest: usize,
    whose: &'static str,
}

const TOKENS: [Token; 17] = [
    token("ghp_", 20, "a token of GitHub"),
    token("gho_", 20, "a token of GitHub"),
    token("ghu_", 20, "a token of GitHub"),
    token("ghs_", 20, "a token of GitHub"),
    token("ghr_", 20, "a token of GitHub"),
    token("github_pat_", 20, "a token of GitHub"),
    token("glpat-", 16, "a token of GitLab"),
    token("AKIA", 16, "an access key of AWS"),
    token("ASIA", 16, "an access key of AWS"),
    token("xoxb-", 10, "a token of Slack"),
    token("xoxp-", 10, "a token of Slack"),
    token("sk_live_", 10, "a key of Stripe"),
    token("rk_live_", 10, "a key of Stripe"),
    token("npm_", 30, "a token of npm"),
    token("pypi-", 30, "a token of PyPI"),
    token("dckr_pat_", 16, "a token of Docker Hub"),
    token("AGE-SECRET-KEY-1", 20, "an identity of age"),
];

const fn token(prefix: &'static str, rest: usize, whose: &'static str) -> Token {
    Token {
        prefix,
        rest,
        whose,
    }
}

/// The last word of a name that says what the value is.
const SECRET_WORDS: [&str; 7] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "APIKEY",
    "CREDENTIALS",
];
/// The last two.
const SECRET_PAIRS: [[&str; 2]; 9] = [
    ["API", "KEY"],
    ["PRIVATE", "KEY"],
    ["ACCESS", "KEY"],
    ["SECRET", "KEY"],
    ["SIGNING", "KEY"],
    ["ENCRYPTION", "KEY"],
    ["ACCOUNT", "KEY"],
    ["MASTER", "KEY"],
    ["DEPLOY", "KEY"],
];
/// Words at the end that say only how it is written.
const FORMS: [&str; 3] = ["VALUE", "BASE64", "B64"];
/// Words of which a value that stands for another one is made.
const STAND_INS: [&str; 13] = [
    "change",
    "replace",
    "example",
    "dummy",
    "placeholder",
    "sample",
    "your",
    "todo",
    "redacted",
    "insert",
    "unused",
    "xxx",
    "***",
];
/// Values that say whether, or that there is none.
const SWITCHES: [&str; 9] = [
    "true", "false", "yes", "no", "on", "off", "none", "null", "disabled",
];
/// What a reference to a store of secrets begins with.
const REFERENCES: [&str; 5] = ["vault:", "arn:", "ref+", "op:", "file:"];

/// Why a variable looks like a secret, if it does.
pub fn suspicion(name: &str, value: &str) -> Option<Suspicion> {
    let value = value.trim();
    if value.contains("-----BEGIN ") && value.contains("PRIVATE KEY-----") {
        return Some(Suspicion::PrivateKey);
    }
    if let Some(whose) = words(value).find_map(token_of) {
        return Some(Suspicion::Token(whose));
    }
    if words(value).any(is_web_token) {
        return Some(Suspicion::WebToken);
    }
    if has_password(value) {
        return Some(Suspicion::Address);
    }
    (says_secret(name) && may_be_secret(value)).then_some(Suspicion::Name)
}

/// The parts of a value between characters that no token has.
fn words(value: &str) -> impl Iterator<Item = &str> {
    let apart = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    value.split(apart).filter(|word| !word.is_empty())
}

fn token_of(word: &str) -> Option<&'static str> {
    let found = TOKENS.iter().find(|token| {
        let rest = word.strip_prefix(token.prefix);
        rest.is_some_and(|rest| rest.len() >= token.rest && !is_stand_in(rest))
    })?;
    Some(found.whose)
}

/// Three parts, of which the first two are Base64 of JSON.
fn is_web_token(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else {
        return false;
    };
    let is_json = |part: &str| part.starts_with("eyJ") && part.len() >= 10;
    is_json(header) && is_json(claims) && signature.len() >= 16
}

/// `scheme://user:password@host`, somewhere in it. One for this very machine opens nothing elsewhere.
fn has_password(value: &str) -> bool {
    value.split_whitespace().any(|word| {
        let Some((scheme, rest)) = word.split_once("://") else {
            return false;
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let Some((user, host)) = authority.rsplit_once('@') else {
            return false;
        };
        let is_scheme = scheme.ends_with(|c: char| c.is_ascii_alphanumeric());
        let password = user.split_once(':').map(|(_, password)| password);
        is_scheme && !is_loopback(host) && password.is_some_and(|password| !is_stand_in(password))
    })
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').map_or_else(
        || host.split(':').next().unwrap_or_default(),
        |inner| inner.split(']').next().unwrap_or_default(),
    );
    bare == "localhost" || bare == "::1" || bare.starts_with("127.")
}

/// Whether the end of a name says that the value itself is secret: not `TOKEN_URL`, not `PASSWORD_FILE`.
fn says_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let mut words: Vec<&str> = name
        .split('_')
        .map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()))
        .zip(name.split('_'))
        // B64 is a word; the number in PASSWORD2 and in PASSWORD_2 is none.
        .map(|(bare, whole)| if FORMS.contains(&whole) { whole } else { bare })
        .filter(|word| !word.is_empty())
        .collect();
    while words.last().is_some_and(|last| FORMS.contains(last)) {
        words.pop();
    }
    let ends_so = |last: &str| SECRET_WORDS.iter().any(|word| last.ends_with(word));
    match words.as_slice() {
        [.., first, last] => {
            ends_so(last)
                || SECRET_PAIRS.contains(&[*first, *last])
                || matches!(*last, "PASS" | "PWD")
        }
        [last] => ends_so(last),
        [] => false,
    }
}

/// Whether a value may be a secret, where the name says so.
fn may_be_secret(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let is_path = ["/", "./", "../", "~/"]
        .iter()
        .any(|begin| value.starts_with(begin));
    let is_reference = REFERENCES.iter().any(|begin| lower.starts_with(begin));
    let is_address = value.contains("://");
    let is_number = value.parse::<f64>().is_ok();
    let is_switch = SWITCHES.contains(&&*lower);
    !(is_stand_in(value) || is_path || is_reference || is_address || is_number || is_switch)
}

/// Whether it stands for a value: empty, one character again and again, `${OTHER}`, `<token>`, `change-me`.
fn is_stand_in(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let mut characters = value.chars();
    let first = characters.next();
    first.is_none()
        || characters.all(|other| Some(other) == first)
        || value.starts_with(['$', '%', '<', '{', '['])
        || value.contains("$(")
        || value.contains("${")
        || STAND_INS.iter().any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In two parts, so that nobody who looks for tokens finds one here.
    fn of(prefix: &str, rest: &str) -> String {
        format!("{prefix}{rest}")
    }

    #[test]
    fn a_value_in_the_form_of_a_secret_is_one_whatever_its_name() {
        let long = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6";
        for token in &TOKENS {
            let value = of(token.prefix, long);
            for value in [
                value.clone(),
                format!("Bearer {value}"),
                format!("x={value};"),
            ] {
                let found = suspicion("ANY", &value);
                assert_eq!(
                    found,
                    Some(Suspicion::Token(token.whose)),
                    "{}",
                    token.prefix
                );
            }
        }
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----";
        let web = format!("eyJhbGciOiJI.eyJzdWIiOiIx.{long}");
        for (value, expected) in [
            (key, Suspicion::PrivateKey),
            (&*web, Suspicion::WebToken),
            ("postgres://app:s3cure@db.example.com/x", Suspicion::Address),
            ("redis://:s3cure@cache:6379", Suspicion::Address),
            ("jdbc:mysql://app:a@b@db/x?y=z", Suspicion::Address),
            (
                "a https://x-token:s3cure@git.example.com/a.git",
                Suspicion::Address,
            ),
        ] {
            assert_eq!(suspicion("ANY", value), Some(expected), "{expected:?}");
        }
    }

    #[test]
    fn a_name_that_says_secret_is_believed_unless_the_value_is_plainly_none() {
        for name in [
            "PASSWORD",
            "PGPASSWORD",
            "DB_PASSWORD",
            "db_password",
            "DB_PASS",
            "DB_PWD",
            "DB_PASSWORD_2",
            "PASSWORD2",
            "SECRET",
            "CLIENT_SECRET",
            "GITHUB_TOKEN",
            "NPM_TOKEN",
            "API_KEY",
            "OPENAI_API_KEY",
            "APIKEY",
            "SSH_PRIVATE_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "PASSWORD_BASE64",
            "SECRET_VALUE",
            "KEY_PASSPHRASE",
        ] {
            assert_eq!(suspicion(name, "hunter2"), Some(Suspicion::Name), "{name}");
        }
        for value in [
            "",
            " ",
            "8080",
            "-1",
            "0.5",
            "true",
            "No",
            "none",
            "/run/secrets/x",
            "./token",
            "~/.token",
            "https://id.example.com/token",
            "${OTHER}",
            "$OTHER",
            "$(OTHER)",
            "<token>",
            "{{ token }}",
            "change-me",
            "changeme",
            "REPLACE_ME",
            "your-token-here",
            "xxxxxxxx",
            "********",
            "example",
            "vault:secret/data/x",
            "arn:aws:secretsmanager:x",
            "op://vault/item",
        ] {
            assert_eq!(suspicion("DB_PASSWORD", value), None, "{value}");
        }
    }

    #[test]
    fn what_only_sounds_like_a_secret_raises_no_alarm() {
        for (name, value) in [
            ("TOKEN_URL", "https://id.example.com/token"),
            ("PASSWORD_FILE", "/run/x"),
            ("TOKEN_TTL", "1h"),
            ("MAX_TOKENS", "4096"),
            ("AWS_ACCESS_KEY_ID", "name"),
            ("PWD", "elsewhere"),
            ("OLDPWD", "elsewhere"),
            ("PASS", "through"),
            ("BYPASS", "yes please"),
            ("SECRET_NAME", "api"),
            ("KEYBOARD", "de"),
            ("PRIMARY_KEY", "id"),
            ("PUBLIC_KEY", "ssh-ed25519 AAAA"),
            ("SECRETS_FOLDER", "a"),
            ("EDITOR", "vim"),
            ("DATABASE_URL", "postgres://app@db.example.com/x"),
            ("DATABASE_URL", "postgres://app:app@localhost:5432/x"),
            ("DATABASE_URL", "postgres://app:app@127.0.0.1/x"),
            ("DATABASE_URL", "postgres://app:app@[::1]:5432/x"),
            ("DATABASE_URL", "postgres://app:$(DB_PASSWORD)@db/x"),
            ("DATABASE_URL", "postgres://app:${DB_PASSWORD}@db/x"),
            ("DATABASE_URL", "postgres://app:<password>@db/x"),
            ("LINK", "https://example.com/a:b@c"),
            ("LINK", "https://example.com?mail=a:b@c"),
            ("MAIL", "a:b@example.com"),
            ("A", "ghp_"),
            ("A", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
            ("A", "AKIAEXAMPLEEXAMPLE00"),
            ("A", "eyJh.eyJz.short"),
            ("A", "module.eyJhbGciOiJI"),
            (
                "A",
                "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----",
            ),
        ] {
            assert_eq!(suspicion(name, value), None, "{name}={value}");
        }
    }

    #[test]
    fn a_suspicion_repeats_nothing_of_the_value() {
        let value = of("ghp_", "c4n4ryc4n4ryc4n4ryc4n4ryc4n4ry");
        let said = suspicion("C4N4RY", &value).unwrap().to_string();
        assert_eq!(said, "its value has the form of a token of GitHub");
    }
}
