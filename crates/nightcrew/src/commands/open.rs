//! `nightcrew open`: a fresh link to the running console.

use serde_json::{Value, json};

use super::text;
use crate::cli::Global;
use crate::client::Client;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::print;

pub(super) async fn execute(global: &Global) -> Result<u8, Failure> {
    let config = Config::load(global)?;
    let data_dir = DataDir::open(config.data_dir()?)?;
    let nobody = || {
        Failure::new(format!("no server runs on {}", data_dir.root().display()))
            .hint("start one with `nightcrew up`, or name its --data-dir")
    };
    let client = Client::new(data_dir.endpoint().ok_or_else(nobody)?);
    if !client.is_alive().await {
        return Err(nobody());
    }
    let answer: Value = client.post("/console-link", &json!({})).await?;
    print::line(format!(
        "{}/login?token={}",
        client.url(),
        text(&answer, "token")
    ));
    Ok(0)
}
