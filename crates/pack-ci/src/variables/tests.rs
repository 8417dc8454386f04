//! Every expression is evaluated in every situation: what Travis would say must come out.

use super::{BUILD, used_in};

/// The contexts of one situation.
type Situation = &'static [(&'static str, &'static str)];

const PUSH: Situation = &[
    ("github.event_name", "push"),
    ("github.ref_name", "main"),
    ("github.ref_type", "branch"),
    ("github.sha", "c2"),
    ("github.event.before", "c1"),
    ("github.repository", "o/r"),
    ("github.run_id", "900"),
    ("github.run_number", "7"),
    ("github.workspace", "/w"),
    ("github.event.head_commit.message", "m"),
];
const TAG: Situation = &[
    ("github.event_name", "push"),
    ("github.ref_name", "v1"),
    ("github.ref_type", "tag"),
    ("github.sha", "c2"),
    ("github.repository", "o/r"),
];
const PULL: Situation = &[
    ("github.event_name", "pull_request"),
    ("github.ref_name", "5/merge"),
    ("github.ref_type", "branch"),
    ("github.base_ref", "main"),
    ("github.head_ref", "topic"),
    ("github.repository", "o/r"),
    ("github.event.pull_request.number", "5"),
    ("github.event.pull_request.head.sha", "h"),
    ("github.event.pull_request.base.sha", "b"),
    ("github.event.pull_request.head.repo.full_name", "o/r"),
];
const FORK: Situation = &[
    ("github.event_name", "pull_request"),
    ("github.repository", "o/r"),
    ("github.event.pull_request.head.repo.full_name", "x/r"),
];
const CRON: Situation = &[
    ("github.event_name", "schedule"),
    ("github.ref_name", "main"),
    ("github.ref_type", "branch"),
];

/// `||`, `&&`, `==`, `!=`, `format` and texts, with GitHub's truth of empty texts.
fn evaluate(expression: &str, situation: Situation) -> String {
    let mut last = String::new();
    for part in split(expression, "||") {
        for factor in split(&part, "&&") {
            last = comparison(&factor, situation);
            if !truthy(&last) {
                break;
            }
        }
        if truthy(&last) {
            return last;
        }
    }
    last
}

fn truthy(value: &str) -> bool {
    !value.is_empty() && value != "\u{0}false"
}

fn comparison(text: &str, situation: Situation) -> String {
    for (operator, wanted) in [("==", true), ("!=", false)] {
        let sides = split(text, operator);
        if let [left, right] = sides.as_slice() {
            let same = value(left, situation) == value(right, situation);
            return if same == wanted { "true" } else { "\u{0}false" }.to_owned();
        }
    }
    value(text, situation)
}

fn value(text: &str, situation: Situation) -> String {
    let text = text.trim();
    if let Some(arguments) = text
        .strip_prefix("format(")
        .and_then(|t| t.strip_suffix(')'))
    {
        let values: Vec<String> = split(arguments, ",")
            .iter()
            .map(|argument| value(argument, situation))
            .collect();
        return values[1..]
            .iter()
            .enumerate()
            .fold(values[0].clone(), |made, (index, value)| {
                made.replace(&format!("{{{index}}}"), value)
            });
    }
    if let Some(text) = text.strip_prefix('\'') {
        return text.trim_end_matches('\'').to_owned();
    }
    let held = situation.iter().find(|(name, _)| *name == text);
    held.map_or_else(String::new, |(_, value)| (*value).to_owned())
}

/// Split outside of quotes and parentheses.
fn split(text: &str, at: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut depth, mut skip) = (false, 0, 0);
    for (index, c) in text.char_indices() {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ if !quoted && depth == 0 && text[index..].starts_with(at) => {
                skip = at.len() - 1;
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    parts
}

#[test]
fn each_variable_has_its_value_of_travis_in_each_situation() {
    let expected: [(&str, Situation, &str); 24] = [
        ("TRAVIS_BRANCH", PUSH, "main"),
        ("TRAVIS_BRANCH", PULL, "main"),
        ("TRAVIS_BRANCH", TAG, "v1"),
        ("TRAVIS_TAG", PUSH, ""),
        ("TRAVIS_TAG", TAG, "v1"),
        ("TRAVIS_TAG", PULL, ""),
        ("TRAVIS_PULL_REQUEST", PUSH, "false"),
        ("TRAVIS_PULL_REQUEST", CRON, "false"),
        ("TRAVIS_PULL_REQUEST", PULL, "5"),
        ("TRAVIS_PULL_REQUEST_BRANCH", PULL, "topic"),
        ("TRAVIS_PULL_REQUEST_BRANCH", PUSH, ""),
        ("TRAVIS_PULL_REQUEST_SHA", PULL, "h"),
        ("TRAVIS_PULL_REQUEST_SLUG", FORK, "x/r"),
        ("TRAVIS_BUILD_ID", PUSH, "900"),
        ("TRAVIS_BUILD_NUMBER", PUSH, "7"),
        ("TRAVIS_REPO_SLUG", TAG, "o/r"),
        ("TRAVIS_COMMIT", PUSH, "c2"),
        ("TRAVIS_COMMIT_RANGE", PUSH, "c1...c2"),
        ("TRAVIS_COMMIT_RANGE", PULL, "b...h"),
        ("TRAVIS_EVENT_TYPE", PUSH, "push"),
        ("TRAVIS_EVENT_TYPE", CRON, "cron"),
        ("TRAVIS_EVENT_TYPE", PULL, "pull_request"),
        ("TRAVIS_SECURE_ENV_VARS", PUSH, "true"),
        ("TRAVIS_SECURE_ENV_VARS", FORK, "\u{0}false"),
    ];
    for (name, situation, wanted) in expected {
        let variable = BUILD.iter().find(|variable| variable.name == name).unwrap();
        assert_eq!(evaluate(variable.expression, situation), wanted, "{name}");
    }
}

#[test]
fn variables_are_found_as_whole_words() {
    assert_eq!(
        used_in("[ $TRAVIS = true ] && echo ${TRAVIS_TAG} MY_TRAVIS_X TRAVISTY"),
        ["TRAVIS", "TRAVIS_TAG"]
    );
}
