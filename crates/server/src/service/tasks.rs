//! What a person may ask of a task.

use engine::task::TaskCommand;
use model::ids::TaskId;
use model::reason::ReasonCode;
use model::task::Task;

use super::{Actor, Service};
use crate::error::ServiceError;

impl Service {
    /// Another round for a task that failed or waits for a person.
    ///
    /// # Errors
    /// A rejection when the task is elsewhere.
    pub async fn retry_task(&self, id: TaskId, actor: &Actor) -> Result<Task, ServiceError> {
        self.command(
            id,
            actor,
            TaskCommand::Retry {
                cause: format!("{} asked", actor.name),
            },
        )
        .await
    }

    /// Stops a task for good; its change is closed.
    ///
    /// # Errors
    /// A rejection when it ended already.
    pub async fn cancel_task(&self, id: TaskId, actor: &Actor) -> Result<Task, ServiceError> {
        let sentence = format!("{} cancelled it", actor.name);
        self.command(
            id,
            actor,
            TaskCommand::Cancel {
                code: ReasonCode::CancelledByPerson,
                sentence,
            },
        )
        .await
    }

    /// Holds a task: no step starts.
    ///
    /// # Errors
    /// A rejection when it ended or is paused already.
    pub async fn pause_task(&self, id: TaskId, actor: &Actor) -> Result<Task, ServiceError> {
        self.command(id, actor, TaskCommand::Pause).await
    }

    /// Lets a paused task go on.
    ///
    /// # Errors
    /// A rejection when it is not paused.
    pub async fn resume_task(&self, id: TaskId, actor: &Actor) -> Result<Task, ServiceError> {
        self.command(id, actor, TaskCommand::Resume).await
    }

    /// Consents to what a task asks.
    ///
    /// # Errors
    /// A rejection when nothing is asked, or not of this person.
    pub async fn approve_step(&self, id: TaskId, actor: &Actor) -> Result<Task, ServiceError> {
        let command = TaskCommand::Approve {
            by: actor.name.clone(),
            roles: actor.roles.clone(),
        };
        self.command(id, actor, command).await
    }

    /// Says no to what a task asks.
    ///
    /// # Errors
    /// A rejection when nothing is asked.
    pub async fn deny_step(
        &self,
        id: TaskId,
        actor: &Actor,
        text: &str,
    ) -> Result<Task, ServiceError> {
        let command = TaskCommand::Deny {
            by: actor.name.clone(),
            text: text.to_owned(),
        };
        self.command(id, actor, command).await
    }

    pub(crate) async fn command(
        &self,
        id: TaskId,
        actor: &Actor,
        command: TaskCommand,
    ) -> Result<Task, ServiceError> {
        let executed = self.execute(id, actor, None, &[command], &[]).await?;
        match executed.rejected {
            None => Ok(executed.task),
            Some((_, rejection)) => Err(rejection.into()),
        }
    }
}
