//! Secrets do not leave with a change, and what a task says is masked wherever it is kept.

mod common;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use common::World;
use model::reason::ReasonCode;
use model::task::{Task, TaskStatus};
use runner::{Known, Mask, RunnerOptions};

/// A value that the server knows. Steps learn it here on purpose, from their variables.
const VALUE: &str = "correct+horse/battery=staple-42";

/// Finds the value as it is.
struct Knows;

impl Mask for Knows {
    fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        Cow::Owned(text.replace(VALUE, "***"))
    }

    fn known(&self, bytes: &[u8]) -> Vec<Known> {
        let found = bytes.windows(VALUE.len()).enumerate();
        found
            .filter(|(_, window)| *window == VALUE.as_bytes())
            .map(|(at, _)| Known {
                range: at..at + VALUE.len(),
                what: "the secret `ci`".to_owned(),
            })
            .collect()
    }
}

/// Put together here, so that no scanner takes this file for a leak.
fn token() -> String {
    format!("ghp_{}", "q8Zt3vN1xB7mK5wR2yP9sL4cD6fG0hJ1aE7u")
}

fn options(world: &World) -> RunnerOptions {
    let mut options = world.options();
    options.mask = Arc::new(Knows);
    options
}

async fn work(world: &World, options: RunnerOptions, line: &str, change: &str) -> Task {
    let runner = world.runner_with(options);
    let steps = format!(
        "  - command: |\n      {}\n  - validate: [ {{ cmd: 'true' }} ]\n  - change: {{ title: t{change} }}\n",
        line.replace('\n', "\n      ")
    );
    // Different automations, because the same one and event would be the same task.
    let name = format!("s{}", line.len() * 31 + change.len());
    let id = world
        .plane
        .queue(&format!("name: {name}\nsteps:\n{steps}"), "one");
    let task = world.plane.settled(id).await;
    runner.shutdown(Duration::from_secs(20)).await;
    task
}

