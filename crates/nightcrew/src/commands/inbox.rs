//! `nightcrew inbox`, `approve`, `deny`: what waits for a person.

use serde_json::{Value, json};

use super::{items, task, text, with_session};
use crate::cli::Global;
use crate::client::escape;
use crate::failure::Failure;
use crate::print;
use crate::table::{Table, clean};

pub(super) async fn list(global: &Global) -> Result<u8, Failure> {
    with_session(global, false, async |session| {
        let answer: Value = session.client.get("/inbox?limit=500").await?;
        if print::is_json() {
            print::json(&answer);
        } else {
            let credentials = credentials(&answer);
            if credentials == 0 || !items(&answer).is_empty() {
                task::print_rows(&answer, "nothing waits for you");
            }
        }
        Ok(0)
    })
    .await
}

/// Prints the credentials that somebody has to mend; how many there are.
fn credentials(answer: &Value) -> usize {
    let rows = answer.get("credentials").and_then(Value::as_array);
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return 0;
    }
    let mut table = Table::new(&["CREDENTIAL", "SCOPE", "FOR", "WHAT", "CURE"]);
    for row in rows {
        let cell = |key: &str, width: usize| clean(text(row, key), width);
        table.row(vec![
            cell("name", 40),
            cell("scope", 40),
            cell("owner", 20),
            cell("sentence", 100),
            cell("cure", 120),
        ]);
    }
    table.print("");
    rows.len()
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
