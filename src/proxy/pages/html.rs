//! One page of ours as HTML: a title, paragraphs, lists, light and dark. The only script is the one that keeps a page up to
//! date; its policy names it by its hash, so that no other runs.

use std::fmt::Write as _;

/// Nothing is loaded but what stands in the page; it is in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The same for a page that keeps itself up to date.
const LIVE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-ja7towgjhaFvbnSyIbDE5APJv9AGvmfItFCglyx3Ris='; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Asks how the workspace is, adds the steps that are new, and loads the page anew as soon as it would be another one.
const LIVE: &str = include_str!("live.js");

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1c2024;--dim:#5b6470;--line:#d5dae1;--back:#fbfcfd;--accent:#0b63c4}\
@media(prefers-color-scheme:dark){:root{--text:#e8eaed;--dim:#a3acb8;--line:#3a4350;--back:#14181d;--accent:#7ab7ff}}\
body{font:1rem/1.55 system-ui,sans-serif;color:var(--text);background:var(--back);margin:0}\
main{max-width:42rem;margin:14vh auto 4rem;padding:0 1.25rem}\
h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.25rem;margin:1.5rem 0}\
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}\
ol{list-style:none;padding:0;margin:1.5rem 0;border-top:1px solid var(--line)}\
li{display:flex;justify-content:space-between;gap:1rem;padding:.4rem 0;border-bottom:1px solid var(--line)}\
li span:last-child{color:var(--dim);white-space:nowrap}\
pre{padding:.75rem 1rem;border:1px solid var(--line);border-radius:.4rem;overflow-x:auto;font-size:.875rem}\
a{color:var(--accent)}";

/// A page that is being written.
pub struct Page {
    title: String,
    body: String,
    /// What it says to its script, if it keeps itself up to date.
    live: Option<String>,
}

impl Page {
    /// With a heading.
    pub fn new(title: &str) -> Self {
        Self {
            title: escape(title),
            body: String::new(),
            live: None,
        }
    }

    /// A paragraph.
    pub fn paragraph(mut self, text: &str) -> Self {
        // Here and below: writing to a String can't fail.
        let _ = write!(self.body, "<p>{}</p>", escape(text));
        self
    }

    /// Names and values.
    pub fn facts(mut self, facts: &[(&str, String)]) -> Self {
        if facts.is_empty() {
            return self;
        }
        self.body.push_str("<dl>");
        for (name, value) in facts {
            let _ = write!(
                self.body,
                "<dt>{}</dt><dd>{}</dd>",
                escape(name),
                escape(value)
            );
        }
        self.body.push_str("</dl>");
        self
    }

    /// Steps, each with how far it is. The list is there without any too: others may come.
    pub fn steps(mut self, steps: &[(String, String)]) -> Self {
        let hidden = if steps.is_empty() { " hidden" } else { "" };
        let _ = write!(self.body, "<ol aria-label=\"Steps\"{hidden}>");
        for (step, state) in steps {
            let _ = write!(
                self.body,
                "<li><span>{}</span><span>{}</span></li>",
                escape(step),
                escape(state)
            );
        }
        self.body.push_str("</ol>");
        self
    }

    /// Keeps the steps up to date, and loads anew when the state is no longer this one, or nothing came for so many seconds.
    /// What comes new is read out by screen readers, and only that.
    pub fn live(mut self, state: &str, patience: u32) -> Self {
        let state = escape(state);
        self.live = Some(format!(
            " data-state=\"{state}\" data-patience=\"{patience}\""
        ));
        self
    }

    /// Text as it was printed.
    pub fn printed(mut self, text: &str) -> Self {
        if !text.is_empty() {
            let _ = write!(self.body, "<pre tabindex=\"0\">{}</pre>", escape(text));
        }
        self
    }

    /// The whole text, and the policy that holds for it.
    pub fn finish(self, again_after: Option<u32>) -> (String, &'static str) {
        let again = again_after.map_or_else(String::new, |seconds| {
            format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">")
        });
        let Self { title, body, live } = self;
        let (again, main, status, script, policy) = match live {
            Some(told) => (
                // For who lets no script run.
                format!("<noscript>{again}</noscript>"),
                told,
                " aria-atomic=\"false\"",
                format!("<script>{LIVE}</script>"),
                LIVE_POLICY,
            ),
            None => (again, String::new(), "", String::new(), POLICY),
        };
        let text = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">{again}<title>{title}</title><style>{STYLE}</style></head><body><main role=\"main\"{main}><h1>{title}</h1><div role=\"status\"{status}>{body}</div></main>{script}</body></html>\n"
        );
        (text, policy)
    }
}

/// As text, wherever it comes to stand.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_policy_of_a_live_page_lets_its_one_script_run_and_no_other() {
        let hostile = "\"><script>alert(1)</script>";
        let page = Page::new("t")
            .paragraph(hostile)
            .steps(&[])
            .live(hostile, 3);
        let (text, policy) = page.finish(Some(1));
        assert_eq!(text.matches("<script>").count(), 1, "{text}");
        let (_, script) = text.split_once("<script>").unwrap();
        let (script, _) = script.split_once("</script>").unwrap();
        let hash = STANDARD.encode(Sha256::digest(script.as_bytes()));
        assert!(
            policy.contains(&format!("script-src 'sha256-{hash}';")),
            "{hash}: {policy}"
        );
        assert!(text.contains("<noscript><meta http-equiv=\"refresh\""));
        // The hash is of one line ending.
        assert!(!script.contains('\r'));
    }

    #[test]
    fn what_a_page_repeats_is_text_and_never_markup() {
        let hostile = "\"'><script>alert(1)</script>&";
        let page = Page::new(hostile)
            .paragraph(hostile)
            .facts(&[(hostile, hostile.to_owned())])
            .steps(&[(hostile.to_owned(), hostile.to_owned())])
            .printed(hostile);
        let (text, policy) = page.finish(Some(2));
        assert!(!text.contains("<script") && !text.contains("'>"), "{text}");
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'")
        );
    }
}
