use super::check_workflow;

fn messages(text: &str) -> Vec<String> {
    check_workflow(text)
        .into_iter()
        .map(|problem| problem.message)
        .collect()
}

fn with_steps(steps: &str) -> String {
    format!("on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n{steps}")
}

#[test]
fn a_right_workflow_has_no_problem() {
    let text = with_steps(
        "      - uses: actions/checkout@v5\n      - id: x\n        run: make\n      - if: failure() && steps.x.outcome == 'failure'\n        run: echo ${{ runner.os }}\n",
    );
    assert_eq!(messages(&text), Vec::<String>::new());
}

#[test]
fn each_mistake_is_named_with_its_place() {
    for (text, part) in [
        ("on: push\n".to_owned(), "`jobs` is missing"),
        ("jobs: {a: {runs-on: x, steps: [{run: y}]}}\n".to_owned(), "`on` is missing"),
        (with_steps("      - run: a\n        uses: b/c@v1\n"), "both"),
        (with_steps("      - name: a\n"), "neither"),
        (with_steps("      - uses: actions/checkout@v3\n"), "no longer runs"),
        (with_steps("      - uses: actions/checkout\n"), "names no version"),
        (with_steps("      - run: echo ${{ matrix.x }}\n"), "no key of the matrix"),
        (with_steps("      - run: echo ${{ github.sha }\n"), "not closed"),
        (with_steps("      - run: echo ${{ (github.sha }}\n"), "unbalanced"),
        (with_steps("      - run: echo ${{ gitub.sha }}\n"), "does not exist"),
        (with_steps("      - run: echo ${{ github.head_ref }}\n"), "strangers"),
        (with_steps("      - run: a\n        run: b\n"), "stands again"),
        (
            "on: push\njobs:\n  a: {needs: b, runs-on: x, steps: [{run: y}]}\n  b: {needs: a, runs-on: x, steps: [{run: y}]}\n".to_owned(),
            "waits for itself",
        ),
        (
            "on: push\njobs:\n  a: {needs: c, runs-on: x, steps: [{run: y}]}\n".to_owned(),
            "which is no job",
        ),
        ("on: puhs\njobs: {a: {runs-on: x, steps: [{run: y}]}}\n".to_owned(), "unknown event"),
        ("a: [".to_owned(), ""),
    ] {
        let problems = check_workflow(&text);
        assert!(
            problems.iter().any(|problem| problem.message.contains(part) && problem.line > 0),
            "{text}\n{problems:?}"
        );
    }
}
