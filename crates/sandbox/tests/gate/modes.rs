//! What each mode refuses, and what names, paths and packages mean.

use std::time::Duration;

use sandbox::{Environment, ExecMode, ExecTarget, ExitStatus, RuleVerdict};

use crate::common::{World, sh};
use crate::kit::{
    base, can_gate, create, denials, deny, digest, events_until, name, policy, rule, speaker,
};

/// A program of every root that nothing else needs, and another.
const NEEDLESS: &str = "/usr/bin/nl";
const LINKED: &str = "awk";

fn refused(environment: &Environment, script: &str) {
    let ran = sh(environment, script);
    assert!(
        ran.err.contains("Operation not permitted") && ran.status != ExitStatus::Code(0),
        "{script}: {ran:?}"
    );
}

#[test]
fn observing_refuses_nothing_and_reports_what_would_be() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let environment = create(
        &world,
        "observe",
        Some(&base),
        policy(ExecMode::Observe, denials(&base)),
    );
    assert_eq!(
        sh(&environment, "./tool && ./tool.sh && ./friend").ok(),
        "RAN tool\nRAN script\nfriend\n"
    );
    let events = events_until(&environment, |event| event.path == "/work/friend");
    let rule_of = |path: &str| {
        events
            .iter()
            .find(|event| event.path == path)
            .map(|event| event.rule.clone())
    };
    assert!(
        rule_of("/work/tool").unwrap().starts_with("digest "),
        "{events:?}"
    );
    assert_eq!(rule_of("/work/friend").unwrap(), "unknown content");
    assert!(events.iter().all(|event| !event.denied), "{events:?}");
}

#[test]
fn the_refused_is_told_why_and_how_to_ask() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let environment = create(
        &world,
        "told",
        Some(&base),
        policy(ExecMode::DenyList, denials(&base)),
    );
    let ran = sh(&environment, "./tool");
    assert!(
        ran.err.contains("nightcrew: refused to execute /work/tool"),
        "{ran:?}"
    );
    assert!(ran.err.contains("use the other one"), "{ran:?}");
    assert!(ran.err.contains("Ask a person"), "{ran:?}");
    // Agents send what commands say to a file and read it afterwards.
    let ran = sh(
        &environment,
        "./tool.sh 2>said; until grep -s 'Ask a person' said; do :; done",
    );
    assert!(ran.out.contains("refused to execute"), "{ran:?}");
}

#[test]
fn a_name_covers_what_it_links_to_and_copies_of_it() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let behind = std::fs::canonicalize(format!("/usr/bin/{LINKED}")).unwrap();
    for (from, to) in [(NEEDLESS, "copy"), (behind.to_str().unwrap(), "copy2")] {
        assert!(
            std::process::Command::new("cp")
                .arg(from)
                .arg(base.join(to))
                .status()
                .unwrap()
                .success()
        );
    }
    sandbox::prepare_base(&base).unwrap();
    let rules = vec![deny(name("nl")), deny(name(LINKED))];
    let environment = create(
        &world,
        "names",
        Some(&base),
        policy(ExecMode::DenyList, rules),
    );
    for script in [
        "nl data",
        "/usr/bin/nl data",
        "/proc/self/root/usr/bin/nl data",
        "awk 1 data",
        &format!("{} 1 data", behind.display()),
        "./copy data",
        "./copy2 1 data",
        "cp /usr/bin/nl x",
    ] {
        refused(&environment, script);
    }
    assert_eq!(
        sh(&environment, "cat data && env true && ./friend").ok(),
        "nothingfriend\n"
    );
    let events = events_until(&environment, |event| event.path == NEEDLESS);
    let event = events.iter().find(|event| event.path == NEEDLESS).unwrap();
    assert_eq!(event.digest, Some(digest(NEEDLESS)));
    assert!(event.rule.starts_with("name nl"), "{event:?}");
}

