//! Measures a store: commits and claims per second with fsync, and lists with 10,000 tasks.
//!
//! `cargo run --release --example throughput -- sqlite:/some/folder/bench.sqlite [CALLERS]`; the
//! store must be new. With `postgres` as address a throw-away server is used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use model::campaign::CampaignStatus;
use model::event::{NewEvent, Subject};
use model::ids::{CampaignId, EffectId, RunId, TaskId};
use model::rows::{CampaignRow, Effect, OutboxRow, Row, RunRow, Stream, TaskRow};
use model::run::{RunStatus, Target};
use model::task::TaskStatus;
use store::{
    Append, Claim, Claimed, Commit, LeaseChange, Limits, OpenOptions, Page, Store, TaskFilter,
    TaskOrder,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const TASKS: u32 = 10_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("an address is missing")?;
    let callers = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let database = if address == "postgres" {
        Some(testkit::postgres::database()?)
    } else {
        None
    };
    let address = database
        .as_ref()
        .map_or(address.as_str(), testkit::postgres::Database::url);
    let store = store::open(address, OpenOptions::default()).await?;
    say(&format!("{} with {callers} callers", store.describe()));
    admissions(&store, callers, 20_000).await?;
    fill(&*store).await?;
    lists(&*store).await?;
    claims(&store).await?;
    steps(&store, callers).await?;
    lists(&*store).await?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what this program is for")]
fn say(line: &str) {
    println!("{line}");
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000)
}

/// Each caller admits events: event, run, one outbox row, two leaves.
async fn admissions(store: &Arc<dyn Store>, callers: u32, total: u32) -> Result<(), Failure> {
    let begun = Instant::now();
    let each = total / callers;
    let mut waiting = Vec::new();
    for caller in 0..callers {
        let store = Arc::clone(store);
        waiting.push(tokio::spawn(async move {
            let mut times = Vec::with_capacity(each as usize);
            for n in 0..each {
                let begun = Instant::now();
                store.commit(admission(&format!("{caller}/{n}"))).await?;
                times.push(begun.elapsed());
            }
            Ok::<_, store::StoreError>(times)
        }));
    }
    let mut times = Vec::new();
    for one in waiting {
        times.extend(one.await??);
    }
    rate("events admitted", times.len(), begun.elapsed(), times);
    Ok(())
}

fn admission(key: &str) -> Commit {
    let event = NewEvent {
        source: "bench".to_owned(),
        event_type: "push".to_owned(),
        subject: Subject {
            repository: Some(format!("group/{key}")),
            ..Subject::default()
        },
        dedupe_key: key.to_owned(),
        time: None,
        actor: "person:bench".to_owned(),
        data: serde_json::json!({"text": "x".repeat(200)}),
    };
    let event = event.admitted(now());
    let id = RunId::of("bench", event.id);
    let row = RunRow {
        id,
        automation: "bench".to_owned(),
        event: event.id,
        status: RunStatus::Planning,
        campaign: None,
        tasks: 0,
        created_at: now(),
    };
    let effect = OutboxRow {
        id: EffectId::of(&id.to_string(), 1, 0),
        due_at: now(),
        lane: id.to_string(),
        attempts: 0,
        effect: Effect::PlanRun { run: id },
    };
    Commit {
        event: Some(event),
        appends: vec![append(Stream::Run(id), Row::Run(row), 0)],
        effects: vec![effect],
        leaves: vec![vec![7; 300], vec![8; 300]],
        ..Commit::default()
    }
}

fn append(stream: Stream, row: Row, expected_seq: u64) -> Append {
    Append {
        stream,
        expected_seq,
        epoch: None,
        facts: vec![format!("{{\"fact\":\"{}\"}}", "f".repeat(400))],
        state: format!("{{\"state\":\"{}\"}}", "s".repeat(2_000)),
        row,
        spent_ms: 1_000,
        lease: LeaseChange::Keep,
    }
}

