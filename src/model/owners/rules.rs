//! Which rule of a GitSync's `owners` holds for a file.

use crate::api::gitsync::OwnersRule;

/// The deepest rule whose path the file is under; of several such the last.
pub fn deepest_rule<'a>(rules: &'a [OwnersRule], file: &str) -> Option<&'a OwnersRule> {
    rules
        .iter()
        .filter_map(|rule| Some((depth_of(&rule.path, file)?, rule)))
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, rule)| rule)
}

/// How many folders a rule's path has, if the file is under it.
fn depth_of(path: &str, file: &str) -> Option<usize> {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let mut folders = file.split('/');
    let mut depth = 0;
    for part in parts {
        (folders.next() == Some(part)).then_some(())?;
        depth += 1;
    }
    // The path of a rule may name the file itself.
    Some(depth)
}
