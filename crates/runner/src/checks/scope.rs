//! Which paths a change may touch, and how big it may be.

use globset::{GlobBuilder, GlobSetBuilder};
use model::evidence::DiffStat;

use crate::diff::Diff;

/// Touched paths that no glob matches. `*` stays within a folder, `**` does not. A file that moved
/// touches both its paths.
pub(super) fn outside(globs: &[String], diff: &Diff) -> Result<Vec<String>, String> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(
            GlobBuilder::new(glob)
                .literal_separator(true)
                .build()
                .map_err(|error| error.to_string())?,
        );
    }
    let set = set.build().map_err(|error| error.to_string())?;
    let paths = diff
        .files
        .iter()
        .flat_map(|file| [Some(&file.path), file.old_path.as_ref()])
        .flatten();
    let mut outside: Vec<String> = paths
        .filter(|path| !set.is_match(path))
        .map(|path| format!("{path} is not one of the allowed paths"))
        .collect();
    outside.dedup();
    Ok(outside)
}

/// Bounds that are exceeded, and the size in words.
pub(super) fn oversize(
    max_files: Option<u32>,
    max_lines: Option<u32>,
    stat: &DiffStat,
) -> (Vec<String>, String) {
    let lines = stat.insertions.saturating_add(stat.deletions);
    let mut over = Vec::new();
    if let Some(most) = max_files.filter(|most| stat.files > *most) {
        over.push(format!(
            "{} files are touched, {most} are allowed",
            stat.files
        ));
    }
    if let Some(most) = max_lines.filter(|most| lines > *most) {
        over.push(format!(
            "{lines} lines are added or removed, {most} are allowed"
        ));
    }
    (over, format!("{} files, {lines} lines", stat.files))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::Touched;

    fn diff(paths: &[(&str, Option<&str>)]) -> Diff {
        let file = |(path, old): &(&str, Option<&str>)| Touched {
            path: (*path).to_owned(),
            old_path: old.map(str::to_owned),
            before: None,
            after: None,
            mode: 0o100_644,
        };
        Diff {
            files: paths.iter().map(file).collect(),
            stat: DiffStat::default(),
        }
    }

    #[test]
    fn a_path_outside_is_named_also_when_a_file_moved_from_there() {
        let globs = vec![".github/**".to_owned(), "*.md".to_owned()];
        let touched = diff(&[
            (".github/workflows/ci.yml", None),
            ("README.md", Some("src/README.md")),
            ("docs/a.md", None),
        ]);
        let outside = outside(&globs, &touched).unwrap();
        assert_eq!(outside.len(), 2, "{outside:?}");
        assert!(outside[0].starts_with("src/README.md") && outside[1].starts_with("docs/a.md"));
    }

    #[test]
    fn bounds_hold_up_to_their_value() {
        let stat = DiffStat {
            files: 2,
            insertions: 5,
            deletions: 5,
        };
        assert!(oversize(Some(2), Some(10), &stat).0.is_empty());
        assert_eq!(oversize(Some(1), Some(9), &stat).0.len(), 2);
    }
}
