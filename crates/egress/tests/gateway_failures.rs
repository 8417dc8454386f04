//! Calls through the gateway as they should not go.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use egress::gateway::config::Kind;
use http_body_util::BodyExt as _;
use model::budget::{Amount, MicroUsd};
use model::egress::EgressKind;
use serde_json::json;
use support::upstream::{Reply, Scripted, Step, chat, messages};
use support::{KEY, MODEL, World, policy, request, spender, upstream, wait_for};
use tokio::sync::Semaphore;

fn ask(max_tokens: u64) -> String {
    json!({"model": MODEL, "max_tokens": max_tokens, "stream": true, "messages": []}).to_string()
}

fn good() -> Reply {
    Reply::events(&messages(MODEL, "a", 1000, 20))
}

const GOOD: u64 = 5000 + 500;

/// An address where nobody listens.
async fn nobody() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn what_failed_without_cost_is_tried_again_and_charged_once() {
    for status in [429, 529, 500, 503] {
        let server = Scripted::start(move |number, _| match number {
            0 => Reply::json(status, &json!({"error": {}})),
            _ => good(),
        })
        .await;
        let world = World::new(&[("a", upstream(Kind::Anthropic, server.address))]);
        let answer = world.post("/v1/messages", &ask(100)).await;
        assert_eq!(answer.status, 200, "{status}: {}", answer.text());
        assert_eq!(server.seen().len(), 2);
        assert_eq!(world.spent().await, GOOD, "{status}");
    }
}

#[tokio::test]
async fn another_upstream_takes_over_and_the_one_that_failed_rests() {
    let down =
        Scripted::start(|_, _| Reply::json(529, &json!({})).header("retry-after", "30")).await;
    let up = Scripted::start(|_, _| good()).await;
    let world = World::new(&[
        ("a", upstream(Kind::Anthropic, nobody().await)),
        ("b", upstream(Kind::Anthropic, down.address)),
        ("c", upstream(Kind::Anthropic, up.address)),
    ]);
    for _ in 0..3 {
        assert_eq!(world.post("/v1/messages", &ask(100)).await.status, 200);
    }
    assert_eq!((down.seen().len(), up.seen().len()), (1, 3));
    assert_eq!(world.spent().await, 3 * GOOD);
}

#[tokio::test]
async fn a_wait_that_an_upstream_asks_for_is_kept_or_passed_on() {
    let server =
        Scripted::start(|_, _| Reply::json(429, &json!({})).header("retry-after", "60")).await;
    let world = World::new(&[("a", upstream(Kind::Anthropic, server.address))]);
    let answer = world.post("/v1/messages", &ask(100)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (429, "60")
    );
    assert_eq!(server.seen().len(), 1);
    assert_eq!(world.spent().await, 0);
}

#[tokio::test]
async fn a_try_that_may_have_been_billed_is_charged_and_is_the_last() {
    for reply in [Reply::silent(), Reply::json(504, &json!({}))] {
        let server = Scripted::start(move |_, _| reply.clone()).await;
        let other = Scripted::start(|_, _| good()).await;
        let world = World::new(&[
            ("a", upstream(Kind::Anthropic, server.address)),
            ("b", upstream(Kind::Anthropic, other.address)),
        ]);
        let answer = world.post("/v1/messages", &ask(100)).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(other.seen().len(), 0);
        assert!(world.spent().await > 2500);
    }
}

#[tokio::test]
async fn who_hangs_up_pays_what_the_answer_says_at_its_end() {
    let gate = Arc::new(Semaphore::new(0));
    let waits = gate.clone();
    let server = Scripted::start(move |number, _| match number {
        0 => good().step(2, Step::Wait(waits.clone())),
        _ => good().held(&waits),
    })
    .await;
    let world = World::new(&[("a", upstream(Kind::Anthropic, server.address))]);
    let models = policy(&["*"]);
    let answer = world
        .gateway
        .handle(&spender("env"), &models, request("/v1/messages", &ask(100)))
        .await;
    let mut body = answer.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(world.gateway.under_way(), 1);
    gate.add_permits(1);
    assert_eq!(world.spent().await, GOOD);
    // Also who hangs up before the answer begins.
    let who = spender("env");
    let asked = world
        .gateway
        .handle(&who, &models, request("/v1/messages", &ask(100)));
    let seen = server.seen().len();
    tokio::select! {
        _ = asked => panic!("the answer waits"),
        () = wait_for(|| server.seen().len() > seen) => {}
    }
    gate.add_permits(1);
    assert_eq!(world.spent().await, 2 * GOOD);
}

