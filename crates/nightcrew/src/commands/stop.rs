//! `nightcrew stop`: the kill switch.

use serde_json::{Value, json};

use super::{items, text, with_session};
use crate::cli::Global;
use crate::cli::budget::StopArguments;
use crate::failure::Failure;
use crate::print;
use crate::table::{Table, clean};

pub(super) async fn execute(global: &Global, wanted: StopArguments) -> Result<u8, Failure> {
    with_session(global, false, async |session| {
        let client = &session.client;
        let Some(scope) = wanted.scope else {
            let answer: Value = client.get("/stops").await?;
            if print::is_json() {
                print::json(&answer);
                return Ok(0);
            }
            let mut table = Table::new(&["STOPPED", "BY", "SINCE", "BECAUSE"]);
            for row in items(&answer) {
                table.row(vec![
                    print::bold(&clean(text(row, "scope"), 60)),
                    clean(text(row, "by"), 40),
                    text(row, "at")
                        .get(..16)
                        .unwrap_or_default()
                        .replace('T', " "),
                    clean(text(row, "because"), 80),
                ]);
            }
            table.print("nothing is stopped; `nightcrew stop SCOPE` stops something");
            return Ok(0);
        };
        let path = if wanted.lift { "/stops/lift" } else { "/stops" };
        let body = json!({"scope": scope, "because": wanted.because});
        let answer: Value = client.post(path, &body).await?;
        if print::is_json() {
            print::json(&answer);
        } else if wanted.lift {
            print::note(format!("{} goes on", clean(&scope, 80)));
        } else {
            let scope = clean(text(&answer, "scope"), 80);
            print::note(format!("{scope} is stopped"));
            print::hint(&format!("`nightcrew stop --lift {scope}` lets it go on"));
        }
        Ok(0)
    })
    .await
}
