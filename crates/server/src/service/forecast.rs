//! What a campaign will take, as a range: from what earlier tasks took, else from the caps. It says
//! what it is based on, and what is not known is left out rather than guessed.

use model::automation::Definition;
use model::ids::CampaignId;
use serde::{Deserialize, Serialize};
use store::{Page, TaskFilter, TaskOrder};

use super::Service;
use crate::error::ServiceError;

/// Earlier tasks looked at, at most: the newest.
const MOST_SAMPLES: u32 = 200;
/// Below so many samples nothing is said from them.
const FEWEST: usize = 3;

/// From the cheapest to the dearest that is to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// If all tasks are as the cheapest tenth was; 0 where only caps are known.
    pub low: u64,
    /// If all are as the dearest tenth was, or at their caps; absent where nothing bounds it.
    pub high: Option<u64>,
}

/// What a forecast is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "from")]
pub enum Basis {
    /// What this campaign's settled tasks took (after the canary).
    Campaign {
        /// How many.
        seen: usize,
    },
    /// What earlier tasks of the automation took.
    Earlier {
        /// How many.
        seen: usize,
    },
    /// Nothing was seen yet: the caps alone.
    Caps,
}

/// What is to be expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// Tasks that it is about: for a campaign, those that are not settled.
    pub tasks: u64,
    /// What it is based on.
    #[serde(flatten)]
    pub basis: Basis,
    /// Money in millionths of a US dollar; absent where no call was ever paid and nothing is capped.
    pub money: Option<Range>,
    /// Wall time of steps, in milliseconds, all tasks added up.
    pub wall_ms: Option<Range>,
    /// Minutes of the forge's CI: not known before a forge with CI reports them.
    pub ci_minutes: Option<Range>,
    /// In words.
    pub sentence: String,
}

/// What one task took.
#[derive(Debug, Clone, Copy)]
struct Sample {
    money: u64,
    wall: u64,
}

impl Service {
    /// What so many tasks of an automation would take.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forecast(
        &self,
        definition: &Definition,
        tasks: u64,
    ) -> Result<Forecast, ServiceError> {
        let filter = TaskFilter {
            automation: Some(definition.name.clone()),
            ..TaskFilter::default()
        };
        let samples = self.samples(filter).await?;
        let basis = if samples.len() < FEWEST {
            Basis::Caps
        } else {
            Basis::Earlier {
                seen: samples.len(),
            }
        };
        Ok(estimate(definition, tasks, basis, &samples))
    }

    /// What is left of a campaign: from its own settled tasks as soon as there are some, so that it is
    /// estimated anew after the canary.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forecast_campaign(&self, id: CampaignId) -> Result<Forecast, ServiceError> {
        let campaign = self.campaign(id).await?;
        let automation = self
            .automation_version(&campaign.automation, campaign.version)
            .await?;
        let progress = self.store.wave_progress(id).await?;
        let settled: u64 = progress.iter().map(|wave| u64::from(wave.settled)).sum();
        let left = u64::from(campaign.targets).saturating_sub(settled);
        let filter = TaskFilter {
            campaign: Some(id),
            ..TaskFilter::default()
        };
        let own = self.samples(filter).await?;
        if own.len() >= FEWEST {
            let basis = Basis::Campaign { seen: own.len() };
            return Ok(estimate(&automation.definition, left, basis, &own));
        }
        self.forecast(&automation.definition, left).await
    }

    /// What the newest tasks that were settled and did something took.
    async fn samples(&self, filter: TaskFilter) -> Result<Vec<Sample>, ServiceError> {
        let rows = self
            .store
            .tasks(filter, TaskOrder::Newest, Page::first(MOST_SAMPLES))
            .await?;
        let mut samples = Vec::new();
        for row in rows.into_iter().filter(|row| row.settled) {
            let task = self.task(row.id).await?;
            if task.spent_ms == 0 {
                continue;
            }
            let account = self
                .store
                .budget_account(&format!("task:{}", row.id))
                .await?;
            samples.push(Sample {
                money: account.map_or(0, |account| account.spent.money),
                wall: task.spent_ms,
            });
        }
        Ok(samples)
    }
}