#[tokio::test]
async fn a_stream_that_is_cut_is_charged_with_the_most_that_it_can_have_cost() {
    for (step, least) in [(0, 2500), (2, 5000 + 2500), (6, GOOD)] {
        let server = Scripted::start(move |_, _| good().step(step, Step::Cut)).await;
        let world = World::new(&[("a", upstream(Kind::Anthropic, server.address))]);
        let answer = world.post("/v1/messages", &ask(100)).await;
        assert!(answer.broken || answer.status == 503, "{step}");
        let spent = world.spent().await;
        assert!(spent >= least, "{step}: {spent}");
        if step == 2 {
            assert_eq!(spent, least);
        }
    }
}

#[tokio::test]
async fn an_answer_without_usage_or_with_none_that_means_anything_is_charged_in_full() {
    let usage = |text: &str| {
        Reply::new(
            200,
            "application/json",
            &format!("{{\"type\":\"message\",\"usage\":{text}}}"),
        )
    };
    for reply in [
        usage("{\"input_tokens\":0,\"output_tokens\":0}"),
        usage("{\"input_tokens\":-5,\"output_tokens\":1}"),
        usage("{\"input_tokens\":9223372036854775808,\"output_tokens\":1}"),
        usage("null"),
        Reply::new(200, "text/plain", "hello"),
        Reply::new(200, "text/event-stream", "data: {oops\n\n"),
        Reply::new(200, "application/json", ""),
    ] {
        let steps = reply.steps.clone();
        let server = Scripted::start(move |_, _| reply.clone()).await;
        let world = World::new(&[("a", upstream(Kind::Anthropic, server.address))]);
        let body = json!({"model": MODEL, "max_tokens": 1000, "messages": []}).to_string();
        assert_eq!(world.post("/v1/messages", &body).await.status, 200);
        assert!(world.spent().await >= 25_000, "{}", steps.len());
    }
}

#[tokio::test]
async fn an_error_in_the_stream_before_the_model_began_costs_nothing() {
    let event = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let server = Scripted::start(move |_, _| Reply::new(200, "text/event-stream", event)).await;
    let world = World::new(&[("a", upstream(Kind::Anthropic, server.address))]);
    assert_eq!(world.post("/v1/messages", &ask(100)).await.text(), event);
    assert_eq!(world.spent().await, 0);
}

