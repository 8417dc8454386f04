//! A real control plane for tests and the sample: SQLite, blobs, a local forge, the dispatcher, and
//! the HTTP surface in this process. In place of a runner, tasks are driven by its messages.
#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]
#![allow(unreachable_pub, missing_docs, reason = "shared between test binaries")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use engine::ports::{Caps, PermitAll};
use forge::git::Git;
use forge::local::LocalForge;
use http_body_util::BodyExt;
use jiff::Timestamp;
use model::budget::BudgetLimits;
use model::change::Proposal;
use model::evidence::{DiffStat, ValidatorResult, Verdict};
use model::exec::{ExecBatch, ExecEvent, ExecMode, ExecProcess};
use model::isolation::{ExecEvidence, Isolation, IsolationLevel, RootEvidence, RootKind};
use model::protocol::{
    Assignment, ClaimRequest, LogChunk, LogLine, LogStream, Report, ReportRequest,
};
use model::reason::{Reason, ReasonCode};
use model::step::{Outputs, StepOutcome};
use model::task::{Base, TaskStatus, Wait, WaitKind};
use runner::ControlPlane;
use serde_json::Value;
use server::dispatch::Dispatcher;
use server::{Actor, AppState, Auth, Service, ServiceOptions, router};
use tempfile::TempDir;
use tower_service::Service as _;

pub const PORT: u16 = 7070;
pub const TOKEN: &str = "token-of-the-api";
pub const RUNNER: &str = "sample";

pub const AUTOMATION: &str = r#"name: licence-header
description: Adds a licence header to every repository.
triggers: [manual, push]
targets: { query: 'repo.files.exists(f, f == "README")' }
steps:
  - { id: header, command: ./add-header }
  - { id: check, validate: [{ cmd: ./ci/smoke.sh, baseline: true }, 'builtin:secrets'] }
  - { id: numbers, report: { outputs: { files: int } } }
  - change: { title: 'Add a licence header', body: 'So that everybody knows.' }
campaign: { canary: 2, waves: [3, rest], gate: { verified: 0.5 } }
"#;

pub struct Bench {
    pub dir: TempDir,
    pub service: Arc<Service>,
    pub auth: Arc<Auth>,
    pub app: axum::Router,
    pub state: AppState,
    dispatcher: Option<Dispatcher>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the tests")]
fn now() -> Timestamp {
    Timestamp::now()
}

pub fn ada() -> Actor {
    Actor::person("ada", &["author"])
}

impl Bench {
    pub async fn new(port: u16) -> Self {
        Self::fenced(port, model::fence::Fence::default()).await
    }

    /// A control plane whose configuration asks for a fence.
    pub async fn fenced(port: u16, fence: model::fence::Fence) -> Self {
        Self::made(
            port,
            fence,
            BudgetLimits::default(),
            tempfile::tempdir().unwrap(),
        )
        .await
    }

    /// A control plane whose configuration has caps.
    pub async fn capped(caps: BudgetLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::made(PORT, model::fence::Fence::default(), caps, dir).await
    }

