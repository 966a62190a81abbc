//! Short texts from strangers: settings, amounts, names, messages of programs and servers, reports of pushes.

use std::collections::BTreeMap;
use std::fmt::Display;

use hmac::{Hmac, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use sha2::Sha256;

use crate::api::gitsync::{GitReference, SyncedKind};
use crate::controllers::gitsync::webhook::{Check, hook_path};
use crate::gitsync::fetch::raw;
use crate::gitsync::rules::{TreeLimits, TreeRules};
use crate::gitsync::verdict::Verdict;
use crate::model::duration::Span;
use crate::model::evidence::{Evidence, Facts, Observed};
use crate::model::failures::redact;
use crate::model::identity::{EndpointName, ImageReference, Owner, VariableName, WorkspaceName};
use crate::model::names::{DnsLabel, DnsSubdomain};
use crate::model::net::Cidr;
use crate::model::quantity::Amount;
use crate::model::state;
use crate::model::sync::{Inventory, Shards};

/// A GitSync's source, a line each: url, branch, tag, commit, interval, path; the rest is `ignore`. An empty line leaves
/// its field out. What the verdict lets through, the fetch can use, and a ref stays one ref.
pub fn source(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(7, '\n');
    let mut next = || {
        lines
            .next()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
    };
    let (url, branch, tag, commit) = (next().unwrap_or_default(), next(), next(), next());
    let (interval, path, ignore) = (next(), next(), next());
    let object = json!({
        "apiVersion": crate::api::API_VERSION, "kind": "GitSync", "metadata": {"name": "a", "namespace": "b"},
        "spec": {"url": url, "ref": {"branch": branch, "tag": tag, "commit": commit}, "interval": interval,
                 "path": path, "ignore": ignore},
    });
    let is_good = Verdict::default()
        .findings(SyncedKind::GitSync, &object, None)
        .is_empty();
    let path = path.unwrap_or_default();
    let may_be = !is_good || path.contains(char::is_control);
    let plain = TreeRules::new(&path, "", TreeLimits::default());
    assert!(
        plain.is_ok() || may_be,
        "the verdict lets a path through: {path:?}"
    );
    if let Ok(rules) = TreeRules::new(&path, &ignore.unwrap_or_default(), TreeLimits::default()) {
        let filter = rules.filter().unwrap();
        for name in ["a.yaml", "a/b/c.yaml", ".hidden/x.yaml", "a/ü/ .yaml"] {
            filter.ignores(name, false);
        }
    }
    let reference = GitReference {
        branch,
        tag,
        commit,
    };
    if let Ok(refspecs) = raw::refspecs(&reference) {
        for refspec in refspecs {
            let parts: Vec<&str> = refspec.split(':').collect();
            assert!(
                parts.len() == 2 && parts[1].starts_with("refs/workstead/"),
                "{refspec:?}"
            );
            assert!(!refspec.contains(char::is_control), "{refspec:?}");
        }
    }
}

/// Amounts, lengths of time, names, ranges of addresses: what is taken is printed as something that means the same.
pub fn scalars(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let text = text.trim_end_matches('\n');
    again(text, |text| Amount::parse(text).ok());
    again(text, |text| Span::parse(text).ok());
    again(text, Cidr::parse);
    again(text, |text| DnsLabel::new(text).ok());
    again(text, |text| DnsSubdomain::new(text).ok());
    again(text, |text| WorkspaceName::new(text).ok());
    again(text, |text| Owner::new(text).ok());
    again(text, |text| ImageReference::new(text).ok());
    again(text, |text| EndpointName::new(text).ok());
    again(text, |text| VariableName::new(text).ok());
    if let (Ok(amount), Ok(one)) = (Amount::parse(text), Amount::parse("1n")) {
        assert!(amount.checked_add(one).is_none_or(|sum| sum > amount));
    }
}

fn again<T: Display + PartialEq>(text: &str, read: impl Fn(&str) -> Option<T>) {
    let Some(value) = read(text) else {
        return;
    };
    let printed = value.to_string();
    let back = read(&printed);
    assert!(
        back.is_some_and(|back| back == value),
        "{text:?} is printed as {printed:?}"
    );
}

/// What a program left as its last words, or a server answered: without control characters, within its limit, in the
/// status too.
pub fn evidence(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let clean = redact::redact(&text);
    assert!(!clean.contains(|c: char| c.is_control() && c != '\n'));
    let again = redact::redact(&clean);
    assert_eq!(again.trim_end_matches('\n'), clean.trim_end_matches('\n'));
    assert!(redact::log_tail(&text).len() <= redact::BYTES);
    assert!(redact::one_line(&text, 200).len() <= 200);
    for status in [
        json!({"lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": text}},
               "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3}),
        json!({"state": {"waiting": {"reason": "ErrImagePull", "message": text}}}),
        json!({"state": {"waiting": {"reason": text, "message": text}}}),
        json!({"state": {"terminated": {"exitCode": 137, "reason": text, "message": text}}}),
    ] {
        state_of(pod(status, &text));
    }
}

fn pod(mut status: serde_json::Value, text: &str) -> Pod {
    let container = json!({"name": "workspace", "image": "i", "imageID": "", "ready": false, "restartCount": 0});
    for (key, value) in container.as_object().unwrap() {
        if status.get(key).is_none() {
            status[key] = value.clone();
        }
    }
    serde_json::from_value(json!({
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"containers": [{"name": "workspace", "image": "i"}], "nodeName": "n"},
        "status": {"phase": "Pending", "message": text, "containerStatuses": [status],
                   "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}]},
    }))
    .unwrap()
}

fn state_of(pod: Pod) {
    let pods = [pod];
    let evidence = Evidence {
        applied_before: true,
        facts: Facts::of(&Observed {
            pods: Some(&pods),
            ..Observed::default()
        }),
        ..Evidence::default()
    };
    let (_, failure) = state::actual_state(&evidence, "2026-03-01T12:00:00Z".parse().unwrap());
    if let Some(failure) = failure {
        assert!(failure.evidence.len() <= redact::BYTES);
        let text = format!(
            "{}{}{}",
            failure.message, failure.evidence, failure.next_step
        );
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{text:?}"
        );
        assert!(failure.message.len() <= redact::BYTES && failure.next_step.len() <= redact::BYTES);
    }
}

