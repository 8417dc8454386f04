//! The network of a task's environment: made before it, served while it lives, ended before it is;
//! and never there where nobody serves it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use common::World;
use model::egress::{EgressEvent, EgressKind, EgressRefusal};
use model::isolation::NetworkEvidence;
use model::network::NetworkEntry;
use model::reason::ReasonCode;
use model::task::{Task, TaskStatus};
use runner::{Egress, EgressError, NetworkRequest, Outfit, Records};
use sandbox::NetworkSockets;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nb3VyIG93bg==\n-----END CERTIFICATE-----\n";

/// Somebody who answers on port 80 with the address that was meant, and keeps a diary.
#[derive(Default)]
struct Answering {
    diary: Mutex<Vec<String>>,
    requests: Mutex<Vec<NetworkRequest>>,
    records: Mutex<BTreeMap<String, Records>>,
    /// Refuses to serve what was made.
    deaf: bool,
}

impl Answering {
    fn note(&self, what: &str, environment: &str) {
        let role = environment.split("-pristine-").nth(1).unwrap_or("own");
        let role = if role == "own" { "own" } else { "pristine" };
        self.diary.lock().unwrap().push(format!("{what} {role}"));
    }

    fn record(&self, environment: &str, kind: EgressKind, refused: Option<EgressRefusal>) {
        let mut all = self.records.lock().unwrap();
        let records = all.entry(environment.to_owned()).or_default();
        records.events.push(EgressEvent {
            kind,
            refused,
            host: "a.test".to_owned(),
            port: 80,
            detail: String::new(),
            rule: "network[0]".to_owned(),
            address: String::new(),
            sent: 1,
            received: 2,
            count: 3,
            at_ms: 4,
        });
    }
}

#[async_trait]
impl Egress for Answering {
    async fn prepare(&self, request: NetworkRequest) -> Result<Outfit, EgressError> {
        self.note("prepare", &request.environment);
        self.requests.lock().unwrap().push(request);
        Ok(Outfit {
            ports: vec![8443],
            certificates: Some(CERTIFICATE.into()),
            evidence: NetworkEvidence {
                policy: "ab".repeat(32),
                rules: 1,
                narrowed: vec!["`b.test`: denied".to_owned()],
            },
        })
    }

    async fn attach(
        &self,
        environment: &str,
        sockets: NetworkSockets,
    ) -> Result<Vec<(String, String)>, EgressError> {
        self.note("attach", environment);
        if self.deaf {
            return Err(EgressError::Gone("it does not listen".to_owned()));
        }
        let mut tcp = sockets.tcp.into_iter();
        let (_, fd) = tcp.find(|(port, _)| *port == 80).expect("port 80");
        let listener = TcpListener::from(fd);
        listener.set_nonblocking(false).unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let meant = stream.local_addr().unwrap();
                let _ = stream.read(&mut [0; 512]);
                let body = format!("broker {meant}");
                let _ = stream.write_all(
                    format!(
                        "HTTP/1.0 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    )
                    .as_bytes(),
                );
            }
        });
        self.record(environment, EgressKind::Connection, None);
        Ok(vec![("API_TOKEN".to_owned(), "placeholder".to_owned())])
    }

    async fn detach(&self, environment: &str) {
        self.note("detach", environment);
        // What is known only at the end, as bytes of connections that were cut.
        let refused = Some(EgressRefusal::HostNotNamed);
        self.record(environment, EgressKind::Request, refused);
    }

    async fn records(&self, environment: &str) -> Records {
        let mut all = self.records.lock().unwrap();
        all.remove(environment).unwrap_or_default()
    }
}

async fn run(world: &World, egress: &Arc<Answering>, automation: &str) -> Task {
    let mut options = world.options();
    options.egress = Arc::clone(egress) as Arc<dyn Egress>;
    let runner = world.runner_with(options);
    let id = world.plane.queue(automation, "one");
    let task = world.plane.settled(id).await;
    runner.shutdown(std::time::Duration::from_secs(20)).await;
    task
}

const NETWORK: &str = "environment:
  variables: {MINE: own}
  network:
    - {host: a.test, credential: {secret: x, variable: API_TOKEN}}
";

fn automation(steps: &str) -> String {
    format!("name: reaching\n{NETWORK}steps:\n{steps}  - report: {{ outputs: {{}} }}\n")
}

