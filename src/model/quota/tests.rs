use proptest::prelude::*;

use super::*;
use crate::model::fixtures::{at, workspace_with};
use serde_json::json;

fn record(name: &str, owner: &str, created: i64, started: bool) -> CensusRecord {
    CensusRecord {
        namespace: "team-a".to_owned(),
        name: name.to_owned(),
        owner: owner.to_owned(),
        class: Some("standard".to_owned()),
        holds: started.then(|| "standard".to_owned()).into_iter().collect(),
        created: Some(at(created)),
        started,
        terminated: false,
    }
}

fn limits(per_owner: Option<u32>, total: Option<u32>, installation: Option<u32>) -> Limits {
    Limits {
        classes: [("standard".to_owned(), Quota { per_owner, total })].into(),
        installation,
    }
}

fn waiting(records: &[CensusRecord], limits: &Limits) -> Vec<String> {
    Census::take(records, limits)
        .waiting()
        .into_iter()
        .map(|(_, name)| name.to_owned())
        .collect()
}

#[test]
fn the_youngest_waits_and_is_told_which_quota_and_which_of_its_own() {
    let records = [
        record("c", "alice", 3, false),
        record("a", "alice", 1, true),
        record("b", "bob", 2, true),
        record("d", "alice", 2, false),
    ];
    let census = Census::take(&records, &limits(Some(2), None, None));
    assert_eq!(
        census.waiting().into_iter().collect::<Vec<_>>(),
        [("team-a", "c")]
    );
    let failure = census.verdict("team-a", "c").unwrap().failure();
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::QuotaExceeded, Blame::User)
    );
    assert_eq!(
        failure.message,
        "alice has 2 of 2 Workspaces of class 'standard'"
    );
    assert!(
        failure
            .evidence
            .contains("spec.quota.perOwner of WorkspaceClass 'standard': 2 used, limit 2")
    );
    assert!(
        failure.next_step.contains("team-a/a, team-a/d"),
        "{}",
        failure.next_step
    );
    assert!(!failure.next_step.contains("team-a/b"));
}

#[test]
fn ties_are_broken_by_namespace_and_name() {
    let mut other = record("a", "bob", 1, false);
    other.namespace = "team-b".to_owned();
    let records = [
        other,
        record("b", "alice", 1, false),
        record("a", "alice", 1, false),
    ];
    let census = Census::take(&records, &limits(None, Some(1), None));
    assert_eq!(
        census.waiting().into_iter().collect::<Vec<_>>(),
        [("team-a", "b"), ("team-b", "a")]
    );
}

#[test]
fn lowering_a_quota_stops_nothing_that_started() {
    let records: Vec<_> = (0..5)
        .map(|n| record(&format!("w{n}"), "alice", n, true))
        .collect();
    assert_eq!(
        waiting(&records, &limits(Some(0), Some(0), Some(0))),
        Vec::<String>::new()
    );
}

#[test]
fn one_that_started_counts_before_an_older_one_that_did_not() {
    let records = [
        record("old", "alice", 1, false),
        record("new", "alice", 2, true),
    ];
    assert_eq!(waiting(&records, &limits(Some(1), None, None)), ["old"]);
}

#[test]
fn a_terminated_one_does_not_count_and_zero_means_none() {
    let mut gone = record("a", "alice", 1, true);
    gone.terminated = true;
    assert_eq!(
        waiting(
            &[gone, record("b", "alice", 2, false)],
            &limits(Some(1), None, None)
        ),
        Vec::<String>::new()
    );
    assert_eq!(
        waiting(
            &[record("b", "alice", 2, false)],
            &limits(None, Some(0), None)
        ),
        ["b"]
    );
}

#[test]
fn the_installation_counts_all_classes() {
    let mut other = record("a", "bob", 1, true);
    other.class = Some("large".to_owned());
    other.holds = ["large".to_owned()].into();
    let records = [other, record("b", "alice", 2, false)];
    let census = Census::take(&records, &limits(None, None, Some(1)));
    let exceeded = census.verdict("team-a", "b").unwrap();
    assert_eq!(
        (exceeded.used, exceeded.limit, &exceeded.quota),
        (1, 1, &WhichQuota::Installation)
    );
    assert_eq!(
        exceeded.failure().next_step,
        "ask an administrator to raise the installation's total quota"
    );
}

#[test]
fn whoever_floods_its_own_quota_takes_no_place_from_others() {
    let mut records: Vec<_> = (0..50)
        .map(|n| record(&format!("a{n}"), "alice", n, false))
        .collect();
    records.push(record("b", "bob", 100, false));
    let census = Census::take(&records, &limits(Some(2), Some(3), None));
    assert_eq!(census.waiting().len(), 48);
    assert!(census.verdict("team-a", "b").is_none());
}

#[test]
fn the_record_of_a_workspace_knows_its_class_and_whether_it_started() {
    let mut workspace = workspace_with(json!({}));
    assert_eq!(
        CensusRecord::of(&workspace, Some("standard"))
            .class
            .as_deref(),
        Some("standard")
    );
    assert!(!CensusRecord::of(&workspace, None).started);
    workspace.status =
        serde_json::from_value(json!({"className": "old", "actualState": "Running"})).unwrap();
    let record = CensusRecord::of(&workspace, Some("standard"));
    assert_eq!(
        (record.class.as_deref(), record.started, record.terminated),
        (Some("standard"), true, false)
    );
    assert_eq!(record.holds, ["old".to_owned()].into());
    workspace.status = serde_json::from_value(json!({"actualState": "Terminated"})).unwrap();
    assert!(CensusRecord::of(&workspace, None).terminated);
}