fn refused(task: &Task) -> String {
    let reason = task
        .reason
        .clone()
        .unwrap_or_else(|| panic!("{:?}", task.status));
    assert_eq!(
        (task.status, reason.code),
        (TaskStatus::Failed, ReasonCode::SecretInChange),
        "{}",
        reason.sentence
    );
    assert!(task.proposal.is_none());
    let kept = serde_json::to_string(task)
        .unwrap_or_else(|error| panic!("a task cannot be written: {error}"));
    assert!(!kept.contains(VALUE) && !kept.contains(&token()), "{kept}");
    reason.sentence
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_known_values_are_kept_from_leaving_wherever_they_hide() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n"), ("src/b.py", "x = 1\n")]);
    let token = token();
    for (line, expected) in [
        (
            format!("printf 'y = 2\\nt = \"{token}\"\\n' >>src/b.py"),
            "src/b.py:3 holds a GitHub token",
        ),
        (
            format!("printf 'k: {VALUE}\\n' >new"),
            "new:1 holds the secret `ci`",
        ),
        // What git takes for binary is not in a diff.
        (
            format!("printf 'a\\0b\\n{token}\\n' >binary"),
            "binary:2 holds a GitHub token",
        ),
        // Added by one commit and removed by the next: it would leave all the same.
        (
            format!(
                "g() {{ git -c user.name=a -c user.email=a@b \"$@\"; }}\necho {token} >t && git add t && g commit -qm one && git rm -q t && g commit -qm two && echo b >a"
            ),
            "a version of a file that the change does not end with:1 holds a GitHub token",
        ),
        (
            format!("echo b >a && git -c user.name=a -c user.email=a@b commit -qam 'with {VALUE}'"),
            "the message of a commit holds the secret `ci`",
        ),
        (format!("echo b >'{}'", VALUE.replace('/', "_")), ""),
        (
            format!("echo b >{token}.txt"),
            "the name of a file holds a GitHub token",
        ),
    ] {
        let task = work(&world, options(&world), &line, "").await;
        if expected.is_empty() {
            // Another text than the value.
            assert_eq!(task.status, TaskStatus::Ready, "{line}: {:?}", task.reason);
            continue;
        }
        let sentence = refused(&task);
        assert!(sentence.contains(expected), "{line}: {sentence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_base_has_or_somebody_allows_is_not_blamed_on_the_change() {
    let Some(world) = World::new() else { return };
    let (token, other) = (token(), token().replace('8', "9"));
    world.repository(
        "one",
        &[("fixtures/t", &format!("{token}\n")), ("a", "a\n")],
    );
    // Touched, moved and copied.
    for line in [
        "echo more >>fixtures/t",
        "mv fixtures/t elsewhere",
        "cp fixtures/t copy && cat fixtures/t >>a",
    ] {
        let task = work(&world, options(&world), line, "").await;
        assert_eq!(task.status, TaskStatus::Ready, "{line}: {:?}", task.reason);
    }
    let sentence = refused(
        &work(
            &world,
            options(&world),
            &format!("echo {other} >>fixtures/t"),
            "",
        )
        .await,
    );
    assert!(
        sentence.contains("fixtures/t:2 holds a GitHub token")
            && sentence.contains("allow_secrets"),
        "{sentence}"
    );
    let allow = ", allow_secrets: ['fixtures/**']";
    let task = work(
        &world,
        options(&world),
        &format!("echo {other} >>fixtures/t"),
        allow,
    )
    .await;
    assert_eq!(task.status, TaskStatus::Ready, "{:?}", task.reason);
    refused(&work(&world, options(&world), &format!("echo {other} >>b"), allow).await);
    let mut of_all = options(&world);
    of_all.allow_secrets = vec!["b".to_owned()];
    let task = work(&world, of_all, &format!("echo  {other} >>b"), "").await;
    assert_eq!(task.status, TaskStatus::Ready, "{:?}", task.reason);
    // What is known for certain nobody can allow.
    refused(
        &work(
            &world,
            options(&world),
            &format!("echo {VALUE} >fixtures/v"),
            allow,
        )
        .await,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_masked_in_diffs_findings_and_reasons() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", &format!("k: {VALUE}\n"))]);
    // A change that takes the value away shows it in its diff.
    let task = work(&world, options(&world), "echo 'k: none' >a", "").await;
    assert_eq!(task.status, TaskStatus::Ready, "{:?}", task.reason);
    let patch = world.plane.text(&task.proposal.clone().unwrap().patch);
    assert!(
        patch.contains("-k: ***") && !patch.contains(VALUE),
        "{patch}"
    );

    let runner = world.runner_with(options(&world));
    let automation = format!(
        "name: v\nsteps:\n  - command: echo b >>a\n  - validate: [ {{ cmd: 'echo \"not ok 1 - {VALUE}\"; false' }} ]\n  - change: {{ title: t }}\n"
    );
    let id = world.plane.queue(&automation, "one");
    let task = world.plane.settled(id).await;
    runner.shutdown(Duration::from_secs(20)).await;
    let mut kept = task.clone();
    // The automation's own text names it; nobody masks what a person wrote there.
    for result in &mut kept.validators {
        result.name = String::new();
    }
    let text = serde_json::to_string(&kept).unwrap();
    assert!(text.contains("***") && !text.contains(VALUE), "{text}");
}

/// Masks by the values that credentials have, as the server does.
fn known() -> Arc<runner::Values> {
    let values = runner::Values::default();
    values.learn([("ci".to_owned(), zeroize::Zeroizing::new(VALUE.to_owned()))]);
    Arc::new(values)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_of_a_known_value_reaches_a_log_an_output_or_the_disk() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    let mut options = world.options();
    options.mask = known();
    let runner = world.runner_with(options);
    // Each line is another form; `VALUE` comes as a variable, which the test sets on purpose.
    let automation = r#"name: forms
steps:
  - id: s
    env: { VALUE: "@VALUE@" }
    command: |
      echo "plain $VALUE end"
      printf %s "$VALUE" | base64 -w0; echo
      printf 'user:%s' "$VALUE" | base64 -w0; echo
      printf 'xx%s' "$VALUE" | base64 -w20
      printf %s "$VALUE" | od -An -v -tx1 | tr -d ' \n'; echo
      printf %s "$VALUE" | sed 's/+/%2B/g; s#/#%2F#g; s/=/%3D/g'; echo
      printf '{"v":"%s"}\n' "$(printf %s "$VALUE" | sed 's#/#\\/#g')"
      printf %s "$VALUE" | cut -c1-11; printf %s "$VALUE" | cut -c12-
      printf %s "$VALUE" | cut -c1-9 | tr -d '\n'; sleep 0.2; printf %s "$VALUE" | cut -c10-
      echo "$VALUE" >&2
      printf '{"o": "%s"}' "$(printf %s "$VALUE" | base64 -w0)" >$NIGHTCREW_OUT/outputs.json
      echo "$VALUE" >$NIGHTCREW_OUT/no_change
"#;
    let id = world
        .plane
        .queue(&automation.replace("@VALUE@", VALUE), "one");
    let task = world.plane.settled(id).await;
    runner.shutdown(Duration::from_secs(20)).await;
    assert_eq!(task.status, TaskStatus::NoChange, "{:?}", task.reason);
    let log = world.plane.log(&task, 0);
    let kept = format!("{log}{}", serde_json::to_string(&task).unwrap());
    let squeezed: String = log
        .lines()
        .filter_map(|line| line.splitn(3, ' ').nth(2))
        .collect();
    assert_eq!(log.matches("***").count(), 10, "{log}");
    let hex = "636f72726563742b686f727365";
    let forms = [
        VALUE,
        "correct+horse",
        "Y29ycmVjd",
        "dXNlcjpjb3Jy",
        "correct%2B",
        "battery",
        "staple",
        hex,
    ];
    for form in forms {
        assert!(
            !kept.contains(form) && !squeezed.contains(form),
            "{form}: {kept}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_values_do_not_leave_with_a_change() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    for (line, expected) in [
        (
            format!("printf 'x: 1\\nu:{VALUE}' | base64 -w0 >b"),
            "b:1 holds the value of secret `ci`",
        ),
        (
            format!("printf 'xx%s' {VALUE} | base64 -w16 >c"),
            " holds the value of secret `ci`",
        ),
    ] {
        let mut options = world.options();
        options.mask = known();
        let sentence = refused(&work(&world, options, &line, "").await);
        assert!(sentence.contains(expected), "{sentence}");
    }
}
