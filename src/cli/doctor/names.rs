//! Names: where they lead, and how they stand to each other.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::cli::doctor::report::Finding;
use crate::cli::doctor::subject::Subject;
use crate::cli::doctor::suffix::SuffixList;

/// This step.
pub const DNS: &str = "DNS";
/// This step.
pub const LAYOUT: &str = "layout";

/// Where a name leads.
pub struct Lookup {
    /// The name.
    pub name: String,
    /// Its addresses, or why there are none.
    pub answer: Result<BTreeSet<IpAddr>, String>,
}

/// Judges where the names of the proxy lead. The first is the auth host, the others are workspaces that nobody made.
pub fn judge_dns(subject: &Subject, auth: &Lookup, workspaces: &[Lookup]) -> Finding {
    let (domain, auth_host) = (subject.domain(), subject.auth_host());
    for lookup in workspaces {
        if let Err(error) = &lookup.answer {
            return Finding::wrong(DNS, format!("*.{domain} leads nowhere"))
                .seen(format!("{}: {error}", lookup.name))
                .fix(format!(
                    "add a wildcard record *.{domain} that leads to the proxy: kubectl -n {} get service workstead-proxy shows its address",
                    subject.installation
                ));
        }
    }
    if let Err(error) = &auth.answer {
        return Finding::wrong(DNS, format!("the auth host {auth_host} leads nowhere"))
            .seen(error.clone())
            .fix(format!(
                "add a record for {auth_host} that leads to where *.{domain} does"
            ));
    }
    let all: Vec<BTreeSet<IpAddr>> = std::iter::once(auth)
        .chain(workspaces)
        .filter_map(|lookup| lookup.answer.clone().ok())
        .collect();
    let shown = |addresses: &BTreeSet<IpAddr>| {
        let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        texts.join(", ")
    };
    let first = all.first().cloned().unwrap_or_default();
    if all.iter().any(|addresses| *addresses != first) {
        let mut finding = Finding::warning(DNS, "the names of the proxy lead to different places");
        for lookup in std::iter::once(auth).chain(workspaces) {
            if let Ok(addresses) = &lookup.answer {
                finding = finding.seen(format!("{}: {}", lookup.name, shown(addresses)));
            }
        }
        return finding.fix(
            "if that is not what you want, let all of them lead to the Service workstead-proxy",
        );
    }
    Finding::good(
        DNS,
        format!("*.{domain} and {auth_host} lead to {}", shown(&first)),
    )
}

