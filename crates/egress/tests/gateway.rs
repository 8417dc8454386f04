//! Calls through the gateway as they should go.

mod support;

use std::sync::Arc;

use egress::Body;
use egress::gateway::config::{Kind, Rate, Route, Target};
use http_body_util::BodyExt as _;
use model::egress::EgressRefusal;
use serde_json::json;
use support::upstream::{Reply, Scripted, Step, chat, messages, responses};
use support::{KEY, MODEL, World, policy, request, set, spender, upstream, wait_for};
use tokio::sync::Semaphore;

const ASK: &str = "{ \"model\" : \"claude-opus-4-8\",\n  \"max_tokens\": 100, \"stream\":true, \"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e4\"}] }";

#[tokio::test]
async fn bytes_pass_untouched_in_both_ways_and_the_key_is_put_in() {
    let events = messages(MODEL, "hello", 1000, 20);
    let all = events.concat();
    let server = Scripted::start(move |_, _| Reply::events(&events)).await;
    let world = World::new(&[("a", upstream(Kind::Anthropic, server.address))]);
    let mut asked = request("/v1/messages?beta=true", ASK);
    asked
        .headers_mut()
        .append("x-api-key", "second".parse().unwrap());
    asked
        .headers_mut()
        .insert("openai-organization", "org".parse().unwrap());
    let answer = world.ask(asked).await;
    assert_eq!(answer.text(), all);
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let seen = &server.seen()[0];
    assert_eq!(seen.body, ASK.as_bytes());
    assert_eq!(seen.path, "/v1/messages?beta=true");
    let keys: Vec<_> = seen.headers.get_all("x-api-key").iter().collect();
    assert_eq!(keys, [KEY]);
    for gone in ["authorization", "openai-organization"] {
        assert!(!seen.headers.contains_key(gone), "{gone}");
    }
    // 1000 tokens at $5 and 20 at $25 a million.
    assert_eq!(world.spent().await, 5000 + 500);
    let events = world.kept.all();
    assert!(
        events
            .iter()
            .any(|(_, event)| event.refused.is_none()
                && event.detail.contains("20 written, $0.0055")),
        "{events:?}"
    );
}

#[tokio::test]
async fn each_chunk_passes_before_the_next_one_is_written() {
    let gate = Arc::new(Semaphore::new(0));
    let (events, waits) = (messages(MODEL, "hello", 10, 5), gate.clone());
    let (first, count) = (events[0].clone(), events.len());
    let server = Scripted::start(move |_, _| {
        let mut reply = Reply::events(&events);
        for number in (1..count).rev() {
            reply = reply.step(number, Step::Wait(waits.clone()));
        }
        reply
    })
    .await;
    let world = World::new(&[("a", upstream(Kind::Anthropic, server.address))]);
    let answer = world
        .gateway
        .handle(
            &spender("env"),
            &policy(&["*"]),
            request("/v1/messages", ASK),
        )
        .await;
    let mut body: Body = answer.into_body();
    for number in 0..count {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(number > 0 || frame == first);
        gate.add_permits(1);
    }
    assert!(body.frame().await.is_none());
    drop(body);
    assert!(world.spent().await > 0);
}

