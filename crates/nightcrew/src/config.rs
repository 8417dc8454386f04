//! The configuration file: TOML, every key optional, unknown keys refused.

mod registry;

use std::path::{Path, PathBuf};

use ::egress::broker::outside::OutsideSettings;
use engine::ports::Rule;
use model::automation::{ExecDefinition, IsolationDefinition};
use model::budget::BudgetLimits;
use model::exec::ExecMode;
use model::fence::Fence;
use model::network::NetworkLimits;
use serde::Deserialize;

pub(crate) use registry::RegistryConfig;

use crate::cli::Global;
use crate::failure::{Doing, Failure};

/// What can be configured; `docs/book/configuration.md` explains every key.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where state is kept.
    pub(crate) data_dir: Option<PathBuf>,
    /// `sqlite:PATH` or `postgres://…`; `sqlite:DATA_DIR/nightcrew.sqlite` when absent.
    pub(crate) store: Option<String>,
    /// Address of console and API; a free port on loopback when absent.
    pub(crate) listen: Option<String>,
    /// Limits over all campaigns.
    pub(crate) limits: Limits,
    /// Hard caps of the organisation and of teams.
    pub(crate) budget: BudgetLimits,
    /// The embedded runner.
    pub(crate) runner: Runner,
    /// Restrictions.
    pub(crate) policy: PolicyConfig,
    /// How strongly every environment is fenced at least; `accept_weaker` goes on where the host
    /// refuses a layer, with a banner.
    pub(crate) isolation: IsolationDefinition,
    /// Which programs may execute in every environment; automations can only tighten it.
    pub(crate) exec: ExecDefinition,
    /// How registries of images are reached.
    pub(crate) registry: RegistryConfig,
    /// The key of the secrets, and how values elsewhere are reached.
    pub(crate) secrets: egress::secret::SecretsConfig,
    /// What is searched for in changes before they leave.
    pub(crate) sweep: Sweep,
    /// What environments reach at most; automations can only narrow it.
    pub(crate) network: NetworkConfig,
    /// Who the person at this machine is.
    pub(crate) person: Person,
}

/// What is searched for in changes before they leave.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sweep {
    /// Paths, as globs, where what has the shape of a token is none, in all repositories.
    pub(crate) allow: Vec<String>,
}

/// Limits over all campaigns.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Tasks at work at once.
    pub(crate) running: Option<u32>,
    /// Tasks at work at once of a campaign that sets no `max_running`.
    pub(crate) running_per_campaign: Option<u32>,
}

/// The embedded runner.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Runner {
    /// Tasks at work at once; twice the number of cores when absent.
    pub(crate) slots: Option<u32>,
}

/// What environments reach, and how the outside is reached.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NetworkConfig {
    /// Hosts that no environment reaches.
    pub(crate) deny: Vec<String>,
    /// Hosts and bundles: nothing else is reached. No limit when absent.
    pub(crate) allow_only: Option<Vec<String>>,
    /// How the outside is reached: fixed addresses, mirrors, a proxy.
    pub(crate) outside: OutsideSettings,
}

impl NetworkConfig {
    fn limits(&self) -> NetworkLimits {
        NetworkLimits {
            deny: self.deny.clone(),
            allow_only: self.allow_only.clone(),
        }
    }
}

/// Restrictions; rules can only tighten.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PolicyConfig {
    /// The rules.
    pub(crate) rules: Vec<Rule>,
}

/// Who the person at this machine is.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Person {
    /// Name in reviews and the ledger.
    pub(crate) name: String,
    /// Roles, for approvals that ask for one.
    pub(crate) roles: Vec<String>,
}

impl Default for Person {
    fn default() -> Self {
        let name = std::env::var("USER")
            .ok()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "you".to_owned());
        let roles = ["author", "operator", "approver", "admin"]
            .map(str::to_owned)
            .to_vec();
        Self { name, roles }
    }
}

impl Config {
    /// Reads the file named on the command line, or the one at its usual place if it is there;
    /// what the command line says wins.
    pub(crate) fn load(global: &Global) -> Result<Self, Failure> {
        let usual = config_home().map(|home| home.join("nightcrew/config.toml"));
        let mut config = match (&global.config, usual) {
            (Some(path), _) => read(path)?,
            (None, Some(path)) if path.is_file() => read(&path)?,
            _ => Self::default(),
        };
        if let Some(data_dir) = &global.data_dir {
            config.data_dir = Some(data_dir.clone());
        }
        if let Some(store) = &global.store {
            config.store = Some(store.clone());
        }
        if global.accept_weaker {
            config.isolation.accept_weaker = true;
        }
        Ok(config)
    }

    /// What every environment is fenced by at least.
    pub(crate) fn fence(&self) -> Fence {
        Fence {
            network: self.network.limits(),
            ..engine::fence::of(&self.isolation, &self.exec)
        }
    }

    /// The data directory: given, or `nightcrew` under the user's data folder.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Failure> {
        let chosen = match &self.data_dir {
            Some(path) => path.clone(),
            None => data_home()
                .ok_or_else(|| {
                    Failure::new("there is no home directory to keep state in")
                        .hint("give --data-dir DIR")
                })?
                .join("nightcrew"),
        };
        std::path::absolute(&chosen).doing(format_args!("find {}", chosen.display()))
    }
}

fn read(path: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(path).doing(format_args!("read {}", path.display()))?;
    let config: Config = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            text[..span.start.min(text.len())].matches('\n').count() + 1
        });
        Failure::usage(format!("{}:{line}: {}", path.display(), error.message()))
            .hint("docs/book/configuration.md lists every key")
    })?;
    if let Err(message) = engine::network::check_limits(&config.network.limits()) {
        return Err(Failure::usage(format!("{}: {message}", path.display())));
    }
    let exec = &config.exec;
    if exec.mode == Some(ExecMode::Off) && !(exec.deny.is_empty() && exec.report.is_empty()) {
        let text = "[exec] has rules, and `mode = \"off\"` judges nothing";
        return Err(Failure::usage(format!("{}: {text}", path.display()))
            .hint("leave `mode` out: rules alone mean a deny list"));
    }
    if let Some(problem) = config.budget.problem() {
        return Err(Failure::usage(format!("{}: {problem}", path.display()))
            .hint("docs/book/budgets.md shows how `[budget]` is written"));
    }
    Ok(config)
}

fn config_home() -> Option<PathBuf> {
    home("XDG_CONFIG_HOME", ".config")
}

fn data_home() -> Option<PathBuf> {
    home("XDG_DATA_HOME", ".local/share")
}

fn home(variable: &str, below: &str) -> Option<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set(variable).or_else(|| set("HOME").map(|home| home.join(below)))
}
