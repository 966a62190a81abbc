//! Which Secret's credentials go to which host, and the answer to Git's question for them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write};
use std::path::Path;

use workstead_link::Credential;

use crate::places::Places;

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With user name and password, or a token.
    Http,
    /// With a key.
    Ssh,
}

/// The part of a URL that decides about credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// How.
    pub way: Way,
    /// Where: in lower case, with a port where it is not the usual one.
    pub host: String,
}

/// Reads a URL as far as it matters here; none for a form that we do not clone.
pub fn origin(url: &str) -> Option<Origin> {
    let (scheme, rest) = url.split_once("://")?;
    let (way, usual) = match scheme.to_ascii_lowercase().as_str() {
        "https" => (Way::Http, "443"),
        "http" => (Way::Http, "80"),
        "ssh" => (Way::Ssh, "22"),
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix(&format!(":{usual}")).unwrap_or(&host);
    (!host.is_empty()).then(|| Origin {
        way,
        host: host.to_owned(),
    })
}

/// The host without its port.
pub fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of an address in brackets are its own.
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a Secret holds what this way asks for.
pub fn serves(folder: &Path, way: Way) -> bool {
    let has = |key: &str| folder.join(key).exists();
    match way {
        Way::Http => has("password") || has("bearerToken"),
        Way::Ssh => has("identity"),
    }
}

/// The names of the Secrets for an origin. More than one is an error of whoever made them.
pub fn fitting(credentials: &[Credential], places: &Places, origin: &Origin) -> Vec<String> {
    let fits = |entry: &String| {
        let entry = entry.to_ascii_lowercase();
        match origin.way {
            Way::Http => entry == origin.host,
            // ssh's own settings know hosts by their names alone.
            Way::Ssh => name_of(&entry) == name_of(&origin.host),
        }
    };
    let names: BTreeSet<_> = credentials
        .iter()
        .filter(|secret| secret.hosts.iter().any(fits))
        .filter(|secret| serves(&places.credential(&secret.name), origin.way))
        .map(|secret| secret.name.clone())
        .collect();
    names.into_iter().collect()
}

/// Answers a question of Git on standard input from the files of a Secret. Git goes on without credentials when there is
/// no answer, so there is no error here: what the server then says is the evidence.
pub fn answer(folder: &Path, host: &str, operation: &str) {
    // Git tells of good and bad credentials too; they are not ours to change.
    if operation != "get" {
        return;
    }
    let mut question = String::new();
    let limit = std::io::stdin()
        .take(64 * 1024)
        .read_to_string(&mut question);
    if limit.is_ok() && asks_for(&question, host) {
        let text = reply(
            folder,
            question.lines().any(|line| line == "capability[]=authtype"),
        );
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
}

fn asks_for(question: &str, host: &str) -> bool {
    let field = |name: &str| {
        question
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    let Some((protocol, asked)) = field("protocol").zip(field("host")) else {
        return false;
    };
    origin(&format!("{protocol}://{asked}/"))
        .is_some_and(|origin| origin.way == Way::Http && origin.host == host)
}

fn reply(folder: &Path, knows_tokens: bool) -> String {
    // A value with a line break would be read as further fields.
    let value = |key: &str| {
        let text = fs::read_to_string(folder.join(key)).ok()?;
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        (!text.is_empty() && !text.contains(['\n', '\0'])).then_some(text)
    };
    let user = value("username");
    match (value("bearerToken"), value("password")) {
        (Some(token), _) if knows_tokens => {
            format!("capability[]=authtype\nauthtype=Bearer\ncredential={token}\n")
        }
        // An older Git sends it as a password; Git servers take a token there, whatever the user is called.
        (Some(token), _) => {
            let user = user.unwrap_or_else(|| "x-access-token".to_owned());
            format!("username={user}\npassword={token}\n")
        }
        (None, Some(password)) => {
            let user = user.unwrap_or_else(|| "git".to_owned());
            format!("username={user}\npassword={password}\n")
        }
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(root: &Path) -> Places {
        Places {
            root: root.to_owned(),
            ..Places::default()
        }
    }

    fn secret(places: &Places, name: &str, files: &[(&str, &str)]) {
        let folder = places.credential(name);
        fs::create_dir_all(&folder).unwrap();
        for (key, value) in files {
            fs::write(folder.join(key), value).unwrap();
        }
    }

    fn credential(name: &str, hosts: &[&str]) -> Credential {
        Credential {
            name: name.to_owned(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        }
    }

    #[test]
    fn the_origin_of_a_url_is_its_way_and_its_host_with_an_unusual_port() {
        for (url, expected) in [
            (
                "https://Git.Example.com/a.git",
                Some((Way::Http, "git.example.com")),
            ),
            (
                "https://git.example.com:443/a",
                Some((Way::Http, "git.example.com")),
            ),
            (
                "https://u@git.example.com:8443/a",
                Some((Way::Http, "git.example.com:8443")),
            ),
            ("http://x", Some((Way::Http, "x"))),
            ("ssh://git@x:22/a", Some((Way::Ssh, "x"))),
            ("ssh://git@[::1]:2222/a", Some((Way::Ssh, "[::1]:2222"))),
            ("https:///a", None),
            ("file:///a", None),
            ("ext::sh -c x", None),
            ("git@x:a", None),
        ] {
            let found = origin(url);
            let found = found.as_ref().map(|o| (o.way, o.host.as_str()));
            assert_eq!(found, expected, "{url}");
        }
        assert_eq!(name_of("x:2222"), "x");
        assert_eq!(name_of("[::1]"), "[::1]");
    }

    #[test]
    fn a_secret_fits_by_host_and_by_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let places = at(folder.path());
        secret(&places, "web", &[("password", "p")]);
        secret(&places, "key", &[("identity", "k")]);
        secret(&places, "both", &[("bearerToken", "t"), ("identity", "k")]);
        let all = [
            credential("web", &["x"]),
            credential("key", &["X"]),
            credential("both", &["y", "y:8443", "y:2222"]),
            credential("absent", &["x"]),
        ];
        let names = |url| fitting(&all, &places, &origin(url).unwrap());
        assert_eq!(names("https://x/a"), ["web"]);
        assert_eq!(names("ssh://x/a"), ["key"]);
        assert_eq!(names("https://y:8443/a"), ["both"]);
        assert_eq!(names("ssh://y:7/a"), ["both"]);
        assert!(names("https://x:8443/a").is_empty());
        assert!(names("https://z/a").is_empty());
        assert!(names("https://sub.x/a").is_empty());
    }

    #[test]
    fn two_secrets_for_one_host_are_both_named() {
        let folder = tempfile::tempdir().unwrap();
        let places = at(folder.path());
        secret(&places, "b", &[("password", "p")]);
        secret(&places, "a", &[("password", "p")]);
        let all = [credential("b", &["x"]), credential("a", &["x"])];
        let names = fitting(&all, &places, &origin("https://x/").unwrap());
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn git_is_answered_for_its_own_host_alone() {
        assert!(asks_for("protocol=https\nhost=x\n", "x"));
        assert!(asks_for("protocol=https\nhost=X:443\n", "x"));
        assert!(!asks_for("protocol=https\nhost=x.evil\n", "x"));
        assert!(!asks_for("protocol=https\nhost=x:8443\n", "x"));
        assert!(!asks_for("protocol=smtp\nhost=x\n", "x"));
        assert!(!asks_for("host=x\n", "x"));
    }

    #[test]
    fn the_reply_is_made_of_what_the_secret_holds() {
        let folder = tempfile::tempdir().unwrap();
        let places = at(folder.path());
        secret(&places, "none", &[("username", "u")]);
        secret(
            &places,
            "plain",
            &[("username", "u\n"), ("password", "p w\n")],
        );
        secret(&places, "token", &[("bearerToken", "t")]);
        secret(&places, "lines", &[("password", "p\nhost=evil")]);
        let said = |name: &str, tokens| reply(&places.credential(name), tokens);
        assert_eq!(said("none", false), "");
        assert_eq!(said("plain", true), "username=u\npassword=p w\n");
        assert_eq!(
            said("token", false),
            "username=x-access-token\npassword=t\n"
        );
        let bearer = "capability[]=authtype\nauthtype=Bearer\ncredential=t\n";
        assert_eq!(said("token", true), bearer);
        assert_eq!(said("lines", false), "");
    }
}
