//! What the processes of a workspace find in their environment: Git is set up, the plan is gone, nothing is secret.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use workstead_link::{PLAN_VARIABLE, Plan, RUN_PATH, SECRETS_VARIABLE, SSH_PATH};

use crate::credentials::{Way, name_of, serves};
use crate::places::Places;

/// Where programs are looked for when the image does not say.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables to set on every child.
#[derive(Clone)]
pub struct Environment {
    set: Vec<(OsString, OsString)>,
    ssh: Option<String>,
}

impl Environment {
    /// That of the plan, on top of this process's own.
    ///
    /// # Errors
    /// When ssh's settings can't be written.
    pub fn of(plan: &Plan, places: &Places) -> io::Result<Self> {
        let me = env::current_exe()?;
        let mut settings = Vec::new();
        if let Some(author) = &plan.author {
            let values = [("user.name", &author.name), ("user.email", &author.email)];
            let given = values.into_iter().filter(|(_, value)| !value.is_empty());
            settings.extend(given.map(|(key, value)| (key.to_owned(), value.clone())));
        }
        settings.extend(host_settings(plan, places, &me));
        let ssh = ssh_command(plan, places)?;
        let mut set = git_config(&settings, env::var_os("GIT_CONFIG_COUNT"));
        if let Some(ssh) = &ssh
            && env::var_os("GIT_SSH_COMMAND").is_none()
        {
            set.push(("GIT_SSH_COMMAND".into(), ssh.into()));
        }
        set.push(("PATH".into(), path(env::var_os("PATH"), places)));
        Ok(Self { set, ssh })
    }

    /// For whatever runs in the workspace.
    pub fn apply(&self, command: &mut Command) {
        command.env_remove(PLAN_VARIABLE);
        command.env_remove(SECRETS_VARIABLE);
        command.envs(self.set.iter().map(|(name, value)| (name, value)));
    }

    /// For our own clone: nobody is there to be asked, and messages are to be read by a program.
    pub fn apply_unattended(&self, command: &mut Command) {
        self.apply(command);
        let ssh = self.ssh.as_deref().unwrap_or("ssh");
        command
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

/// Settings as variables, after those that are there already.
fn git_config(settings: &[(String, String)], there: Option<OsString>) -> Vec<(OsString, OsString)> {
    if settings.is_empty() {
        return Vec::new();
    }
    let there: usize = there
        .and_then(|count| count.to_str()?.parse().ok())
        .unwrap_or(0);
    let mut set = vec![(
        OsString::from("GIT_CONFIG_COUNT"),
        OsString::from((there + settings.len()).to_string()),
    )];
    for (n, (key, value)) in (there..).zip(settings) {
        set.push((format!("GIT_CONFIG_KEY_{n}").into(), key.into()));
        set.push((format!("GIT_CONFIG_VALUE_{n}").into(), value.into()));
    }
    set
}

/// For each host: who answers for its credentials, and who vouches for its certificate.
fn host_settings(plan: &Plan, places: &Places, me: &Path) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    for (host, secrets) in by_host(plan) {
        let folders = || secrets.iter().map(|secret| places.credential(secret));
        let urls = || ["https", "http"].map(|scheme| format!("{scheme}://{host}"));
        let answering: Vec<_> = folders().filter(|f| serves(f, Way::Http)).collect();
        // With two of them a guess would show one host's secret to whoever is meant by the other.
        if let [folder] = answering.as_slice() {
            let helper = format!("{} git-credential {} {host}", quoted(me), quoted(folder));
            settings.extend(urls().map(|url| (format!("credential.{url}.helper"), helper.clone())));
        }
        if let Some(file) = folders()
            .map(|f| f.join("ca.crt"))
            .find(|file| file.exists())
        {
            let file = file.to_string_lossy().into_owned();
            settings.push((format!("http.https://{host}/.sslCAInfo"), file));
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

    #[test]
    fn settings_come_after_those_that_are_there() {
        let settings = [("a.b".to_owned(), "c".to_owned())];
        let set = git_config(&settings, Some("2".into()));
        let expected = [
            ("GIT_CONFIG_COUNT", "3"),
            ("GIT_CONFIG_KEY_2", "a.b"),
            ("GIT_CONFIG_VALUE_2", "c"),
        ];
        assert_eq!(set, expected.map(|(k, v)| (k.into(), v.into())));
        assert_eq!(git_config(&settings, Some("x".into()))[0].1, "1");
        assert!(git_config(&[], None).is_empty());
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
        let keys: Vec<_> = settings.iter().map(|(key, _)| key.as_str()).collect();
        let expected = [
            "credential.https://git.example.com:8443.helper",
            "credential.http://git.example.com:8443.helper",
            "http.https://git.example.com:8443/.sslCAInfo",
        ];
        assert_eq!(keys, expected);
        assert!(settings[0].1.starts_with("/opt/me git-credential "));
        assert!(settings[0].1.ends_with("/web git.example.com:8443"));
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