#[tokio::test]
async fn what_the_upstream_says_is_wrong_is_passed_on_but_never_the_key() {
    let server = Scripted::start(|number, _| match number {
        0 => Reply::json(
            400,
            &json!({"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}),
        )
        .header("anthropic-ratelimit-tokens-remaining", "5"),
        1 => Reply::json(400, &json!({"error": format!("your key {KEY} is bad")})),
        2 => Reply::json(
            400,
            &json!({"error": format!("your key {}***", &KEY[..14])}),
        ),
        3 => Reply::new(302, "text/plain", "").header("location", "https://evil.example.test"),
        _ => Reply::json(401, &json!({"error": format!("your key {KEY} is bad")})),
    })
    .await;
    let world = World::new(&[("a", upstream(Kind::Anthropic, server.address))]);
    let first = world.post("/v1/messages", &ask(100)).await;
    assert_eq!(first.status, 400);
    assert!(first.text().contains("\"no\""));
    assert_eq!(first.header("anthropic-ratelimit-tokens-remaining"), "");
    for _ in 1..5 {
        let answer = world.post("/v1/messages", &ask(100)).await;
        assert!(answer.status.is_client_error(), "{}", answer.status);
        let all = format!("{:?}", answer.headers) + &answer.text();
        assert!(!all.contains(&KEY[..12]) && !all.contains("evil"), "{all}");
    }
    assert_eq!(world.spent().await, 0);
}

#[tokio::test]
async fn a_missing_key_is_told_and_nothing_is_sent() {
    let server = Scripted::start(|_, _| good()).await;
    let mut up = upstream(Kind::Anthropic, server.address);
    up.key = Some("other".to_owned());
    let world = World::new(&[("a", up)]);
    let answer = world.post("/v1/messages", &ask(100)).await;
    assert_eq!(answer.header("x-nightcrew-refused"), "credential_missing");
    assert_eq!(server.seen().len(), 0);
    assert_eq!(world.spent().await, 0);
}

#[tokio::test]
async fn at_the_cap_each_dialect_tells_its_agent_to_stop() {
    let server = Scripted::start(|_, _| good()).await;
    let world = World::with(
        &[
            ("a", upstream(Kind::Anthropic, server.address)),
            ("o", upstream(Kind::Openai, server.address)),
        ],
        1,
        |_| {},
    );
    let answer = world.post("/v1/messages", &ask(100_000)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-should-retry")),
        (402, "false")
    );
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(said["error"]["type"], "billing_error");
    let message = said["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("task") && message.contains("$1.00") && message.contains("raised"),
        "{message}"
    );
    for path in ["/v1/responses", "/v1/chat/completions"] {
        let answer = world
            .post(
                path,
                &json!({"model": "gpt-5", "messages": []})
                    .to_string()
                    .replace(
                        "messages",
                        if path == "/v1/responses" {
                            "input"
                        } else {
                            "messages"
                        },
                    ),
            )
            .await;
        let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            (answer.status.as_u16(), &said["error"]["code"]),
            (400, &json!("insufficient_quota")),
            "{said}"
        );
    }
    assert_eq!(server.seen().len(), 0);
    assert_eq!(world.kept.refused(EgressKind::Model), 3);
}

#[tokio::test]
async fn an_agent_is_told_when_less_than_a_tenth_is_left() {
    let server = Scripted::start(|_, _| Reply::events(&messages(MODEL, "a", 185_000, 20))).await;
    let world = World::with(
        &[("a", upstream(Kind::Anthropic, server.address))],
        1,
        |_| {},
    );
    let first = world.post("/v1/messages", &ask(10)).await;
    assert_eq!(first.header("x-nightcrew-budget"), "");
    assert!(world.spent().await > 900_000);
    let second = world.post("/v1/messages", &ask(10)).await;
    assert!(second.header("x-nightcrew-budget").contains("a tenth"));
    // It tells no amounts, which others' doings would show in.
    assert!(
        !second
            .header("x-nightcrew-budget")
            .contains(|letter: char| letter.is_ascii_digit())
    );
}

#[tokio::test]
async fn callers_over_one_cap_queue_and_the_upstream_never_sees_more_than_fits() {
    let gate = Arc::new(Semaphore::new(0));
    let waits = gate.clone();
    let server = Scripted::start(move |_, _| good().step(1, Step::Wait(waits.clone()))).await;
    // Each may cost at most a bit more than 40,000 tokens at $25: five at once fit under $6.
    let world = Arc::new(World::with(
        &[("a", upstream(Kind::Anthropic, server.address))],
        6,
        |_| {},
    ));
    let callers: Vec<_> = (0..20)
        .map(|number| {
            let world = world.clone();
            tokio::spawn(async move {
                let models = policy(&["*"]);
                let who = spender(if number % 2 == 0 { "one" } else { "two" });
                let answer = world
                    .gateway
                    .handle(&who, &models, request("/v1/messages", &ask(40_000)))
                    .await;
                support::Answer::read(answer).await.status
            })
        })
        .collect();
    wait_for(|| server.seen().len() == 5).await;
    // The others wait: what they would do, they did.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.seen().len(), 5);
    gate.add_permits(20);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 200);
    }
    assert_eq!(world.spent().await, 20 * GOOD);
    assert_eq!(server.seen().len(), 20);
}