    /// The next process over what this one leaves behind: nothing of it ends in good order.
    pub async fn killed(self) -> Self {
        let Self {
            dir,
            service,
            app,
            state,
            dispatcher,
            auth: _,
        } = self;
        let caps = service.budget_limits().clone();
        if let Some(dispatcher) = dispatcher {
            dispatcher.kill().await;
        }
        drop((app, state));
        // What was begun ends where a process would: nobody waits for it.
        let limit = tokio::time::Instant::now() + Duration::from_secs(30);
        while Arc::strong_count(&service) > 1 {
            assert!(
                tokio::time::Instant::now() < limit,
                "somebody still uses it"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        drop(service);
        Self::made(PORT, model::fence::Fence::default(), caps, dir).await
    }

    async fn made(port: u16, fence: model::fence::Fence, caps: BudgetLimits, dir: TempDir) -> Self {
        let path = dir.path();
        let address = format!("sqlite:{}", path.join("store.db").display());
        let service = Service::new(ServiceOptions {
            store: store::open(&address, store::OpenOptions::default())
                .await
                .unwrap(),
            blobs: Arc::new(blob::BlobStore::open(path.join("blobs")).unwrap()),
            forge: LocalForge::open(&path.join("forge"), Git::find().unwrap()).unwrap(),
            key: ledger::SigningKey::generate("nightcrew.test").unwrap(),
            policy: Arc::new(PermitAll),
            budget: Arc::new(Caps),
            caps,
            clock: Arc::new(now),
            limits: store::Limits::default(),
            lease: Duration::from_secs(600),
            fence,
        });
        let auth = Arc::new(Auth::new(TOKEN, "ada"));
        let state = AppState::new(Arc::clone(&service), Arc::clone(&auth), "0.0.0-test", port);
        let dispatcher = Some(Dispatcher::start(&service, true));
        Self {
            dir,
            service,
            auth,
            app: router(state.clone()),
            state,
            dispatcher,
        }
    }

    /// Stops what happens by itself.
    pub async fn stop(&mut self) {
        if let Some(dispatcher) = self.dispatcher.take() {
            dispatcher.stop().await;
        }
    }

    /// Imports a repository with these files.
    pub async fn repository(&self, name: &str, files: &[(&str, &str)]) {
        let work = self.dir.path().join("from").join(name);
        std::fs::create_dir_all(&work).unwrap();
        git(&work, &["init", "-q", "-b", "main"]);
        for (path, text) in files {
            let path = work.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        git(&work, &["add", "."]);
        git(&work, &["commit", "-q", "-m", "begin"]);
        let imported = self.service.import(work.to_str().unwrap()).await.unwrap();
        assert!(
            imported.iter().all(|one| one.problem.is_none()),
            "{imported:?}"
        );
    }

    /// Waits until something is as it should be, looking again at every update.
    pub async fn until<F, T>(&self, mut look: F) -> T
    where
        F: AsyncFnMut() -> Option<T>,
    {
        let mut updates = self.service.updates();
        let limit = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(found) = look().await {
                return found;
            }
            let next = tokio::time::timeout_at(limit, updates.recv()).await;
            assert!(next.is_ok(), "it did not happen within 30 s");
        }
    }

    /// Waits until something is so that no update tells of.
    pub async fn until_now<F: AsyncFnMut() -> bool>(&self, mut look: F) {
        let limit = tokio::time::Instant::now() + Duration::from_secs(30);
        while !look().await {
            assert!(
                tokio::time::Instant::now() < limit,
                "it did not happen within 30 s"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// As [`Bench::until_now`], with what was found.
    pub async fn until_now_some<T, F: AsyncFnMut() -> Option<T>>(&self, mut look: F) -> T {
        let mut found = None;
        self.until_now(async || {
            found = look().await;
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Takes what can be taken, as a runner.
    pub async fn claim(&self, slots: u32) -> Vec<Assignment> {
        self.service
            .claim(ClaimRequest {
                runner: RUNNER.to_owned(),
                slots,
            })
            .await
            .unwrap()
    }

    /// Waits until at least one task can be taken.
    pub async fn claimed(&self, slots: u32) -> Vec<Assignment> {
        self.until(async || Some(self.claim(slots).await).filter(|found| !found.is_empty()))
            .await
    }

    pub async fn report(&self, of: &Assignment, reports: Vec<Report>) {
        let request = ReportRequest {
            runner: RUNNER.to_owned(),
            task: of.task.id,
            epoch: of.epoch,
            reports,
        };
        self.service.report(request).await.unwrap();
    }

    pub async fn blob(&self, bytes: impl Into<Vec<u8>>) -> String {
        self.service
            .put_blobs(vec![bytes.into()])
            .await
            .unwrap()
            .remove(0)
    }

    pub fn base(&self, of: &Assignment) -> Base {
        Base {
            commit: of.repository.head.clone().unwrap(),
            branch: of.repository.default_branch.clone(),
        }
    }

    pub async fn prepare(&self, of: &Assignment) {
        let isolation = Isolation {
            level: IsolationLevel::L0,
            layers: vec!["user".into(), "mount".into(), "network".into()],
            probes: 14,
            weaker: Vec::new(),
            exec: None,
            root: None,
            network: None,
        };
        self.report(
            of,
            vec![Report::Prepared {
                base: self.base(of),
                isolation,
            }],
        )
        .await;
    }

    /// The environment stands, on an image and with exec control.
    pub async fn prepare_judged(&self, of: &Assignment) {
        let isolation = Isolation {
            level: IsolationLevel::L1,
            layers: ["user", "mount", "pid", "net", "seccomp", "landlock"]
                .map(str::to_owned)
                .to_vec(),
            probes: 21,
            weaker: vec!["memory is limited for each process, not for the environment".into()],
            exec: Some(ExecEvidence {
                mode: ExecMode::DenyList,
                policy: "5f".repeat(32),
                rules: 2,
            }),
            network: None,
            root: Some(RootEvidence {
                kind: RootKind::Image,
                digest: Some(format!("sha256:{}", "a1".repeat(32))),
                recipe: Some("b2".repeat(32)),
                reproducible: true,
                toolchains: Vec::new(),
            }),
        };
        let base = self.base(of);
        self.report(of, vec![Report::Prepared { base, isolation }])
            .await;
    }

    /// A batch of what exec control refused or saw.
    pub fn batch(of: &Assignment, number: u32, events: Vec<ExecEvent>) -> ExecBatch {
        ExecBatch {
            runner: RUNNER.to_owned(),
            task: of.task.id,
            epoch: of.epoch,
            batch: number,
            step: Some(0),
            events,
            more_denied: 0,
            more_unknown: 0,
        }
    }

    pub async fn log(&self, of: &Assignment, step: u32, lines: &[&str]) {
        let line = |(n, text): (usize, &&str)| LogLine {
            step,
            at_ms: n as u64 * 37,
            stream: LogStream::Out,
            text: (*text).to_owned(),
        };
        let lines = lines.iter().enumerate().map(line).collect();
        self.service
            .log(LogChunk {
                task: of.task.id,
                lines,
            })
            .await;
    }

    /// A command step that succeeded with this log.
    pub async fn command(&self, of: &Assignment, index: u32, log: &str) {
        let log = Some(self.blob(log).await);
        let outputs = Outputs::from([("files".to_owned(), Value::from(3))]);
        let finished = Report::StepFinished {
            index,
            outcome: StepOutcome::Succeeded,
            outputs,
            log,
            wall_ms: 1240,
        };
        self.report(of, vec![Report::StepStarted { index }, finished])
            .await;
    }

    pub async fn fail(&self, of: &Assignment, index: u32, log: &str) {
        let log = Some(self.blob(log).await);
        let outcome = StepOutcome::Failed { code: 2 };
        let finished = Report::StepFinished {
            index,
            outcome,
            outputs: Outputs::new(),
            log,
            wall_ms: 310,
        };
        self.report(of, vec![Report::StepStarted { index }, finished])
            .await;
    }

    pub async fn validate(&self, of: &Assignment, index: u32) {
        let log = Some(
            self.blob("3 out ok 1 - starts\n9 out \u{1b}[31mnot ok 2 - old trouble\u{1b}[0m\n")
                .await,
        );
        let result = |name: &str, before: &[&str], log| ValidatorResult {
            name: name.to_owned(),
            verdict: Verdict::Passed,
            detail: "nothing fails that did not fail before".to_owned(),
            before: before.iter().map(|name| (*name).to_owned()).collect(),
            after: before.iter().map(|name| (*name).to_owned()).collect(),
            new: Vec::new(),
            log,
            wall_ms: 210,
        };
        let validators = vec![
            result("./ci/smoke.sh", &["old trouble"], log),
            result("builtin:secrets", &[], None),
        ];
        let finished = Report::StepFinished {
            index,
            outcome: StepOutcome::Succeeded,
            outputs: Outputs::new(),
            log: None,
            wall_ms: 420,
        };
        self.report(
            of,
            vec![
                Report::StepStarted { index },
                Report::Validated { validators },
                finished,
            ],
        )
        .await;
    }

    /// A report step with its values.
    pub async fn numbers(&self, of: &Assignment, index: u32) {
        let outputs = Outputs::from([("files".to_owned(), Value::from(3))]);
        let finished = Report::StepFinished {
            index,
            outcome: StepOutcome::Succeeded,
            outputs,
            log: None,
            wall_ms: 1,
        };
        self.report(of, vec![Report::StepStarted { index }, finished])
            .await;
    }

    /// A real commit as a proposal.
    pub async fn propose(&self, of: &Assignment, index: u32, title: &str, file: &str, text: &str) {
        let name: forge::RepoName = of.repository.name.parse().unwrap();
        let from = self.service.local_forge().git_dir(&name).unwrap();
        let work = tempfile::tempdir().unwrap();
        git(work.path(), &["clone", "-q", from.to_str().unwrap(), "w"]);
        let work = work.path().join("w");
        std::fs::write(work.join(file), text).unwrap();
        git(&work, &["add", "."]);
        git(&work, &["commit", "-q", "-m", title]);
        let base = self.base(of);
        let commit = git(&work, &["rev-parse", "HEAD"]);
        let patch = git(&work, &["diff", &base.commit, "HEAD"]);
        git(
            &work,
            &[
                "bundle",
                "create",
                "-q",
                "../bundle",
                &format!("{}..HEAD", base.commit),
                "HEAD",
            ],
        );
        let bundle = std::fs::read(work.parent().unwrap().join("bundle")).unwrap();
        let class = engine::diff_class::classify(&patch);
        let lines = u32::try_from(text.lines().count()).unwrap();
        let proposal = Proposal {
            base: base.commit,
            commit,
            bundle: self.blob(bundle).await,
            patch: self.blob(patch).await,
            diff: DiffStat {
                files: 1,
                insertions: lines,
                deletions: 0,
            },
            diff_class: class,
            title: title.to_owned(),
            body: self
                .blob(format!("{title}, because it was asked for."))
                .await,
            branch: engine::branch::name(
                None,
                &of.task.automation,
                of.task.campaign,
                &of.task.target,
            ),
        };
        self.report(
            of,
            vec![Report::StepStarted { index }, Report::Proposed { proposal }],
        )
        .await;
    }

    /// The whole of a task up to its review.
    pub async fn work(&self, of: &Assignment) {
        self.prepare(of).await;
        self.command(of, 0, LOG).await;
        self.validate(of, 1).await;
        self.numbers(of, 2).await;
        self.propose(
            of,
            3,
            "Add a licence header",
            "LICENCE",
            "Apache-2.0\nfor everybody\n",
        )
        .await;
        let id = of.task.id;
        self.until(async || {
            let task = self.service.task(id).await.unwrap();
            (task.status == TaskStatus::InReview).then_some(())
        })
        .await;
    }

    pub async fn ends(
        &self,
        of: &Assignment,
        status: TaskStatus,
        code: ReasonCode,
        sentence: &str,
    ) {
        let reason = Reason::new(code, sentence);
        self.report(of, vec![Report::Ends { status, reason }]).await;
    }

    pub async fn asks(&self, of: &Assignment, index: u32, sentence: &str) {
        let wait = Wait {
            kind: WaitKind::Approval,
            reason: Reason::new(ReasonCode::ApprovalNeeded, sentence),
            owner: None,
            until: None,
            silence_permits: false,
        };
        self.report(
            of,
            vec![Report::StepStarted { index }, Report::Waits { wait }],
        )
        .await;
    }

    pub async fn apply(&self, source: &str) {
        self.service
            .apply_automation(source, "automation.yaml", BTreeMap::new(), &ada())
            .await
            .unwrap();
    }

    // --- HTTP ---

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().call(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer {
            status,
            headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    pub fn request(method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("127.0.0.1:{PORT}"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        let request = Self::request("GET", &format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {TOKEN}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        let request = Self::request("POST", &format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {TOKEN}"));
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    /// Signs a browser in; its cookie.
    pub async fn browser(&self) -> String {
        let token = self.auth.one_time_token();
        let request = Self::request("GET", &format!("/login?token={token}"))
            .body(Body::empty())
            .unwrap();
        let answer = self.send(request).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        let cookie = answer.headers["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    pub async fn page(&self, cookie: &str, path: &str) -> Answer {
        let request = Self::request("GET", path)
            .header("cookie", cookie)
            .body(Body::empty())
            .unwrap();
        self.send(request).await
    }
}

/// Something that exec control refused, or saw and let pass.
pub fn exec_event(denied: bool, path: &str, rule: &str, count: u64) -> ExecEvent {
    ExecEvent {
        denied,
        digest: Some("c3".repeat(32)),
        path: path.to_owned(),
        processes: [(41, "node"), (17, "sh"), (2, "make")]
            .map(|(id, name)| ExecProcess {
                id,
                name: name.to_owned(),
            })
            .to_vec(),
        rule: rule.to_owned(),
        count,
        at_ms: 800,
    }
}

/// A log as it is kept, with colours, markup and control sequences in it.
pub const LOG: &str = "0 note step begins\n12 out looking at 3 files\n40 out \u{1b}[32mok\u{1b}[0m src/main.sh\n\
55 err \u{1b}[33mwarning:\u{1b}[0m <script>alert(1)</script> stays text\n80 out \u{1b}[2Jnot cleared\n\
120 out \u{1b}[1;34m3 files\u{1b}[0m got a header\n";

/// Git as a person runs it, with an identity and no other configuration.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .args([
            "-c",
            "user.name=Person",
            "-c",
            "user.email=person@example.org",
        ])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
}
