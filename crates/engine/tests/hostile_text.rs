//! Text from outside (patches, conditions, automation files) gives an answer or an error, never a
//! panic, and never takes long.

#![expect(clippy::unwrap_used, reason = "a test stops at what cannot be")]

use std::time::{Duration, Instant};

use engine::condition::{Condition, ConditionError};
use engine::{definition, diff_class};
use model::automation::Definition;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Nothing that a person writes takes longer, in an unoptimised build on a busy machine too.
const LONGEST: Duration = Duration::from_secs(3);

fn inventory() -> Value {
    let files: Vec<String> = (0..5000)
        .map(|number| format!("src/module_{number}/lib_{}.rs", number % 7))
        .collect();
    json!({"name": "r", "archived": false, "files": files, "languages": ["rust", "c", "sh"],
           "facts": {"n": 3}, "text": "a".repeat(100_000)})
}

fn holds(text: &str, repo: &Value) -> Result<bool, ConditionError> {
    let begun = Instant::now();
    let answer = Condition::compile(text).and_then(|condition| condition.holds(&[("repo", repo)]));
    assert!(
        begun.elapsed() < LONGEST,
        "{:?} for {text:.200}: {answer:?}",
        begun.elapsed()
    );
    answer
}

#[test]
fn conditions_that_would_run_for_hours_are_refused() {
    let repo = inventory();
    let files = "repo.files";
    let hostile = [
        format!("{files}.all(a, {files}.all(b, a != b || true))"),
        format!("{files}.all(a, {files}.all(b, {files}.all(c, {files}.all(d, true))))"),
        format!(
            "{files} .all (a, {files} .all (b, {files} .all (c, {files} .all (d, {files} .all (e, true)))))"
        ),
        format!("[{files}.map(f, f)].all(d, d.all(a, d.all(b, a == b || true)))"),
        format!("{files}.map(a, {files}).map(b, b.map(c, c)).size() > 0"),
        format!(
            "{files}.all(f, {})",
            vec![format!("!(f in {files})"); 150].join(" && ")
        ),
        format!("{files}.all(f, {files} + {files} + {files} == {files} || true)"),
        format!("{files}.all(f, repo.text + repo.text == repo.text || true)"),
        format!(
            "{files}.all(f, !repo.text.contains(f + 'b') || f.matches('(a{{1000}}){{100}}') || true)"
        ),
        format!("{files}.all(f, !repo.text.matches(f) || true)"),
        format!("{files}.all(f, !repo.text.matches('(a*)*b') || true)"),
        format!(
            "[{}].all(a, [{0}].all(b, [{0}].all(c, [{0}].all(d, true))))",
            vec!["1"; 400].join(",")
        ),
        format!("{files}.map(f, {files}.map(g, f + g)).size() > 0"),
        format!("{files}.all(f, {{'a': {files}}}['a'].all(g, true))"),
        format!("{files}.all(f, [{files}][0].all(g, true))"),
        format!("{files}.all(f, (true ? {files} : []).all(g, true))"),
    ];
    for text in hostile {
        let answer = holds(&text, &repo);
        assert!(answer.is_err(), "{text:.200} was evaluated: {answer:?}");
    }
}

#[test]
fn conditions_that_people_write_are_not_refused() {
    let repo = inventory();
    for (text, wanted) in [
        (
            "repo.files.exists(f, f == 'src/module_4999/lib_1.rs') && !repo.archived",
            true,
        ),
        (
            "repo.files.exists(f, repo.languages.exists(l, f.endsWith('.' + l)))",
            false,
        ),
        (
            "repo.files.filter(f, f.startsWith('src/module_1')).size() > 10",
            true,
        ),
        (
            "repo.files.exists(f, f.matches('^src/.*/lib_3[.]rs$'))",
            true,
        ),
        ("'src/module_0/lib_0.rs' in repo.files", true),
        ("repo.files.map(f, f.size()).all(n, n > 3)", true),
        ("has(repo.facts.n) && repo.facts.n == 3", true),
        ("repo.files.exists_one(f, f.contains('module_4999/'))", true),
    ] {
        assert_eq!(holds(text, &repo), Ok(wanted), "{text}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_not_the_end_of_the_process() {
    let repo = inventory();
    let length = engine::condition::LONGEST;
    for text in [
        "(".repeat(length),
        format!("{}true{}", "(".repeat(2000), ")".repeat(2000)),
        "!".repeat(length - 4) + "true",
        "-".repeat(length - 1) + "1",
        format!("{}1{}", "[".repeat(2000), "]".repeat(2000)),
        format!("repo{}", ".a".repeat(2000)),
        format!("repo{}", "[0]".repeat(1300)),
        vec!["1"; 2000].join("+") + " > 0",
        vec!["true"; 800].join("&&"),
        vec!["true"; 800].join("?") + &":false".repeat(100),
        "true?".repeat(300) + "true" + &":true".repeat(300),
        format!("{}'x'{}", "size(".repeat(600), ")".repeat(600)),
        "{1:".repeat(1000),
        "a.b(".repeat(900),
        "\0".repeat(100),
        "'".repeat(101),
    ] {
        let _ = holds(&text, &repo);
    }
}

fn fragments() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("repo"),
        Just(".files"),
        Just(".all(f, "),
        Just(".map(g, "),
        Just(".exists_one(h, "),
        Just("f"),
        Just("g"),
        Just("("),
        Just(")"),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just(","),
        Just(":"),
        Just("?"),
        Just("+"),
        Just("=="),
        Just("&&"),
        Just("||"),
        Just("!"),
        Just(" in "),
        Just("1"),
        Just("9223372036854775807"),
        Just("-"),
        Just("*"),
        Just("/"),
        Just("%"),
        Just("0"),
        Just("1u"),
        Just("1.5e308"),
        Just("'x'"),
        Just("b'x'"),
        Just("r'\\'"),
        Just(".size()"),
        Just("size("),
        Just(".matches('(')"),
        Just("timestamp('x')"),
        Just("duration('1h')"),
        Just("int("),
        Just("null"),
        Just("has(repo.x)"),
        Just("\"\\u00e9\""),
        Just("é"),
        Just(".name"),
        Just("[-1]"),
    ];
    prop::collection::vec(word, 0..30).prop_map(|words| words.concat())
}