/// Judges how the domains stand to each other, for browsers.
pub fn judge_layout(subject: &Subject, list: Option<&SuffixList>) -> Finding {
    let (domain, auth_host) = (subject.domain(), subject.auth_host());
    let below = auth_host
        .strip_suffix(domain)
        .is_some_and(|rest| rest.ends_with('.'));
    let Some(list) = list else {
        return Finding::skipped(
            LAYOUT,
            format!("whether browsers take workspaces of {domain} for one site is not known here"),
        )
        .fix("name a copy of https://publicsuffix.org/list/public_suffix_list.dat with --public-suffix-list, or install the package publicsuffix");
    };
    let any = format!("any.{domain}");
    let apart = list.site_of(&any) == Some(any.as_str());
    let same_site =
        list.site_of(auth_host).is_some() && list.site_of(auth_host) == list.site_of(&any);
    if apart && !same_site {
        return Finding::good(
            LAYOUT,
            format!("{domain} is a Public Suffix: each workspace is a site of its own, and the login is elsewhere"),
        )
        .seen("an iframe that shows a port of a workspace in another host's page gets no cookie: open ports in tabs");
    }
    if below || same_site {
        return Finding::warning(
            LAYOUT,
            format!("workspaces can set cookies that {auth_host} gets, and fill it up until nobody can sign in"),
        )
        .seen(format!(
            "browsers take {auth_host} and {any} for one site, {}",
            list.site_of(&any).unwrap_or(domain)
        ))
        .fix("give the login a host of another registrable domain (--auth-host, proxy.authHost); it works meanwhile");
    }
    Finding::warning(
        LAYOUT,
        format!("workspaces below {domain} are one site for browsers: one can set cookies that the others get"),
    )
    .seen("what each of them may do is decided without those cookies; a flood of them is cleared at the next visit")
    .fix(format!("have {domain} taken into the Public Suffix List (https://publicsuffix.org/submit/), or live with it"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::cli::doctor::report::Verdict;

    fn lookup(name: &str, answer: Result<&[&str], &str>) -> Lookup {
        Lookup {
            name: name.to_owned(),
            answer: answer
                .map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect())
                .map_err(str::to_owned),
        }
    }

    #[test]
    fn names_that_all_lead_to_one_place_are_good() {
        let subject = Subject::example("work.example.com", "login.example.net");
        let auth = lookup("login.example.net", Ok(&["192.0.2.1", "2001:db8::1"]));
        let other = [lookup(
            "a.work.example.com",
            Ok(&["2001:db8::1", "192.0.2.1"]),
        )];
        assert_eq!(judge_dns(&subject, &auth, &other).verdict, Verdict::Good);
    }

    #[test]
    fn a_missing_wildcard_and_a_missing_auth_host_are_told_apart() {
        let subject = Subject::example("work.example.com", "login.example.net");
        let there = || Ok(&["192.0.2.1"][..]);
        let found = judge_dns(
            &subject,
            &lookup("login.example.net", there()),
            &[lookup("a.work.example.com", Err("no such host"))],
        );
        assert_eq!(found.verdict, Verdict::Wrong);
        assert!(
            found
                .fix
                .unwrap()
                .contains("wildcard record *.work.example.com")
        );
        let found = judge_dns(
            &subject,
            &lookup("login.example.net", Err("no such host")),
            &[lookup("a.work.example.com", there())],
        );
        assert_eq!(found.verdict, Verdict::Wrong);
        assert!(found.summary.contains("login.example.net leads nowhere"));
    }

    #[test]
    fn names_that_lead_apart_are_shown_each() {
        let subject = Subject::example("work.example.com", "login.example.net");
        let found = judge_dns(
            &subject,
            &lookup("login.example.net", Ok(&["192.0.2.9"])),
            &[lookup("a.work.example.com", Ok(&["192.0.2.1"]))],
        );
        assert_eq!(found.verdict, Verdict::Warning);
        assert_eq!(found.evidence.len(), 2);
    }

    #[rstest]
    #[case("ws.apps.example", "login.example.net", Verdict::Good, "Public Suffix")]
    #[case(
        "ws.apps.example",
        "auth.ws.apps.example",
        Verdict::Good,
        "Public Suffix"
    )]
    #[case(
        "work.example.com",
        "auth.work.example.com",
        Verdict::Warning,
        "another registrable domain"
    )]
    #[case(
        "work.example.com",
        "login.example.com",
        Verdict::Warning,
        "another registrable domain"
    )]
    #[case(
        "work.example.com",
        "login.example.net",
        Verdict::Warning,
        "Public Suffix List"
    )]
    fn a_layout_is_judged_as_browsers_see_it(
        #[case] domain: &str,
        #[case] auth_host: &str,
        #[case] verdict: Verdict,
        #[case] said: &str,
    ) {
        let list = SuffixList::parse("com\nnet\nexample\nws.apps.example\n");
        let found = judge_layout(&Subject::example(domain, auth_host), Some(&list));
        assert_eq!(found.verdict, verdict, "{found:?}");
        assert!(found.text().contains(said), "{found:?}");
    }

    #[test]
    fn without_the_list_nothing_is_claimed() {
        let found = judge_layout(
            &Subject::example("work.example.com", "login.example.net"),
            None,
        );
        assert_eq!(found.verdict, Verdict::Skipped);
    }
}
