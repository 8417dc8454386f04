//! Caps against many who spend at once, and against their deaths.

#![expect(clippy::unwrap_used, reason = "what a test did not expect ends it")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use common::Bench;
use model::budget::{Amount, BudgetLimits, MicroUsd, Usd};
use server::Service;

const PATIENCE: Duration = Duration::from_secs(60);

fn dollars(micro: u64) -> Option<Usd> {
    Some(Usd(MicroUsd(micro)))
}

fn money(micro: u64) -> Amount {
    Amount {
        money: MicroUsd(micro),
        tokens: micro / 10,
    }
}

async fn spent_and_held(service: &Service, scope: &str) -> (u64, u64) {
    let account = service.store().budget_account(scope).await.unwrap();
    let account = account.unwrap_or_default();
    (account.spent.money, account.held.money)
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

const CAP: u64 = 20_000_000;
const WORST: u64 = 10_000;
const AGENTS: usize = 200;
/// So many gateways die between the upstream's answer and the settlement.
const GATEWAY_KILLS: usize = 30;

/// What answers calls and keeps its own count of what they cost.
#[derive(Default)]
struct Upstream {
    spent: AtomicU64,
    calls: AtomicU64,
    dice: AtomicU64,
}

impl Upstream {
    async fn answer(&self) -> u64 {
        let number = self.dice.fetch_add(1, Ordering::Relaxed);
        let mut dice = Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.throw(2);
        for _ in 0..dice.throw(20) {
            tokio::task::yield_now().await;
        }
        let cost = 1_000 + dice.throw(WORST - 1_000 + 1);
        self.spent.fetch_add(cost, Ordering::SeqCst);
        self.calls.fetch_add(1, Ordering::SeqCst);
        cost
    }
}

/// What all agents of the test share.
struct Stage {
    service: Arc<Service>,
    upstream: Upstream,
    /// Gateways that are still to be killed.
    kills: AtomicUsize,
    impatient: AtomicUsize,
    refused: AtomicUsize,
}

/// One call, as a gateway carries it out: to its end, whatever becomes of the agent.
async fn call(stage: Arc<Stage>, account: String) -> Result<(), ()> {
    let reserved = stage
        .service
        .reserve(&account, Some("opus"), money(WORST), PATIENCE)
        .await;
    let call = match reserved {
        Ok(call) => call,
        Err(refused) => {
            if refused.sentence.contains("in time") {
                stage.impatient.fetch_add(1, Ordering::SeqCst);
            }
            stage.refused.fetch_add(1, Ordering::SeqCst);
            return Err(());
        }
    };
    let cost = stage.upstream.answer().await;
    let number = stage.upstream.calls.load(Ordering::SeqCst);
    let dies = number.is_multiple_of(50)
        && stage
            .kills
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok();
    if dies {
        // It dies with what it knows; whoever owned it says so.
        stage.service.abandon(&account).await;
        return Ok(());
    }
    stage.service.settle(call, money(cost)).await;
    Ok(())
}

async fn agent(stage: Arc<Stage>, account: String, done: Arc<AtomicBool>) {
    while !done.load(Ordering::SeqCst) {
        let calling = tokio::spawn(call(Arc::clone(&stage), account.clone()));
        if calling.await.unwrap().is_err() {
            done.store(true, Ordering::SeqCst);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_agents_with_random_deaths_never_spend_above_one_cap() {
    let mut bench = Bench::capped(BudgetLimits {
        usd: dollars(CAP),
        ..BudgetLimits::default()
    })
    .await;
    let stage = Arc::new(Stage {
        service: Arc::clone(&bench.service),
        upstream: Upstream::default(),
        kills: AtomicUsize::new(GATEWAY_KILLS),
        impatient: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
    });
    let mut agents = Vec::new();
    let mut next = 0;
    let mut start = |stage: &Arc<Stage>| {
        next += 1;
        let done = Arc::new(AtomicBool::new(false));
        let handle = tokio::spawn(agent(
            Arc::clone(stage),
            format!("agent-{next}"),
            Arc::clone(&done),
        ));
        (handle, done)
    };
    for _ in 0..AGENTS {
        agents.push(start(&stage));
    }
    let (mut dice, mut killed, mut seen) = (Dice(42), 0, 0);
    while agents.iter().any(|(_, done)| !done.load(Ordering::SeqCst)) {
        let calls = stage.upstream.calls.load(Ordering::SeqCst);
        while calls >= seen + 20 {
            seen += 20;
            let at = usize::try_from(dice.throw(AGENTS as u64)).unwrap();
            if !agents[at].1.load(Ordering::SeqCst) {
                // Wherever it is: in the queue, in a call, between two.
                agents[at].0.abort();
                agents[at] = start(&stage);
                killed += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for (handle, _) in agents {
        handle.await.unwrap();
    }
    // Calls of agents that died are carried out to their end.
    bench
        .until_now(async || spent_and_held(&stage.service, "organisation").await.1 == 0)
        .await;
    let spent = stage.upstream.spent.load(Ordering::SeqCst);
    let (charged, _) = spent_and_held(&stage.service, "organisation").await;
    let under = CAP - spent;
    println!(
        "{AGENTS} agents, {killed} killed, {GATEWAY_KILLS} gateways killed, {} calls: upstream counts {spent} of {CAP}, \
         under-use {under} ({:.2} %), charged {charged}",
        stage.upstream.calls.load(Ordering::SeqCst),
        f64::from(u32::try_from(under).unwrap()) * 100.0 / 20_000_000.0,
    );
    assert!(spent <= CAP, "the upstream counts {spent} of {CAP}");
    assert!(charged <= CAP && spent <= charged);
    assert!(under <= CAP / 50 + WORST, "{under} was not used");
    assert_eq!(
        stage.impatient.load(Ordering::SeqCst),
        0,
        "callers queue rather than fail"
    );
    assert!(stage.refused.load(Ordering::SeqCst) >= AGENTS);
    assert!(killed >= 100, "{killed}");
    assert_eq!(stage.kills.load(Ordering::SeqCst), 0);
    // What the model cost is told as well.
    assert_eq!(
        spent_and_held(&stage.service, "model:opus").await.0,
        charged
    );
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_held_counts_as_spent_and_nothing_more() {
    let bench = Bench::capped(BudgetLimits {
        usd: dollars(100_000),
        ..BudgetLimits::default()
    })
    .await;
    let service = &bench.service;
    let one = service
        .reserve("a", None, money(30_000), PATIENCE)
        .await
        .unwrap();
    let two = service
        .reserve("b", None, money(40_000), PATIENCE)
        .await
        .unwrap();
    service.settle(one, money(7_000)).await;
    assert_eq!(service.room("a").await.unwrap().0.money, MicroUsd(53_000));
    let bench = bench.killed().await;
    let service = &bench.service;
    bench
        .until_now(async || spent_and_held(service, "organisation").await == (47_000, 0))
        .await;
    // Its late word is of a call that nobody knows.
    service.settle(two, money(1)).await;
    let refused = service
        .reserve("c", None, money(53_001), PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(refused.scope, "organisation");
    assert!(
        refused.sentence.contains("has spent $0.047 of its $0.10"),
        "{refused}"
    );
    service
        .reserve("c", None, money(53_000), PATIENCE)
        .await
        .unwrap();
    assert_eq!(
        spent_and_held(service, "organisation").await,
        (47_000, 53_000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_waits_for_a_settlement_in_its_turn_and_not_for_ever() {
    let bench = Bench::capped(BudgetLimits {
        usd: dollars(100_000),
        ..BudgetLimits::default()
    })
    .await;
    let service = &bench.service;
    let first = service
        .reserve("a", None, money(90_000), PATIENCE)
        .await
        .unwrap();
    let refused = service
        .reserve("b", None, money(20_000), Duration::ZERO)
        .await
        .unwrap_err();
    assert!(
        refused.sentence.contains("held for calls under way"),
        "{refused}"
    );
    let wait = |account: &'static str, micro| {
        let service = Arc::clone(service);
        tokio::spawn(async move { service.reserve(account, None, money(micro), PATIENCE).await })
    };
    let big = wait("big", 60_000);
    bench
        .until_now(async || service.waiting_for_budget() == 1)
        .await;
    // What would fit does not overtake the one that waits.
    let small = wait("small", 5_000);
    bench
        .until_now(async || service.waiting_for_budget() == 2)
        .await;
    service.settle(first, money(30_000)).await;
    big.await.unwrap().unwrap();
    small.await.unwrap().unwrap();
    assert_eq!(
        spent_and_held(service, "organisation").await,
        (30_000, 65_000)
    );
    assert_eq!(service.waiting_for_budget(), 0);
    // Whoever stops waiting leaves the queue.
    let gone = wait("gone", 60_000);
    bench
        .until_now(async || service.waiting_for_budget() == 1)
        .await;
    gone.abort();
    bench
        .until_now(async || service.waiting_for_budget() == 0)
        .await;
}
