//! `nightcrew inventory …`

use serde_json::{Value, json};

use super::{items, number, text, with_session};
use crate::cli::{Global, InventoryCommand};
use crate::client::escape;
use crate::failure::{Doing, Failure};
use crate::print;
use crate::table::{Table, clean};

pub(super) async fn execute(global: &Global, command: InventoryCommand) -> Result<u8, Failure> {
    with_session(global, false, async |session| {
        let client = &session.client;
        match command {
            InventoryCommand::Import { source } => {
                // The server may stand in another folder.
                let source = if std::path::Path::new(&source).exists() {
                    std::path::absolute(&source)
                        .doing(format_args!("find {source}"))?
                        .display()
                        .to_string()
                } else {
                    source
                };
                let answer: Value = client
                    .post("/repositories/import", &json!({"source": source}))
                    .await?;
                imported(&answer)
            }
            InventoryCommand::List => {
                let answer: Value = client.get("/repositories?limit=100000").await?;
                if print::is_json() {
                    print::json(&answer);
                    return Ok(0);
                }
                let mut table = Table::new(&["REPOSITORY", "BRANCH", "HEAD", "FILES", "LANGUAGES"]);
                for row in items(&answer) {
                    let languages: Vec<&str> = row
                        .get("languages")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .take(3)
                        .collect();
                    table.row(vec![
                        clean(text(row, "name"), 60),
                        clean(text(row, "default_branch"), 20),
                        text(row, "head").get(..12).unwrap_or("empty").to_owned(),
                        number(row, "file_count").to_string(),
                        languages.join(", "),
                    ]);
                }
                table.print(
                    "the inventory is empty; fill it with `nightcrew inventory import FOLDER`",
                );
                Ok(0)
            }
            InventoryCommand::Show { name } => {
                let answer: Value = client
                    .get(&format!(
                        "/repositories/{}",
                        escape(&name).replace("%2F", "/")
                    ))
                    .await?;
                print::json(&answer);
                Ok(0)
            }
        }
    })
    .await
}

/// Says what became of each repository; 1 when some are not here.
fn imported(answer: &Value) -> Result<u8, Failure> {
    let rows = answer
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_else(|| items(answer));
    let failed = rows
        .iter()
        .filter(|row| row.get("problem").is_some_and(Value::is_string))
        .count();
    if print::is_json() {
        print::json(answer);
        return Ok(u8::from(failed > 0));
    }
    for row in rows {
        if let Some(problem) = row.get("problem").and_then(Value::as_str) {
            let line = number(row, "line");
            let place = if line > 0 {
                format!("line {line}: ")
            } else {
                String::new()
            };
            print::warning(&format!("{place}{}: {problem}", text(row, "from")));
        }
    }
    print::note(format!(
        "{} repositories imported, {failed} not",
        rows.len() - failed
    ));
    Ok(u8::from(failed > 0))
}