fn yaml() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("name: a"),
        Just("name: [a]"),
        Just("steps:"),
        Just("steps: []"),
        Just("  - command: x"),
        Just("- command:"),
        Just("  - change: {title: t}"),
        Just("    when: 'a ='"),
        Just("    retries: 4294967295"),
        Just("    retries: -1"),
        Just("  - validate: ['builtin:magic', {cmd: x}]"),
        Just("  - {command: x, change: {title: t}}"),
        Just("- - -"),
        Just("triggers: [manual, {schedule: {cron: '* * * * *', zone: Mars}}]"),
        Just("triggers: {}"),
        Just("targets:"),
        Just("  query: 'é'"),
        Just("campaign: {gate: {verified: .nan}, canary: -1}"),
        Just("budget: {wall: 99999999999d}"),
        Just("a: &a [*a]"),
        Just("<<: *a"),
        Just("? x"),
        Just("|"),
        Just("  ---"),
        Just("\t"),
        Just("é: \u{2028}"),
        Just(""),
        Just("# c"),
        Just("environment: {limits: {memory: 1TiB, time: 0s}}"),
        Just("  - approve: {by: '', within: 1s}"),
    ];
    prop::collection::vec(line, 0..14).prop_map(|lines| lines.join("\n"))
}

fn patch() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("diff --git a/x b/x".to_owned()),
        Just("@@ -1 +1 @@".to_owned()),
        Just("new file mode 100644".to_owned()),
        "[-+ ].{0,40}",
        Just("+'\"é".to_owned()),
        Just("+".to_owned()),
        Just("-\u{301}".to_owned()),
    ];
    prop::collection::vec(line, 0..20).prop_map(|lines| lines.join("\n"))
}

fn classified(text: &str) {
    let class = diff_class::classify(text);
    assert_eq!(class.len(), 16);
    assert!(class.chars().all(|c| c.is_ascii_hexdigit()));
    assert_eq!(class, diff_class::classify(text));
}

/// Reads a text; what is refused has a place, and what is accepted survives its JSON.
fn defined(text: &str) {
    match definition::read(text, "a.yaml") {
        Err(error) => {
            // Every break that YAML knows counts.
            assert!(error.line >= 1 && error.column >= 1, "{error:?}");
            assert!(
                error.line as usize
                    <= text
                        .matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
                        .count()
                        + 2,
                "{error:?} for {text:?}"
            );
            assert!(!error.message.is_empty(), "{error:?}");
        }
        Ok(definition) => {
            let json = serde_json::to_string(&definition).unwrap();
            assert_eq!(
                serde_json::from_str::<Definition>(&json).unwrap(),
                definition
            );
            // JSON is YAML: what was accepted once is accepted again.
            assert_eq!(definition::read(&json, "a.json").unwrap(), definition);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_bytes_have_a_class(bytes in prop::collection::vec(any::<u8>(), 0..400), lines in patch()) {
        classified(&String::from_utf8_lossy(&bytes));
        classified(&lines);
    }

    #[test]
    fn any_text_is_a_condition_or_an_error(any in "\\PC{0,60}", fragments in fragments()) {
        let repo = json!({"name": "é", "files": ["a", "b", "c"], "n": 1});
        let _ = holds(&any, &repo);
        let _ = holds(&fragments, &repo);
    }

    #[test]
    fn any_text_is_an_automation_or_an_error(any in ".{0,80}", lines in yaml()) {
        defined(&any);
        defined(&lines);
        defined(&format!("name: a\nsteps: [{{command: x}}]\n{lines}"));
    }
}

#[test]
fn hostile_yaml_is_an_error_soon() {
    let bomb: String = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
        let below = level - 1;
        format!("{text}a{level}: &a{level} [*a{below}, *a{below}, *a{below}]\n")
    });
    for text in [
        bomb,
        "[".repeat(200_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        format!("name: a\nsteps: {}", "[".repeat(50_000)),
        format!("name: {}\nsteps: [{{command: x}}]", "a".repeat(1_000_000)),
        format!("name: a\nsteps:\n{}", "  - command: x\n".repeat(3000)),
        "\u{feff}".repeat(1000),
    ] {
        let begun = Instant::now();
        let _ = definition::read(&text, "a.yaml");
        assert!(
            begun.elapsed() < LONGEST,
            "{:?} for {text:.60}",
            begun.elapsed()
        );
    }
}
