//! Attempts to send more than is permitted, and the kill switch.

use std::time::{Duration, Instant};

use egress::broker::limits::Limits;
use egress::broker::outside::OutsideSettings;
use egress::broker::{Change, Scope};
use egress::policy::NetworkPolicy;
use model::egress::EgressRefusal;
use model::network::NetworkDefinition;

use crate::support::{BASE, World};

const WRITE: &str = r#"[{"host":"api.example.test","protocol":"https","methods":["GET","POST"],"paths":["/v1/**"],"private":true,
  "credential":{"secret":"x","variable":"API_TOKEN"}}, {"host":"tunnel.example.test","protocol":"tls","private":true}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn net_upload_10_gb() {
    let limits = Limits {
        sent: 200_000,
        ..Limits::default()
    };
    let Some(world) = World::with(WRITE, limits, OutsideSettings::default()) else {
        return;
    };
    world.control();
    let body = "x".repeat(1 << 20);
    let talked = world.api(&format!(
        "POST /v1/x HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_ne!(talked.status(), Some(200), "{talked:?}");
    let arrived: usize = world.servers["api.example.test"]
        .requests()
        .iter()
        .map(String::len)
        .sum();
    assert!(arrived <= 200_000, "{arrived}");
    assert!(world.broker.used("a").unwrap().sent <= 200_000);
    let talked = world.api("GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
    assert_eq!(talked.status(), Some(429), "{talked:?}");
    assert!(world.was_refused(EgressRefusal::VolumeExhausted, "api.example.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_rate_are_told_so() {
    let limits = Limits {
        requests_per_second: 1,
        ..Limits::default()
    };
    let Some(world) = World::with(BASE, limits, OutsideSettings::default()) else {
        return;
    };
    world.control();
    let many = "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\n\r\n".repeat(20);
    let statuses = world.api(&many).statuses();
    assert_eq!(statuses.len(), 20);
    assert!(
        statuses.contains(&429) && statuses.contains(&200),
        "{statuses:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sight_kill_switch_and_tightening_within_a_second() {
    let Some(world) = World::new(WRITE) else {
        return;
    };
    world.control();
    for scope in [
        Scope::Everything,
        Scope::Environment(String::from("a")),
        Scope::Host(String::from("api.example.test")),
    ] {
        // A connection that is open, silent and permitted, until it is cut.
        let (asked, refused) = (
            world.asked("GET /v1/ping"),
            world.refusals(EgressRefusal::Stopped),
        );
        std::thread::scope(|threads| {
            let open = threads.spawn(|| {
                let began = Instant::now();
                let talked = world.talk_patiently(
                    "api.example.test",
                    "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
                );
                (began.elapsed(), talked)
            });
            while world.asked("GET /v1/ping") == asked {
                std::thread::sleep(Duration::from_millis(5));
            }
            // The answer is under way.
            std::thread::sleep(Duration::from_millis(300));
            let stopped = Instant::now();
            world.broker.stop(scope.clone());
            let (_, talked) = open.join().unwrap();
            assert!(
                stopped.elapsed() < Duration::from_secs(1),
                "{scope:?}: {:?}",
                stopped.elapsed()
            );
            assert_eq!(talked.status(), Some(200), "{talked:?}");
        });
        let talked = world.api("GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
        assert!(talked.received.is_empty(), "{talked:?}");
        assert!(
            world.refusals(EgressRefusal::Stopped) > refused,
            "{scope:?}"
        );
        world.broker.release(&scope);
        world.control();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn net_policy_revoked_mid_connection() {
    let Some(world) = World::new(WRITE) else {
        return;
    };
    world.control();
    let pin = world.pin("api.example.test");
    let narrow: NetworkDefinition =
        serde_json::from_str(r#"[{"host":"second.example.test"}]"#).unwrap();
    let policy = NetworkPolicy::compile(&narrow).unwrap();
    let asked = world.asked("GET /v1/ping");
    std::thread::scope(|threads| {
        let open = threads.spawn(|| {
            world.talk_patiently(
                "api.example.test",
                "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
            )
        });
        while world.asked("GET /v1/ping") == asked {
            std::thread::sleep(Duration::from_millis(5));
        }
        // The answer is under way.
        std::thread::sleep(Duration::from_millis(300));
        let changed = Instant::now();
        world
            .broker
            .update(
                "a",
                Change {
                    policy: Some(policy),
                    credentials: None,
                },
            )
            .unwrap();
        let talked = open.join().unwrap();
        assert_eq!(talked.status(), Some(200), "{talked:?}");
        assert!(changed.elapsed() < Duration::from_secs(1));
    });
    let before = world.reached("api.example.test");
    let talked = world.tls(
        &pin,
        "api.example.test",
        b"GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
    );
    assert!(talked.received.is_empty(), "{talked:?}");
    assert_eq!(world.reached("api.example.test"), before);
    assert!(world.was_refused(EgressRefusal::HostNotNamed, "api.example.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sight_port_added_to_policy_while_squatted() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    let wider: NetworkDefinition =
        serde_json::from_str(r#"[{"host":"api.example.test","ports":[8443]}]"#).unwrap();
    let policy = NetworkPolicy::compile(&wider).unwrap();
    let refused = world.broker.update(
        "a",
        Change {
            policy: Some(policy),
            credentials: None,
        },
    );
    assert!(refused.unwrap_err().to_string().contains("8443"));
    world.control();
}
