//! No text makes the converter or the validator panic, and no leaf is lost.

use pack_ci::{Options, check_workflow, convert};
use proptest::prelude::*;

/// Lines that look like a configuration, in any combination.
fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "language", "script", "install", "env", "matrix", "jobs", "include", "os", "python",
        "node_js", "addons", "apt", "packages", "cache", "services", "stages", "if", "branches",
        "only", "secure", "global", "<<", "deploy", "exclude", "stage", "name", "git", "depth",
    ]);
    let value = prop::sample::select(vec![
        "",
        "ruby",
        "cpp",
        "[a, b]",
        "{a: b}",
        "- x",
        "'1.10'",
        "true",
        "~",
        "*a",
        "&a x",
        "A=$B C='d e'",
        "/^v\\d+$/",
        "${{ x }}",
        "|",
        ">-",
        "linux",
        "osx",
        "cd x; make",
        "branch = main AND (tag",
    ]);
    let depth = prop_oneof![4 => Just(0_usize), 2 => Just(1), 1 => Just(2)];
    (depth, prop::bool::weighted(0.2), key, value).prop_map(|(depth, item, key, value)| {
        let dash = if item { "- " } else { "" };
        format!("{}{dash}{key}: {value}\n", "  ".repeat(depth))
    })
}

fn is_sound(text: &str) {
    if let Ok(made) = convert(text, &Options::default()) {
        assert_eq!(
            made.accounting.len(),
            made.mapped + made.not_needed + made.manual
        );
        assert_eq!(
            check_workflow(&made.workflow),
            [],
            "{text}\n{}",
            made.workflow
        );
        assert!(!made.summary_markdown().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn lines_like_a_configuration_never_panic(lines in prop::collection::vec(line(), 0..8)) {
        is_sound(&lines.concat());
    }

    #[test]
    fn any_text_never_panics(text in "(?s).{0,200}") {
        is_sound(&text);
        let _ = check_workflow(&text);
    }
}
