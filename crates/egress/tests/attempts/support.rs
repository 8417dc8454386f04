//! Surroundings of the attempts: an environment, a broker that serves it, and servers outside that
//! write down every byte.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use egress::broker::limits::Limits;
use egress::broker::outside::{Outside, OutsideSettings};
use egress::broker::volume::Used;
use egress::broker::{Attachment, Broker, Sockets};
use egress::credential::{Bound, placeholder};
use egress::gateway::Gateway;
use egress::policy::NetworkPolicy;
use egress::record::Kept;
use model::egress::EgressRefusal;
use model::network::NetworkDefinition;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::server::Server;

pub(crate) const SECRET: &str = "s3cr3t+value/0123456789abcdefABCDEF==zz";
pub(crate) const NOW: u64 = 1_795_000_000_000;

/// The names that servers outside have. Only some are named by policies.
pub(crate) const HOSTS: [&str; 6] = [
    "git.example.test",
    "api.example.test",
    "second.example.test",
    "tunnel.example.test",
    "evil.example.test",
    "plain.example.test",
];

/// What the plain control policy says: GET below /v1 of one host, with a credential.
pub(crate) const BASE: &str = r#"[{"host":"api.example.test","protocol":"https","methods":["GET"],"paths":["/v1/**"],"private":true,
  "credential":{"secret":"x","variable":"API_TOKEN"}}]"#;

/// What came back to whoever connected inside.
pub(crate) struct Talked {
    pub(crate) received: Vec<u8>,
    pub(crate) error: String,
}

impl std::fmt::Debug for Talked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.text(), self.error)
    }
}

impl Talked {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    /// The status of the first answer, if there is one.
    pub(crate) fn status(&self) -> Option<u16> {
        self.text().split(' ').nth(1)?.parse().ok()
    }

    /// All statuses, in order.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let text = self.text();
        let lines = text.split("HTTP/1.1 ").skip(1);
        lines
            .filter_map(|rest| rest.get(..3)?.parse().ok())
            .collect()
    }
}