/// One that started in `from` and names `to` now.
fn moved(name: &str, owner: &str, created: i64, from: &str, to: &str) -> CensusRecord {
    CensusRecord {
        class: Some(to.to_owned()),
        holds: [from.to_owned()].into(),
        ..record(name, owner, created, true)
    }
}

#[test]
fn one_that_names_another_class_after_its_start_waits_for_a_place_there_and_keeps_its_own() {
    let records = [
        moved("a", "alice", 1, "small", "standard"),
        record("b", "alice", 2, true),
        CensusRecord {
            class: Some("small".to_owned()),
            ..record("c", "alice", 3, false)
        },
    ];
    let mut limits = limits(None, Some(1), None);
    let small = Quota {
        per_owner: Some(1),
        total: None,
    };
    limits.classes.insert("small".to_owned(), small);
    let census = Census::take(&records, &limits);
    assert_eq!(waiting(&records, &limits), ["a", "c"]);
    let exceeded = census.verdict("team-a", "a").unwrap();
    assert_eq!((exceeded.used, exceeded.limit), (1, 1));
    let failure = exceeded.failure();
    assert!(
        failure
            .message
            .contains("stays as it was started, in class 'small'"),
        "{failure:?}"
    );
    assert!(failure.next_step.contains("name class 'small' again"));
    assert_eq!(census.verdict("team-a", "c").unwrap().own, ["team-a/a"]);
}

#[test]
fn one_that_was_let_into_another_class_counts_in_both_until_it_starts_there() {
    let records = [
        moved("a", "alice", 1, "gpu", "standard"),
        CensusRecord {
            class: Some("gpu".to_owned()),
            ..record("b", "bob", 2, false)
        },
        record("c", "carol", 3, false),
    ];
    let mut limits = limits(None, Some(1), Some(3));
    let gpu = Quota {
        per_owner: None,
        total: Some(1),
    };
    limits.classes.insert("gpu".to_owned(), gpu);
    assert_eq!(waiting(&records, &limits), ["b", "c"]);
    // In the installation it counts once.
    limits.classes.clear();
    assert_eq!(waiting(&records, &limits), Vec::<String>::new());
}

fn any_records() -> impl Strategy<Value = Vec<CensusRecord>> {
    let class = || prop::sample::select(vec!["standard", "large"]);
    let one = (
        "[ab]",
        0..4_i64,
        proptest::option::of(class()),
        class(),
        prop::bool::weighted(0.1),
    );
    prop::collection::vec(one, 0..12).prop_map(|list| {
        list.into_iter()
            .enumerate()
            .map(
                |(number, (owner, created, started_in, class, terminated))| {
                    let name = format!("w{number}");
                    let mut record = record(&name, &owner, created, started_in.is_some());
                    record.class = Some(class.to_owned());
                    record.holds = started_in.map(str::to_owned).into_iter().collect();
                    record.terminated = terminated;
                    record
                },
            )
            .collect()
    })
}

proptest! {
    #[test]
    fn whoever_did_not_start_in_its_class_is_let_in_only_within_every_quota(
        records in any_records(),
        per_owner in proptest::option::of(0..4_u32), total in proptest::option::of(0..6_u32), all in proptest::option::of(0..8_u32),
    ) {
        let limits = limits(per_owner, total, all);
        let census = Census::take(&records, &limits);
        let is_let_in = |record: &CensusRecord| census.verdict(&record.namespace, &record.name).is_none();
        let has_place = |record: &CensusRecord, class: &str| {
            record.holds.contains(class) || (record.class.as_deref() == Some(class) && is_let_in(record))
        };
        let counted = || records.iter().filter(|record| !record.terminated);
        let newcomers = counted().filter(|record| is_let_in(record) && !record.holds.contains("standard"));
        for record in newcomers {
            let count = |same: &dyn Fn(&CensusRecord) -> bool| counted().filter(|r| same(r)).count() as u32;
            let standard = record.class.as_deref() == Some("standard");
            let own = |r: &CensusRecord| r.owner == record.owner && has_place(r, "standard");
            prop_assert!(!standard || per_owner.is_none_or(|limit| count(&own) <= limit));
            prop_assert!(!standard || total.is_none_or(|limit| count(&|r| has_place(r, "standard")) <= limit));
            let inside = |r: &CensusRecord| r.started || is_let_in(r);
            prop_assert!(record.started || all.is_none_or(|limit| count(&inside) <= limit));
        }
        for record in records.iter().filter(|record| record.class.as_ref().is_some_and(|class| record.holds.contains(class))) {
            prop_assert!(is_let_in(record));
        }
    }

    #[test]
    fn the_order_of_the_records_does_not_matter(records in any_records(), total in 0..5_u32) {
        let limits = limits(Some(1), Some(total), None);
        let mut turned = records.clone();
        turned.reverse();
        prop_assert_eq!(waiting(&records, &limits), waiting(&turned, &limits));
    }
}

#[test]
fn one_that_can_not_be_read_keeps_the_place_of_its_last_start_and_takes_no_new_one() {
    let value = |status| json!({"spec": {"owner": "alice", "className": "gpu", "image": 7}, "status": status});
    let metadata = workspace_with(json!({})).metadata;
    let status = json!({"actualState": "Bewitched", "className": "standard"});
    let record = CensusRecord::of_unreadable(&metadata, &value(status)).unwrap();
    assert_eq!(record.owner, "alice");
    assert_eq!(record.holds, ["standard".to_owned()].into());
    assert!(record.is_in());
    assert_eq!(
        CensusRecord::of_unreadable(&metadata, &value(json!({}))),
        None
    );
}
