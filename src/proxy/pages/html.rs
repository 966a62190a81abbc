//! One page of ours as HTML: a title, paragraphs, lists. No script of anybody else, light and dark.

use std::fmt::Write as _;

/// Nothing is loaded but what stands in the page; it is in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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
}

impl Page {
    /// With a heading.
    pub fn new(title: &str) -> Self {
        Self {
            title: escape(title),
            body: String::new(),
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

    /// Steps, each with how far it is. Read out by screen readers when the page comes anew.
    pub fn steps(mut self, steps: &[(String, String)]) -> Self {
        if steps.is_empty() {
            return self;
        }
        self.body.push_str("<ol aria-label=\"Steps\">");
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
        let Self { title, body } = self;
        let text = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">{again}<title>{title}</title><style>{STYLE}</style></head><body><main role=\"main\"><h1>{title}</h1><div role=\"status\">{body}</div></main></body></html>\n"
        );
        (text, POLICY)
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
    use super::*;

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
