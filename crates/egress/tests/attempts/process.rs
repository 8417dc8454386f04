//! The broker in a process of its own, and what is left when it goes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use egress::broker::Scope;
use egress::broker::batches::Batch;
use egress::broker::limits::Limits;
use egress::broker::outside::OutsideSettings;
use egress::broker::volume::Used;
use egress::budget::{BudgetPort, Reservation, Spender};
use egress::process::client::{Client, Listener, Program};
use egress::process::message::{Attach, Attached, Secret, Start};
use model::budget::{Amount, Refused};
use model::network::NetworkDefinition;
use serde_json::json;

use crate::server::Server;
use crate::support::{BASE, NOW, SECRET, environment};

/// Not a test: what the parent of the others starts.
#[test]
#[ignore = "is started by others"]
fn serves_as_the_child() {
    let parent = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    egress::process::serve::serve(parent, Arc::new(|| NOW)).unwrap();
}

#[derive(Default)]
struct Heard {
    events: Mutex<Vec<(String, Batch)>>,
    lost: Mutex<Vec<String>>,
}

impl Listener for Heard {
    fn events(&self, environment: &str, batch: Batch) {
        self.events
            .lock()
            .unwrap()
            .push((environment.to_owned(), batch));
    }

    fn lost(&self, environments: Vec<String>) {
        self.lost.lock().unwrap().extend(environments);
    }
}

struct Poor;

#[async_trait]
impl BudgetPort for Poor {
    async fn reserve(&self, _: &Spender, _: Amount, _: Duration) -> Result<Reservation, Refused> {
        Err(Refused {
            scope: String::from("task"),
            sentence: String::from("nothing is left"),
        })
    }

    async fn settle(&self, _: &Spender, _: Reservation, _: Amount) {}

    async fn room(&self, _: &Spender) -> Option<(Amount, Amount)> {
        None
    }
}

async fn until(what: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

fn attach(id: &str) -> Attach {
    let network: NetworkDefinition = serde_json::from_str(BASE).unwrap();
    let used = match &network.0[0] {
        model::network::NetworkEntry::Host(rule) => rule.credential.clone().unwrap(),
        model::network::NetworkEntry::Bundle(_) => unreachable!(),
    };
    Attach {
        environment: id.to_owned(),
        network,
        secrets: vec![Secret {
            used,
            value: SECRET.to_owned(),
        }],
        models: None,
        limits: Limits::default(),
        used: Used::default(),
        tcp: Vec::new(),
        dns: 0,
        packets: false,
    }
}

/// Asks for the API inside with curl, and gives what it printed.
fn curl(agent: &UnixStream, folder: &tempfile::TempDir, attached: &Attached) -> String {
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &attached.certificate).unwrap();
    let bearer = format!(
        "Authorization: Bearer {}",
        attached.placeholders[0].placeholder
    );
    let run = [
        "curl",
        "-sS",
        "--max-time",
        "8",
        "-H",
        &bearer,
        "https://api.example.test/v1/ping",
    ];
    let wish = json!({ "run": run, "environment": { "CURL_CA_BUNDLE": ca } });
    let mut writer = agent;
    writer.write_all(format!("{wish}\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(agent).read_line(&mut line).unwrap();
    let answer: serde_json::Value = serde_json::from_str(&line).unwrap();
    let text = |key: &str| {
        let text = answer[key].as_str().unwrap();
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text);
        String::from_utf8(bytes.unwrap()).unwrap()
    };
    text("out") + &text("err")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_in_its_own_process_serves_reports_stops_and_takes_the_network_with_it() {
    let Some((mut inside, sockets, agent)) = environment(&[53, 80, 443]) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let outside = egress::tls::authority::Authority::new(NOW).unwrap();
    let name = egress::name::Host::parse("api.example.test").unwrap();
    let mut config = (*outside.serve(&name).unwrap()).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = Server::start(Some(Arc::new(config)), folder.path());
    let mut settings = OutsideSettings::default();
    settings
        .hosts
        .insert(String::from("api.example.test"), server.address.to_string());
    settings.authorities = Some(outside.pem().to_owned());
    let heard = Arc::new(Heard::default());
    let program = Program {
        path: std::env::current_exe().unwrap(),
        arguments: [
            "process::serves_as_the_child",
            "--exact",
            "--ignored",
            "--nocapture",
        ]
        .map(String::from)
        .to_vec(),
    };
    let start = Start {
        outside: settings,
        identity: None,
    };
    let listener = Arc::clone(&heard);
    let client = Client::new(
        program,
        start,
        listener,
        Arc::new(Poor),
        tokio::runtime::Handle::current(),
    );

    let attached = client.attach(attach("a"), sockets).await.unwrap();
    assert_eq!(
        attached.placeholders[0].variable.as_deref(),
        Some("API_TOKEN")
    );
    assert!(!format!("{attached:?}").contains(SECRET));
    assert_eq!(curl(&agent, &folder, &attached), "pong");
    assert!(server.requests()[0].contains(SECRET));
    until(|| {
        heard
            .events
            .lock()
            .unwrap()
            .iter()
            .any(|(id, batch)| id == "a" && !batch.is_empty())
    })
    .await;
    assert!(client.used("a").await.unwrap().unwrap().sent > 0);

    // What the process may still do.
    let process = client.process().await.unwrap();
    // The test harness began a thread before; those that serve came later.
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let bound = tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok())
        .filter(|status| status.contains("NoNewPrivs:\t1"))
        .count();
    assert!(bound > std::thread::available_parallelism().unwrap().get());

    client.stop(Scope::Everything).await.unwrap();
    assert!(curl(&agent, &folder, &attached).starts_with("curl:"));
    client.release(Scope::Everything).await.unwrap();
    assert_eq!(curl(&agent, &folder, &attached), "pong");
    let twice = environment(&[443]).unwrap();
    assert!(
        client
            .attach(attach("a"), twice.1)
            .await
            .unwrap_err()
            .to_string()
            .contains("attached already")
    );

    // It is gone, and with it the network of whom it served.
    let before = server.requests().len();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(process as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    until(|| *heard.lost.lock().unwrap() == ["a"]).await;
    assert!(curl(&agent, &folder, &attached).starts_with("curl:"));
    assert_eq!(server.requests().len(), before);
    assert!(client.used("a").await.is_err());

    // The next environment has a new broker, under the kill switches that stand.
    let stopped = Scope::Host(String::from("api.example.test"));
    client.stop(stopped.clone()).await.unwrap();
    let (mut second, sockets, agent) = environment(&[53, 80, 443]).unwrap();
    let attached = client.attach(attach("b"), sockets).await.unwrap();
    assert!(curl(&agent, &folder, &attached).starts_with("curl:"));
    assert_eq!(server.requests().len(), before);
    client.release(stopped).await.unwrap();
    assert_eq!(curl(&agent, &folder, &attached), "pong");
    let child = client.process().await.unwrap();
    assert_ne!(child, process);
    let used = client.detach("b").await.unwrap().unwrap();
    assert!(used.sent > 0);
    assert!(curl(&agent, &folder, &attached).starts_with("curl:"));

    // Without its parent it does not stay.
    drop(client);
    until(|| !std::path::Path::new(&format!("/proc/{child}")).exists()).await;
    let mut twice = twice.0;
    for child in [&mut inside, &mut second, &mut twice] {
        let _ = child.kill();
        let _ = child.wait();
    }
}