#[test]
fn a_name_and_a_package_hold_for_files_that_appear_later() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let rules = vec![
        deny(name("npx")),
        deny(ExecTarget::Package("evil".to_owned())),
        deny(ExecTarget::Path("/work/bin/x".to_owned())),
    ];
    let environment = create(
        &world,
        "later",
        Some(&base),
        policy(ExecMode::DenyList, rules),
    );
    let script = "printf '#!/bin/sh\\necho RAN %s\\n' ";
    sh(
        &environment,
        &format!("{script} one >before; chmod +x before; {script} one >npx; chmod +x npx"),
    )
    .ok();
    refused(&environment, "./npx");
    refused(
        &environment,
        "sh npx || (echo 'Operation not permitted' >&2; false)",
    );
    // The content is known by now, whatever it is called.
    refused(&environment, "./before");
    refused(&environment, "mv npx y; ./y");
    sh(&environment, &format!("mkdir -p lib bin node_modules/evil node_modules/good; {script} two >lib/real.js; chmod +x lib/real.js; ln -s ../lib/real.js bin/npx")).ok();
    refused(&environment, "bin/npx");
    refused(&environment, "lib/real.js");
    sh(&environment, &format!("{script} three >node_modules/evil/cli.js; {script} four >node_modules/good/cli.js; chmod +x node_modules/*/cli.js; {script} five >bin/x; chmod +x bin/x; echo data >node_modules/evil/data")).ok();
    refused(&environment, "node_modules/evil/cli.js");
    refused(&environment, "bin/x");
    assert_eq!(
        sh(
            &environment,
            "node_modules/good/cli.js; cat node_modules/evil/data; : >empty; cat empty"
        )
        .ok(),
        "RAN four\ndata\n"
    );
}

#[test]
fn only_known_content_executes_and_it_does_by_any_name() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let allowed = rule(
        RuleVerdict::Allow,
        ExecTarget::Digest(digest(base.join("friend"))),
    );
    // A permission by name is for the root: whoever writes a file could call it that.
    let named = rule(RuleVerdict::Allow, name("tool"));
    let environment = create(
        &world,
        "known",
        Some(&base),
        policy(ExecMode::AllowList, vec![allowed, named]),
    );
    refused(&environment, "./tool");
    refused(&environment, "./tool.sh");
    refused(&environment, "cp friend tool2; printf x >>tool2; ./tool2");
    assert_eq!(
        sh(
            &environment,
            "./friend; cp friend f; ./f; cp /usr/bin/env e; ./e echo env"
        )
        .ok(),
        "friend\nfriend\nenv\n"
    );
    assert_eq!(sh(&environment, "echo text >t; cat t; git init -q . && git status -s | head -n1 | cut -c1-2; python3 -c 'import json; print(json.dumps(1))'").ok(), "text\n??\n1\n");
    // A library that is not known is not loaded either.
    let ran = sh(
        &environment,
        "LD_PRELOAD=./tool.so true; python3 -c 'import ctypes; ctypes.CDLL(\"./tool.so\")'",
    );
    assert!(!ran.out.contains("RAN"), "{ran:?}");
}

#[test]
fn what_trusted_producers_make_executes_until_something_else_writes_it() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let mut policy = policy(ExecMode::AllowList, Vec::new());
    policy.trusted_producers = vec![name("ld"), name("as")];
    let environment = create(&world, "made", Some(&base), policy);
    sh(&environment, "printf 'int puts(const char*);int main(void){puts(\"made\");return 0;}' >m.c; cc -c m.c && cc -o m m.o").ok();
    assert_eq!(
        sh(&environment, "./m; cp m m2; ./m2; cc -o m m.o; ./m").ok(),
        "made\nmade\nmade\n"
    );
    refused(&environment, "./tool");
    refused(&environment, "cc -o n m.o; printf x >>n; ./n");
    refused(&environment, "cc -o o m.o; head -c 9000 m >o; ./o");
    // Nor does it become trusted when a producer reads it.
    refused(&environment, "ld -r tool -o q 2>/dev/null; ./tool");
}

