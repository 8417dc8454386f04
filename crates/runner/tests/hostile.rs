//! Steps that try to reach the host, another tree, or a change that was not judged.

mod common;

use common::{World, git};
use model::reason::ReasonCode;
use model::task::TaskStatus;

/// One hostile line as the only command, then a check and a change.
fn automation(line: &str) -> String {
    let line = line.replace('\n', "\n      ");
    format!(
        "name: hostile\nsteps:\n  - command: |\n      {line}\n  - validate: [ {{ cmd: 'true' }} ]\n  - change: {{ title: t }}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_that_are_no_plain_file_fail_the_step_and_reveal_nothing() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a")]);
    for (line, said) in [
        (
            "ln -s /etc/passwd $NIGHTCREW_OUT/outputs.json",
            "symbolic link",
        ),
        ("mkdir $NIGHTCREW_OUT/outputs.json", "not a regular file"),
        (
            "head -c 1000000 /dev/zero >$NIGHTCREW_OUT/outputs.json",
            "larger than",
        ),
        ("mkfifo $NIGHTCREW_OUT/outputs.json", "not a regular file"),
        (
            "ln -s /etc/passwd $NIGHTCREW_OUT/no_change",
            "symbolic link",
        ),
    ] {
        let (_, task) = world.run(&automation(line), "one").await;
        assert_eq!(
            task.reason.as_ref().unwrap().code,
            ReasonCode::StepFailed,
            "{line}"
        );
        let log = world.plane.log(&task, 0);
        assert!(
            log.contains(said) && !log.contains("root:"),
            "{line}: {log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_makes_of_its_git_folder_stays_in_its_environment() {
    let Some(world) = World::new() else { return };
    world.repository(
        "one",
        &[("a", "a\n"), (".gitattributes", "*.f filter=evil\n")],
    );
    let line = "echo b >a; echo x >c.f\n\
                for hook in pre-commit post-index-change reference-transaction; do printf '#!/bin/sh\\ntouch /work/hooked\\n' >.git/$hook; done\n\
                mkdir .git/hooks; cp .git/pre-commit .git/hooks/; chmod +x .git/hooks/*\n\
                git config core.fsmonitor 'touch /work/monitored; false'\n\
                git config alias.add '!touch /work/aliased'\n\
                git config core.hooksPath .git/hooks\n\
                git config commit.gpgSign true\n\
                git config core.sshCommand 'touch /work/ssh'\n\
                git config user.name Linus";
    let (_, task) = world.run(&automation(line), "one").await;
    assert_eq!(
        task.status,
        TaskStatus::Ready,
        "{:?} {}",
        task.reason,
        world.plane.log(&task, 0)
    );
    let clone = world.checkout("one", &task);
    let files = git(&clone, &["ls-files"]);
    assert_eq!(
        files.lines().collect::<Vec<_>>(),
        [".gitattributes", "a", "c.f"]
    );
    assert!(git(&clone, &["log", "-1", "--format=%an %cn"]).starts_with("Nightcrew Nightcrew"));
    assert!(!std::path::Path::new("/work/hooked").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_git_folder_is_proposed_rightly_or_fails_the_task() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    let (_, task) = world
        .run(&automation("echo b >a; rm -rf .git; git init -q ."), "one")
        .await;
    assert_eq!(task.status, TaskStatus::Failed, "{:?}", task.proposal);
    assert!(
        world.plane.log(&task, 1).contains("cannot be judged"),
        "{}",
        world.plane.log(&task, 1)
    );
    let (_, task) = world
        .run(&automation("echo b >a; rm -rf .git; ln -s / .git"), "one")
        .await;
    assert_eq!(task.status, TaskStatus::Failed, "{:?}", task.proposal);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_a_step_are_kept_as_a_line_under_our_name_or_become_one() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    let commit = "git -c user.name=Linus -c user.email=l@x commit -q";
    let line =
        format!("echo b >a; {commit} -am first\necho c >a; {commit} -am 'second <b>'\necho d >e");
    let (_, task) = world.run(&automation(&line), "one").await;
    assert_eq!(task.status, TaskStatus::Ready, "{:?}", task.reason);
    let clone = world.checkout("one", &task);
    assert_eq!(
        git(&clone, &["log", "--format=%an:%s"]),
        "Nightcrew:t\nNightcrew:second <b>\nNightcrew:first\nSomebody:base"
    );

    // The base itself rewritten, and a merge: no line over the base, so one commit.
    let line = format!(
        "echo b >a; {commit} -a --amend -m other\ngit checkout -q -b x; echo c >c; git add c; {commit} -m c"
    );
    let (_, task) = world.run(&automation(&line), "one").await;
    assert_eq!(task.status, TaskStatus::Ready, "{:?}", task.reason);
    let clone = world.checkout("one", &task);
    assert_eq!(
        git(&clone, &["log", "--format=%an:%s"]),
        "Nightcrew:t\nSomebody:base"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_that_git_must_not_check_out_are_refused() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    // A tree with an entry `.git`, put into the index by hand.
    let line = "blob=$(echo evil | git hash-object -w --stdin)\n\
                inner=$(printf '100644 blob %s\\tconfig\\n' $blob | git mktree)\n\
                tree=$(printf '040000 tree %s\\t.git\\n100644 blob %s\\ta\\n' $inner $blob | git mktree)\n\
                echo changed >a\n\
                git -c user.name=x -c user.email=x@y commit -q -am fine\n\
                commit=$(git -c user.name=x -c user.email=x@y commit-tree -p HEAD~1 -m evil $tree)\n\
                echo $commit >.git/refs/heads/main";
    let (_, task) = world.run(&automation(line), "one").await;
    assert_eq!(task.status, TaskStatus::Failed, "{:?}", task.proposal);
    assert!(
        world.plane.log(&task, 1).contains("not sound"),
        "{}",
        world.plane.log(&task, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_trees_survive_the_way() {
    let Some(world) = World::new() else { return };
    let repository = world.repository(
        "odd",
        &[
            ("a", "a\n"),
            (
                "big.bin",
                "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            ),
            (
                ".gitattributes",
                "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            ),
            (".gitignore", "ignored\n"),
        ],
    );
    let head = git(&repository, &["rev-parse", "HEAD"]);
    git(
        &repository,
        &[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{head},module"),
        ],
    );
    git(&repository, &["commit", "-q", "-m", "module"]);
    let line =
        "printf x >\"$(printf 'n\\377me')\"; ln -s /etc/passwd link; echo i >ignored; chmod +x a";
    let (_, task) = world.run(&automation(line), "odd").await;
    assert_eq!(
        task.status,
        TaskStatus::Ready,
        "{:?} {}",
        task.reason,
        world.plane.log(&task, 0)
    );
    assert_eq!(task.proposal.as_ref().unwrap().diff.files, 3);
    let clone = world.checkout("odd", &task);
    let tree = git(&clone, &["ls-tree", "HEAD"]);
    assert!(
        tree.contains("160000 commit") && tree.contains("120000 blob") && tree.contains("n\\377me"),
        "{tree}"
    );
    assert!(
        tree.contains("100755 blob") && !tree.contains("ignored"),
        "{tree}"
    );
    assert!(git(&clone, &["show", "HEAD:big.bin"]).starts_with("version https"));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_found_in_what_is_committed_and_floods_do_not_drown_the_log() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n"), (".gitattributes", "* -diff\n")]);
    let automation = "name: s\nsteps:\n  - command: |\n      printf 'ghp_%s\\n' A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0 >key\n      \
                      yes | head -c 6000000; echo the end\n  - validate: [ 'builtin:secrets' ]\n  - change: { title: t }\n";
    let (_, task) = world.run(automation, "one").await;
    assert_eq!(
        task.reason.as_ref().unwrap().code,
        ReasonCode::ValidationFailed,
        "{:?}",
        task.reason
    );
    assert_eq!(task.validators[0].new, ["key:1: looks like a GitHub token"]);
    let log = world.plane.log(&task, 0);
    assert!(log.len() < 5 << 20, "{}", log.len());
    assert!(log.contains("were dropped here") && log.ends_with("the end\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_baseline_cannot_be_written_by_the_work() {
    let Some(world) = World::new() else { return };
    // The check fails once the work is done; the work tries to make it fail on the base too.
    world.repository(
        "one",
        &[("a", "a\n"), ("check.sh", "#!/bin/sh\n! grep -q bad a\n")],
    );
    let automation = "name: b\nsteps:\n  - command: echo bad >a; mkdir -p /work/../work; echo bad >/tmp/a\n  \
                      - validate: [ { cmd: ./check.sh } ]\n  - change: { title: t }\n";
    for _ in 0..2 {
        let (_, task) = world.run(automation, "one").await;
        assert_eq!(
            task.validators[0].new,
            ["exit code 1"],
            "{:?}",
            task.validators
        );
        assert!(task.validators[0].before.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_git_was_made_to_overlook_is_not_judged() {
    let Some(world) = World::new() else { return };
    world.repository(
        "one",
        &[("a", "a\n"), ("test.sh", "exit 1\n"), ("same", "x\n")],
    );
    for line in [
        "echo b >a; git update-index --assume-unchanged test.sh; echo 'exit 0' >test.sh",
        "echo b >a; git update-index --skip-worktree test.sh; rm test.sh",
        "echo b >a; touch -r test.sh /tmp/t; echo 'exit 0' >test.sh; touch -r /tmp/t test.sh",
        "echo b >a; git update-index --skip-worktree test.sh; rm test.sh; mkdir test.sh",
    ] {
        let (_, task) = world.run(&automation(line), "one").await;
        assert_eq!(
            task.status,
            TaskStatus::Failed,
            "{line}: {:?}",
            task.proposal
        );
        let log = world.plane.log(&task, 1);
        assert!(log.contains("test.sh is changed"), "{line}: {log}");
    }
    // Touched and as before is no change; neither is what the repository ignores.
    let line = "echo b >a; touch same; chmod 644 same; printf 'x\\n' >same; mkdir .cache; echo '*' >.cache/.gitignore; echo y >.cache/y";
    let (_, task) = world.run(&automation(line), "one").await;
    assert_eq!(
        task.status,
        TaskStatus::Ready,
        "{:?} {}",
        task.reason,
        world.plane.log(&task, 1)
    );
}
