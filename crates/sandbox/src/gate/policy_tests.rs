//! What compiled policies answer.

use proptest::prelude::*;

use super::*;

fn rule(verdict: RuleVerdict, target: ExecTarget) -> ExecRule {
    ExecRule {
        verdict,
        target,
        reason: String::new(),
    }
}

fn compile(mode: ExecMode, rules: Vec<ExecRule>) -> Policy {
    let policy = ExecPolicy {
        mode,
        rules,
        ..ExecPolicy::default()
    };
    Policy::compile(&policy, &[])
}

const ONE: Digest = [1; 32];
const TWO: Digest = [2; 32];

fn subject(execute: bool, content: Content) -> Subject {
    Subject {
        content,
        execute,
        of_root: false,
        interpreted: false,
    }
}

fn any_verdict() -> impl Strategy<Value = RuleVerdict> {
    prop_oneof![
        Just(RuleVerdict::Allow),
        Just(RuleVerdict::Deny),
        Just(RuleVerdict::Report)
    ]
}

fn any_mode() -> impl Strategy<Value = ExecMode> {
    prop_oneof![
        Just(ExecMode::Observe),
        Just(ExecMode::DenyList),
        Just(ExecMode::AllowList),
        Just(ExecMode::Strict)
    ]
}

fn any_content() -> impl Strategy<Value = Content> {
    prop_oneof![
        Just(Content::Program),
        Just(Content::Object),
        Just(Content::Script),
        Just(Content::Other)
    ]
}

proptest! {
    /// Whatever else a policy says and however it is opened, denied content is refused in every mode
    /// that refuses anything, and is always hashed first when it can execute.
    #[test]
    fn a_denial_always_wins(
        verdicts in prop::collection::vec(any_verdict(), 0..6),
        mode in any_mode(),
        content in any_content(),
        execute in any::<bool>(),
        of_root in any::<bool>(),
        known in any::<bool>(),
        size in 1_u64..10_000,
    ) {
        let mut rules: Vec<ExecRule> = verdicts.into_iter().map(|verdict| rule(verdict, ExecTarget::Digest(ONE))).collect();
        let at = rules.len() / 2;
        rules.insert(at, rule(RuleVerdict::Deny, ExecTarget::Digest(ONE)));
        let policy = compile(mode, rules);
        let subject = Subject { of_root, ..subject(execute, content) };
        if execute || matches!(content, Content::Program | Content::Script) {
            prop_assert!(policy.needs_content(execute));
            prop_assert!(policy.needs_digest(&subject, size));
        }
        let verdict = policy.decide(&subject, Some(&ONE), None, known);
        if mode == ExecMode::Observe {
            prop_assert!(!matches!(verdict, Verdict::Refuse(_)));
        } else {
            prop_assert!(matches!(verdict, Verdict::Refuse(Why::Rule(_))), "{:?}", verdict);
        }
        // A stricter mode never permits what a weaker one refuses.
        let stricter = compile(ExecMode::Strict, policy.rules);
        if matches!(verdict, Verdict::Refuse(_)) {
            prop_assert!(matches!(stricter.decide(&subject, Some(&ONE), None, known), Verdict::Refuse(_)));
        }
    }

    /// Unknown content that can execute never does where only known content may, and is never
    /// refused elsewhere.
    #[test]
    fn the_unknown_is_refused_where_only_the_known_executes(
        mode in any_mode(), content in any_content(), execute in any::<bool>(), interpreted in any::<bool>(),
    ) {
        let policy = compile(mode, vec![rule(RuleVerdict::Deny, ExecTarget::Digest(ONE))]);
        let subject = Subject { interpreted, ..subject(execute, content) };
        let refused = matches!(policy.decide(&subject, Some(&TWO), None, false), Verdict::Refuse(_));
        let executable = execute || interpreted || content == Content::Program;
        prop_assert_eq!(refused, mode >= ExecMode::AllowList && executable);
        prop_assert_eq!(policy.decide(&subject, Some(&TWO), None, true), Verdict::Permit);
    }

    #[test]
    fn no_path_is_a_panic(path in prop::collection::vec(any::<u8>(), 0..64), name in "[a-z/]{0,8}") {
        let policy = compile(ExecMode::DenyList, vec![
            rule(RuleVerdict::Deny, ExecTarget::Name(name.clone())),
            rule(RuleVerdict::Report, ExecTarget::Package(name.clone())),
            rule(RuleVerdict::Deny, ExecTarget::Path(name)),
        ]);
        let _ = policy.rule_of_path(&path, Content::Script);
    }
}