#[test]
fn scripts_of_listed_interpreters_are_executable_content() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let mut policy = policy(ExecMode::AllowList, Vec::new());
    let free = create(&world, "free", Some(&base), policy.clone());
    policy.interpreters = vec![name("perl")];
    let environment = create(&world, "scripts", Some(&base), policy);
    let script = "echo 'print \"RAN\\n\"' >s.pl; echo words >words.txt";
    sh(&environment, script).ok();
    let ran = sh(&environment, "perl s.pl");
    assert!(
        ran.status != ExitStatus::Code(0) && ran.out.is_empty(),
        "{ran:?}"
    );
    assert_eq!(sh(&environment, "perl -ne print words.txt").ok(), "words\n");
    // The same interpreter by other means: a copy, the loader, a copy of that, and a script whose path
    // nobody can be told.
    let elsewhere = "p=$(command -v perl); l=$(ls /lib64/ld-linux-*.so.* /lib/ld-linux-*.so.* 2>/dev/null | head -n 1)
        cp $p copy; cp $l loader; ln -sf $p link
        n=$(head -c 200 /dev/zero | tr '\\0' n); w=$PWD";
    for way in [
        "./copy s.pl",
        "./link s.pl",
        "bash -c 'exec -a sh perl s.pl'",
        "$l $p s.pl",
        "$l ./copy s.pl",
        "./loader ./copy s.pl",
        "i=0; while [ $i -lt 25 ]; do mkdir -p $n; cd -P $n; i=$((i+1)); done; cp $w/s.pl s.pl; perl s.pl",
        "i=0; while [ $i -lt 25 ]; do mkdir -p $n; cd -P $n; i=$((i+1)); done; cp $w/s.pl s; perl s",
    ] {
        let way = format!("{elsewhere}\n{way}");
        let ran = sh(&environment, &way);
        assert!(
            ran.status != ExitStatus::Code(0) && !ran.out.contains("RAN"),
            "{way}: {ran:?}"
        );
        assert_eq!(
            sh(&free, &format!("{script}\n{way}")).ok(),
            "RAN\n",
            "{way}"
        );
    }
    // Other programs read what they like.
    assert!(sh(&environment, "cat s.pl").ok().contains("RAN"));
    let copied = "cp $(command -v cat) mine; ./mine s.pl";
    assert!(sh(&environment, copied).ok().contains("RAN"));
}

#[test]
fn a_denial_by_digest_holds_for_content_that_names_no_interpreter() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let words = "echo RAN words\n";
    let base = world.base(&[("words", words), ("other", "echo other\n"), ("data", "d")]);
    sandbox::prepare_base(&base).unwrap();
    let rules = vec![deny(ExecTarget::Digest(digest(base.join("words"))))];
    for mode in [ExecMode::DenyList, ExecMode::AllowList, ExecMode::Strict] {
        let environment = create(
            &world,
            &format!("{mode:?}"),
            Some(&base),
            policy(mode, rules.clone()),
        );
        refused(&environment, "sh ./words");
        refused(&environment, ". ./words");
        refused(&environment, "cp words copy && sh copy");
        // Written anew, in pieces: the whole is what counts.
        refused(
            &environment,
            "printf 'echo RAN' >new; printf ' words\\n' >>new; sh new",
        );
        assert_eq!(
            sh(&environment, "sh ./other; echo more >>data; cat data").ok(),
            "other\ndmore\n"
        );
        // Beside: what is open to be written is not in the way of who writes it.
        let both =
            "perl -e 'open F, q(+<), q(data) or die; print F qq(x); close F; exec qw(cat data)'";
        assert_eq!(sh(&environment, both).ok(), "xmore\n");
    }
}

