//! `nightcrew report`: the reported values of a campaign, one row per repository.

use serde_json::Value;

use super::{find_campaign, with_session};
use crate::cli::Global;
use crate::client::escape;
use crate::failure::Failure;
use crate::print;

pub(super) async fn execute(global: &Global, campaign: &str, csv: bool) -> Result<u8, Failure> {
    with_session(global, false, async |session| {
        let id = find_campaign(&session.client, campaign).await?;
        if csv {
            print::raw(
                &session
                    .client
                    .text(&format!("/report?format=csv&campaign={}", escape(&id)))
                    .await?,
            );
            return Ok(0);
        }
        let answer: Value = session
            .client
            .get(&format!("/report?campaign={}", escape(&id)))
            .await?;
        if print::is_json() {
            print::json(&answer);
            return Ok(0);
        }
        // Columns are known only now, so the table is laid out as text.
        let cells = |value: &Value| -> Vec<String> {
            value
                .as_array()
                .into_iter()
                .flatten()
                .map(|cell| match cell {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    other => other.to_string(),
                })
                .collect()
        };
        let mut rows = vec![cells(answer.get("columns").unwrap_or(&Value::Null))];
        rows.extend(
            answer
                .get("rows")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(cells),
        );
        if rows.len() == 1 {
            print::note("nothing was reported");
            return Ok(0);
        }
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                rows.iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for row in &rows {
            let line: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            print::line(line.join("  ").trim_end());
        }
        Ok(0)
    })
    .await
}
