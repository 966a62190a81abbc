//! Which of the programs run that keep a workspace from being idle.

use std::fs;

/// The kernel keeps this much of a program's name.
const KERNEL_NAME: usize = 15;

/// Those of the names that run, in the order of the names.
pub fn running(names: &[String]) -> Vec<String> {
    if names.is_empty() {
        return Vec::new();
    }
    let mut found = vec![false; names.len()];
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let is_process = process
            .file_name()
            .to_string_lossy()
            .bytes()
            .all(|b| b.is_ascii_digit());
        if !is_process {
            continue;
        }
        // One that has just ended has no files any more.
        let Ok(stat) = fs::read(process.path().join("stat")) else {
            continue;
        };
        let command = || fs::read(process.path().join("cmdline")).unwrap_or_default();
        for (name, found) in names.iter().zip(&mut found).filter(|(_, found)| !**found) {
            *found = is_running(name, &stat, command);
        }
    }
    names
        .iter()
        .zip(found)
        .filter(|(_, found)| *found)
        .map(|(name, _)| name.clone())
        .collect()
}

/// Whether a process goes by a name, told from its files `stat` and `cmdline`.
fn is_running(name: &str, stat: &[u8], command: impl Fn() -> Vec<u8>) -> bool {
    let stat = String::from_utf8_lossy(stat);
    // The name may have brackets in it.
    let (Some((_, rest)), Some((before, state))) = (stat.split_once('('), stat.rsplit_once(')'))
    else {
        return false;
    };
    if matches!(state.trim_start().bytes().next(), Some(b'Z' | b'X') | None) {
        return false;
    }
    let own = rest
        .get(..rest.len() - (stat.len() - before.len()))
        .unwrap_or_default();
    if own == name {
        return true;
    }
    // A long name is cut off by the kernel, and some programs give themselves another one.
    if name.len() > KERNEL_NAME && !name.starts_with(own) {
        return false;
    }
    let command = command();
    let program = command.split(|b| *b == 0).next().unwrap_or_default();
    program.rsplit(|b| *b == b'/').next() == Some(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_name_in_the_kernel_or_by_its_program() {
        for (name, stat, command, expected) in [
            ("cargo", "7 (cargo) S 1", "", true),
            ("cargo", "7 (cargo) Z 1", "", false),
            ("cargo", "7 (cargo-fmt) S 1", "cargo-fmt\0", false),
            ("a) (b", "7 (a) (b) R 1", "", true),
            (
                "terraform-provider-x",
                "7 (terraform-provi) S 1",
                "/bin/terraform-provider-x\0plan\0",
                true,
            ),
            (
                "terraform-provider-y",
                "7 (terraform-provi) S 1",
                "/bin/terraform-provider-x\0plan\0",
                false,
            ),
            ("node", "7 (MainThread) S 1", "/usr/bin/node\0x.js\0", true),
            ("x", "", "", false),
        ] {
            let is_running = is_running(name, stat.as_bytes(), || command.as_bytes().to_vec());
            assert_eq!(is_running, expected, "{name}: {stat}");
        }
    }

    #[test]
    fn a_program_that_runs_is_found_once_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("workstead-trial-{}", std::process::id());
        let program = folder.path().join(&name);
        fs::copy("/bin/sleep", &program).unwrap();
        let names = ["no-such-program-anywhere".to_owned(), name.clone()];
        assert!(running(&names).is_empty());
        let mut child = std::process::Command::new(&program)
            .arg("100")
            .spawn()
            .unwrap();
        // The kernel lets go of who started it a moment before it gives it its name.
        let tries = std::iter::repeat_with(|| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            running(&names)
        });
        let found = tries.take(1000).find(|found| !found.is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, Some(vec![name]));
        assert!(running(&names).is_empty());
    }
}
