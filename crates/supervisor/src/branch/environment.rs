//! What the processes of a workspace find: Git is set up, the plan is gone, nothing is secret.
//!
//! Git reads our settings from a file in place of the system's. So they come last: whatever a person sets by
//! `git config` counts before them. And they hold in shells that no process of ours has started, `kubectl exec` above all.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use workstead_link::{
    GIT_CONFIG_PATH, GIT_CONFIG_VARIABLE, PLAN_VARIABLE, Plan, RUN_PATH, SSH_PATH,
};

use crate::credentials::{Way, name_of, serves};
use crate::places::Places;

/// Where programs are looked for when the image does not say.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables to set on every child.
#[derive(Clone)]
pub struct Environment {
    set: Vec<(OsString, OsString)>,
    ssh: Option<String>,
    file: PathBuf,
}

impl Environment {
    /// That of the plan, on top of this process's own.
    ///
    /// # Errors
    /// When the settings of Git or ssh can't be written.
    pub fn of(plan: &Plan, places: &Places) -> io::Result<Self> {
        let me = env::current_exe()?;
        let mut settings = Vec::new();
        if let Some(author) = &plan.author {
            let values = [("name", &author.name), ("email", &author.email)];
            let given = values.into_iter().filter(|(_, value)| !value.is_empty());
            settings.extend(given.map(|(key, value)| Setting::new("user", None, key, value)));
        }
        settings.extend(host_settings(plan, places, &me));
        let ssh = ssh_command(plan, places)?;
        if let Some(ssh) = &ssh {
            settings.push(Setting::new("core", None, "sshCommand", ssh));
        }
        let file = places.at(GIT_CONFIG_PATH);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&file, git_config(&settings))?;
        let mut set = Vec::new();
        // The pod names it for every process of the container; a workspace may name another one, and then means it.
        if env::var_os(GIT_CONFIG_VARIABLE).is_none() {
            set.push((GIT_CONFIG_VARIABLE.into(), file.clone().into()));
        }
        set.push(("PATH".into(), path(env::var_os("PATH"), places)));
        Ok(Self { set, ssh, file })
    }

    /// For whatever runs in the workspace.
    pub fn apply(&self, command: &mut Command) {
        command.env_remove(PLAN_VARIABLE);
        command.envs(self.set.iter().map(|(name, value)| (name, value)));
    }

    /// For our own clone: nobody is there to be asked, and messages are to be read by a program.
    pub fn apply_unattended(&self, command: &mut Command) {
        self.apply(command);
        let ssh = self.ssh.as_deref().unwrap_or("ssh");
        command
            .env(GIT_CONFIG_VARIABLE, &self.file)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "https:http:ssh")
            .env(
                "GIT_SSH_COMMAND",
                format!("{ssh} -o BatchMode=yes -o ConnectTimeout=20"),
            )
            .env("GIT_SSH_VARIANT", "ssh")
            .env_remove("GIT_ASKPASS")
            .env_remove("SSH_ASKPASS")
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE");
    }
}

/// The image's programs come first: the tools only fill in what it lacks.
fn path(own: Option<OsString>, places: &Places) -> OsString {
    let mut path = own
        .filter(|p| !p.is_empty())
        .unwrap_or_else(|| USUAL_PATH.into());
    path.push(":");
    path.push(places.at(workstead_link::TOOLS_PATH).join("bin"));
    path
}

/// One setting of Git.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    section: &'static str,
    subsection: Option<String>,
    key: &'static str,
    value: String,
}

impl Setting {
    fn new(
        section: &'static str,
        subsection: Option<String>,
        key: &'static str,
        value: &str,
    ) -> Self {
        Self {
            section,
            subsection,
            key,
            value: value.to_owned(),
        }
    }
}

/// The file that stands for the system's, which it includes: what an image sets up counts before ours.
fn git_config(settings: &[Setting]) -> String {
    let mut text = String::from("# Written by Workstead at each start.\n");
    for setting in settings {
        let subsection = setting.subsection.as_deref();
        let subsection = subsection.map(|name| format!(" {}", in_quotes(name)));
        text.push_str(&format!(
            "[{}{}]\n\t{} = {}\n",
            setting.section,
            subsection.unwrap_or_default(),
            setting.key,
            in_quotes(&setting.value)
        ));
    }
    text.push_str("[include]\n\tpath = /etc/gitconfig\n");
    text
}

