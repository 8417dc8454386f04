//! Effect: what is left of a closed campaign is cancelled; open changes follow by their own effects.

use engine::task::TaskCommand;
use model::ids::CampaignId;
use model::reason::ReasonCode;
use model::rows::OutboxRow;
use model::task::TaskStatus;
use store::{Page, TaskFilter, TaskOrder};

use super::outbox::Outcome;
use crate::error::ServiceError;
use crate::service::{Actor, Service};

pub(super) async fn carry_out(
    service: &Service,
    _row: &OutboxRow,
    campaign: CampaignId,
) -> Result<Outcome, ServiceError> {
    let statuses = TaskStatus::ALL
        .iter()
        .copied()
        .filter(|status| !status.is_final())
        .collect();
    let filter = TaskFilter {
        campaign: Some(campaign),
        statuses,
        ..TaskFilter::default()
    };
    let rows = service
        .store
        .tasks(filter, TaskOrder::Target, Page::first(u32::MAX))
        .await?;
    for row in rows {
        let command = TaskCommand::Cancel {
            code: ReasonCode::CampaignClosed,
            sentence: "its campaign was closed".to_owned(),
        };
        // A rejection: it ended in the meantime.
        service
            .execute(row.id, &Actor::system(), None, &[command], &[])
            .await?;
    }
    Ok(Outcome::Finished)
}
