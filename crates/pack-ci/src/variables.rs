//! The variables of Travis, defined by their value in every situation.
//!
//! GitHub's own importer documents several of them wrongly: a branch as `refs/heads/…`, a tag that
//! is never empty, a pull request that is empty where Travis says `false`, build id and number
//! swapped. `tests.rs` evaluates each expression here for a push, a tag, a pull request, a pull
//! request of a fork and a schedule.

/// A variable whose value the target can compute for the whole workflow.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// GitHub expression without brackets.
    pub(crate) expression: &'static str,
}

const fn variable(name: &'static str, expression: &'static str) -> Variable {
    Variable { name, expression }
}

/// Variables of the build.
pub(crate) const BUILD: [Variable; 25] = [
    variable("TRAVIS", "'true'"),
    variable("CONTINUOUS_INTEGRATION", "'true'"),
    variable("HAS_JOSH_K_SEAL_OF_APPROVAL", "'true'"),
    variable("TRAVIS_BRANCH", "github.base_ref || github.ref_name"),
    variable(
        "TRAVIS_TAG",
        "github.ref_type == 'tag' && github.ref_name || ''",
    ),
    variable(
        "TRAVIS_PULL_REQUEST",
        "github.event.pull_request.number || 'false'",
    ),
    variable("TRAVIS_PULL_REQUEST_BRANCH", "github.head_ref"),
    variable(
        "TRAVIS_PULL_REQUEST_SHA",
        "github.event.pull_request.head.sha",
    ),
    variable(
        "TRAVIS_PULL_REQUEST_SLUG",
        "github.event.pull_request.head.repo.full_name",
    ),
    variable("TRAVIS_BUILD_ID", "github.run_id"),
    variable("TRAVIS_BUILD_NUMBER", "github.run_number"),
    variable("TRAVIS_JOB_ID", "github.run_id"),
    variable("TRAVIS_REPO_SLUG", "github.repository"),
    variable("TRAVIS_COMMIT", "github.sha"),
    variable(
        "TRAVIS_COMMIT_MESSAGE",
        "github.event.head_commit.message || github.event.pull_request.title",
    ),
    variable(
        "TRAVIS_COMMIT_RANGE",
        "github.event_name == 'pull_request' && format('{0}...{1}', github.event.pull_request.base.sha, github.event.pull_request.head.sha) || github.event.before && format('{0}...{1}', github.event.before, github.sha) || ''",
    ),
    variable("TRAVIS_BUILD_DIR", "github.workspace"),
    variable(
        "TRAVIS_EVENT_TYPE",
        "github.event_name == 'schedule' && 'cron' || github.event_name == 'workflow_dispatch' && 'api' || github.event_name",
    ),
    variable(
        "TRAVIS_SECURE_ENV_VARS",
        "github.event_name != 'pull_request' || github.event.pull_request.head.repo.full_name == github.repository",
    ),
    variable(
        "TRAVIS_BUILD_WEB_URL",
        "format('{0}/{1}/actions/runs/{2}', github.server_url, github.repository, github.run_id)",
    ),
    variable(
        "TRAVIS_JOB_WEB_URL",
        "format('{0}/{1}/actions/runs/{2}', github.server_url, github.repository, github.run_id)",
    ),
    variable("TRAVIS_SUDO", "'true'"),
    variable("TRAVIS_APP_HOST", "'github.com'"),
    variable("TRAVIS_DEBUG_MODE", "''"),
    variable("TRAVIS_INFRA", "''"),
];

/// Variables that the job defines, because they depend on its row, or its steps.
pub(crate) const JOB: [&str; 12] = [
    "TRAVIS_OS_NAME",
    "TRAVIS_CPU_ARCH",
    "TRAVIS_DIST",
    "TRAVIS_LANGUAGE",
    "TRAVIS_JOB_NUMBER",
    "TRAVIS_BUILD_STAGE_NAME",
    "TRAVIS_TEST_RESULT",
    "TRAVIS_COMPILER",
    "TRAVIS_OSX_IMAGE",
    "TRAVIS_XCODE_SDK",
    "TRAVIS_XCODE_SCHEME",
    "TRAVIS_GEMFILE",
];

/// The variable that holds the version of an expansion key.
pub(crate) fn of_axis(axis: &str) -> String {
    match axis {
        "node_js" => "TRAVIS_NODE_VERSION".to_owned(),
        "rvm" => "TRAVIS_RUBY_VERSION".to_owned(),
        "compiler" => "TRAVIS_COMPILER".to_owned(),
        "osx_image" => "TRAVIS_OSX_IMAGE".to_owned(),
        "otp_release" => "TRAVIS_OTP_RELEASE".to_owned(),
        "gemfile" => "TRAVIS_GEMFILE".to_owned(),
        "xcode_sdk" => "TRAVIS_XCODE_SDK".to_owned(),
        "xcode_scheme" => "TRAVIS_XCODE_SCHEME".to_owned(),
        other => format!("TRAVIS_{}_VERSION", other.to_ascii_uppercase()),
    }
}

/// Names of Travis variables that occur in `text`.
pub(crate) fn used_in(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| {
            word.starts_with("TRAVIS") && (word.len() == 6 || word[6..].starts_with('_'))
                || *word == "CONTINUOUS_INTEGRATION"
                || *word == "HAS_JOSH_K_SEAL_OF_APPROVAL"
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether the converter defines `name` itself.
pub(crate) fn is_known(name: &str) -> bool {
    BUILD.iter().any(|variable| variable.name == name)
        || JOB.contains(&name)
        || crate::travis::languages::AXES
            .iter()
            .any(|axis| of_axis(axis) == name)
}

#[cfg(test)]
mod tests;
