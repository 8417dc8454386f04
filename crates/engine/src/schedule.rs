//! When a schedule comes due: cron expressions in a time zone, right over clock changes.

use std::str::FromStr;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A schedule that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The cron expression.
    #[error("`{cron}` is no cron expression: {cause}")]
    Cron {
        /// The expression.
        cron: String,
        /// What the reader says.
        cause: String,
    },
    /// The zone.
    #[error("`{0}` is no IANA time zone (write it like Europe/Berlin)")]
    Zone(String),
}

/// A schedule: when, and in which zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// Reads a cron expression of five fields and a zone (UTC when absent).
    ///
    /// # Errors
    /// [`ScheduleError`] names what cannot be read.
    pub fn read(cron: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        let invalid = |cause: String| ScheduleError::Cron {
            cron: cron.to_owned(),
            cause,
        };
        if cron.split_whitespace().count() != 5 {
            return Err(invalid(
                "it needs five fields: minute, hour, day, month, weekday".to_owned(),
            ));
        }
        let parsed = Cron::from_str(cron).map_err(|error| invalid(error.to_string()))?;
        let zone = match zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.to_owned()))?,
        };
        Ok(Self { cron: parsed, zone })
    }

    /// The first time it comes due strictly after `after`; `None` for one that never does.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let local = after.to_zoned(self.zone.clone());
        self.cron
            .find_next_occurrence(&local, false)
            .ok()
            .map(|zoned| zoned.timestamp())
    }

    /// The newest time it came due in the half-open span (`after`, `until`], for a server that
    /// was away: one late event stands for all that were missed.
    #[must_use]
    pub fn newest_due(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let first = self.next(after).filter(|due| *due <= until)?;
        let local = until.to_zoned(self.zone.clone());
        let newest = self
            .cron
            .find_previous_occurrence(&local, true)
            .ok()
            .map(|zoned| zoned.timestamp());
        Some(
            newest
                .filter(|due| *due > after && *due <= until)
                .unwrap_or(first),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn schedules_follow_their_zone_over_the_clock_change() {
        let schedule = Schedule::read("30 9 * * *", Some("Europe/Berlin")).unwrap();
        assert_eq!(
            schedule.next(at("2026-03-28T00:00:00Z")),
            Some(at("2026-03-28T08:30:00Z"))
        );
        assert_eq!(
            schedule.next(at("2026-03-29T00:00:00Z")),
            Some(at("2026-03-29T07:30:00Z"))
        );
    }

    #[test]
    fn a_missed_span_gives_its_newest_time_once() {
        let schedule = Schedule::read("0 * * * *", None).unwrap();
        let due = schedule.newest_due(at("2026-01-01T00:30:00Z"), at("2026-01-01T05:10:00Z"));
        assert_eq!(due, Some(at("2026-01-01T05:00:00Z")));
        assert_eq!(
            schedule.newest_due(at("2026-01-01T05:00:00Z"), at("2026-01-01T05:10:00Z")),
            None
        );
    }

    #[test]
    fn what_is_no_schedule_is_named() {
        assert!(matches!(
            Schedule::read("61 * * * *", None),
            Err(ScheduleError::Cron { .. })
        ));
        assert!(matches!(
            Schedule::read("* * * *", None),
            Err(ScheduleError::Cron { .. })
        ));
        assert!(matches!(
            Schedule::read("0 6 * * *", Some("Mars/Base")),
            Err(ScheduleError::Zone(_))
        ));
    }
}