#[tokio::test]
async fn with_random_kills_the_upstreams_own_count_stays_under_the_cap() {
    // The upstream counts what it would bill: everything that it began to answer.
    let billed = Arc::new(AtomicUsize::new(0));
    let counted = billed.clone();
    let server = Scripted::start(move |number, _| {
        let reply = match number % 7 {
            0 => return Reply::json(529, &json!({})),
            1 => Reply::silent(),
            2 => good().step(3, Step::Cut),
            _ => good(),
        };
        counted.fetch_add(usize::try_from(GOOD).unwrap(), Ordering::SeqCst);
        reply
    })
    .await;
    let world = Arc::new(World::with(
        &[("a", upstream(Kind::Anthropic, server.address))],
        1,
        |config| {
            config.patience = Duration::from_secs(3);
        },
    ));
    let mut callers = Vec::new();
    for number in 0..200_u32 {
        let own = world.clone();
        let caller = tokio::spawn(async move {
            let world = own;
            let models = policy(&["*"]);
            let who = spender(&format!("env-{}", number % 20));
            let answer = world
                .gateway
                .handle(&who, &models, request("/v1/messages", &ask(500)))
                .await;
            support::Answer::read(answer).await.status
        });
        if number % 3 == 0 {
            for _ in 0..number % 11 {
                tokio::task::yield_now().await;
            }
            caller.abort();
        }
        callers.push(caller);
        let (spent, reserved) = world.budget.used("task");
        assert!(spent.plus(reserved).money <= MicroUsd(1_000_000));
    }
    let mut refused = 0;
    for caller in callers {
        refused += usize::from(caller.await.is_ok_and(|status| status == 402));
    }
    let spent = world.spent().await;
    let billed = billed.load(Ordering::SeqCst) as u64;
    assert!(billed <= spent && spent <= 1_000_000, "{billed} {spent}");
    // The cap was reached, and nearly used up: less is left than one more call may cost.
    assert!(refused > 0);
    assert!(spent > 1_000_000 - 60_000, "{spent}");
}

#[tokio::test]
async fn a_raised_cap_lets_calls_go_on() {
    let server = Scripted::start(|_, _| good()).await;
    let world = World::with(
        &[("a", upstream(Kind::Anthropic, server.address))],
        0,
        |_| {},
    );
    assert_eq!(world.post("/v1/messages", &ask(100)).await.status, 402);
    world.budget.raise(
        "task",
        Amount {
            money: MicroUsd(1_000_000),
            tokens: u64::MAX,
        },
    );
    assert_eq!(world.post("/v1/messages", &ask(100)).await.status, 200);
}

#[tokio::test]
async fn chats_of_servers_that_ignore_the_wish_for_usage_are_charged_in_full() {
    let server = Scripted::start(|_, _| Reply::events(&chat("gpt-5", "a", None))).await;
    let world = World::new(&[("o", upstream(Kind::Openai, server.address))]);
    let body =
        json!({"model": "gpt-5", "max_tokens": 1000, "stream": true, "messages": []}).to_string();
    assert_eq!(world.post("/v1/chat/completions", &body).await.status, 200);
    assert!(world.spent().await >= 10_000);
}

#[tokio::test]
async fn one_environment_has_only_so_many_calls_at_once() {
    let gate = Arc::new(Semaphore::new(0));
    let waits = gate.clone();
    let server = Scripted::start(move |_, _| good().step(0, Step::Wait(waits.clone()))).await;
    let world = Arc::new(World::with(
        &[("a", upstream(Kind::Anthropic, server.address))],
        100,
        |config| {
            config.settings.limits.calls = Some(2);
        },
    ));
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.post("/v1/messages", &ask(10)).await.status })
        })
        .collect();
    wait_for(|| server.seen().len() == 2).await;
    assert_eq!(world.post("/v1/messages", &ask(10)).await.status, 429);
    gate.add_permits(3);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 200);
    }
    assert_eq!(world.post("/v1/messages", &ask(10)).await.status, 200);
}
