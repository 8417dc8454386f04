//! What realistic files become, as whole workflows to be read by people.

use pack_ci::{Options, check_workflow, convert};

fn show(source: &str) -> String {
    let made = match convert(source, &Options::default()) {
        Ok(made) => made,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(check_workflow(&made.workflow), []);
    assert!(
        made.equal,
        "{:#?}\n{:#?}",
        made.jobs_source, made.jobs_target
    );
    format!(
        "{}\n--- summary\n{}",
        made.workflow,
        made.summary_markdown()
    )
}

macro_rules! snapshots {
    ($($name:ident: $file:literal),* $(,)?) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), show(include_str!(concat!("inputs/", $file))));
        }
    )*};
}

snapshots! {
    versions_times_systems_with_filters: "node.yml",
    environment_lines_exclusions_and_secrets: "python-env.yml",
    a_shell_that_later_phases_need: "cpp-shell.yml",
    stages_become_an_order_of_jobs: "stages.yml",
    no_language_is_ruby: "ruby-default.yml",
    anchors_and_merge_keys: "java-anchors.yml",
    variables_and_a_duplicate_key: "rust-variables.yml",
    an_unknown_language: "only-language.yml",
}

#[test]
fn an_empty_file_is_a_ruby_project_as_on_travis() {
    let made = convert("", &Options::default()).unwrap();
    assert!(made.workflow.contains("bundle exec rake"));
    assert!(made.accounting.is_empty());
}

#[test]
fn a_list_is_refused_with_place_and_cure() {
    let error = convert("- a\n- b\n", &Options::default()).unwrap_err();
    assert_eq!((error.line, error.column), (1, 1));
    assert!(error.cure.contains("language"));
}

#[test]
fn variables_used_by_other_files_are_defined_too() {
    let options = Options {
        used_variables: vec!["TRAVIS_TAG".to_owned()],
    };
    let made = convert("language: c\n", &options).unwrap();
    assert!(
        made.workflow
            .contains("TRAVIS_TAG: ${{ github.ref_type == 'tag' && github.ref_name || '' }}")
    );
}
