//! The forge's news: read when somebody says there are some, and slowly for all repositories,
//! because people push into the forge's folder without telling us.

use std::sync::Arc;
use std::time::Duration;

use forge::RepoName;
use tokio_util::sync::CancellationToken;

use crate::error::ServiceError;
use crate::service::{REPOSITORY, Service};

/// All repositories are looked at once in this time, or in a longer one where there are many.
const SLOW: Duration = Duration::from_secs(10);
/// Time for one repository: looking must stay far below one percent of a core.
const EACH: Duration = Duration::from_millis(50);

pub(super) async fn run(service: Arc<Service>, stop: CancellationToken) {
    let mut pause = SLOW;
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
            () = tokio::time::sleep(pause) => {
                match read_all(&service, &stop).await {
                    Ok(count) => pause = SLOW.max(EACH * count),
                    Err(error) => tracing::error!(%error, "the forge's news cannot be read"),
                }
            }
        }
    }
}

/// Looks at every repository; how many there are.
async fn read_all(service: &Service, stop: &CancellationToken) -> Result<u32, ServiceError> {
    let mut count = 0;
    for document in service.store.documents(REPOSITORY, "", u32::MAX).await? {
        if stop.is_cancelled() {
            return Ok(count);
        }
        count += 1;
        read(service, &document.key).await;
    }
    Ok(count)
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
