//! Whether an editor can run in this image, found out without running it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use workstead_link::{Libc, Needs};

use crate::places::Places;

/// For each architecture: its name in Kubernetes and in Rust, the loader of glibc, and where its libraries are.
const MACHINES: [(&str, &str, &str, &str); 4] = [
    (
        "amd64",
        "x86_64",
        "/lib64/ld-linux-x86-64.so.2",
        "x86_64-linux-gnu",
    ),
    (
        "arm64",
        "aarch64",
        "/lib/ld-linux-aarch64.so.1",
        "aarch64-linux-gnu",
    ),
    (
        "ppc64le",
        "powerpc64",
        "/lib64/ld64.so.2",
        "powerpc64le-linux-gnu",
    ),
    ("s390x", "s390x", "/lib/ld64.so.1", "s390x-linux-gnu"),
];

/// What goes before the version in the library, and in newer loaders too.
const VERSION_MARK: &[u8] = b"stable release version ";

/// Says what is missing.
///
/// # Errors
/// The reason, as the end of a sentence.
pub fn check(needs: &Needs, places: &Places, rust_name: &str) -> Result<(), String> {
    let machine = MACHINES.iter().find(|(_, rust, ..)| *rust == rust_name);
    let architecture = machine.map_or(rust_name, |(kubernetes, ..)| kubernetes);
    let wanted = &needs.architectures;
    if !wanted.is_empty() && !wanted.iter().any(|name| name == architecture) {
        let wanted = wanted.join(" or ");
        return Err(format!(
            "it needs a node with {wanted}, this one is {architecture}"
        ));
    }
    match (&needs.libc, machine) {
        (None, _) => Ok(()),
        (Some(Libc::Other), _) => {
            Err("it needs a C library that this Workstead does not know".to_owned())
        }
        (Some(Libc::Glibc { .. }), None) => {
            Err(format!("nothing is known of glibc on {architecture}"))
        }
        (Some(Libc::Glibc { min }), Some((_, _, loader, libraries))) => {
            glibc(min.as_deref(), places, loader, libraries)
        }
    }
}

fn glibc(min: Option<&str>, places: &Places, loader: &str, libraries: &str) -> Result<(), String> {
    let wanted = min.map_or("glibc".to_owned(), |min| format!("glibc {min} or later"));
    let file = places.at(loader);
    if !file.exists() {
        let instead = if has_musl(places) {
            "has musl instead"
        } else {
            "has no C library"
        };
        return Err(format!("it needs {wanted}, and this image {instead}"));
    }
    let found = [
        file,
        places.at("/lib").join(libraries).join("libc.so.6"),
        places.at("/usr/lib").join(libraries).join("libc.so.6"),
        places.at("/lib64/libc.so.6"),
        places.at("/usr/lib64/libc.so.6"),
        places.at("/lib/libc.so.6"),
        places.at("/usr/lib/libc.so.6"),
    ]
    .iter()
    .find_map(version);
    match (found, min.and_then(number)) {
        // Something that only looks like it, as Alpine's gcompat does.
        (None, _) => Err(format!(
            "it needs {wanted}, and this image has another C library in its place"
        )),
        (Some(found), Some(min)) if found < min => Err(format!(
            "it needs {wanted}, and this image has {}.{}",
            found.0, found.1
        )),
        (Some(_), _) => Ok(()),
    }
}

fn has_musl(places: &Places) -> bool {
    fs::read_dir(places.at("/lib"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|file| file.file_name().to_string_lossy().starts_with("ld-musl-"))
}

/// Reads the version that a library carries, piece by piece: it has two megabytes.
fn version(file: &PathBuf) -> Option<(u32, u32)> {
    let mut file = File::open(Path::new(file)).ok()?;
    let mut window = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut piece).ok()?;
        let is_end = count == 0;
        window.extend_from_slice(piece.get(..count)?);
        let at = window
            .windows(VERSION_MARK.len())
            .position(|w| w == VERSION_MARK);
        if let Some(at) = at {
            let rest = window.get(at + VERSION_MARK.len()..)?;
            // The number may be cut off by the end of the piece.
            if rest.len() >= 16 || is_end {
                let end = rest.iter().position(|b| !b.is_ascii_digit() && *b != b'.');
                let text = rest.get(..end.unwrap_or(rest.len()))?;
                return number(std::str::from_utf8(text).ok()?);
            }
        } else {
            let keep = window.len().saturating_sub(VERSION_MARK.len());
            window.drain(..keep);
        }
        if is_end {
            return None;
        }
    }
}

/// The first two numbers of a version.
fn number(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_end_matches('.').split('.');
    Some((
        parts.next()?.parse().ok()?,
        parts.next().unwrap_or("0").parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            root: folder.path().to_owned(),
            ..Places::default()
        };
        for (path, bytes) in files {
            let path = places.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        (folder, places)
    }

    fn needs(architectures: &[&str], libc: Option<Option<&str>>) -> Needs {
        Needs {
            architectures: architectures.iter().map(|&name| name.to_owned()).collect(),
            libc: libc.map(|min| Libc::Glibc {
                min: min.map(str::to_owned),
            }),
        }
    }

    #[test]
    fn the_architecture_is_named_as_kubernetes_names_it() {
        let (_folder, places) = image(&[]);
        assert_eq!(
            check(&needs(&["amd64", "arm64"], None), &places, "x86_64"),
            Ok(())
        );
        assert_eq!(check(&needs(&[], None), &places, "riscv64"), Ok(()));
        let refused = check(&needs(&["amd64"], None), &places, "aarch64").unwrap_err();
        assert!(refused.contains("this one is arm64"), "{refused}");
    }

    #[test]
    fn glibc_is_known_by_its_loader_and_its_version() {
        let loader = "/lib64/ld-linux-x86-64.so.2";
        let library = "/lib/x86_64-linux-gnu/libc.so.6";
        let mut deep = vec![0; 200_000];
        deep.extend_from_slice(b"GNU C Library (X) stable release version 2.31.\n");
        let said = |files: &[(&str, &[u8])], min| {
            let (_folder, places) = image(files);
            check(&needs(&[], Some(min)), &places, "x86_64")
        };
        let newer: (&str, &[u8]) = (loader, b"ld.so (X) stable release version 2.36.\n");
        assert_eq!(said(&[newer], Some("2.28")), Ok(()));
        assert_eq!(
            said(&[(loader, b"ELF"), (library, &deep)], Some("2.31")),
            Ok(())
        );
        let old = said(&[(loader, b"ELF"), (library, &deep)], Some("2.34")).unwrap_err();
        assert!(
            old.contains("2.34 or later") && old.contains("has 2.31"),
            "{old}"
        );
        let musl = said(&[("/lib/ld-musl-x86_64.so.1", b"")], Some("2.28")).unwrap_err();
        assert!(musl.contains("musl"), "{musl}");
        let nothing = said(&[], None).unwrap_err();
        assert!(nothing.contains("no C library"), "{nothing}");
        let other = said(&[(loader, b"musl in disguise")], None).unwrap_err();
        assert!(other.contains("another C library"), "{other}");
    }

    #[test]
    fn a_version_is_read_across_the_border_of_two_pieces() {
        for before in 65_536 - 30..65_536 + 2 {
            let mut bytes = vec![b'.'; before];
            bytes.extend_from_slice(b"stable release version 2.41.\n");
            let (_folder, places) = image(&[("/x", &bytes)]);
            assert_eq!(version(&places.at("/x")), Some((2, 41)), "{before}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(number("2.9") < number("2.28"));
        assert_eq!(number("3"), Some((3, 0)));
        assert_eq!(number("x"), None);
    }
}
