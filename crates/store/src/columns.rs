//! Reading columns of either database into the nouns.

use std::str::FromStr;

use jiff::Timestamp;
use model::campaign::CampaignStatus;
use model::event::Event;
use model::rows::{CampaignRow, OutboxRow, RunRow, TaskRow};
use model::run::{RunStatus, Target};
use model::task::WaitKind;

use crate::error::StoreError;

/// Columns of a task row, in the order of [`task_row`].
pub(crate) const TASK: &str = "id, run, campaign, automation, repository, path, key, wave, created_at, status, \
     wait, settled, paused, next_step, round, reason, sentence, change, diff_class, updated_at";
/// Columns of a campaign row, in the order of [`campaign_row`].
pub(crate) const CAMPAIGN: &str =
    "id, automation, status, admitted_wave, targets, max_running, max_open, created_at, updated_at";
/// Columns of a run row, in the order of [`run_row`].
pub(crate) const RUN: &str = "id, automation, event, status, campaign, tasks, created_at";
/// Columns of an outbox row, in the order of [`outbox_row`].
pub(crate) const OUTBOX: &str = "id, due_at, lane, attempts, effect";

/// A row of a result, of whichever database.
pub(crate) trait Columns {
    /// Text, or nothing where the column is null.
    fn text_or_null(&self, at: usize) -> Result<Option<String>, StoreError>;
    /// A number, or nothing where the column is null.
    fn int_or_null(&self, at: usize) -> Result<Option<i64>, StoreError>;
    /// Yes or no.
    fn flag(&self, at: usize) -> Result<bool, StoreError>;
    /// Bytes.
    fn bytes(&self, at: usize) -> Result<Vec<u8>, StoreError>;

    /// Text.
    fn text(&self, at: usize) -> Result<String, StoreError> {
        self.text_or_null(at)?.ok_or_else(|| unexpected_null(at))
    }

    /// A number.
    fn int(&self, at: usize) -> Result<i64, StoreError> {
        self.int_or_null(at)?.ok_or_else(|| unexpected_null(at))
    }

    /// A number that cannot be negative, of whatever width.
    fn count<T: TryFrom<i64>>(&self, at: usize) -> Result<T, StoreError> {
        narrow(self.int(at)?)
    }

    /// Like [`Columns::count`], or nothing where the column is null.
    fn count_or_null<T: TryFrom<i64>>(&self, at: usize) -> Result<Option<T>, StoreError> {
        self.int_or_null(at)?.map(narrow).transpose()
    }

    /// Something that parses itself, such as an id.
    fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, at: usize) -> Result<T, StoreError> {
        parse(&self.text(at)?)
    }

    /// A point in time.
    fn time(&self, at: usize) -> Result<Timestamp, StoreError> {
        Ok(from_nanos(self.int(at)?))
    }
}

fn unexpected_null(at: usize) -> StoreError {
    StoreError::Damaged(format!("column {at} is null"))
}

fn narrow<T: TryFrom<i64>>(number: i64) -> Result<T, StoreError> {
    T::try_from(number).map_err(|_| StoreError::Damaged(format!("{number} is out of range")))
}

fn parse<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|error: T::Err| StoreError::Damaged(error.to_string()))
}

/// Nanoseconds since 1970; times outside 1677 to 2262 become the nearest that fits.
pub(crate) fn to_nanos(time: Timestamp) -> i64 {
    let nearest = if time < Timestamp::UNIX_EPOCH {
        i64::MIN
    } else {
        i64::MAX
    };
    i64::try_from(time.as_nanosecond()).unwrap_or(nearest)
}

/// The reverse of [`to_nanos`].
pub(crate) fn from_nanos(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanos.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Numbers that the database keeps signed; what does not fit becomes the greatest that does.
pub(crate) fn to_int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads the columns of [`TASK`].
pub(crate) fn task_row(row: &impl Columns) -> Result<TaskRow, StoreError> {
    Ok(TaskRow {
        id: row.parsed(0)?,
        run: row.parsed(1)?,
        campaign: row.parsed(2)?,
        automation: row.text(3)?,
        target: Target {
            repository: row.text(4)?,
            path: row.text(5)?,
            key: row.text(6)?,
        },
        wave: row.count(7)?,
        created_at: row.time(8)?,
        status: row.parsed(9)?,
        wait: wait_kind(row, 10)?,
        settled: row.flag(11)?,
        paused: row.flag(12)?,
        next_step: row.count(13)?,
        round: row.count(14)?,
        reason: row.text_or_null(15)?,
        sentence: row.text_or_null(16)?,
        change: row.count_or_null(17)?,
        diff_class: row.text_or_null(18)?,
        updated_at: row.time(19)?,
    })
}

/// Reads a wait kind.
pub(crate) fn wait_kind(row: &impl Columns, at: usize) -> Result<Option<WaitKind>, StoreError> {
    let Some(text) = row.text_or_null(at)? else {
        return Ok(None);
    };
    let kind = WaitKind::ALL.iter().find(|kind| kind.as_str() == text);
    kind.copied()
        .map(Some)
        .ok_or_else(|| StoreError::Damaged(format!("`{text}` is no wait")))
}

/// Reads the columns of [`CAMPAIGN`].
pub(crate) fn campaign_row(row: &impl Columns) -> Result<CampaignRow, StoreError> {
    Ok(CampaignRow {
        id: row.parsed(0)?,
        automation: row.text(1)?,
        status: campaign_status(&row.text(2)?)?,
        admitted_wave: row.count(3)?,
        targets: row.count(4)?,
        max_running: row.count_or_null(5)?,
        max_open: row.count_or_null(6)?,
        created_at: row.time(7)?,
        updated_at: row.time(8)?,
    })
}

fn campaign_status(text: &str) -> Result<CampaignStatus, StoreError> {
    use CampaignStatus::{Active, Closed, Held, Paused};
    let found = [Active, Paused, Held, Closed]
        .into_iter()
        .find(|status| status.as_str() == text);
    found.ok_or_else(|| StoreError::Damaged(format!("`{text}` is no campaign status")))
}

/// Reads the columns of [`RUN`].
pub(crate) fn run_row(row: &impl Columns) -> Result<RunRow, StoreError> {
    Ok(RunRow {
        id: row.parsed(0)?,
        automation: row.text(1)?,
        event: row.parsed(2)?,
        status: run_status(&row.text(3)?)?,
        campaign: row.text_or_null(4)?.map(|text| parse(&text)).transpose()?,
        tasks: row.count(5)?,
        created_at: row.time(6)?,
    })
}

fn run_status(text: &str) -> Result<RunStatus, StoreError> {
    use RunStatus::{Failed, Planned, Planning};
    let found = [Planning, Planned, Failed]
        .into_iter()
        .find(|status| status.as_str() == text);
    found.ok_or_else(|| StoreError::Damaged(format!("`{text}` is no run status")))
}

/// Reads the columns of [`OUTBOX`].
pub(crate) fn outbox_row(row: &impl Columns) -> Result<OutboxRow, StoreError> {
    Ok(OutboxRow {
        id: row.parsed(0)?,
        due_at: row.time(1)?,
        lane: row.text(2)?,
        attempts: row.count(3)?,
        effect: from_json(&row.text(4)?)?,
    })
}

/// Reads an event from its body.
pub(crate) fn event(row: &impl Columns, at: usize) -> Result<Event, StoreError> {
    from_json(&row.text(at)?)
}

/// Reads JSON that we wrote.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// Writes JSON that [`from_json`] reads.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Damaged(error.to_string()))
}