fn campaign(n: u32) -> CampaignId {
    CampaignId::derived(&["bench", &n.to_string()])
}

fn task(n: u32, status: TaskStatus) -> TaskRow {
    let target = Target::repository(format!("group/repository-{n}"));
    TaskRow {
        id: TaskId::derived(&[&n.to_string()]),
        run: RunId::derived(&["bench"]),
        // One big campaign and four small ones.
        campaign: campaign(if n.is_multiple_of(10) {
            1 + n / 10 % 4
        } else {
            0
        }),
        automation: "bench".to_owned(),
        target,
        wave: n % 3,
        status,
        wait: None,
        settled: false,
        paused: false,
        next_step: 0,
        round: 1,
        reason: None,
        sentence: None,
        change: n.is_multiple_of(2).then_some(u64::from(n)),
        diff_class: n.is_multiple_of(2).then(|| format!("class-{}", n % 12)),
        created_at: now(),
        updated_at: now() + SignedDuration::from_secs(n.into()),
    }
}

async fn fill(store: &dyn Store) -> Result<(), Failure> {
    let begun = Instant::now();
    let campaigns = (0..5).map(|n| {
        let row = CampaignRow {
            id: campaign(n),
            automation: format!("bench-{n}"),
            status: CampaignStatus::Active,
            admitted_wave: 9,
            targets: TASKS,
            max_running: Some(50_000),
            max_open: Some(50_000),
            created_at: now(),
            updated_at: now(),
        };
        append(Stream::Campaign(row.id), Row::Campaign(row), 0)
    });
    store
        .commit(Commit {
            appends: campaigns.collect(),
            ..Commit::default()
        })
        .await?;
    for chunk in (0..TASKS).collect::<Vec<_>>().chunks(500) {
        let rows = chunk.iter().map(|n| {
            let row = task(*n, TaskStatus::Queued);
            append(Stream::Task(row.id), Row::Task(row), 0)
        });
        store
            .commit(Commit {
                appends: rows.collect(),
                ..Commit::default()
            })
            .await?;
    }
    rate(
        "tasks made, 500 a commit",
        TASKS as usize,
        begun.elapsed(),
        Vec::new(),
    );
    Ok(())
}

/// Claims all tasks, ten at a time, and lets go of half of them for the steps.
async fn claims(store: &Arc<dyn Store>) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut times = Vec::new();
    let mut count = 0;
    for _ in 0..200 {
        let started = Instant::now();
        count += store.claim(claim(10)).await?.len();
        times.push(started.elapsed());
    }
    rate(
        "tasks claimed, 10 at a time, one claimer",
        count,
        begun.elapsed(),
        times,
    );
    Ok(())
}

fn claim(slots: u32) -> Claim {
    Claim {
        owner: "bench".to_owned(),
        slots,
        now: now(),
        until: now() + SignedDuration::from_secs(60),
        limits: Limits {
            running: Some(50_000),
            running_per_campaign: None,
        },
    }
}

/// Callers each take tasks through eight durable steps under their leases.
async fn steps(store: &Arc<dyn Store>, callers: u32) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut waiting = Vec::new();
    for _ in 0..callers {
        let store = Arc::clone(store);
        waiting.push(tokio::spawn(async move {
            let mut times = Vec::new();
            for one in store.claim(claim(20)).await? {
                times.extend(eight_steps(&*store, one).await?);
            }
            Ok::<_, store::StoreError>(times)
        }));
    }
    let mut times = Vec::new();
    for one in waiting {
        times.extend(one.await??);
    }
    rate("steps under a lease", times.len(), begun.elapsed(), times);
    Ok(())
}

