//! Automations: applied, versioned, listed, switched off, started.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::automation::Automation;
use model::event::{NewEvent, Subject, types};
use serde::{Deserialize, Serialize};
use store::{Commit, DocumentWrite};

use super::commit::leaf;
use super::{Actor, Admitted, Service, Update};
use crate::error::ServiceError;

/// Document kind of the current version of each automation.
pub(crate) const CURRENT: &str = "automation";
/// Document kind of every version ever applied, under `NAME@VERSION`.
const VERSION: &str = "automation_version";

/// What applying a file did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Automation by name.
    pub name: String,
    /// Its version now.
    pub version: u32,
    /// Whether anything changed.
    pub changed: bool,
}

impl Service {
    /// Applies an automation file with the files beside it; the same content changes nothing.
    ///
    /// # Errors
    /// What is wrong in the file, with its place.
    pub async fn apply_automation(
        &self,
        source: &str,
        file: &str,
        files: BTreeMap<String, String>,
        actor: &Actor,
    ) -> Result<Applied, ServiceError> {
        let definition = engine::definition::read(source, file)?;
        let name = definition.name.clone();
        let current = self.automation(&name).await?;
        if let Some(current) = &current
            && current.source == source
            && current.files == files
        {
            return Ok(Applied {
                name,
                version: current.version,
                changed: false,
            });
        }
        let now = self.now();
        let version = current.map_or(1, |current| current.version + 1);
        let automation = Automation {
            definition,
            version,
            source: source.to_owned(),
            files,
            enabled: true,
            applied_by: actor.name.clone(),
            applied_at: now,
        };
        self.write_automation(&automation, actor, "automation.applied")
            .await?;
        Ok(Applied {
            name,
            version,
            changed: true,
        })
    }

    /// Switches an automation on or off: off, it fires for nothing but its own past runs end.
    ///
    /// # Errors
    /// When there is no such automation.
    pub async fn enable_automation(
        &self,
        name: &str,
        enabled: bool,
        actor: &Actor,
    ) -> Result<(), ServiceError> {
        let mut automation = self
            .automation(name)
            .await?
            .ok_or_else(|| ServiceError::not_found("automation", name))?;
        automation.enabled = enabled;
        let kind = if enabled {
            "automation.enabled"
        } else {
            "automation.disabled"
        };
        self.write_automation(&automation, actor, kind).await
    }

    async fn write_automation(
        &self,
        automation: &Automation,
        actor: &Actor,
        kind: &str,
    ) -> Result<(), ServiceError> {
        let now = self.now();
        let name = &automation.definition.name;
        let body = serde_json::to_string(automation)?;
        let scope = format!("automation:{name}");
        let leaf = leaf(
            now,
            &actor.name,
            &scope,
            &scope,
            automation.version.into(),
            kind,
            body.as_bytes(),
        )?;
        let write = |kind: &str, key: String| DocumentWrite {
            kind: kind.to_owned(),
            key,
            body: Some(body.clone()),
        };
        let documents = vec![
            write(CURRENT, name.clone()),
            write(VERSION, format!("{name}@{}", automation.version)),
        ];
        self.store
            .commit(Commit {
                documents,
                leaves: vec![leaf],
                ..Commit::default()
            })
            .await?;
        self.schedules.notify_one();
        self.leaves.notify_one();
        self.publish(Update::Definitions);
        Ok(())
    }

    /// An automation in its current version.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn automation(&self, name: &str) -> Result<Option<Automation>, ServiceError> {
        let document = self.store.document(CURRENT, name).await?;
        Ok(document
            .map(|document| serde_json::from_str(&document.body))
            .transpose()?)
    }

    /// All automations in their current versions, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn automations(&self) -> Result<Vec<Automation>, ServiceError> {
        let mut all = Vec::new();
        for document in self.store.documents(CURRENT, "", u32::MAX).await? {
            all.push(serde_json::from_str(&document.body)?);
        }
        Ok(all)
    }

    /// An automation in a version that was once applied.
    pub(crate) async fn automation_version(
        &self,
        name: &str,
        version: u32,
    ) -> Result<Arc<Automation>, ServiceError> {
        let key = (name.to_owned(), version);
        if let Ok(cache) = self.automations.lock()
            && let Some(found) = cache.get(&key)
        {
            return Ok(Arc::clone(found));
        }
        let wanted = format!("{name}@{version}");
        let document = self.store.document(VERSION, &wanted).await?;
        let document = document.ok_or_else(|| ServiceError::not_found("automation", &wanted))?;
        let automation: Arc<Automation> = Arc::new(serde_json::from_str(&document.body)?);
        if let Ok(mut cache) = self.automations.lock() {
            cache.insert(key, Arc::clone(&automation));
        }
        Ok(automation)
    }

    /// Starts an automation by hand. `key` makes a repeated request the same start.
    ///
    /// # Errors
    /// When there is no such automation, or it is switched off.
    pub async fn start_automation(
        &self,
        name: &str,
        key: &str,
        repository: Option<String>,
        actor: &Actor,
    ) -> Result<Admitted, ServiceError> {
        let automation = self
            .automation(name)
            .await?
            .ok_or_else(|| ServiceError::not_found("automation", name))?;
        if !automation.enabled {
            return Err(ServiceError::Invalid(format!(
                "the automation `{name}` is switched off; enable it first"
            )));
        }
        self.admit(NewEvent {
            source: "manual".to_owned(),
            event_type: types::MANUAL.to_owned(),
            subject: Subject {
                automation: Some(name.to_owned()),
                repository,
                ..Subject::default()
            },
            dedupe_key: format!("{name}/{key}"),
            time: None,
            actor: actor.name.clone(),
            data: serde_json::Value::Null,
        })
        .await
    }
}
