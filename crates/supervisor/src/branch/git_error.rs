//! What Git's last words mean. It ends with 128 whatever went wrong, so its messages decide, in the language C.

use workstead_link::Cause;

/// What went wrong, and whether it may go away by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its kind.
    pub cause: Cause,
    /// Whether to try again.
    pub is_retryable: bool,
    /// What the person can do.
    pub next_step: &'static str,
}

const AUTH: Verdict = Verdict {
    cause: Cause::CloneAuth,
    is_retryable: false,
    next_step: "put credentials that may read the repository into a Secret with the label \
                workstead.dev/use: git-credentials and the host in its annotation workstead.dev/hosts, then restart",
};

const HOST_KEY: Verdict = Verdict {
    next_step: "put the server's public keys, as ssh-keyscan prints them, into the key known_hosts of the Secret \
                whose annotation workstead.dev/hosts names the host, then restart",
    ..AUTH
};

const REFERENCE: Verdict = Verdict {
    cause: Cause::CloneRef,
    is_retryable: false,
    next_step: "name a branch, tag or commit that the repository has, in spec.projects",
};

const REPOSITORY: Verdict = Verdict {
    next_step: "check the URL in spec.projects; some servers also deny that a private repository is there when the \
                credentials may not read it",
    ..REFERENCE
};

const NETWORK: Verdict = Verdict {
    cause: Cause::CloneNetwork,
    is_retryable: true,
    next_step: "check that the Git server answers and that the class lets the workspace reach it, then restart",
};

const CERTIFICATE: Verdict = Verdict {
    is_retryable: false,
    next_step: "put the certificate of the server's authority into the key ca.crt of the Secret whose annotation \
                workstead.dev/hosts names the host, then restart",
    ..NETWORK
};

const SPACE: Verdict = Verdict {
    cause: Cause::CloneFailed,
    is_retryable: false,
    next_step: "make room on the volume, or raise spec.storage.size, then restart",
};

const LOCAL: Verdict = Verdict {
    cause: Cause::CloneFailed,
    is_retryable: false,
    next_step: "read the last lines of Git's output; a restart tries again",
};

/// The first whose words occur decides: a full volume also ends the conversation with the server, and a refused key is
/// followed by words about the connection.
const WORDS: [(&str, Verdict); 50] = [
    ("no space left on device", SPACE),
    ("disk quota exceeded", SPACE),
    ("read-only file system", LOCAL),
    ("host key verification failed", HOST_KEY),
    ("authentication failed", AUTH),
    ("could not read username", AUTH),
    ("could not read password", AUTH),
    ("permission denied (", AUTH),
    ("unprotected private key file", AUTH),
    ("too many authentication failures", AUTH),
    ("returned error: 401", AUTH),
    ("returned error: 403", AUTH),
    ("returned error: 407", AUTH),
    ("remote branch", REFERENCE),
    ("couldn't find remote ref", REFERENCE),
    ("not our ref", REFERENCE),
    ("unadvertised object", REFERENCE),
    ("reference is not a tree", REFERENCE),
    ("did not match any file", REFERENCE),
    ("unable to read tree", REFERENCE),
    ("returned error: 404", REPOSITORY),
    ("returned error: 410", REPOSITORY),
    ("not found", REPOSITORY),
    ("does not appear to be a git repository", REPOSITORY),
    ("certificate", CERTIFICATE),
    ("could not resolve", NETWORK),
    ("failed to connect", NETWORK),
    ("couldn't connect", NETWORK),
    ("connection refused", NETWORK),
    ("connection reset", NETWORK),
    ("connection timed out", NETWORK),
    ("connection closed", NETWORK),
    ("connection was", NETWORK),
    ("network is unreachable", NETWORK),
    ("no route to host", NETWORK),
    ("timed out", NETWORK),
    ("too slow", NETWORK),
    ("returned error: 5", NETWORK),
    ("returned error: 429", NETWORK),
    ("empty reply", NETWORK),
    ("early eof", NETWORK),
    ("hung up", NETWORK),
    ("rpc failed", NETWORK),
    ("unexpected disconnect", NETWORK),
    ("index-pack", NETWORK),
    ("pack ", NETWORK),
    ("protocol error", NETWORK),
    ("bad line length", NETWORK),
    ("is this a git repository", NETWORK),
    ("unable to access", NETWORK),
];

