//! What tests of secrets share: folders, and a real HTTP server on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed step fails the test, and a skipped one says so"
)]
#![allow(dead_code, reason = "every test file uses another part")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use egress::secret::{
    Content, Context, KeySource, NewSecret, SecretError, Secrets, SecretsConfig, SecretsOptions,
};
use jiff::{SignedDuration, Timestamp};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

/// What is answered: status, headers, body.
pub(crate) type Answer = (u16, Vec<(String, String)>, String);

/// A server that answers as it is told and keeps what it was asked.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) seen: Arc<Mutex<Vec<Request>>>,
}

pub(crate) fn json(status: u16, value: &serde_json::Value) -> Answer {
    (status, Vec::new(), value.to_string())
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&seen);
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (keep, answer) = (Arc::clone(&keep), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let request = read(&stream);
                    keep.lock().unwrap().push(request.clone());
                    write(stream, answer(&request));
                });
            }
        });
        Self { url, seen }
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(crate) fn last(&self) -> Request {
        self.seen.lock().unwrap().last().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())
            }
            None => break,
        };
    }
    let length = headers
        .get("content-length")
        .map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Request {
        method,
        path,
        headers,
        body: String::from_utf8(body).unwrap(),
    }
}

fn write(mut stream: TcpStream, (status, headers, body): Answer) {
    let mut text = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n",
        body.len()
    );
    for (name, value) in headers {
        text = format!("{text}{name}: {value}\r\n");
    }
    let _ = stream.write_all(format!("{text}\r\n{body}").as_bytes());
}

/// A clock that tests move.
#[derive(Clone)]
pub(crate) struct Clock(pub(crate) Arc<AtomicI64>);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_800_000_000)))
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn in_seconds(&self, seconds: i64) -> Timestamp {
        self.now()
            .checked_add(SignedDuration::from_secs(seconds))
            .unwrap()
    }
}

/// Secrets in a folder of their own.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Clock,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Clock::new(),
        }
    }

    pub(crate) fn key(&self) -> KeySource {
        KeySource::File(self.folder.path().join("secrets.key"))
    }

    pub(crate) fn secrets(&self) -> Secrets {
        self.with("")
    }

    /// With this configuration.
    pub(crate) fn with(&self, config: &str) -> Secrets {
        self.with_key(config, self.key())
    }

    pub(crate) fn with_key(&self, config: &str, key: KeySource) -> Secrets {
        let config: SecretsConfig = toml::from_str(config).unwrap();
        let clock = self.clock.clone();
        Secrets::open(SecretsOptions {
            folder: self.folder.path().join("secrets"),
            key,
            config,
            clock: Arc::new(move || clock.now()),
        })
        .unwrap()
    }
}

pub(crate) fn context(automation: &str, repository: &str) -> Context {
    Context {
        automation: Some(automation.to_owned()),
        repository: Some(repository.to_owned()),
        task: Some("tsk_1".to_owned()),
    }
}

/// Runs a program; its output.
pub(crate) fn run(program: &str, arguments: &[&str], input: &[u8]) -> Option<String> {
    use std::process::{Command, Stdio};
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

/// A test that cannot run here says so, or fails where everything is wanted.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("NIGHTCREW_REQUIRE_ALL").is_none(), "{why}");
    println!("SKIP {why}");
}

/// Sets a value.
pub(crate) fn set(
    secrets: &Secrets,
    name: &str,
    scope: &str,
    value: &str,
) -> Result<(), SecretError> {
    let new = NewSecret {
        name: name.parse()?,
        scope: scope.parse()?,
        content: Content::Value(zeroize::Zeroizing::new(value.to_owned())),
        expires: None,
        owner: None,
    };
    secrets.store().set(new, secrets.now()).map(drop)
}

/// The value that a context gets.
pub(crate) fn value(
    secrets: &Secrets,
    name: &str,
    context: &Context,
) -> Result<String, SecretError> {
    secrets
        .resolve(name, context, "env")
        .map(|resolved| resolved.value.to_string())
}