/// A report of a push: headers (`name: value`, a line each), an empty line, the body. Only who knows the token gets in.
pub fn webhook(data: &[u8]) {
    const TOKEN: &[u8] = b"7c1d5c9e0b6f4a2d";
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = match end {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &[][..]),
    };
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n').take(100) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts
            .next()
            .and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().map(<[u8]>::trim_ascii);
        if let (Some(name), Some(Ok(value))) = (name, value.map(HeaderValue::from_bytes)) {
            headers.append(name, value);
        }
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(TOKEN).unwrap();
    mac.update(body);
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let knows = |value: &HeaderValue| {
        let digits = value.to_str().unwrap_or_default().to_ascii_lowercase();
        digits == signature || value.as_bytes() == TOKEN
    };
    let may_pass = headers.values().any(knows);
    assert!(!verdict(&headers, TOKEN, body) || may_pass);
    assert!(Check::begin(&headers, b"").is_none());
    let mut honest = HeaderMap::new();
    honest.insert("x-hub-signature-256", signature.parse().unwrap());
    assert!(verdict(&honest, TOKEN, body));
    assert!(!verdict(&honest, b"another", body));
    let path = hook_path("ns", "name", body);
    assert_eq!(path.is_some(), !body.is_empty());
}

fn verdict(headers: &HeaderMap, token: &[u8], body: &[u8]) -> bool {
    let Some(mut check) = Check::begin(headers, token) else {
        return false;
    };
    for part in body.chunks(7919) {
        check.update(part);
    }
    check.into_verdict()
}

/// The ConfigMaps of an inventory, as whoever may edit them leaves them: shards between lines of `===`, `shards` and
/// `base` on the first line. What is read is written as the same.
pub fn inventory(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let (count, base) = head.split_once(' ').unwrap_or((head, ""));
    let mut shards = Shards::new();
    for (number, entries) in (0..).zip(rest.split("===\n")) {
        let mut shard = BTreeMap::from([
            ("format".to_owned(), "1".to_owned()),
            ("entries".to_owned(), entries.to_owned()),
        ]);
        if number == 0 {
            shard.insert("shards".to_owned(), count.to_owned());
            shard.insert("guardBase".to_owned(), base.to_owned());
        }
        shards.insert(number, shard);
    }
    if let Ok(inventory) = Inventory::decode(&shards) {
        assert_eq!(
            Inventory::decode(&inventory.encode()).as_ref(),
            Ok(&inventory)
        );
    }
}
