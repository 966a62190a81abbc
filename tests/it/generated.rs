//! Files that are generated from the code and committed.

use std::path::Path;

/// Compares a generated file with what is committed; with `WORKSTEAD_BLESS` set, writes it instead.
pub fn check_generated(path: &Path, expected: &str) -> Result<(), String> {
    if std::env::var_os("WORKSTEAD_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
        return Ok(());
    }
    match std::fs::read_to_string(path) {
        Ok(found) if found == expected => Ok(()),
        Ok(_) => Err(format!("{} is out of date", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
