//! Checks of added lines.

use crate::diff::added_lines;

/// Added lines that are left-overs of a merge conflict. `=======` alone is a heading in some texts
/// and no sign.
pub(super) fn conflict_markers(patch: &str) -> Vec<String> {
    let is_marker = |text: &str| {
        ["<<<<<<<", ">>>>>>>", "|||||||"].iter().any(|marker| {
            text.strip_prefix(marker)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    };
    added_lines(patch)
        .into_iter()
        .filter(|added| is_marker(added.text.trim_end()))
        .map(|added| format!("{}:{}: a conflict marker", added.path, added.line))
        .collect()
}

/// Added lines that end in spaces or tabs. In Markdown that means something.
pub(super) fn whitespace(patch: &str) -> Vec<String> {
    added_lines(patch)
        .into_iter()
        .filter(|added| !added.path.ends_with(".md") && !added.path.ends_with(".markdown"))
        .filter(|added| added.text.trim_end_matches('\r').ends_with([' ', '\t']))
        .map(|added| {
            format!(
                "{}:{}: white space at the end of the line",
                added.path, added.line
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_added_lines_count() {
        let patch = "--- a/x\n+++ b/x\n@@ -1,3 +1,4 @@\n-<<<<<<< HEAD \n >>>>>>> old \n+<<<<<<< HEAD\n+=======\n+tail \n";
        assert_eq!(conflict_markers(patch), ["x:2: a conflict marker"]);
        assert_eq!(
            whitespace(patch),
            ["x:4: white space at the end of the line"]
        );
    }
}