#[tokio::test]
async fn every_dialect_is_metered_streamed_and_whole() {
    let server = Scripted::start(|_, seen| {
        let stream = seen.json()["stream"] == true;
        match (seen.path.as_str(), stream) {
            ("/v1/responses", true) => Reply::events(&responses("gpt-5", &[json!({"type": "message"})], 1000, 10)),
            ("/v1/responses", false) => Reply::json(200, &json!({"object": "response", "output": [], "usage": {"input_tokens": 1000, "output_tokens": 10}})),
            ("/v1/chat/completions", true) => {
                assert_eq!(seen.json()["stream_options"]["include_usage"], true);
                Reply::events(&chat("gpt-5", "a", Some((1000, 10))))
            }
            ("/v1/chat/completions", false) => Reply::json(200, &json!({"choices": [{}], "usage": {"prompt_tokens": 1000, "completion_tokens": 10}})),
            other => panic!("{other:?}"),
        }
    }).await;
    let world = World::new(&[("o", upstream(Kind::Openai, server.address))]);
    let mut before = 0;
    for path in ["/v1/responses", "/v1/chat/completions"] {
        for stream in [true, false] {
            let field = if path == "/v1/responses" {
                "input"
            } else {
                "messages"
            };
            let body = json!({"model": "gpt-5", "stream": stream, field: []}).to_string();
            let answer = world.post(path, &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let spent = world.spent().await;
            assert_eq!(spent - before, 1250 + 100, "{path} {stream}");
            before = spent;
        }
    }
    for seen in server.seen() {
        assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
        assert!(!seen.headers.contains_key("x-api-key"));
    }
}

#[tokio::test]
async fn a_route_renames_the_model_and_nothing_else() {
    let server = Scripted::start(|_, _| Reply::events(&messages("m", "a", 1, 1))).await;
    let world = World::with(
        &[("a", upstream(Kind::Anthropic, server.address))],
        100,
        |config| {
            let target = Target {
                upstream: "a".to_owned(),
                model: Some("claude-haiku-4-5".to_owned()),
            };
            config.settings.routes.insert(
                0,
                Route {
                    model: MODEL.to_owned(),
                    to: vec![target],
                },
            );
        },
    );
    assert_eq!(world.post("/v1/messages", ASK).await.status, 200);
    assert_eq!(
        server.seen()[0].body,
        ASK.replace(MODEL, "claude-haiku-4-5").as_bytes()
    );
}

#[tokio::test]
async fn counting_tokens_costs_nothing_and_needs_no_room() {
    let server = Scripted::start(|_, _| Reply::json(200, &json!({"input_tokens": 12}))).await;
    let world = World::with(
        &[("a", upstream(Kind::Anthropic, server.address))],
        0,
        |_| {},
    );
    let answer = world
        .post(
            "/v1/messages/count_tokens",
            &json!({"model": MODEL, "messages": []}).to_string(),
        )
        .await;
    assert_eq!(answer.text(), "{\"input_tokens\":12}");
    assert_eq!(server.seen()[0].path, "/v1/messages/count_tokens");
    assert_eq!(world.spent().await, 0);
}

#[tokio::test]
async fn only_models_paths_and_fields_that_are_named_reach_the_upstream() {
    let server = Scripted::start(|_, _| Reply::events(&messages("m", "a", 1, 1))).await;
    let world = World::new(&[("a", upstream(Kind::Anthropic, server.address))]);
    let models = policy(&["allowed-model-1", MODEL]);
    let mut expected = 0;
    for (path, body, code) in [
        (
            "/v1/messages",
            json!({"model": "Claude-opus-4-8", "max_tokens": 1}),
            "model_not_named",
        ),
        (
            "/v1/messages",
            json!({"model": "claude-opus-4-81", "max_tokens": 1}),
            "model_not_named",
        ),
        (
            "/v1/messages",
            json!({"model": "allowed-model-1", "max_tokens": 1}),
            "model_not_named",
        ),
        (
            "/v1/messages",
            json!({"model": MODEL, "max_tokens": 1, "mcp_servers": []}),
            "model_not_named",
        ),
        ("/v1/messages", json!({"model": MODEL}), "protocol_invalid"),
        (
            "/v1/messages",
            json!({"model": MODEL, "max_tokens": "1"}),
            "protocol_invalid",
        ),
        ("/v1/messages", json!([]), "protocol_invalid"),
        ("/v1/messages/batches", json!({}), "path_not_named"),
        (
            "//v1/messages",
            json!({"model": MODEL, "max_tokens": 1}),
            "path_not_named",
        ),
        ("/v1/responses", json!({"model": MODEL}), "model_not_named"),
    ] {
        let answer = world
            .gateway
            .handle(&spender("env"), &models, request(path, &body.to_string()))
            .await;
        expected += 1;
        assert!(answer.status().is_client_error(), "{path} {body}");
        assert_eq!(
            answer.headers()["x-nightcrew-refused"],
            code,
            "{path} {body}"
        );
    }
    for (name, value) in [
        ("content-encoding", "gzip"),
        ("content-type", "text/plain"),
        ("content-length", "99999999999"),
    ] {
        let mut asked = request("/v1/messages", ASK);
        asked.headers_mut().insert(name, value.parse().unwrap());
        let answer = world.gateway.handle(&spender("env"), &models, asked).await;
        expected += 1;
        assert!(answer.status().is_client_error(), "{name}");
    }
    assert_eq!(server.seen().len(), 0);
    assert_eq!(
        world.kept.refused(model::egress::EgressKind::Model),
        expected
    );
    assert_eq!(world.spent().await, 0);
    let answer = world
        .gateway
        .handle(&spender("env"), &models, request("/v1/messages", ASK))
        .await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn the_list_of_models_is_that_of_the_environment() {
    let server = Scripted::start(|_, _| Reply::silent()).await;
    let world = World::new(&[("a", upstream(Kind::Anthropic, server.address))]);
    let mut asked = request("/v1/models", "");
    *asked.method_mut() = http::Method::GET;
    let models = policy(&["gpt-5", "claude-haiku-*"]);
    let answer =
        support::Answer::read(world.gateway.handle(&spender("env"), &models, asked).await).await;
    let list: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let names: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["claude-haiku-4-5", "claude-haiku-5-5", "gpt-5"]);
}

#[tokio::test]
async fn a_local_server_needs_no_key_and_what_it_does_not_say_is_counted_from_bytes() {
    let server = Scripted::start(|_, seen| {
        assert!(!seen.headers.contains_key("authorization"));
        Reply::events(&chat("qwen", "hello", None))
    })
    .await;
    let mut local = upstream(Kind::Local, server.address);
    local.key = None;
    let world = World::with(&[("l", local)], 100, |config| {
        config.prices = config
            .prices
            .clone()
            .with("[[model]]\nname='qwen'\ninput=1\noutput=1\ncontext=8000")
            .unwrap();
    });
    let body = json!({"model": "qwen", "stream": true, "messages": []}).to_string();
    let answer = world.post("/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = body.len().div_ceil(4) + answer.body.len().div_ceil(4);
    assert_eq!(world.spent().await, expected as u64);
    assert!(world.kept.all()[0].1.detail.contains("counted from bytes"));
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_unless_it_is_free() {
    let server = Scripted::start(|_, _| Reply::events(&chat("own", "a", Some((5, 5))))).await;
    let up = upstream(Kind::Local, server.address);
    let body = json!({"model": "own", "max_tokens": 5, "messages": []}).to_string();
    let world = World::new(&[("l", up.clone())]);
    let answer = world.post("/v1/chat/completions", &body).await;
    assert!(answer.text().contains("no price"), "{}", answer.text());
    let world = World::with(&[("l", up)], 0, |config| {
        config.prices = config
            .prices
            .clone()
            .with("[[model]]\nname='own'\nfree=true")
            .unwrap();
    });
    assert_eq!(world.post("/v1/chat/completions", &body).await.status, 200);
}

#[tokio::test]
async fn limits_of_a_minute_tell_when_to_come_again() {
    let server = Scripted::start(|_, _| Reply::events(&messages("m", "a", 1, 1))).await;
    let world = World::with(
        &[("a", upstream(Kind::Anthropic, server.address))],
        100,
        |config| {
            config.settings.limits.environment = Rate {
                requests: Some(2),
                tokens: None,
            };
            config.patience = std::time::Duration::ZERO;
        },
    );
    for _ in 0..2 {
        assert_eq!(world.post("/v1/messages", ASK).await.status, 200);
    }
    let answer = world.post("/v1/messages", ASK).await;
    assert_eq!(answer.status, 429);
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=31).contains(&seconds), "{seconds}");
    let other = world
        .gateway
        .handle(
            &spender("other"),
            &policy(&["*"]),
            request("/v1/messages", ASK),
        )
        .await;
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn what_is_recorded_is_replayed_without_an_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let events = messages(MODEL, "hello", 1000, 20);
    let all = events.concat();
    let server = Scripted::start(move |_, _| Reply::events(&events)).await;
    let up = upstream(Kind::Anthropic, server.address);
    let world = World::with(&[("a", up.clone())], 100, |config| {
        config.settings.record = Some(folder.path().to_owned());
    });
    assert_eq!(world.post("/v1/messages", ASK).await.text(), all);
    let spent = world.spent().await;
    let files = || {
        std::fs::read_dir(folder.path())
            .unwrap()
            .filter_map(Result::ok)
            .filter(|file| file.path().extension().is_some_and(|end| end == "json"))
            .map(|file| std::fs::read_to_string(file.path()).unwrap())
            .collect::<Vec<_>>()
    };
    wait_for(|| !files().is_empty()).await;
    let kept = files();
    // Prompts are kept only where that is wanted, and keys never.
    assert!(
        !kept[0].contains("max_tokens")
            && !kept[0].contains(KEY)
            && !kept[0].contains("placeholder")
    );
    let world = World::with(&[("a", up)], 100, |config| {
        config.settings.replay = Some(folder.path().to_owned());
    });
    let answer = world.post("/v1/messages", ASK).await;
    assert_eq!(
        (answer.text(), answer.header("x-nightcrew-replayed")),
        (all, "true")
    );
    assert_eq!(world.spent().await, spent);
    let other = world.post("/v1/messages", &ASK.replace("100", "101")).await;
    assert!(
        other.text().contains("no answer to this request"),
        "{}",
        other.text()
    );
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_stopped_model_is_refused_and_its_calls_are_cut() {
    let gate = Arc::new(Semaphore::new(0));
    let waits = gate.clone();
    let server = Scripted::start(move |_, _| {
        Reply::events(&messages(MODEL, "a", 10, 5)).step(1, Step::Wait(waits.clone()))
    })
    .await;
    let world = World::new(&[("a", upstream(Kind::Anthropic, server.address))]);
    let flowing = world
        .gateway
        .handle(
            &spender("env"),
            &policy(&["*"]),
            request("/v1/messages", ASK),
        )
        .await;
    let mut body = flowing.into_body();
    body.frame().await.unwrap().unwrap();
    world.gateway.stop_models(set(&["claude-*"]));
    assert!(body.frame().await.unwrap().is_err());
    // What was read is known, what would have been written is charged in full.
    assert_eq!(world.spent().await, 50 + 2500);
    let answer = world.post("/v1/messages", ASK).await;
    assert_eq!(answer.header("x-nightcrew-refused"), "stopped");
    world.gateway.stop_models(set(&[]));
    let events = world.kept.all();
    assert!(
        events
            .iter()
            .any(|(_, event)| event.refused == Some(EgressRefusal::Stopped))
    );
    assert_eq!(server.seen().len(), 1);
}
