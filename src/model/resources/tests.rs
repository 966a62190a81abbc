use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn amounts(pairs: &[(&str, &str)]) -> Amounts {
    pairs
        .iter()
        .map(|(name, text)| ((*name).to_owned(), Amount::parse(text).unwrap()))
        .collect()
}

fn asked(requests: &[(&str, &str)], limits: &[(&str, &str)]) -> Resources {
    let map = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Quantity((*text).to_owned())))
            .collect()
    };
    Resources {
        requests: map(requests),
        limits: map(limits),
    }
}

fn text(amounts: &Amounts) -> String {
    amounts
        .iter()
        .map(|(name, amount)| format!("{name}={amount}"))
        .collect::<Vec<_>>()
        .join(" ")
}

type Pairs = &'static [(&'static str, &'static str)];

#[rstest]
#[case::defaults_hold_where_nothing_is_said(&[], &[], &[("cpu", "1")], &[("cpu", "2")], &[], "cpu=1", "cpu=2")]
#[case::the_users_values_win(&[("cpu", "500m")], &[("cpu", "3")], &[("cpu", "1")], &[("cpu", "2")], &[], "cpu=500m", "cpu=3")]
#[case::a_default_request_gives_way_to_a_limit(&[], &[("memory", "1Gi")], &[("memory", "2Gi")], &[("memory", "4Gi")], &[], "memory=1Gi", "memory=1Gi")]
#[case::a_default_limit_gives_way_to_a_request(&[("memory", "8Gi")], &[], &[("memory", "2Gi")], &[("memory", "4Gi")], &[], "memory=8Gi", "memory=8Gi")]
#[case::a_cap_becomes_the_limit_and_reserves_nothing(&[], &[], &[], &[], &[("memory", "4Gi")], "memory=0", "memory=4Gi")]
#[case::a_limit_alone_is_also_the_request(&[], &[("cpu", "1")], &[], &[], &[], "cpu=1", "cpu=1")]
#[case::a_cap_on_an_extended_resource_asks_for_none(&[], &[], &[], &[], &[("example.com/gpu", "2")], "", "")]
#[case::an_extended_resource_has_one_amount(&[("example.com/gpu", "1")], &[], &[], &[], &[("example.com/gpu", "2")], "example.com/gpu=1", "example.com/gpu=1")]
#[case::nothing_asked_nothing_given(&[], &[], &[], &[], &[], "", "")]
fn defaults_wishes_and_caps_are_merged(
    #[case] requests: Pairs,
    #[case] limits: Pairs,
    #[case] default_requests: Pairs,
    #[case] default_limits: Pairs,
    #[case] caps: Pairs,
    #[case] merged_requests: &str,
    #[case] merged_limits: &str,
) {
    let merged = merge(
        Some(&asked(requests, limits)),
        &amounts(default_requests),
        &amounts(default_limits),
        &amounts(caps),
    )
    .unwrap();
    assert_eq!(
        (
            text(&merged.requests).as_str(),
            text(&merged.limits).as_str()
        ),
        (merged_requests, merged_limits)
    );
}

#[rstest]
#[case(&[("cpu", "2")], &[("cpu", "1")], "spec.resources.requests.cpu")]
#[case(&[("cpus", "2")], &[], "spec.resources.requests.cpus")]
#[case(&[("memory", "2GB")], &[], "spec.resources.requests.memory")]
#[case(&[("example.com/gpu", "1")], &[("example.com/gpu", "2")], "spec.resources.requests.example.com/gpu")]
#[case(&[("example.com/gpu", "500m")], &[], "spec.resources.requests.example.com/gpu")]
#[case(&[("kubernetes.io/x", "1")], &[], "spec.resources.requests.kubernetes.io/x")]
#[case(&[("pods", "1")], &[], "spec.resources.requests.pods")]
fn what_the_api_server_would_refuse_is_refused_with_its_field(
    #[case] requests: Pairs,
    #[case] limits: Pairs,
    #[case] field: &str,
) {
    let none = Amounts::new();
    let error = merge(Some(&asked(requests, limits)), &none, &none, &none).unwrap_err();
    assert!(
        matches!(&error, ResourceError::Field { field: found, .. } if found == field),
        "{error}"
    );
}

#[test]
fn more_than_the_cap_is_refused_in_requests_and_limits() {
    let none = Amounts::new();
    let caps = amounts(&[("memory", "4Gi")]);
    for resources in [
        asked(&[("memory", "5Gi")], &[]),
        asked(&[], &[("memory", "5Gi")]),
    ] {
        assert!(matches!(
            merge(Some(&resources), &none, &none, &caps),
            Err(ResourceError::OverCap { .. })
        ));
    }
}

proptest! {
    #[test]
    fn what_is_merged_is_within_the_caps_and_limits_are_never_below_requests(
        values in prop::array::uniform5(proptest::option::of(0..20_u32)),
    ) {
        let [request, limit, default_request, default_limit, cap] = values;
        // Classes keep their defaults within their caps.
        let fits = |value: Option<u32>| value.map(|v| cap.map_or(v, |cap| v.min(cap)));
        let (default_request, default_limit) = (fits(default_request), fits(default_limit));
        let default_request = default_request.map(|r| default_limit.map_or(r, |l| r.min(l)));
        let map = |value: Option<u32>| value.map(|v| ("memory".to_owned(), Amount::parse(&format!("{v}Gi")).unwrap())).into_iter().collect::<Amounts>();
        let wish = |value: Option<u32>| value.map(|v| ("memory".to_owned(), Quantity(format!("{v}Gi")))).into_iter().collect();
        let resources = Resources { requests: wish(request), limits: wish(limit) };
        let over = cap.is_some_and(|cap| request.is_some_and(|r| r > cap) || limit.is_some_and(|l| l > cap));
        let reversed = request.zip(limit).is_some_and(|(request, limit)| request > limit);
        match merge(Some(&resources), &map(default_request), &map(default_limit), &map(cap)) {
            Err(_) => prop_assert!(over || reversed),
            Ok(merged) => {
                prop_assert!(!over && !reversed);
                let request = merged.requests.get("memory");
                let limit = merged.limits.get("memory");
                if let (Some(request), Some(limit)) = (request, limit) {
                    prop_assert!(request <= limit);
                }
                if let Some(cap) = map(cap).get("memory") {
                    prop_assert!(limit.is_some_and(|limit| limit <= cap));
                }
            }
        }
    }
}
