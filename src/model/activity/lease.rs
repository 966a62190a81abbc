//! What a workspace's activity Lease says. The proxy writes it, the controller reads it: `renewTime` is when the workspace
//! was last used, `holderIdentity` by what.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;

use crate::api::activity::{ActivityKind, KeptAliveBy};

/// Longest detail that is taken from a Lease.
const LONGEST_DETAIL: usize = 63;

/// The last use of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// When.
    pub at: Timestamp,
    /// By what.
    pub by: KeptAliveBy,
}

impl Used {
    /// Reads a Lease. None: it was never used.
    pub fn of(spec: &LeaseSpec) -> Option<Self> {
        Some(Self {
            at: spec.renew_time.as_ref()?.0,
            by: read(spec.holder_identity.as_deref().unwrap_or_default()),
        })
    }
}

/// A use as it stands in `holderIdentity`: its kind, and after a space which port it was, where it was not the editor's.
pub fn holder(by: &KeptAliveBy) -> String {
    let kind = name(by.kind);
    match &by.detail {
        Some(detail) => format!("{kind} {detail}"),
        None => kind.to_owned(),
    }
}

fn read(holder: &str) -> KeptAliveBy {
    let (kind, detail) = match holder.split_once(' ') {
        Some((kind, detail)) => (kind, Some(detail)),
        None => (holder, None),
    };
    let kinds = [
        ActivityKind::Http,
        ActivityKind::WebSocket,
        ActivityKind::Ssh,
        ActivityKind::Programs,
        ActivityKind::Start,
    ];
    let known = kinds.into_iter().find(|known| name(*known) == kind);
    // It comes into statuses and onto terminals: whoever wrote it, it is a short word.
    let is_short =
        |text: &&str| text.len() <= LONGEST_DETAIL && text.bytes().all(|b| b.is_ascii_graphic());
    KeptAliveBy {
        kind: known.unwrap_or(ActivityKind::Other),
        detail: detail.filter(is_short).map(str::to_owned),
    }
}

fn name(kind: ActivityKind) -> &'static str {
    match kind {
        ActivityKind::Http => "Http",
        ActivityKind::WebSocket => "WebSocket",
        ActivityKind::Ssh => "Ssh",
        ActivityKind::Programs => "Programs",
        ActivityKind::Start => "Start",
        ActivityKind::Other => "Other",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("WebSocket", ActivityKind::WebSocket, None)]
    #[case("Http 3000", ActivityKind::Http, Some("3000"))]
    #[case("Ssh", ActivityKind::Ssh, None)]
    #[case("", ActivityKind::Other, None)]
    #[case("websocket", ActivityKind::Other, None)]
    #[case("Http \u{1b}[2J", ActivityKind::Http, None)]
    fn a_use_is_read_from_its_lease(
        #[case] holder: &str,
        #[case] kind: ActivityKind,
        #[case] detail: Option<&str>,
    ) {
        let by = read(holder);
        assert_eq!((by.kind, by.detail.as_deref()), (kind, detail));
    }

    #[test]
    fn a_lease_that_nobody_renewed_tells_of_no_use() {
        assert_eq!(Used::of(&LeaseSpec::default()), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(number in proptest::option::of(1u16..), kind in 0..5usize) {
            let kinds = [ActivityKind::Http, ActivityKind::WebSocket, ActivityKind::Ssh, ActivityKind::Programs, ActivityKind::Start];
            let by = KeptAliveBy { kind: kinds[kind], detail: number.map(|port| port.to_string()) };
            prop_assert_eq!(read(&holder(&by)), by);
        }
    }
}