/// From samples where there are some, and never above what the caps let through.
fn estimate(definition: &Definition, tasks: u64, basis: Basis, samples: &[Sample]) -> Forecast {
    let budget = definition.budget.clone().unwrap_or_default();
    let per_task = budget.per_task.clone().unwrap_or_default();
    let millis =
        |length: model::duration::Length| u64::try_from(length.0.as_millis()).unwrap_or(u64::MAX);
    let money_caps = [
        per_task.usd.map(|usd| usd.0.0.saturating_mul(tasks)),
        budget.usd.map(|usd| usd.0.0),
    ];
    let wall_caps = [
        per_task.wall.map(|wall| millis(wall).saturating_mul(tasks)),
        budget.wall.map(millis),
    ];
    let seen = basis != Basis::Caps;
    // Where no call was ever paid, nothing is known of money; that it was nothing says nothing.
    let paid = basis == Basis::Caps || samples.iter().any(|one| one.money > 0);
    let money = range(
        samples.iter().map(|one| one.money),
        tasks,
        seen,
        &money_caps,
    );
    let money = money.filter(|_| paid);
    let wall = range(samples.iter().map(|one| one.wall), tasks, seen, &wall_caps);
    let mut forecast = Forecast {
        tasks,
        basis,
        money,
        wall_ms: wall,
        ci_minutes: None,
        sentence: String::new(),
    };
    forecast.sentence = sentence(&forecast);
    forecast
}

fn range(
    samples: impl Iterator<Item = u64>,
    tasks: u64,
    seen: bool,
    caps: &[Option<u64>],
) -> Option<Range> {
    let cap = caps.iter().flatten().min().copied();
    let mut all: Vec<u64> = samples.collect();
    all.sort_unstable();
    let (Some(last), true) = (all.len().checked_sub(1), seen) else {
        return cap.map(|cap| Range {
            low: 0,
            high: Some(cap),
        });
    };
    let at = |part: usize| all[last * part / 10].saturating_mul(tasks);
    let bound = |amount: u64| cap.map_or(amount, |cap| amount.min(cap));
    Some(Range {
        low: bound(at(1)),
        high: Some(bound(at(9))),
    })
}

fn sentence(forecast: &Forecast) -> String {
    use model::budget::MicroUsd;
    let length =
        |millis: u64| model::duration::Length::from_secs(millis.div_ceil(1000)).to_string();
    let mut parts = Vec::new();
    let shown = |range: &Range, show: &dyn Fn(u64) -> String| match range.high {
        Some(high) if range.low == 0 && forecast.basis == Basis::Caps => {
            format!("at most {}", show(high))
        }
        Some(high) => format!("{} to {}", show(range.low), show(high)),
        None => format!("{} or more", show(range.low)),
    };
    if let Some(money) = &forecast.money {
        parts.push(shown(money, &|amount| MicroUsd(amount).to_string()));
    }
    if let Some(wall) = &forecast.wall_ms {
        parts.push(format!("{} of work", shown(wall, &length)));
    }
    let tasks = forecast.tasks;
    let based = match &forecast.basis {
        Basis::Campaign { seen } => format!("from {seen} settled tasks of this campaign"),
        Basis::Earlier { seen } => format!("from {seen} earlier tasks of the automation"),
        Basis::Caps => "from its caps alone, nothing was seen yet".to_owned(),
    };
    if parts.is_empty() {
        return format!("{tasks} tasks; nothing is known of their cost, and nothing caps it");
    }
    format!(
        "{tasks} tasks: {} ({based}; CI minutes are not known)",
        parts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(budget: &str) -> Definition {
        let text = format!("name: a\nsteps: [{{command: x}}]\nbudget: {budget}\n");
        engine::definition::read(&text, "a.yaml").unwrap()
    }

    #[test]
    fn without_samples_the_caps_speak_and_without_caps_nothing_does() {
        let capped = definition("{usd: 10, per_task: {usd: 0.5, wall: 5m}}");
        let forecast = estimate(&capped, 4, Basis::Caps, &[]);
        assert_eq!(
            forecast.sentence,
            "4 tasks: at most $2.00, at most 20m of work (from its caps alone, nothing was seen yet; CI minutes are not known)"
        );
        let free = estimate(&definition("{}"), 4, Basis::Caps, &[]);
        assert_eq!((free.money, free.wall_ms), (None, None));
    }

    #[test]
    fn samples_give_a_range_that_caps_bound() {
        let samples: Vec<Sample> = (1..=11)
            .map(|n| Sample {
                money: n * 100_000,
                wall: n * 1_000,
            })
            .collect();
        let basis = Basis::Earlier { seen: 11 };
        let free = estimate(&definition("{}"), 10, basis.clone(), &samples);
        assert_eq!(
            free.money,
            Some(Range {
                low: 2_000_000,
                high: Some(10_000_000)
            })
        );
        let capped = estimate(&definition("{usd: 5}"), 10, basis, &samples);
        assert_eq!(capped.money.unwrap().high, Some(5_000_000));
        let json = serde_json::to_value(&capped).unwrap();
        assert_eq!((&json["tasks"], &json["seen"]), (&10.into(), &11.into()));
        assert!(
            capped.sentence.contains("from 11 earlier tasks"),
            "{}",
            capped.sentence
        );
        let none = estimate(&definition("{}"), u64::MAX, Basis::Caps, &samples);
        assert_eq!(none.money, None);
    }
}