/// As Git reads it back: no byte ends a value, begins a comment or is anything but itself.
fn in_quotes(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            // Nothing that Git could read back.
            '\0' => {}
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// For each host: who answers for its credentials, and who vouches for its certificate.
fn host_settings(plan: &Plan, places: &Places, me: &Path) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (host, secrets) in by_host(plan) {
        let folders = || secrets.iter().map(|secret| places.credential(secret));
        let urls = || ["https", "http"].map(|scheme| format!("{scheme}://{host}"));
        let answering: Vec<_> = folders().filter(|f| serves(f, Way::Http)).collect();
        // With two of them a guess would show one host's secret to whoever is meant by the other.
        if let [folder] = answering.as_slice() {
            let helper = format!("{} git-credential {} {host}", quoted(me), quoted(folder));
            settings
                .extend(urls().map(|url| Setting::new("credential", Some(url), "helper", &helper)));
        }
        if let Some(file) = folders()
            .map(|f| f.join("ca.crt"))
            .find(|file| file.exists())
        {
            let url = format!("https://{host}/");
            let file = file.to_string_lossy();
            settings.push(Setting::new("http", Some(url), "sslCAInfo", &file));
        }
    }
    settings
}

fn by_host(plan: &Plan) -> BTreeMap<String, BTreeSet<&str>> {
    let mut hosts: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for credential in &plan.credentials {
        for host in credential.hosts.iter().filter(|host| is_host(host)) {
            let names = hosts.entry(host.to_ascii_lowercase()).or_default();
            names.insert(&credential.name);
        }
    }
    hosts
}

/// Whether it is nothing but a host: it goes into settings that have a grammar of their own.
fn is_host(host: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
    !host.is_empty() && !host.starts_with('-') && host.chars().all(is_plain)
}

/// The ssh of the tools with settings that name the key for each host; none when no Secret has a key.
fn ssh_command(plan: &Plan, places: &Places) -> io::Result<Option<String>> {
    let text = ssh_settings(plan, places);
    let ssh = places.at(SSH_PATH);
    if text.is_empty() {
        return Ok(ssh.exists().then(|| quoted(&ssh)));
    }
    let folder = places.at(RUN_PATH).join("git-ssh");
    fs::create_dir_all(&folder)?;
    let file = folder.join("config");
    fs::write(&file, text)?;
    Ok(Some(format!("{} -F {}", quoted(&ssh), quoted(&file))))
}

fn ssh_settings(plan: &Plan, places: &Places) -> String {
    let mut text = String::new();
    let mut names: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for (host, secrets) in by_host(plan) {
        let folders = secrets.iter().map(|secret| places.credential(secret));
        let folders = folders.filter(|folder| serves(folder, Way::Ssh));
        let name = name_of(&host).trim_matches(['[', ']']).to_owned();
        names.entry(name).or_default().extend(folders);
    }
    for (name, folders) in names {
        let mut folders = folders.into_iter();
        if let (Some(folder), None) = (folders.next(), folders.next()) {
            let folder = folder.display();
            text.push_str(&format!(
                "Host {name}\n  IdentityFile \"{folder}/identity\"\n  IdentitiesOnly yes\n  \
                 UserKnownHostsFile \"{folder}/known_hosts\"\n  GlobalKnownHostsFile /dev/null\n  \
                 StrictHostKeyChecking yes\n"
            ));
        }
    }
    if !text.is_empty() {
        // With a file of our own ssh reads no other.
        text.push_str("Match all\n  Include ~/.ssh/config\n");
    }
    text
}

