//! A patch, file by file.

use maud::{Markup, html};

use super::words::{count, safe};

/// Up to so many lines a file is open at first.
const OPEN: usize = 400;

/// One file of a patch.
struct File<'a> {
    name: String,
    what: &'static str,
    added: usize,
    removed: usize,
    lines: Vec<&'a str>,
}

/// Shows a patch, at most `limit` lines of it; the whole is at `raw`.
pub(super) fn show(patch: &str, limit: usize, raw: &str) -> Markup {
    let files = files(patch);
    let mut left = limit;
    let shown: Vec<(&File<'_>, usize)> = files
        .iter()
        .map(|file| {
            let take = file.lines.len().min(left);
            left -= take;
            (file, take)
        })
        .collect();
    let cut: usize = shown
        .iter()
        .map(|(file, take)| file.lines.len() - take)
        .sum();
    html! {
        div.diff {
            @if files.is_empty() { p.soft { "The patch is empty or not shown as text." } }
            @for (file, take) in &shown {
                details.file id={ "file-" (safe(&file.name)) } open[*take > 0 && *take <= OPEN] {
                    summary { code { (safe(&file.name)) } " " span.soft { (file.what) } " "
                        span.plus { "+" (file.added) } " " span.minus { "−" (file.removed) } }
                    div.scroll tabindex="0" role="region" aria-label={ "Diff of " (safe(&file.name)) } { pre.hunks { (lines(&file.lines[..*take])) } }
                }
            }
            @if cut > 0 { p.soft { (count(cut as u64, "line is", "lines are")) " not shown. " a href=(raw) { "The whole patch" } } }
        }
    }
}

fn files(patch: &str) -> Vec<File<'_>> {
    let mut files: Vec<File<'_>> = Vec::new();
    let mut in_hunk = false;
    for line in patch.lines() {
        if let Some(names) = line.strip_prefix("diff --git ") {
            let name = names
                .rsplit_once(" b/")
                .map_or(names, |(_, name)| name)
                .trim_matches('"')
                .to_owned();
            files.push(File {
                name,
                what: "changed",
                added: 0,
                removed: 0,
                lines: Vec::new(),
            });
            in_hunk = false;
            continue;
        }
        let Some(file) = files.last_mut() else {
            continue;
        };
        if line.starts_with("@@") {
            in_hunk = true;
        }
        if !in_hunk {
            match line {
                _ if line.starts_with("new file") => file.what = "new",
                _ if line.starts_with("deleted file") => file.what = "deleted",
                _ if line.starts_with("rename to") => file.what = "renamed",
                _ if line.starts_with("Binary") || line.starts_with("GIT binary") => {
                    file.what = "binary";
                }
                _ => {}
            }
            continue;
        }
        match line.as_bytes().first() {
            Some(b'+') => file.added += 1,
            Some(b'-') => file.removed += 1,
            _ => {}
        }
        file.lines.push(line);
    }
    files
}

fn lines(lines: &[&str]) -> Markup {
    let (mut old, mut new) = (0, 0);
    html! {
        @for line in lines {
            @let kind = line.as_bytes().first().copied();
            @match kind {
                Some(b'@') => { ({ (old, new) = starts(line); "" }) span.d.at { span.n {} span.n {} span.c { (safe(line)) } } },
                Some(b'+') => { span.d.add { span.n {} span.n { (new) } span.c { (safe(line)) } } ({ new += 1; "" }) },
                Some(b'-') => { span.d.del { span.n { (old) } span.n {} span.c { (safe(line)) } } ({ old += 1; "" }) },
                Some(b'\\') => span.d.soft { span.n {} span.n {} span.c { (safe(line)) } },
                _ => { span.d { span.n { (old) } span.n { (new) } span.c { (safe(line)) } } ({ old += 1; new += 1; "" }) },
            }
        }
    }
}

/// First line numbers of a hunk: `@@ -old,n +new,n @@`.
fn starts(line: &str) -> (u64, u64) {
    let number = |sign: char| {
        let text = line.split_once(sign)?.1;
        text.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    (number('-').unwrap_or(0), number('+').unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1,2 @@\n+<script>\n+two\n\
                         diff --git a/y b/y\n@@ -3 +3 @@ fn\n-old\n+new\n";

    #[test]
    fn a_patch_is_taken_apart_by_file() {
        let files = files(PATCH);
        assert_eq!(
            files
                .iter()
                .map(|file| (file.name.as_str(), file.what, file.added, file.removed))
                .collect::<Vec<_>>(),
            [("x", "new", 2, 0), ("y", "changed", 1, 1)]
        );
        let shown = show(PATCH, 100, "/raw").into_string();
        assert!(shown.contains("+&lt;script&gt;") && !shown.contains("<script>"));
        assert!(shown.contains("<span class=\"n\">3</span>"));
    }

    #[test]
    fn what_is_cut_is_counted() {
        assert!(
            show(PATCH, 2, "/raw")
                .into_string()
                .contains("4 lines are not shown")
        );
    }
}
