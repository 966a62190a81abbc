//! Keeps programs running as long as this process lives, and not a moment longer.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Runs each script whose path it reads. When its input ends, because we closed it or because this process is gone
/// however it ended, it kills what it started and removes the folder.
const SCRIPT: &str = r#"
folder=$1
children=
while read -r script; do
  sh "$script" </dev/null >/dev/null 2>&1 &
  children="$children $!"
done
[ -z "$children" ] || kill -9 $children
wait
rm -rf "$folder"
"#;

/// A shell that holds the reading end of a pipe, of which this process holds the only writing end.
///
/// The parent-death signal of Linux would not do: it fires when the *thread* ends that started the program, and
/// tests run on threads of their own.
#[derive(Debug)]
pub(super) struct Keeper {
    shell: Child,
    pipe: Option<ChildStdin>,
    folder: PathBuf,
}

impl Keeper {
    /// A keeper that owns `folder`: logs and data go there, and it is removed in the end.
    pub fn start(folder: PathBuf) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "keeper"])
            .arg(&folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: Ctrl-C and a kill of our whole group must not end the one who cleans up.
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self {
            shell,
            pipe,
            folder,
        })
    }

    /// Starts a program; `name` names its log.
    pub fn run(&mut self, name: &str, program: &Path, arguments: &[String]) -> io::Result<()> {
        let path = |end: &str| self.folder.join(format!("{name}.{end}"));
        let script = format!(
            "echo $$ >{pid}.new && mv {pid}.new {pid}\nexec {program} {arguments} >{log} 2>&1\n",
            pid = quote(&path("pid").to_string_lossy()),
            program = quote(&program.to_string_lossy()),
            arguments = arguments
                .iter()
                .map(|argument| quote(argument))
                .collect::<Vec<_>>()
                .join(" "),
            log = quote(&path("log").to_string_lossy()),
        );
        std::fs::write(path("sh"), script)?;
        let mut pipe = self.pipe.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(pipe, "{}", path("sh").display())
    }

    /// Whether a program has ended. False too while it has not begun.
    pub fn has_ended(&self, name: &str) -> bool {
        let Ok(pid) = std::fs::read_to_string(self.folder.join(format!("{name}.pid"))) else {
            return false;
        };
        // After the name in parentheses comes the state; Z is a process that ended and was not waited for.
        std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).map_or(true, |stat| {
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| rest.trim_start().starts_with('Z'))
        })
    }

    /// Process id of a program, once it began.
    pub fn process_id(&self, name: &str) -> Option<u32> {
        let text = std::fs::read_to_string(self.folder.join(format!("{name}.pid"))).ok()?;
        text.trim().parse().ok()
    }

    /// The last lines of a program's log.
    pub fn log_tail(&self, name: &str) -> String {
        let log = std::fs::read(self.folder.join(format!("{name}.log"))).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines
            .get(lines.len().saturating_sub(12)..)
            .unwrap_or_default()
            .join("\n")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // What is left for the shell is to kill, wait and remove: none of it waits for anybody.
        let _ = self.shell.wait();
    }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_one_word_to_the_shell() {
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("printf %s {}", quote("it's $HOME; `x` \"y\"")))
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "it's $HOME; `x` \"y\""
        );
    }
}