const LOOK: &str = r#"  - id: look
    command: |
      python3 -c "import urllib.request as u; print(u.urlopen('http://203.0.113.9/', timeout=5).read().decode())"
      echo "$API_TOKEN $MINE"; cat "$NODE_EXTRA_CA_CERTS"; test -r "$SSL_CERT_FILE" && echo bundle
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_reaches_what_is_served_and_its_end_is_the_end_of_its_network() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    let egress = Arc::new(Answering::default());
    let task = run(&world, &egress, &automation(LOOK)).await;
    let log = world.plane.log(&task, 0);
    assert_eq!(task.status, TaskStatus::NoChange, "{:?} {log}", task.reason);
    for words in [
        "broker 203.0.113.9:80",
        "placeholder own",
        "b3VyIG93bg==",
        "bundle",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
    let diary = egress.diary.lock().unwrap().clone();
    assert_eq!(diary, ["prepare own", "attach own", "detach own"]);
    let request = egress.requests.lock().unwrap()[0].clone();
    assert_eq!(request.account, Some(task.id.to_string()));
    assert_eq!(request.repository.as_deref(), Some("one"));
    let network = task.isolation.unwrap().network.expect("evidence");
    assert_eq!((network.rules, network.narrowed.len()), (1, 1));
    // What happened, the last of it included, in numbered batches under the task's lease.
    let batches = world.plane.reaches.lock().unwrap().clone();
    let numbers: Vec<u32> = batches.iter().map(|batch| batch.batch).collect();
    assert_eq!(
        numbers,
        (0..u32::try_from(batches.len()).unwrap()).collect::<Vec<_>>()
    );
    assert!(
        batches
            .iter()
            .all(|batch| batch.task == task.id && batch.epoch > 0)
    );
    let counts = batches.iter().map(model::egress::EgressBatch::counts);
    let counts = counts.fold((0, 0), |sum, (a, b)| (sum.0 + a, sum.1 + b));
    assert_eq!(counts, (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_serves_is_not_made() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    // A runner without a broker refuses for good.
    let (_, task) = world.run(&automation(LOOK), "one").await;
    assert_eq!(task.status, TaskStatus::Failed);
    let reason = task.reason.unwrap();
    assert_eq!(reason.code, ReasonCode::EnvironmentFailed);
    assert!(
        reason.sentence.contains("environment.network"),
        "{}",
        reason.sentence
    );
    assert!(task.steps.is_empty() && world.layers().is_empty());
    // One that was lost in between: somebody else may succeed.
    let egress = Arc::new(Answering {
        deaf: true,
        ..Answering::default()
    });
    let mut options = world.options();
    options.egress = Arc::clone(&egress) as Arc<dyn Egress>;
    let runner = world.runner_with(options);
    let id = world.plane.queue(&automation(LOOK), "one");
    let given_back =
        |task: &Task| egress.diary.lock().unwrap().len() >= 3 && !task.status.is_leased();
    let task = world.plane.until(id, given_back).await;
    runner.shutdown(std::time::Duration::from_secs(20)).await;
    assert!(
        task.steps.iter().all(|step| step.outcome.is_none()),
        "{task:?}"
    );
    let diary = egress.diary.lock().unwrap().clone();
    assert_eq!(diary[..3], ["prepare own", "attach own", "detach own"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_others_use_the_result_no_credential_goes() {
    let Some(world) = World::new() else { return };
    world.repository("one", &[("a", "a\n")]);
    let egress = Arc::new(Answering::default());
    let steps = "  - {id: write, command: echo b > a}\n  - validate: [{cmd: 'python3 -c \"import urllib.request as u; u.urlopen(\\\"http://203.0.113.9/\\\", timeout=5)\"'}]\n";
    let text = format!("name: reaching\n{NETWORK}steps:\n{steps}  - change: {{title: b}}\n");
    let task = run(&world, &egress, &text).await;
    let log = world.plane.log(&task, 1);
    assert_eq!(task.validators.len(), 1, "{:?} {log}", task.reason);
    assert!(
        task.validators[0].before.is_empty(),
        "the base reaches it too: {log}"
    );
    let requests = egress.requests.lock().unwrap().clone();
    let of = |request: &NetworkRequest| match &request.definition.0[0] {
        NetworkEntry::Host(rule) => rule.credential.is_some(),
        NetworkEntry::Bundle(_) => false,
    };
    let seen: Vec<(bool, bool)> = requests
        .iter()
        .map(|request| (request.environment.contains("pristine"), of(request)))
        .collect();
    // One of its own; one for the base; the one in which we look at the work reaches nothing.
    assert_eq!(seen, [(false, true), (true, false)]);
    let batches = world.plane.reaches.lock().unwrap().clone();
    assert!(batches.iter().any(|batch| batch.environment == "baseline"));
}
