//! The merged fence is never weaker than either side: an independent reading of what a fence lets
//! execute is asked about arbitrary programs.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use engine::fence::{of, strictest};
use model::automation::{ExecDefinition, ExecRuleDefinition, IsolationDefinition};
use model::exec::{ExecMode, ExecTarget};
use model::fence::Fence;
use model::isolation::IsolationLevel;
use proptest::prelude::*;

/// Something that wants to execute.
#[derive(Debug, Clone)]
struct Program {
    /// What rules could call it.
    called: Vec<ExecTarget>,
    /// It is part of the root.
    in_root: bool,
    /// What wrote it, when it was written inside.
    producer: Option<ExecTarget>,
    /// It is a script without `#!`, given to this interpreter.
    interpreter: Option<ExecTarget>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Silent,
    Reported,
    Refused,
}

/// What a fence makes of a program, read from the book and not from the code.
fn fate(exec: &ExecDefinition, program: &Program) -> Fate {
    let mode = exec.effective_mode();
    if let Some(interpreter) = &program.interpreter
        && !exec.interpreters.contains(interpreter)
    {
        return Fate::Silent;
    }
    let named = |rules: &[ExecRuleDefinition]| {
        rules
            .iter()
            .any(|rule| program.called.contains(&rule.target))
    };
    let made = program
        .producer
        .as_ref()
        .is_some_and(|producer| exec.producers.contains(producer));
    let known = program.in_root || named(&exec.allow);
    match mode {
        ExecMode::Off => Fate::Silent,
        ExecMode::Observe if named(&exec.deny) => Fate::Reported,
        _ if named(&exec.deny) => Fate::Refused,
        // Written inside by a trusted program: known only where producers count.
        ExecMode::AllowList if made && !named(&exec.report) => Fate::Silent,
        ExecMode::AllowList if made => Fate::Reported,
        ExecMode::AllowList | ExecMode::Strict if !known => Fate::Refused,
        _ if named(&exec.report) || !known => Fate::Reported,
        _ => Fate::Silent,
    }
}

fn target() -> impl Strategy<Value = ExecTarget> {
    prop::sample::select(vec![
        "npx",
        "curl",
        "/usr/bin/curl",
        "package:left-pad",
        "/opt/tool",
    ])
    .prop_map(|text| text.parse().unwrap())
}

fn rules() -> impl Strategy<Value = Vec<ExecRuleDefinition>> {
    prop::collection::vec(
        (target(), prop::option::of("[a-z]{0,4}"))
            .prop_map(|(target, reason)| ExecRuleDefinition { target, reason }),
        0..4,
    )
}

fn exec() -> impl Strategy<Value = ExecDefinition> {
    (
        prop::option::of(prop::sample::select(ExecMode::ALL.to_vec())),
        rules(),
        rules(),
        rules(),
        prop::collection::vec(target(), 0..3),
        prop::collection::vec(target(), 0..3),
    )
        .prop_map(
            |(mode, deny, allow, report, producers, interpreters)| ExecDefinition {
                mode,
                deny,
                allow,
                report,
                producers,
                interpreters,
            },
        )
}

fn fence() -> impl Strategy<Value = Fence> {
    let level = prop::option::of(prop::sample::select(vec![
        IsolationLevel::L0,
        IsolationLevel::L1,
        IsolationLevel::L2,
        IsolationLevel::L3,
    ]));
    let layers = prop::collection::vec(
        prop::sample::select(vec!["landlock", "seccomp", "cgroup"]).prop_map(str::to_owned),
        0..3,
    );
    (level, layers, any::<bool>(), exec()).prop_map(|(level, layers, accept_weaker, exec)| {
        of(
            &IsolationDefinition {
                level,
                layers,
                accept_weaker,
            },
            &exec,
        )
    })
}

fn program() -> impl Strategy<Value = Program> {
    (
        prop::collection::vec(target(), 0..3),
        any::<bool>(),
        prop::option::of(target()),
        prop::option::of(target()),
    )
        .prop_map(|(called, in_root, producer, interpreter)| Program {
            called,
            in_root,
            producer,
            interpreter,
        })
}

fn within<T: PartialEq>(part: &[T], whole: &[T]) -> bool {
    part.iter().all(|item| whole.contains(item))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn merged_is_never_weaker_than_either(a in fence(), b in fence(), program in program()) {
        let merged = strictest(&a, &b);
        for side in [&a, &b] {
            prop_assert!(merged.required_level >= side.required_level);
            prop_assert!(merged.wanted_level >= side.wanted_level);
            prop_assert!(within(&side.required_layers, &merged.required_layers));
            prop_assert!(within(&side.wanted_layers, &merged.wanted_layers));
            prop_assert!(merged.required_mode >= side.required_mode);
            prop_assert!(merged.exec.effective_mode() >= side.exec.effective_mode());
            // Refused by one is refused by both together; what one would at least report is not
            // silent, except output of programs that the stricter side trusts.
            let (alone, together) = (fate(&side.exec, &program), fate(&merged.exec, &program));
            if alone == Fate::Refused {
                prop_assert_eq!(&together, &Fate::Refused, "{:?} in {:?}", program, merged.exec);
            }
            if alone == Fate::Reported && program.producer.is_none() {
                prop_assert!(together >= Fate::Reported, "{:?} in {:?}", program, merged.exec);
            }
        }
        prop_assert!(merged.wanted_level >= merged.required_level);
        prop_assert!(within(&merged.required_layers, &merged.wanted_layers));
    }

    #[test]
    fn merging_is_the_same_in_either_order_and_again(a in fence(), b in fence(), program in program()) {
        let (one, other) = (strictest(&a, &b), strictest(&b, &a));
        prop_assert_eq!(fate(&one.exec, &program), fate(&other.exec, &program));
        let again = strictest(&one, &b);
        prop_assert_eq!(fate(&again.exec, &program), fate(&one.exec, &program));
    }

    #[test]
    fn a_side_that_asks_for_nothing_changes_nothing(a in fence(), program in program()) {
        let merged = strictest(&Fence::default(), &a);
        prop_assert_eq!(fate(&merged.exec, &program), fate(&a.exec, &program));
        prop_assert_eq!(merged.required_level, a.required_level);
        prop_assert_eq!(merged.required_mode, a.required_mode);
    }
}
