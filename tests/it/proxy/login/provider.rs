//! A real provider, as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::http::{Jar, Response, ask};

/// The secret of the client.
pub const SECRET: &str = "only-for-tests-9c1f";

/// The provider. It ends with its standard input, so with the value and with the process.
pub struct Provider {
    process: Child,
    pub issuer: String,
}

impl Provider {
    /// Starts one for a client that is called back at `redirect`, with what is `more` for that client.
    pub fn start(redirect: &str, more: Value) -> Self {
        let mut client = json!({
            "client_id": "workstead", "client_secret": SECRET, "redirect_uris": [redirect],
        });
        let more = more.as_object().unwrap().clone();
        client.as_object_mut().unwrap().extend(more);
        let groups: Vec<String> = (0..200)
            .map(|number| format!("group-{number:036}"))
            .collect();
        let settings = json!({
            "client": client,
            "accounts": {
                "alice": {"email": "alice@example.com", "email_verified": true, "groups": ["team-a", "team-b"]},
                "bob": {"email": "alice@example.com", "email_verified": false, "groups": []},
                "carol": {"email": "carol@example.com", "email_verified": true, "groups": groups},
            },
        });
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/provider/run");
        let mut process = Command::new(run)
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let issuer = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("issuer ").map(str::to_owned))
            .expect("the provider says where it is");
        Self { process, issuer }
    }

    /// Signs a person in where the proxy sent the browser, and gives where the provider sends it back to.
    pub async fn sign_in(&self, address: &str, person: &str, jar: &mut Jar) -> String {
        let mut answer = ask(address, None, jar).await;
        for _ in 0..10 {
            let Some(next) = self.next(&answer) else {
                panic!("the provider answered {}: {}", answer.status, answer.body);
            };
            if !next.starts_with(&self.issuer) {
                return next;
            }
            answer = ask(&next, None, jar).await;
            if answer.status == 200 {
                let form = format!("prompt=login&login={person}&password=x");
                answer = ask(&next, Some(&form), jar).await;
            }
        }
        panic!("the provider goes round and round")
    }

    /// Signs out there, and gives where the browser is sent then.
    pub async fn sign_out(&self, address: &str, jar: &mut Jar) -> String {
        let page = ask(address, None, jar).await;
        let after = page
            .body
            .split_once("name=\"xsrf\" value=\"")
            .map(|(_, rest)| rest);
        let xsrf = after.and_then(|rest| rest.split('"').next());
        let form = format!("xsrf={}&logout=yes", xsrf.expect("a form"));
        let confirm = format!("{}/session/end/confirm", self.issuer);
        let answer = ask(&confirm, Some(&form), jar).await;
        self.next(&answer).expect("a way back")
    }

    fn next(&self, answer: &Response) -> Option<String> {
        let location = answer.location.as_ref()?;
        Some(if location.starts_with('/') {
            format!("{}{location}", self.issuer)
        } else {
            location.clone()
        })
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
