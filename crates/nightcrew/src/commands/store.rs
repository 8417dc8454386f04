//! `nightcrew store …`: straight on the store; no server may run on a SQLite one.

use serde_json::json;

use crate::cli::{Global, StoreCommand};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::node;
use crate::print;

pub(super) async fn execute(global: &Global, command: StoreCommand) -> Result<u8, Failure> {
    let config = Config::load(global)?;
    let data_dir = DataDir::open(config.data_dir()?)?;
    let store = node::open_store(&config, &data_dir).await?;
    match command {
        StoreCommand::Backup { file } => {
            store.backup(&file).await?;
            print::note(format!(
                "everything of {} is in {}",
                store.describe(),
                file.display()
            ));
            print::hint("blobs, forge and keys are folders of the data directory: copy them too");
            Ok(0)
        }
        StoreCommand::Restore { file } => {
            store.restore(&file).await?;
            print::note(format!(
                "{} was restored from {}",
                store.describe(),
                file.display()
            ));
            Ok(0)
        }
        StoreCommand::Verify => {
            let problems = store.verify().await?;
            if print::is_json() {
                print::json(&json!({"problems": problems}));
            } else if problems.is_empty() {
                print::line(format!("✔ {}: nothing wrong", store.describe()));
            } else {
                problems.iter().for_each(|problem| print::error(problem));
            }
            Ok(u8::from(!problems.is_empty()))
        }
    }
}
