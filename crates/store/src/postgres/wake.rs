//! `LISTEN` and `NOTIFY`: the hint between replicas.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::poll_fn;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

use super::client::failed;
use crate::error::StoreError;
use crate::wake::Wake;

/// Tells every replica that something changed.
pub(super) const NOTIFY: &str = "SELECT pg_notify('nightcrew_changed', '')";
/// Pause before the connection that listens is made again.
const RETRY: Duration = Duration::from_secs(1);

/// Listens from now on until the store is dropped.
pub(super) async fn listen(config: Config, wake: &Arc<Wake>) -> Result<(), StoreError> {
    let client = connect(&config, wake).await?;
    let wake = Arc::downgrade(wake);
    tokio::spawn(async move {
        let mut client = Some(client);
        while let Some(wake) = wake.upgrade() {
            // Without a connection nothing is heard; the slow poll of the callers goes on.
            if client.as_ref().is_none_or(Client::is_closed) {
                client = connect(&config, &wake).await.ok();
                wake.ring();
            }
            drop(wake);
            tokio::time::sleep(RETRY).await;
        }
    });
    Ok(())
}

async fn connect(config: &Config, wake: &Arc<Wake>) -> Result<Client, StoreError> {
    let (client, mut connection) = config
        .connect(NoTls)
        .await
        .map_err(|error| failed(&error))?;
    let wake: Weak<Wake> = Arc::downgrade(wake);
    tokio::spawn(async move {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(_))) => match wake.upgrade() {
                    Some(wake) => wake.ring(),
                    None => return,
                },
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    });
    client
        .batch_execute("LISTEN nightcrew_changed")
        .await
        .map_err(|error| failed(&error))?;
    Ok(client)
}
