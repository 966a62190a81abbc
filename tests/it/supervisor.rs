//! The first process of every workspace, as the file that goes into Workstead's image.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What makes a program ask for something of the image that it runs in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asks {
    /// A program header INTERP: the dynamic loader.
    loader: bool,
    /// Entries NEEDED of the dynamic section: shared libraries.
    libraries: usize,
}

const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;

/// A number of an ELF file of 64 bits, little-endian.
fn number(file: &[u8], at: u64, bytes: usize) -> u64 {
    let at = usize::try_from(at).unwrap();
    let mut wide = [0; 8];
    wide[..bytes].copy_from_slice(&file[at..at + bytes]);
    u64::from_le_bytes(wide)
}

fn asks(path: &Path) -> Asks {
    let file = std::fs::read(path).unwrap();
    assert_eq!(file[..6], *b"\x7fELF\x02\x01", "{}", path.display());
    let (headers, size, count) = (
        number(&file, 0x20, 8),
        number(&file, 0x36, 2),
        number(&file, 0x38, 2),
    );
    assert!(count > 0);
    let mut asks = Asks::default();
    for header in (0..count).map(|n| headers + n * size) {
        match number(&file, header, 4) {
            PT_INTERP => asks.loader = true,
            PT_DYNAMIC => {
                let (begin, length) = (number(&file, header + 8, 8), number(&file, header + 32, 8));
                let tags = (0..length / 16).map(|n| number(&file, begin + n * 16, 8));
                asks.libraries += tags
                    .take_while(|tag| *tag != DT_NULL)
                    .filter(|tag| *tag == DT_NEEDED)
                    .count();
            }
            _ => {}
        }
    }
    asks
}

#[test]
fn the_supervisor_of_the_image_needs_no_loader_and_no_library_of_the_workspace() {
    let out = Command::new("tests/e2e/cluster/cluster")
        .arg("supervisor")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let supervisor = PathBuf::from(String::from_utf8(out.stdout).unwrap().trim_end());
    assert_eq!(asks(&supervisor), Asks::default());
    // This test itself is an ordinary program, in which both are found.
    let own = asks(&std::env::current_exe().unwrap());
    assert!(own.loader && own.libraries > 0, "{own:?}");
}
