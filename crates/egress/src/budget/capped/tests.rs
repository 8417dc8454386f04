use std::sync::Arc;

use proptest::prelude::*;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn spender(account: &str) -> Spender {
    Spender {
        environment: "env".to_owned(),
        account: account.to_owned(),
    }
}

fn tokens(tokens: u64) -> Amount {
    Amount {
        money: MicroUsd(0),
        tokens,
    }
}

fn cap(scope: &str, limit: u64, accounts: &[&str]) -> Cap {
    let limit = Amount {
        money: MicroUsd(u64::MAX),
        tokens: limit,
    };
    Cap {
        scope: scope.to_owned(),
        limit,
        accounts: accounts.iter().map(|&name| name.to_owned()).collect(),
    }
}

#[tokio::test]
async fn what_can_never_fit_is_refused_at_once_with_its_scope() {
    let capped = Capped::new(vec![
        cap("organisation", 1000, &[]),
        cap("task", 100, &["a"]),
    ]);
    let refused = capped
        .reserve(&spender("a"), tokens(101), PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(refused.scope, "task");
    let held = capped
        .reserve(&spender("a"), tokens(60), PATIENCE)
        .await
        .unwrap();
    capped.settle(&spender("a"), held, tokens(60)).await;
    assert!(
        capped
            .reserve(&spender("a"), tokens(41), PATIENCE)
            .await
            .is_err()
    );
    assert!(
        capped
            .reserve(&spender("b"), tokens(900), PATIENCE)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn callers_wait_in_order_for_settlements_rather_than_fail() {
    let capped = Arc::new(Capped::new(vec![cap("task", 100, &[])]));
    let first = capped
        .reserve(&spender("a"), tokens(100), PATIENCE)
        .await
        .unwrap();
    let large = tokio::spawn({
        let capped = capped.clone();
        async move { capped.reserve(&spender("a"), tokens(90), PATIENCE).await }
    });
    while capped.state().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    let small = tokio::spawn({
        let capped = capped.clone();
        async move { capped.reserve(&spender("a"), tokens(10), PATIENCE).await }
    });
    while capped.state().waiting.len() < 2 {
        tokio::task::yield_now().await;
    }
    capped.settle(&spender("a"), first, tokens(5)).await;
    let large = large.await.unwrap().unwrap();
    assert!(!small.is_finished(), "95 of 100 are taken");
    capped.settle(&spender("a"), large, tokens(0)).await;
    small.await.unwrap().unwrap();
    assert_eq!(capped.used("task"), (tokens(5), tokens(10)));
}

#[tokio::test]
async fn whoever_goes_away_while_waiting_holds_nothing() {
    let capped = Arc::new(Capped::new(vec![cap("task", 100, &[])]));
    let first = capped
        .reserve(&spender("a"), tokens(100), PATIENCE)
        .await
        .unwrap();
    assert!(
        capped
            .reserve(&spender("a"), tokens(50), Duration::ZERO)
            .await
            .is_err()
    );
    let gone = tokio::spawn({
        let capped = capped.clone();
        async move { capped.reserve(&spender("a"), tokens(50), PATIENCE).await }
    });
    while capped.state().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    gone.abort();
    assert!(gone.await.is_err());
    capped.settle(&spender("a"), first, tokens(0)).await;
    assert_eq!(capped.used("task"), (tokens(0), tokens(0)));
    assert!(
        capped
            .reserve(&spender("a"), tokens(100), Duration::ZERO)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_raised_cap_lets_those_who_wait_go_on() {
    let capped = Arc::new(Capped::new(vec![cap("task", 100, &[])]));
    let _held = capped
        .reserve(&spender("a"), tokens(100), PATIENCE)
        .await
        .unwrap();
    let waiting = tokio::spawn({
        let capped = capped.clone();
        async move { capped.reserve(&spender("a"), tokens(100), PATIENCE).await }
    });
    while capped.state().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    capped.raise(
        "task",
        Amount {
            money: MicroUsd(u64::MAX),
            tokens: 200,
        },
    );
    waiting.await.unwrap().unwrap();
}

#[derive(Debug, Clone)]
struct Plan {
    worst: u64,
    part: u8,
    killed: u8,
    account: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    (1u64..60, 0u8..=100, 0u8..6, any::<bool>()).prop_map(|(worst, part, killed, account)| Plan {
        worst,
        part,
        killed,
        account,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn with_random_kills_spent_and_reserved_stay_under_every_cap(plans in proptest::collection::vec(plan(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let capped = Arc::new(Capped::new(vec![cap("all", 200, &[]), cap("one", 90, &["a"])]));
        runtime.block_on(async {
            let mut callers = Vec::new();
            for plan in plans {
                let capped = capped.clone();
                let name = if plan.account { "a" } else { "b" };
                let killed = plan.killed;
                let caller = tokio::spawn(async move {
                    let spender = spender(name);
                    let Ok(held) = capped.reserve(&spender, tokens(plan.worst), PATIENCE).await else { return };
                    // What a killed caller leaves open is charged in full by whoever kept it.
                    let settled = tokio::spawn(async move {
                        tokio::task::yield_now().await;
                        capped.settle(&spender, held, tokens(plan.worst * u64::from(plan.part) / 100)).await;
                    });
                    let _ = settled.await;
                });
                if killed == 0 {
                    tokio::task::yield_now().await;
                    caller.abort();
                }
                callers.push(caller);
            }
            let watched = capped.clone();
            for caller in callers {
                let _ = caller.await;
                for (scope, limit) in [("all", 200), ("one", 90)] {
                    let (spent, reserved) = watched.used(scope);
                    assert!(spent.plus(reserved).tokens <= limit, "{scope}: {spent:?} {reserved:?}");
                }
            }
        });
        for (scope, limit) in [("all", 200), ("one", 90)] {
            let (spent, _) = capped.used(scope);
            prop_assert!(spent.tokens <= limit);
        }
        let state = capped.state();
        prop_assert!(state.waiting.is_empty());
    }
}