#[test]
fn the_canary_is_refused_in_every_mode() {
    let canary = super::super::digest::of_bytes(CANARY);
    for mode in [
        ExecMode::Observe,
        ExecMode::DenyList,
        ExecMode::AllowList,
        ExecMode::Strict,
    ] {
        let allowed = rule(RuleVerdict::Allow, ExecTarget::Digest(canary));
        let policy = compile(mode, vec![allowed]);
        for execute in [false, true] {
            let subject = subject(execute, Content::Script);
            assert!(policy.needs_digest(&subject, CANARY.len() as u64));
            assert_eq!(
                policy.decide(&subject, Some(&canary), None, false),
                Verdict::Refuse(Why::Canary)
            );
        }
    }
}

#[test]
fn an_ordinary_data_file_needs_neither_its_content_nor_a_digest() {
    let policy = compile(
        ExecMode::DenyList,
        vec![rule(RuleVerdict::Deny, ExecTarget::Name("npx".to_owned()))],
    );
    assert!(!policy.needs_content(false));
    assert!(!policy.needs_digest(&subject(false, Content::Other), 1234));
    assert_eq!(policy.rule_of_path(b"/work/a/npx", Content::Other), Some(0));
    assert_eq!(policy.rule_of_path(b"/work/npx/a", Content::Other), None);
}

#[test]
fn what_was_found_in_the_root_is_known_by_size_and_an_empty_file_is_nothing() {
    let policy = ExecPolicy {
        mode: ExecMode::DenyList,
        rules: vec![rule(RuleVerdict::Deny, ExecTarget::Name("x".to_owned()))],
        ..ExecPolicy::default()
    };
    let found = |digest, size| Found {
        target: TargetAt::Rule(0),
        digest,
        size,
    };
    let policy = Policy::compile(&policy, &[found(ONE, 77), found(TWO, 0)]);
    let open = subject(false, Content::Other);
    assert!(policy.needs_digest(&open, 77) && !policy.needs_digest(&open, 78));
    assert_eq!(
        policy.decide(&open, Some(&ONE), None, false),
        Verdict::Refuse(Why::Rule(0))
    );
    assert_eq!(
        policy.decide(&open, Some(&TWO), None, false),
        Verdict::Permit
    );
}

#[test]
fn of_a_package_only_what_can_execute_falls_under_its_rule() {
    let policy = compile(
        ExecMode::DenyList,
        vec![
            rule(RuleVerdict::Report, ExecTarget::Package("a".to_owned())),
            rule(RuleVerdict::Deny, ExecTarget::Package("@s/b".to_owned())),
        ],
    );
    let of = |path: &str, content| policy.rule_of_path(path.as_bytes(), content);
    assert_eq!(of("/w/node_modules/a/cli.js", Content::Other), Some(0));
    assert_eq!(of("/w/node_modules/a/data.txt", Content::Other), None);
    assert_eq!(of("/w/node_modules/a/data", Content::Program), Some(0));
    assert_eq!(of("/w/node_modules/@s/b/x.js", Content::Other), Some(1));
    assert_eq!(
        of("/w/node_modules/a/node_modules/@s/b/x.js", Content::Other),
        Some(1)
    );
    assert_eq!(of("/w/node_modules/ab/x.js", Content::Other), None);
}

#[test]
fn a_permission_by_name_does_not_hold_for_files_that_appear_later() {
    let policy = compile(
        ExecMode::AllowList,
        vec![rule(RuleVerdict::Allow, ExecTarget::Name("x".to_owned()))],
    );
    assert!(!policy.looks_at_paths());
    assert_eq!(policy.rule_of_path(b"/work/x", Content::Program), None);
}

#[test]
fn what_is_denied_by_digest_alone_is_looked_for_in_everything() {
    let by_digest = |verdict| vec![rule(verdict, ExecTarget::Digest(ONE))];
    for mode in [ExecMode::DenyList, ExecMode::AllowList, ExecMode::Strict] {
        let policy = compile(mode, by_digest(RuleVerdict::Deny));
        assert!(policy.searches(1) && policy.searches(SEARCHED));
        assert!(!policy.searches(0) && !policy.searches(SEARCHED + 1));
        // What was not looked at is asked about again.
        assert!(policy.may_speak_of(None) && policy.may_speak_of(Some(&ONE)));
        assert!(!policy.may_speak_of(Some(&TWO)));
        let read = subject(false, Content::Other);
        assert_eq!(
            policy.decide(&read, Some(&ONE), None, true),
            Verdict::Refuse(Why::Rule(0))
        );
    }
    // Nothing is refused to who only reads.
    assert!(!compile(ExecMode::Observe, by_digest(RuleVerdict::Deny)).searches(1));
    assert!(!compile(ExecMode::DenyList, by_digest(RuleVerdict::Report)).searches(1));
    let by_name = vec![rule(RuleVerdict::Deny, ExecTarget::Name("npm".into()))];
    let by_name = compile(ExecMode::DenyList, by_name);
    assert!(!by_name.searches(1) && !by_name.may_speak_of(None));
}