#[test]
fn what_is_too_large_to_be_judged_does_not_execute_and_can_be_written() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let rules = vec![deny(ExecTarget::Digest([7; 32]))];
    for mode in [ExecMode::DenyList, ExecMode::AllowList] {
        let environment = create(
            &world,
            &format!("{mode:?}"),
            Some(&base),
            policy(mode, rules.clone()),
        );
        // Holes cost nothing; the bytes are hashed all the same.
        let ran = sh(
            &environment,
            "cat friend >large; chmod +x large; truncate -s 513M large; ./large",
        );
        assert!(ran.err.contains("too large to be judged"), "{ran:?}");
        assert_ne!(ran.status, ExitStatus::Code(0), "{ran:?}");
        sh(&environment, "echo more >>large; : >large").ok();
    }
}

#[test]
fn a_report_refuses_nothing() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let rules = vec![rule(
        RuleVerdict::Report,
        ExecTarget::Digest(digest(base.join("tool"))),
    )];
    let environment = create(
        &world,
        "report",
        Some(&base),
        policy(ExecMode::DenyList, rules),
    );
    assert_eq!(sh(&environment, "./tool").ok(), "RAN tool\n");
    let events = events_until(&environment, |event| event.rule.starts_with("digest"));
    assert!(
        events
            .iter()
            .any(|event| event.rule.starts_with("digest") && !event.denied),
        "{events:?}"
    );
}

#[test]
fn environments_of_one_root_are_judged_by_their_own_policies() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let with = |mode, rules| policy(mode, rules);
    let one = create(
        &world,
        "one",
        Some(&base),
        with(ExecMode::DenyList, denials(&base)),
    );
    let two = create(
        &world,
        "two",
        Some(&base),
        with(ExecMode::DenyList, denials(&base)),
    );
    let other = create(
        &world,
        "other",
        Some(&base),
        with(ExecMode::DenyList, Vec::new()),
    );
    refused(&one, "./tool");
    assert_eq!(sh(&other, "./tool").ok(), "RAN tool\n");
    // A program of the root that nobody asks about any more.
    for environment in [&one, &two, &other] {
        sh(environment, "nl data; nl data; mawk 1 data").ok();
    }
    let mut rules = denials(&base);
    rules.push(deny(name("nl")));
    let late = create(
        &world,
        "late",
        Some(&base),
        with(ExecMode::DenyList, rules.clone()),
    );
    let closed = create(
        &world,
        "closed",
        Some(&base),
        with(ExecMode::AllowList, rules),
    );
    refused(&late, "nl data");
    refused(&late, "./tool");
    for environment in [&two, &other] {
        sh(environment, "nl data; nl data").ok();
    }
    refused(&late, "nl data");
    refused(&closed, "./friend");
    assert_eq!(sh(&two, "./friend").ok(), "friend\n");
    assert!(
        two.exec_events(Duration::from_millis(1))
            .iter()
            .all(|event| event.environment == "two")
    );
}

#[test]
fn a_new_file_is_not_judged_by_an_old_inode() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    speaker(&base.join("other"), "harmless");
    sandbox::prepare_base(&base).unwrap();
    let environment = create(
        &world,
        "inodes",
        Some(&base),
        policy(ExecMode::DenyList, vec![deny(name("npx"))]),
    );
    let ran = sh(
        &environment,
        "for i in 1 2 3 4 5 6 7 8 9 10; do cp other /tmp/p; /tmp/p; rm /tmp/p; cp friend /tmp/p; /tmp/p; rm /tmp/p; done",
    );
    assert_eq!(ran.ok(), "harmless\nfriend\n".repeat(10));
}

#[test]
fn without_exec_control_there_is_no_gate_and_no_claim() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let environment = world.empty("off");
    assert_eq!(environment.report().level, sandbox::IsolationLevel::L0);
    assert!(crate::robust::child_named(world.supervisor.process_id(), "nc-anchor").is_none());
}
