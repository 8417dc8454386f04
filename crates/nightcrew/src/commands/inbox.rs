//! `nightcrew inbox`, `approve`, `deny`: what waits for a person.

use serde_json::{Value, json};

use super::{task, with_session};
use crate::cli::Global;
use crate::client::escape;
use crate::failure::Failure;
use crate::print;

pub(super) async fn list(global: &Global) -> Result<u8, Failure> {
    with_session(global, false, async |session| {
        let answer: Value = session.client.get("/inbox?limit=500").await?;
        if print::is_json() {
            print::json(&answer);
        } else {
            task::print_rows(&answer, "nothing waits for you");
        }
        Ok(0)
    })
    .await
}

pub(super) async fn answer(
    global: &Global,
    wanted: &str,
    verb: &str,
    message: &str,
) -> Result<u8, Failure> {
    with_session(global, false, async |session| {
        let id = task::task_id(&session.client, wanted).await?;
        let path = format!("/tasks/{}/{verb}", escape(&id));
        let answer: Value = session
            .client
            .post(&path, &json!({"text": message}))
            .await?;
        task::told(&answer);
        Ok(0)
    })
    .await
}
