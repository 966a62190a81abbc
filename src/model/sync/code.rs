//! The stable error codes of GitSync; each has a page in docs/.

use std::fmt;

/// When an error can go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// When the spec or a Secret changes.
    OnChange,
    /// With back-off.
    BackOff,
    /// At each interval.
    Interval,
    /// With the next commit.
    NextCommit,
    /// With an approval or the next commit.
    Approval,
    /// In the next pass.
    NextPass,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $retry:ident;)+) => {
        /// What kind of error. Numbers and names never change meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl Code {
            /// Every code, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name, as used in conditions and Events.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it means, in a sentence; the first line of its page.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// When it can go away.
            pub const fn retry(self) -> Retry {
                match self { $(Self::$name => Retry::$retry,)+ }
            }
        }
    };
}

codes! {
    /// The spec of the GitSync can't be used.
    InvalidConfig = 100, OnChange;
    /// The Secret is missing, or lacks a key.
    SecretInvalid = 101, OnChange;
    /// The server refused the credentials.
    AuthenticationFailed = 102, BackOff;
    /// The server's host key is not the one that is known.
    HostKeyMismatch = 103, BackOff;
    /// The server's certificate can't be trusted.
    TlsFailed = 104, BackOff;
    /// The repository could not be fetched.
    FetchFailed = 105, BackOff;
    /// The fetch took longer than spec.timeout.
    FetchTimeout = 106, BackOff;
    /// The branch, tag or commit is not in the repository.
    RefNotFound = 107, Interval;
    /// The repository is larger than the limits allow.
    LimitExceeded = 108, Interval;
    /// A signature could not be verified.
    VerificationFailed = 109, Interval;
    /// The new commit does not descend from the one that was applied.
    HistoryRewritten = 120, NextCommit;
    /// spec.path is not in the tree.
    PathNotFound = 200, NextCommit;
    /// The tree holds no objects.
    EmptySource = 201, Approval;
    /// The file can't be read as objects; nothing is deleted until it can.
    ParseFailed = 210, NextCommit;
    /// The object breaks the schema or a rule of its kind.
    SchemaInvalid = 211, NextCommit;
    /// This GitSync may not write that kind.
    KindNotAllowed = 212, NextCommit;
    /// This GitSync may not write to that namespace.
    NamespaceNotAllowed = 213, NextCommit;
    /// Two files define the same object.
    DuplicateObject = 214, NextCommit;
    /// A symlink, submodule, LFS pointer or path that is not read.
    UnsafeEntry = 215, NextCommit;
    /// Files under this path may not name that owner.
    OwnerNotAllowed = 216, NextCommit;
    /// The deletes of this commit wait for approval.
    PruneBlocked = 300, Approval;
    /// The approval is for another commit or another set.
    ApprovalStale = 301, Approval;
    /// The inventory was missing or unreadable and was rebuilt; nothing is deleted in this pass.
    InventoryMissing = 302, NextPass;
    /// The API server rejected the object.
    ApplyRejected = 400, BackOff;
    /// The controller may not write the object.
    ApplyForbidden = 401, BackOff;
    /// The object belongs to somebody else.
    ManagementConflict = 402, BackOff;
    /// The API server refused the delete.
    PruneFailed = 403, BackOff;
    /// Somebody changes the object back each time.
    FightDetected = 404, BackOff;
    /// The API server did not answer.
    ApiUnavailable = 410, BackOff;
}

impl Code {
    /// Its number.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Whether nobody but a person can help: `Stalled=True`.
    ///
    /// Errors of single objects stall too, once nothing is left that a retry could mend; that is for the summary to say.
    pub const fn is_stalling(self) -> bool {
        matches!(
            self.retry(),
            Retry::OnChange | Retry::Interval | Retry::NextCommit | Retry::Approval
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GS{:03}", self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_have_names() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Code::SchemaInvalid.to_string(), "GS211");
        assert_eq!(Code::SchemaInvalid.reason(), "SchemaInvalid");
        assert_eq!(
            Code::PathNotFound.meaning(),
            "spec.path is not in the tree."
        );
    }
}