async fn eight_steps(store: &dyn Store, one: Claimed) -> Result<Vec<Duration>, store::StoreError> {
    let n = (0..TASKS)
        .find(|n| TaskId::derived(&[&n.to_string()]) == one.task)
        .unwrap_or(0);
    let mut times = Vec::new();
    for step in 0..8 {
        let last = step == 7;
        let status = if last {
            TaskStatus::InReview
        } else {
            TaskStatus::Running
        };
        let row = TaskRow {
            next_step: step,
            settled: last,
            ..task(n, status)
        };
        let lease = if last {
            LeaseChange::Release
        } else {
            LeaseChange::Keep
        };
        let begun = Instant::now();
        let append = append(
            Stream::Task(one.task),
            Row::Task(row),
            one.seq + u64::from(step),
        );
        let append = Append {
            epoch: Some(one.epoch),
            lease,
            ..append
        };
        store
            .commit(Commit {
                appends: vec![append],
                leaves: vec![vec![9; 300]],
                ..Commit::default()
            })
            .await?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

async fn lists(store: &dyn Store) -> Result<(), Failure> {
    let page = Page::first(50);
    let deep = Page {
        offset: 8_000,
        limit: 50,
    };
    let all = TaskFilter::default;
    let own = || TaskFilter {
        campaign: Some(campaign(0)),
        ..TaskFilter::default()
    };
    let review = || TaskFilter {
        statuses: vec![TaskStatus::InReview],
        ..own()
    };
    let text = || TaskFilter {
        text: Some("-99".to_owned()),
        ..all()
    };
    let inbox = || TaskFilter {
        inbox: true,
        ..all()
    };
    let unsettled = || TaskFilter {
        unsettled: true,
        ..own()
    };
    timed("newest tasks", || {
        store.tasks(all(), TaskOrder::Newest, page)
    })
    .await?;
    timed("newest tasks, page 160", || {
        store.tasks(all(), TaskOrder::Newest, deep)
    })
    .await?;
    timed("tasks of a campaign, newest", || {
        store.tasks(own(), TaskOrder::Newest, page)
    })
    .await?;
    timed("tasks of a campaign by target, page 160", || {
        store.tasks(own(), TaskOrder::Target, deep)
    })
    .await?;
    timed("tasks of a campaign in review", || {
        store.tasks(review(), TaskOrder::Newest, page)
    })
    .await?;
    timed("tasks by text", || {
        store.tasks(text(), TaskOrder::Newest, page)
    })
    .await?;
    timed("inbox", || store.tasks(inbox(), TaskOrder::Newest, page)).await?;
    timed("count of all", || store.count_tasks(all())).await?;
    timed("count of unsettled of a campaign", || {
        store.count_tasks(unsettled())
    })
    .await?;
    timed("count by text", || store.count_tasks(text())).await?;
    timed("status counts of a campaign", || {
        store.status_counts(Some(campaign(0)))
    })
    .await?;
    timed("status counts of all", || store.status_counts(None)).await?;
    timed("wave progress", || store.wave_progress(campaign(0))).await?;
    timed("campaign spend", || store.campaign_spend(campaign(0))).await?;
    timed("diff classes", || store.diff_classes(campaign(0))).await?;
    timed("due effects, 50", || {
        store.due_effects("bench", now(), now(), 50)
    })
    .await?;
    timed("load of a task", || {
        store.load(Stream::Task(TaskId::derived(&["77"])))
    })
    .await?;
    Ok(())
}

async fn timed<T, F>(what: &str, run: impl Fn() -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<T, store::StoreError>>,
{
    let mut times = Vec::new();
    for _ in 0..30 {
        let begun = Instant::now();
        run().await?;
        times.push(begun.elapsed());
    }
    times.sort();
    say(&format!(
        "  {what:<42} p50 {:>7.2} ms, worst {:>7.2} ms",
        millis(times[15]),
        millis(times[29])
    ));
    Ok(())
}

fn rate(what: &str, count: usize, wall: Duration, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| {
        times
            .get((times.len() as f64 * share) as usize)
            .copied()
            .map_or(0.0, millis)
    };
    let per_second = count as f64 / wall.as_secs_f64();
    say(&format!(
        "{what:<44} {per_second:>8.0}/s, p50 {:.2} ms, p99 {:.2} ms",
        at(0.5),
        at(0.99)
    ));
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