/// An environment with a broker and servers outside.
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) kept: Arc<Kept>,
    pub(crate) servers: BTreeMap<&'static str, Server>,
    pub(crate) placeholder: String,
    pub(crate) folder: tempfile::TempDir,
    agent: Mutex<(UnixStream, BufReader<UnixStream>)>,
    child: Child,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl World {
    /// Makes a world with this policy; nothing where the host cannot.
    pub(crate) fn new(policy: &str) -> Option<Self> {
        Self::with(policy, Limits::default(), OutsideSettings::default())
    }

    /// A world whose broker believes none of the servers outside.
    pub(crate) fn distrustful(policy: &str) -> Option<Self> {
        let other = egress::tls::authority::Authority::new(NOW).unwrap();
        let settings = OutsideSettings {
            authorities: Some(other.pem().to_owned()),
            ..OutsideSettings::default()
        };
        Self::with(policy, Limits::default(), settings)
    }

    pub(crate) fn with(
        policy: &str,
        limits: Limits,
        mut settings: OutsideSettings,
    ) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let outside = egress::tls::authority::Authority::new(NOW).unwrap();
        let mut servers = BTreeMap::new();
        for host in HOSTS {
            let name = egress::name::Host::parse(host).unwrap();
            let mut config = (*outside.serve(&name).unwrap()).clone();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            let tls = (host != "plain.example.test").then(|| Arc::new(config));
            let server = Server::start(tls, folder.path());
            settings
                .hosts
                .insert(host.to_owned(), server.address.to_string());
            servers.insert(host, server);
        }
        settings
            .authorities
            .get_or_insert_with(|| outside.pem().to_owned());
        let definition: NetworkDefinition = serde_json::from_str(policy).unwrap();
        let policy = NetworkPolicy::compile(&definition).unwrap();
        let ports: Vec<u16> = policy.ports().into_iter().chain([53, 3128]).collect();
        let (child, sockets, agent) = environment(&ports)?;
        let kept = Arc::new(Kept::default());
        let recorder = Arc::clone(&kept);
        let outside = Outside::new(&settings).unwrap();
        let clock = Arc::new(|| NOW);
        let gateway = Gateway::refusing(Arc::new(|| jiff::Timestamp::UNIX_EPOCH)).unwrap();
        let broker = Broker::new(outside, recorder, Arc::new(gateway), clock);
        let placeholder = placeholder().unwrap();
        let credentials = policy.credentials();
        let bound = credentials.into_iter().map(|used| Bound {
            placeholder: placeholder.clone(),
            used: used.clone(),
            value: Zeroizing::new(SECRET.to_owned()),
        });
        let attachment = Attachment {
            environment: String::from("a"),
            sockets,
            credentials: bound.collect(),
            policy,
            model: None,
            limits,
            used: Used::default(),
        };
        let handle = broker.attach(attachment).unwrap();
        std::fs::write(folder.path().join("ca.pem"), handle.certificate).unwrap();
        let reader = BufReader::new(agent.try_clone().unwrap());
        Some(Self {
            broker,
            kept,
            servers,
            placeholder,
            folder,
            agent: Mutex::new((agent, reader)),
            child,
        })
    }

    fn wish(&self, wish: &Value) -> Value {
        let mut agent = self.agent.lock().unwrap();
        agent.0.write_all(format!("{wish}\n").as_bytes()).unwrap();
        let mut line = String::new();
        agent.1.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn talk(&self, wish: &Value) -> Talked {
        let answer = self.wish(wish);
        Talked {
            received: BASE64.decode(answer["received"].as_str().unwrap()).unwrap(),
            error: answer["error"].as_str().unwrap().to_owned(),
        }
    }

    /// The address that a name has inside.
    pub(crate) fn pin(&self, name: &str) -> String {
        let name = egress::name::Name::parse(name).unwrap();
        self.broker.address("a", &name).unwrap().to_string()
    }

    /// Sends bytes to an address inside and reads what comes.
    pub(crate) fn raw(&self, address: &str, port: u16, bytes: &[u8]) -> Talked {
        self.talk(&json!({ "to": [address, port], "send": [BASE64.encode(bytes)] }))
    }

    /// Sends bytes and nothing more, not even patience.
    pub(crate) fn talk_and_end(&self, address: &str, port: u16, bytes: &[u8]) -> Talked {
        self.talk(&json!({ "to": [address, port], "send": [BASE64.encode(bytes)], "end": true }))
    }

    /// Sends bytes in TLS with this name.
    pub(crate) fn tls(&self, address: &str, name: &str, bytes: &[u8]) -> Talked {
        self.talk(&json!({ "to": [address, 443], "name": name, "send": [BASE64.encode(bytes)] }))
    }

    /// Sends bytes to the API in TLS, as whoever means it would.
    pub(crate) fn api(&self, bytes: &str) -> Talked {
        self.tls(
            &self.pin("api.example.test"),
            "api.example.test",
            bytes.as_bytes(),
        )
    }

    /// The same, and stays until the other side ends.
    pub(crate) fn talk_patiently(&self, name: &str, bytes: &str) -> Talked {
        let wish = json!({ "to": [self.pin(name), 443], "name": name, "send": [BASE64.encode(bytes)], "quiet": 20 });
        self.talk(&wish)
    }

    /// Asks for a name with these bytes.
    pub(crate) fn ask(&self, question: &[u8]) -> Talked {
        self.talk(&json!({ "at": "8.8.8.8", "question": BASE64.encode(question) }))
    }

    /// Runs a program inside; gives its code, and what it wrote.
    pub(crate) fn run(&self, command: &[&str]) -> (i64, String, String) {
        let ca = self.folder.path().join("ca.pem");
        let environment = json!({
            "CURL_CA_BUNDLE": ca, "SSL_CERT_FILE": ca, "GIT_SSL_CAINFO": ca,
            "API_TOKEN": self.placeholder, "HOME": self.folder.path(), "GIT_TERMINAL_PROMPT": "0",
        });
        let answer = self.wish(&json!({ "run": command, "environment": environment }));
        let text = |key: &str| {
            let bytes = BASE64.decode(answer[key].as_str().unwrap()).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        (answer["code"].as_i64().unwrap(), text("out"), text("err"))
    }

    /// The allowed request of [`BASE`] works: without that, a refusal proves nothing.
    pub(crate) fn control(&self) {
        let before = self.servers["api.example.test"].requests().len();
        let talked = self.api(&format!(
            "GET /v1/ping HTTP/1.1\r\nHost: api.example.test\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            self.placeholder
        ));
        assert!(
            talked.status() == Some(200) && talked.text().contains("pong"),
            "{talked:?}"
        );
        let requests = self.servers["api.example.test"].requests();
        assert_eq!(requests.len(), before + 1);
        let bearer = format!("authorization: Bearer {SECRET}");
        assert!(requests[before].contains(&bearer), "{}", requests[before]);
    }

    /// How many requests and connections reached a server.
    pub(crate) fn reached(&self, host: &str) -> (usize, usize) {
        (
            self.servers[host].requests().len(),
            self.servers[host].connections(),
        )
    }

    /// How many permitted requests of this kind were recorded.
    pub(crate) fn asked(&self, detail: &str) -> usize {
        let all = self.kept.all();
        let is_it =
            |event: &model::egress::EgressEvent| event.refused.is_none() && event.detail == detail;
        all.iter().filter(|(_, event)| is_it(event)).count()
    }

    /// How many refusals with this reason were recorded.
    pub(crate) fn refusals(&self, reason: EgressRefusal) -> usize {
        let all = self.kept.all();
        all.iter()
            .filter(|(_, event)| event.refused == Some(reason))
            .count()
    }

    /// Whether a refusal with this reason was recorded, whose event holds this text.
    pub(crate) fn was_refused(&self, reason: EgressRefusal, holding: &str) -> bool {
        self.kept.all().iter().any(|(environment, event)| {
            environment == "a"
                && event.refused == Some(reason)
                && [&event.host, &event.detail, &event.address]
                    .iter()
                    .any(|text| text.contains(holding))
        })
    }
}

/// Starts the stand-in for an environment, and takes its sockets.
pub(crate) fn environment(ports: &[u16]) -> Option<(Child, Sockets, UnixStream)> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    let child = Command::new("unshare")
        .args(["-Urn", "python3"])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/attempts/inside.py"
        ))
        .arg(list.join(","))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn();
    let child = match child {
        Ok(child) => child,
        Err(error) => return skip(&error.to_string()),
    };
    let sockets = match received(&ours) {
        Some(sockets) => sockets,
        None => return skip("no network namespace in which every address is local"),
    };
    let mut sockets = sockets.into_iter();
    let twice = ports.iter().flat_map(|port| [*port, *port]);
    let tcp = twice.zip(sockets.by_ref()).collect();
    let dns = sockets.by_ref().take(2).collect();
    let packets = sockets.next();
    Some((child, Sockets { tcp, dns, packets }, ours))
}

fn received(stream: &UnixStream) -> Option<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut ancillary = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let flags = rustix::net::RecvFlags::CMSG_CLOEXEC;
    rustix::net::recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        flags,
    )
    .ok()?;
    let message = ancillary.drain().next()?;
    match message {
        rustix::net::RecvAncillaryMessage::ScmRights(sockets) => Some(sockets.collect()),
        _ => None,
    }
}

fn skip<T>(why: &str) -> Option<T> {
    assert!(std::env::var_os("NIGHTCREW_REQUIRE_ALL").is_none(), "{why}");
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    {
        println!("SKIP attempts on the way out: {why}");
    }
    None
}
