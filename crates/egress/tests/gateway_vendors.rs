//! Upstreams that are signed for, or framed, in a way of their own.

mod support;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use egress::gateway::config::{Kind, Route, Target};
use egress::gateway::eventstream::framed;
use serde_json::{Value, json};
use support::upstream::{Reply, Scripted, Step, chat, messages, responses};
use support::{MODEL, World, at, request, skip, upstream};
use zeroize::Zeroizing;

const BEDROCK: &str = "us.anthropic.claude-opus-4-8-v1:0";

fn ask(stream: bool) -> String {
    json!({"model": MODEL, "max_tokens": 100, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).to_string()
}

fn keys(key: &str) -> Arc<BTreeMap<String, Zeroizing<String>>> {
    Arc::new(BTreeMap::from([(
        "key".to_owned(),
        Zeroizing::new(key.to_owned()),
    )]))
}

fn named(name: &str) -> Vec<Route> {
    let target = Target {
        upstream: "a".to_owned(),
        model: Some(name.to_owned()),
    };
    vec![Route {
        model: MODEL.to_owned(),
        to: vec![target],
    }]
}

#[tokio::test]
async fn bedrock_gets_its_own_body_signed_and_its_frames_come_back_as_events() {
    let events = messages(MODEL, "hello", 1000, 20);
    let all = events.concat();
    let server = Scripted::start(move |_, seen| {
        if !seen.path.contains("stream") {
            return Reply::json(
                200,
                &json!({"type": "message", "usage": {"input_tokens": 1000, "output_tokens": 20}}),
            );
        }
        let mut reply = Reply::new(200, "application/vnd.amazon.eventstream", "");
        let mut bytes = Vec::new();
        for event in &events {
            let data = event.split_once("data: ").unwrap().1.trim();
            let payload = json!({"bytes": STANDARD.encode(data), "p": "abcd"}).to_string();
            bytes.extend(framed("event", "chunk", payload.as_bytes()));
        }
        // Cut anyhow.
        reply.steps = bytes
            .chunks(37)
            .map(|piece| Step::Bytes(piece.to_vec().into()))
            .collect();
        reply
    })
    .await;
    let mut up = upstream(Kind::Bedrock, server.address);
    up.region = "us-east-1".to_owned();
    let world = World::with(&[("a", up)], 100, |config| {
        config.keys = keys("AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY:session");
        config.settings.routes = named(BEDROCK);
    });
    let mut asked = request("/v1/messages?beta=true", &ask(true));
    asked.headers_mut().insert(
        "anthropic-beta",
        "context-1m-2025-08-07,mcp-client-1".parse().unwrap(),
    );
    let answer = world.ask(asked).await;
    assert_eq!(answer.text(), all);
    assert!(
        answer
            .header("content-type")
            .starts_with("text/event-stream")
    );
    let seen = &server.seen()[0];
    assert_eq!(
        seen.path,
        "/model/us.anthropic.claude-opus-4-8-v1%3A0/invoke-with-response-stream"
    );
    let body = seen.json();
    assert_eq!(body["anthropic_version"], "bedrock-2023-05-31");
    assert_eq!(body["anthropic_beta"], json!(["context-1m-2025-08-07"]));
    assert!(
        body.get("model").is_none() && body.get("stream").is_none() && body["max_tokens"] == 100
    );
    let authorization = seen.headers["authorization"].to_str().unwrap();
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/19700101/us-east-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature="), "{authorization}");
    assert_eq!(seen.headers["x-amz-security-token"], "session");
    assert!(!format!("{:?}", seen.headers).contains("placeholder"));
    assert_eq!(world.spent().await, 5500);
    let whole = world.post("/v1/messages", &ask(false)).await;
    assert!(whole.text().contains("\"output_tokens\":20"));
    assert!(server.seen()[1].path.ends_with("/invoke"));
    assert_eq!(world.spent().await, 11_000);
}

#[tokio::test]
async fn a_broken_frame_ends_the_answer_and_is_charged_in_full() {
    let server = Scripted::start(|_, _| {
        Reply::new(200, "application/vnd.amazon.eventstream", &"x".repeat(100))
    })
    .await;
    let mut up = upstream(Kind::Bedrock, server.address);
    up.region = "us-east-1".to_owned();
    let world = World::with(&[("a", up)], 100, |config| {
        config.keys = keys("id:secret");
        config.settings.routes = named(BEDROCK);
    });
    assert!(world.post("/v1/messages", &ask(true)).await.broken);
    assert!(world.spent().await > 2500);
}

#[tokio::test]
async fn azure_gets_deployments_its_version_and_its_key() {
    let server = Scripted::start(|_, seen| {
        if seen.path.contains("responses") {
            Reply::events(&responses("d", &[], 1000, 10))
        } else {
            Reply::events(&chat("d", "a", Some((1000, 10))))
        }
    })
    .await;
    let mut up = upstream(Kind::Azure, server.address);
    up.api_version = Some("2026-10-01".to_owned());
    let world = World::with(&[("a", up)], 100, |config| {
        config.settings.routes = vec![Route {
            model: "gpt-5".to_owned(),
            to: vec![Target {
                upstream: "a".to_owned(),
                model: Some("my deployment".to_owned()),
            }],
        }];
    });
    let body =
        json!({"model": "gpt-5", "stream": true, "max_tokens": 5, "messages": []}).to_string();
    assert_eq!(world.post("/v1/chat/completions", &body).await.status, 200);
    let body = json!({"model": "gpt-5", "stream": true, "input": "hi"}).to_string();
    assert_eq!(world.post("/v1/responses", &body).await.status, 200);
    let seen = server.seen();
    assert_eq!(
        seen[0].path,
        "/openai/deployments/my%20deployment/chat/completions?api-version=2026-10-01"
    );
    assert_eq!(seen[1].path, "/openai/v1/responses?api-version=2026-10-01");
    for seen in seen {
        assert_eq!(seen.headers["api-key"], support::KEY);
        assert!(!seen.headers.contains_key("authorization"));
        assert_eq!(seen.json()["model"], "my deployment");
    }
    assert_eq!(world.spent().await, 2 * 1350);
}

/// A key of RSA, made by openssl, with the file that its public part is in.
fn rsa(folder: &std::path::Path) -> Option<String> {
    let (private, public) = (folder.join("key.pem"), folder.join("public.pem"));
    let made = Command::new("openssl")
        .args([
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
        ])
        .arg(&private)
        .output()
        .ok()?;
    made.status.success().then_some(())?;
    let made = Command::new("openssl")
        .args(["pkey", "-pubout", "-in"])
        .arg(&private)
        .arg("-out")
        .arg(public)
        .output()
        .ok()?;
    made.status.success().then_some(())?;
    std::fs::read_to_string(private).ok()
}

#[tokio::test]
async fn vertex_gets_a_token_for_a_signed_assertion_once_and_its_own_paths() {
    let folder = tempfile::tempdir().unwrap();
    let Some(private) = rsa(folder.path()) else {
        return skip("openssl is not installed");
    };
    let server = Scripted::start(|_, seen| match seen.path.as_str() {
        "/token" => Reply::json(
            200,
            &json!({"access_token": "ya29.token", "expires_in": 3600}),
        ),
        _ => Reply::events(&messages(MODEL, "hello", 1000, 20)),
    })
    .await;
    let mut up = upstream(Kind::Vertex, server.address);
    up.region = "europe-west1".to_owned();
    up.project = "crew".to_owned();
    up.token_url = Some(format!("{}token", at(server.address)).parse().unwrap());
    let account = json!({"client_email": "crew@example.test", "private_key": private, "private_key_id": "k1", "token_uri": "https://oauth2.example.test/token"});
    let world = World::with(&[("a", up)], 100, |config| {
        config.keys = keys(&account.to_string());
        config.settings.routes = named("claude-opus-4-8@20260801");
    });
    for _ in 0..2 {
        assert_eq!(world.post("/v1/messages", &ask(true)).await.status, 200);
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 3, "one token for both");
    assert_eq!(
        seen[1].path,
        "/v1/projects/crew/locations/europe-west1/publishers/anthropic/models/claude-opus-4-8%4020260801:streamRawPredict"
    );
    assert_eq!(seen[1].headers["authorization"], "Bearer ya29.token");
    let body = seen[1].json();
    assert_eq!(body["anthropic_version"], "vertex-2023-10-16");
    assert!(body.get("model").is_none() && body["stream"] == true);
    // The assertion is what openssl finds signed with the account's key.
    let form = String::from_utf8(seen[0].body.clone()).unwrap();
    let assertion = form.split_once("assertion=").unwrap().1.to_owned();
    let (text, signature) = assertion.rsplit_once('.').unwrap();
    let claims: Value = serde_json::from_slice(
        &URL_SAFE_NO_PAD
            .decode(text.split_once('.').unwrap().1)
            .unwrap(),
    )
    .unwrap();
    assert_eq!(
        (&claims["iss"], &claims["aud"], &claims["exp"]),
        (
            &json!("crew@example.test"),
            &json!("https://oauth2.example.test/token"),
            &json!(3600)
        )
    );
    std::fs::write(folder.path().join("text"), text).unwrap();
    std::fs::write(
        folder.path().join("signature"),
        URL_SAFE_NO_PAD.decode(signature).unwrap(),
    )
    .unwrap();
    let verified = Command::new("openssl")
        .current_dir(folder.path())
        .args([
            "dgst",
            "-sha256",
            "-verify",
            "public.pem",
            "-signature",
            "signature",
            "text",
        ])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
    assert_eq!(world.spent().await, 11_000);
}

#[tokio::test]
async fn a_key_of_the_wrong_kind_is_told_and_never_shown() {
    for kind in [Kind::Bedrock, Kind::Vertex] {
        let server = Scripted::start(|_, _| Reply::silent()).await;
        let world = World::with(&[("a", upstream(kind, server.address))], 100, |config| {
            config.keys = keys("only-one-part-secret");
        });
        let answer = world.post("/v1/messages", &ask(true)).await;
        assert_eq!(answer.header("x-nightcrew-refused"), "credential_missing");
        assert!(!answer.text().contains("only-one"));
        assert_eq!(server.seen().len(), 0);
    }
}