/// Reads the lines that Git wrote. What the server let it print (`remote: …`) is the server's own choice of words.
pub fn read(lines: &[String]) -> Verdict {
    let said = |words: &str| {
        lines
            .iter()
            .filter(|line| !line.starts_with("remote:"))
            .any(|line| line.to_ascii_lowercase().contains(words))
    };
    WORDS
        .iter()
        .find(|(words, _)| said(words))
        .map_or(LOCAL, |(_, verdict)| *verdict)
}

/// For a folder that the repository does not have.
pub const NO_FOLDER: Verdict = Verdict {
    next_step: "name a folder of the repository in spec.projects, or leave subdirectory out",
    ..REFERENCE
};

/// For two Secrets that fit one host.
pub const TWO_SECRETS: Verdict = Verdict {
    next_step: "leave the host in the annotation workstead.dev/hosts of one Secret alone, then restart",
    ..AUTH
};

/// For a server that says nothing for long.
pub const STALLED: Verdict = Verdict {
    next_step: "see whether the Git server is overloaded, or something on the way to it swallows what it sends, then restart",
    ..NETWORK
};

/// For what Git had no part in.
pub const OWN: Verdict = LOCAL;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_is_told_apart() {
        use Cause::{CloneAuth, CloneFailed, CloneNetwork, CloneRef};
        for (said, cause, is_retryable) in [
            (
                "fatal: Authentication failed for 'https://x/a.git/'",
                CloneAuth,
                false,
            ),
            (
                "fatal: could not read Username for 'https://x': terminal prompts disabled",
                CloneAuth,
                false,
            ),
            (
                "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                CloneAuth,
                false,
            ),
            (
                "Host key verification failed.\nfatal: Could not read from remote repository.",
                CloneAuth,
                false,
            ),
            (
                "fatal: unable to access 'https://x/': The requested URL returned error: 403",
                CloneAuth,
                false,
            ),
            (
                "warning: Could not find remote branch gone to clone.\nfatal: Remote branch gone not found in upstream origin",
                CloneRef,
                false,
            ),
            ("fatal: couldn't find remote ref gone", CloneRef, false),
            (
                "fatal: remote error: upload-pack: not our ref 0123",
                CloneRef,
                false,
            ),
            (
                "fatal: repository 'https://x/a.git/' not found",
                CloneRef,
                false,
            ),
            (
                "fatal: '/a.git' does not appear to be a git repository",
                CloneRef,
                false,
            ),
            (
                "fatal: unable to access 'https://x/': Could not resolve host: x",
                CloneNetwork,
                true,
            ),
            (
                "fatal: unable to access 'http://x/': Failed to connect to x port 80: Connection refused",
                CloneNetwork,
                true,
            ),
            (
                "fatal: unable to access 'https://x/': The requested URL returned error: 503",
                CloneNetwork,
                true,
            ),
            (
                "fatal: unable to access 'https://x/': SSL certificate problem: unable to get local issuer certificate",
                CloneNetwork,
                false,
            ),
            (
                "fatal: unable to access 'https://x/': server certificate verification failed. CAfile: none",
                CloneNetwork,
                false,
            ),
            (
                "error: RPC failed; curl 18 transfer closed\nfatal: early EOF",
                CloneNetwork,
                true,
            ),
            (
                "fatal: http://x/info/refs not valid: is this a git repository?",
                CloneNetwork,
                true,
            ),
            (
                "fatal: protocol error: bad line length character: <htm",
                CloneNetwork,
                true,
            ),
            (
                "fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output",
                CloneFailed,
                false,
            ),
            (
                "fatal: could not create work tree dir 'x': Permission denied",
                CloneFailed,
                false,
            ),
            (
                "remote: Authentication failed\nfatal: the remote end hung up unexpectedly",
                CloneNetwork,
                true,
            ),
            ("", CloneFailed, false),
        ] {
            let lines: Vec<_> = said.lines().map(str::to_owned).collect();
            let verdict = read(&lines);
            assert_eq!(
                (verdict.cause, verdict.is_retryable),
                (cause, is_retryable),
                "{said}"
            );
        }
    }
}
