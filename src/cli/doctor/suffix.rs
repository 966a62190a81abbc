//! The Public Suffix List, as far as the layout of domains asks: what browsers take for one site.

/// A list, as <https://publicsuffix.org> publishes it.
pub struct SuffixList {
    rules: Vec<Rule>,
}

struct Rule {
    /// Labels from the right; `*` stands for any.
    labels: Vec<String>,
    /// A name that is no suffix although a wildcard says so.
    is_exception: bool,
}

impl SuffixList {
    /// Reads the list.
    pub fn parse(text: &str) -> Self {
        let rules = text
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(|word| !word.starts_with("//"))
            .map(|word| {
                let (is_exception, name) = match word.strip_prefix('!') {
                    Some(name) => (true, name),
                    None => (false, word),
                };
                Rule {
                    labels: name.rsplit('.').map(str::to_ascii_lowercase).collect(),
                    is_exception,
                }
            })
            .collect();
        Self { rules }
    }

    /// The suffix below which a name was registered.
    pub fn suffix_of<'a>(&self, name: &'a str) -> &'a str {
        let labels: Vec<&str> = name.rsplit('.').collect();
        let fits = |rule: &&Rule| {
            rule.labels.len() <= labels.len()
                && rule
                    .labels
                    .iter()
                    .zip(&labels)
                    .all(|(wanted, label)| wanted == "*" || wanted == label)
        };
        let matching = || self.rules.iter().filter(fits);
        let length = match matching().find(|rule| rule.is_exception) {
            Some(exception) => exception.labels.len() - 1,
            // A name that no rule knows is below its last label.
            None => matching().map(|rule| rule.labels.len()).max().unwrap_or(1),
        };
        let mut rest = name;
        for _ in length..labels.len() {
            rest = rest.split_once('.').map_or(rest, |(_, rest)| rest);
        }
        rest
    }

    /// What browsers take for one site: the suffix and one label more. None for a suffix itself.
    pub fn site_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let suffix = self.suffix_of(name);
        let below = name.strip_suffix(suffix)?.strip_suffix('.')?;
        let start = below.rfind('.').map_or(0, |dot| dot + 1);
        name.get(start..)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const LIST: &str = "// comment\ncom\nuk\nco.uk\n\n*.ck\n!www.ck\nwork.example.com // ours\n";

    #[rstest]
    #[case("a.b.example.com", Some("example.com"))]
    #[case("example.com", Some("example.com"))]
    #[case("com", None)]
    #[case("a.example.co.uk", Some("example.co.uk"))]
    #[case("co.uk", None)]
    #[case("a.b.c.ck", Some("b.c.ck"))]
    #[case("b.ck", None)]
    #[case("a.www.ck", Some("www.ck"))]
    #[case("a.work.example.com", Some("a.work.example.com"))]
    #[case("work.example.com", None)]
    #[case("auth.lan", Some("auth.lan"))]
    fn a_site_is_one_label_below_a_suffix(#[case] name: &str, #[case] site: Option<&str>) {
        assert_eq!(SuffixList::parse(LIST).site_of(name), site);
    }
}
