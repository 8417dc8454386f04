//! Which repositories an automation works on.

use model::automation::{Definition, TargetSource};
use model::event::Event;
use model::repository::Repository;
use model::run::Target;

use crate::condition::{Condition, ConditionError};

/// What a target query found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Targets, in the order of their names.
    pub targets: Vec<Target>,
    /// What was asked for and is not there, in words.
    pub missing: Vec<String>,
}

/// Finds the targets of an automation for an event in the inventory.
///
/// # Errors
/// A query that cannot be evaluated, for the first repository where that is so.
pub fn find<'a>(
    definition: &Definition,
    event: &Event,
    inventory: impl Iterator<Item = &'a Repository>,
) -> Result<Found, ConditionError> {
    let targets = &definition.targets;
    let query = targets
        .query
        .as_deref()
        .map(Condition::compile)
        .transpose()?;
    let names: Option<Vec<String>> = match (&targets.list, targets.from, &query) {
        (Some(list), _, _) => Some(list.clone()),
        (None, None, Some(_)) => None,
        (None, Some(TargetSource::Event), _) | (None, None, None) => {
            Some(event.subject.repository.iter().cloned().collect())
        }
    };
    let mut found = Found::default();
    let mut seen: Vec<&str> = Vec::new();
    for repository in inventory {
        if let Some(names) = &names {
            if !names.contains(&repository.name) {
                continue;
            }
            seen.push(&repository.name);
        }
        if let Some(query) = &query
            && !query.holds(&[("repo", &describe(repository))])?
        {
            continue;
        }
        found.targets.push(Target::repository(&repository.name));
    }
    if let Some(names) = &names {
        for name in names.iter().filter(|name| !seen.contains(&name.as_str())) {
            found
                .missing
                .push(format!("{name} is not in the inventory"));
        }
    }
    found.targets.sort();
    found.targets.dedup();
    Ok(found)
}

/// What a query sees of a repository, under the name `repo`.
#[must_use]
pub fn describe(repository: &Repository) -> serde_json::Value {
    serde_json::json!({
        "name": repository.name,
        "forge": repository.forge,
        "default_branch": repository.default_branch,
        "archived": repository.archived,
        "empty": repository.head.is_none(),
        "files": repository.files,
        "file_count": repository.file_count,
        "languages": repository.languages,
        "facts": repository.facts,
    })
}