/// For a shell.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(is_plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use workstead_link::Credential;

    fn credential(name: &str, hosts: &[&str]) -> Credential {
        Credential {
            name: name.to_owned(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        }
    }

    fn world(secrets: &[(&str, &[&str])]) -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            root: folder.path().to_owned(),
            ..Places::default()
        };
        for (secret, keys) in secrets {
            fs::create_dir_all(places.credential(secret)).unwrap();
            for key in *keys {
                fs::write(places.credential(secret).join(key), "canary").unwrap();
            }
        }
        (folder, places)
    }

    /// What Git itself reads.
    fn read(file: &Path, key: &str) -> String {
        let output = Command::new("git")
            .args(["config", "--file"])
            .arg(file)
            .args(["--get", key])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.strip_suffix('\n').unwrap_or(&text).to_owned()
    }

    #[test]
    fn git_reads_back_every_value_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gitconfig");
        for value in [
            "Alice",
            " a  b ",
            "it's \"quoted\"; # and \\ more",
            "two\nlines\tand a tab",
            "[section]",
            "Zoë",
        ] {
            let url = "https://git.example.com:8443/".to_owned();
            let settings = [
                Setting::new("user", None, "name", value),
                Setting::new("http", Some(url), "sslCAInfo", value),
            ];
            fs::write(&file, git_config(&settings)).unwrap();
            assert_eq!(read(&file, "user.name"), value);
            assert_eq!(
                read(&file, "http.https://git.example.com:8443/.sslCAInfo"),
                value
            );
        }
    }

    #[test]
    fn each_host_has_its_helper_and_no_value_is_in_the_settings() {
        let (_folder, places) = world(&[
            ("web", &["password", "ca.crt"]),
            ("a", &["password"]),
            ("b", &["bearerToken"]),
            ("key", &["identity"]),
        ]);
        let plan = Plan {
            credentials: vec![
                credential("web", &["Git.example.com:8443", "--upload-pack=x", "a b"]),
                credential("a", &["two"]),
                credential("b", &["two"]),
                credential("key", &["ssh.example.com"]),
            ],
            ..Plan::default()
        };
        let settings = host_settings(&plan, &places, Path::new("/opt/me"));
        let keys: Vec<_> = settings
            .iter()
            .map(|s| (s.section, s.subsection.as_deref().unwrap(), s.key))
            .collect();
        let expected = [
            ("credential", "https://git.example.com:8443", "helper"),
            ("credential", "http://git.example.com:8443", "helper"),
            ("http", "https://git.example.com:8443/", "sslCAInfo"),
        ];
        assert_eq!(keys, expected);
        assert!(settings[0].value.starts_with("/opt/me git-credential "));
        assert!(settings[0].value.ends_with("/web git.example.com:8443"));
        assert!(!format!("{settings:?}").contains("canary"));
    }

    #[test]
    fn ssh_gets_key_and_known_hosts_of_the_one_secret_that_fits() {
        let (folder, places) = world(&[
            ("key", &["identity", "known_hosts"]),
            ("other", &["identity"]),
        ]);
        let plan = |second: &str| Plan {
            credentials: vec![
                credential("key", &["x:2222", "x"]),
                credential("other", &[second]),
            ],
            ..Plan::default()
        };
        let text = ssh_settings(&plan("y"), &places);
        assert_eq!(text.matches("Host x\n").count(), 1, "{text}");
        assert!(text.contains("/key/identity\""), "{text}");
        assert!(text.contains("StrictHostKeyChecking yes"));
        assert!(text.ends_with("Match all\n  Include ~/.ssh/config\n"));
        assert!(!ssh_settings(&plan("x"), &places).contains("Host x\n"));
        let command = ssh_command(&plan("y"), &places).unwrap().unwrap();
        assert!(command.contains("/opt/workstead/bin/ssh -F "), "{command}");
        assert!(folder.path().join("run/workstead/git-ssh/config").exists());
        assert_eq!(ssh_command(&Plan::default(), &places).unwrap(), None);
    }

    #[test]
    fn a_shell_reads_a_quoted_path_as_one_word() {
        assert_eq!(quoted(Path::new("/opt/a-b_c.d")), "/opt/a-b_c.d");
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }

    #[test]
    fn the_programs_of_the_image_come_before_the_tools() {
        let places = Places::default();
        assert_eq!(
            path(Some("/bin".into()), &places),
            "/bin:/opt/workstead/bin"
        );
        assert!(
            path(None, &places)
                .to_str()
                .unwrap()
                .starts_with("/usr/local/sbin:")
        );
    }
}
