//! Where the sealed text of a set stands in a file, and putting another one there: comments, order and other documents stay.

/// How a sealed text begins and ends.
const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const END: &str = "-----END AGE ENCRYPTED FILE-----";

/// The text with `new` where `old` stands as a block of lines, at or below a line (from 1). None where it does not stand so.
pub fn replaced(text: &str, from: u32, old: &str, new: &str) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut start = usize::try_from(from).ok()?.saturating_sub(1);
    loop {
        let rest = lines.get(start..)?;
        let begin = start + rest.iter().position(|line| line.trim() == BEGIN)?;
        let block = lines.get(begin..)?;
        let length = 1 + block.iter().position(|line| line.trim() == END)?;
        let block = block.get(..length)?;
        if is_same(block, old) {
            return Some(put(&lines, begin, block, new));
        }
        start = begin + 1;
    }
}

fn is_same(block: &[&str], sealed: &str) -> bool {
    let sealed = sealed.trim().lines().map(str::trim);
    block.iter().map(|line| line.trim()).eq(sealed)
}

fn put(lines: &[&str], begin: usize, block: &[&str], new: &str) -> String {
    let first = block.first().copied().unwrap_or_default();
    let last = block.last().copied().unwrap_or_default();
    let indentation: String = first.chars().take_while(|c| *c == ' ').collect();
    let ending = |line: &str| {
        let bare = line.trim_end_matches(['\n', '\r']);
        line.get(bare.len()..).unwrap_or_default().to_owned()
    };
    let between = ending(first);
    let sealed: Vec<String> = new
        .trim()
        .lines()
        .map(|line| format!("{indentation}{line}"))
        .collect();
    let mut text: String = lines.iter().take(begin).copied().collect();
    text.push_str(&sealed.join(&between));
    // The file may end here.
    text.push_str(&ending(last));
    text.extend(lines.iter().skip(begin + block.len()).copied());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(body: &str) -> String {
        format!("{BEGIN}\n{body}\n{END}\n")
    }

    #[test]
    fn only_the_sealed_text_changes_and_everything_around_it_stays() {
        let file = |body: &str, break_: &str| {
            let lines = [
                "# why",
                "kind: Other",
                "---",
                "spec:",
                "  sealed: |  # sealed",
                &format!("    {BEGIN}"),
                &format!("    {body}"),
                &format!("    {END}"),
                "  format: Age # last",
                "",
            ];
            lines.join(break_)
        };
        for ending in ["\n", "\r\n"] {
            let found = replaced(
                &file("old", ending),
                4,
                &sealed("old"),
                &sealed("new\n    more"),
            );
            let expected = file(&format!("new{ending}        more"), ending);
            assert_eq!(found, Some(expected));
        }
        let open_end = format!("sealed: |\n  {BEGIN}\n  old\n  {END}");
        let found = replaced(&open_end, 1, &sealed("old"), &sealed("new"));
        assert_eq!(found, Some(open_end.replace("old", "new")));
    }

    #[test]
    fn of_several_the_one_that_is_meant_changes() {
        let block = |body: &str| format!("- sealed: |\n    {BEGIN}\n    {body}\n    {END}\n");
        let text = format!("{}{}{}", block("a"), block("b"), block("a"));
        let found = replaced(&text, 1, &sealed("b"), &sealed("c")).unwrap();
        assert_eq!(found, format!("{}{}{}", block("a"), block("c"), block("a")));
        let found = replaced(&text, 5, &sealed("a"), &sealed("c")).unwrap();
        assert_eq!(found, format!("{}{}{}", block("a"), block("b"), block("c")));
    }

    #[test]
    fn what_is_no_block_of_lines_is_left_alone() {
        for text in [
            "",
            "sealed: x\n",
            &format!("sealed: \"{BEGIN}\\nold\\n{END}\\n\"\n"),
            &format!("sealed: |\n  {BEGIN}\n  other\n  {END}\n"),
            &format!("sealed: |\n  {BEGIN}\n  old\n"),
        ] {
            assert_eq!(
                replaced(text, 1, &sealed("old"), &sealed("new")),
                None,
                "{text}"
            );
        }
        assert_eq!(replaced(&sealed("old"), 9, &sealed("old"), "x"), None);
    }
}
