//! The forge's news: read when somebody says there are some, and slowly for all repositories,
//! because people push into the forge's folder without telling us.

use std::sync::Arc;
use std::time::Duration;

use forge::RepoName;
use tokio_util::sync::CancellationToken;

use crate::error::ServiceError;
use crate::service::{REPOSITORY, Service};

/// All repositories are looked at once in this time.
const SLOW: Duration = Duration::from_secs(10);

pub(super) async fn run(service: Arc<Service>, stop: CancellationToken) {
    loop {
        let named = match service.news.lock() {
            Ok(mut news) => std::mem::take(&mut *news),
            Err(_) => return,
        };
        for name in named {
            read(&service, &name).await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = service.news_wake.notified() => {}
            () = tokio::time::sleep(SLOW) => {
                if let Err(error) = read_all(&service, &stop).await {
                    tracing::error!(%error, "the forge's news cannot be read");
                }
            }
        }
    }
}

async fn read_all(service: &Service, stop: &CancellationToken) -> Result<(), ServiceError> {
    for document in service.store.documents(REPOSITORY, "", u32::MAX).await? {
        if stop.is_cancelled() {
            return Ok(());
        }
        read(service, &document.key).await;
    }
    Ok(())
}

async fn read(service: &Service, name: &str) {
    let Ok(repository) = name.parse::<RepoName>() else {
        return;
    };
    match service.read_news(&repository).await {
        Ok(_) | Err(ServiceError::Forge(forge::ForgeError::NotFound(_))) => {}
        Err(error) => {
            tracing::warn!(%repository, %error, "the news of a repository cannot be read");
        }
    }
}
