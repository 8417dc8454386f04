//! The intermediate model: what a CI configuration means, whatever system it came from or goes to.

/// A whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pipeline {
    pub(crate) triggers: Triggers,
    /// Variables of every job.
    pub(crate) env: Vec<(String, EnvValue)>,
    pub(crate) jobs: Vec<Job>,
}

/// When it runs. Empty lists mean "any".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Triggers {
    pub(crate) branches: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) branches_ignore: Vec<String>,
    pub(crate) tags_ignore: Vec<String>,
}

/// One job, or several of one shape that differ in the cells of their rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) stage: String,
    pub(crate) needs: Vec<String>,
    /// A condition of the target's expression language; later a tree of its own.
    pub(crate) condition: Option<String>,
    pub(crate) windows: bool,
    pub(crate) rows: Vec<Row>,
    pub(crate) env: Vec<(String, EnvValue)>,
    pub(crate) services: Vec<Service>,
    pub(crate) steps: Vec<Step>,
}

/// The cells in which one job of a matrix differs from its neighbours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Row {
    pub(crate) cells: Vec<(String, String)>,
    /// Variables of the job with their values.
    pub(crate) variables: Vec<(String, String)>,
    /// Names of the cells that hold those variables once the rows are together.
    pub(crate) variable_columns: Vec<String>,
    pub(crate) may_fail: bool,
    pub(crate) name: Option<String>,
    /// Whether it comes from multiplying lists and not from a job written out.
    pub(crate) multiplied: bool,
}

/// The column that holds the runner.
pub(crate) const RUNNER: &str = "os";

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EnvValue {
    /// The text itself.
    Text(String),
    /// The row's cell of that name.
    Column(String),
    /// The secret of that name.
    Secret(String),
    /// An expression of the target, without its brackets.
    Expression(String),
    /// The row's cell as a path below the working copy.
    InWorkspace(String),
    /// By the value of a column; the column's own value if no case fits.
    Choice {
        column: String,
        cases: Vec<(String, String)>,
    },
}

/// A program beside the job, reachable on the local host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) image: String,
    pub(crate) port: u16,
    pub(crate) env: Vec<(&'static str, &'static str)>,
    /// Command that succeeds once it is ready.
    pub(crate) health: Option<&'static str>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) name: Option<String>,
    pub(crate) id: Option<&'static str>,
    pub(crate) when: When,
    /// Whether its failure is ignored.
    pub(crate) may_fail: bool,
    pub(crate) env: Vec<(String, EnvValue)>,
    pub(crate) act: Act,
}

/// When a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// If nothing before it failed.
    Before,
    /// If the script failed.
    ScriptFailed,
    /// If the script ran, whatever came of it.
    ScriptRan,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    Checkout {
        depth: Option<String>,
        submodules: bool,
        lfs: bool,
    },
    /// Set up the tool of an expansion key in the version of the column of that name.
    Setup {
        axis: &'static str,
        /// Further inputs of the same step.
        also: Vec<(&'static str, EnvValue)>,
    },
    Cache {
        paths: Vec<String>,
        lock_files: &'static str,
    },
    Run(String),
}
