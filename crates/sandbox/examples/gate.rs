//! Measures what exec control by content costs: opens, executions, the storm of a package manager,
//! and the making of environments, each without it and with it. Needs root and `cc`.
//!
//! `cargo run --release -p sandbox --example gate`
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::{
    Environment, EnvironmentSpec, ExecMode, ExecPolicy, ExecRule, ExecSpec, ExecTarget,
    RuleVerdict, Supervisor, SupervisorOptions, Workspace,
};

/// Prints one line per figure: name, least and median in microseconds.
const PROBE: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e6 + t.tv_nsec / 1e3; }
static int order(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return (x > y) - (x < y); }
static double times[40000];
static void say(const char *name, int n) { qsort(times, n, sizeof *times, order); printf("%s %.2f %.2f\n", name, times[0], times[n / 2]); }
static void open_one(int at, const char *path) { double t = now(); int fd = open(path, O_RDONLY); close(fd); times[at] = now() - t; }
int main(int argc, char **argv) {
  char path[256]; int n = 0; FILE *list = popen("find /usr/include /usr/share/doc -type f 2>/dev/null | head -n 4000", "r");
  static char names[4000][200];
  while (n < 4000 && fgets(names[n], 200, list)) { names[n][strcspn(names[n], "\n")] = 0; n++; }
  pclose(list);
  for (int i = 0; i < n; i++) open_one(i, names[i]);
  say("first-open-of-base", n);
  for (int i = 0; i < n; i++) open_one(i, names[i]);
  say("repeated-open-of-base", n);
  for (int i = 0; i < 20000; i++) open_one(i, "data");
  say("open-in-workspace", 20000);
  double t = now();
  for (int i = 0; i < 20000; i++) { snprintf(path, sizeof path, "storm%d.js", i); int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644); if (write(fd, path, 200) < 0) return 1; close(fd); }
  times[0] = times[1] = (now() - t) / 20000; say("storm-create", 1);
  t = now();
  for (int i = 0; i < 20000; i++) { snprintf(path, sizeof path, "storm%d.js", i); int fd = open(path, O_RDONLY); if (read(fd, names[0], 200) < 0) return 1; close(fd); }
  times[0] = (now() - t) / 20000; say("storm-read", 1);
  const char *programs[] = {"/usr/bin/true", "./friend"};
  for (int p = 0; p < 2; p++) {
    for (int i = 0; i < 300; i++) { t = now(); pid_t pid = vfork(); if (!pid) { execl(programs[p], "x", (char *)0); _exit(9); } int status; waitpid(pid, &status, 0); if (status) return 2; times[i] = now() - t; }
    say(p ? "exec-in-workspace" : "exec-of-base", 300);
  }
  return 0;
}
"#;

fn main() -> Result<(), Box<dyn Error>> {
    sandbox::supervisor::run_if_requested();
    let place = std::env::temp_dir().join(format!("gate-{}", std::process::id()));
    std::fs::create_dir_all(place.join("base"))?;
    let result = measure(&place);
    sandbox::remove_layer(&place)?;
    result
}

fn measure(place: &Path) -> Result<(), Box<dyn Error>> {
    let base = place.join("base");
    std::fs::write(base.join("data"), "data")?;
    compile(&base.join("probe"), PROBE)?;
    compile(&base.join("friend"), "int main(void) { return 0; }")?;
    sandbox::prepare_base(&base)?;
    let supervisor = Supervisor::start(SupervisorOptions::new(std::env::current_exe()?))?;
    let policies = [
        ("off", ExecPolicy::default()),
        (
            "deny-list",
            policy(ExecMode::DenyList, ExecTarget::Name("npx".to_owned())),
        ),
        (
            "deny-list of digests",
            policy(ExecMode::DenyList, ExecTarget::Digest([7; 32])),
        ),
        ("allow-list", allow(&base)?),
    ];
    for round in 0..2 {
        for (name, policy) in &policies {
            let environment = make(&supervisor, place, &format!("{round}"), policy)?;
            println!("--- {name}, round {round}");
            print!("{}", run(&environment, "./probe")?);
            environment.destroy()?;
            sandbox::remove_layer(&place.join("layer"))?;
        }
    }
    for (name, policy) in &policies {
        let mut times = Vec::new();
        for number in 0..200 {
            let started = Instant::now();
            let environment = make(&supervisor, place, &number.to_string(), policy)?;
            times.push(started.elapsed());
            environment.destroy()?;
        }
        times.sort();
        println!(
            "create with {name}: least {:?}, median {:?}",
            times[0], times[100]
        );
    }
    Ok(())
}

fn policy(mode: ExecMode, target: ExecTarget) -> ExecPolicy {
    ExecPolicy {
        mode,
        rules: vec![ExecRule {
            verdict: RuleVerdict::Deny,
            target,
            reason: String::new(),
        }],
        ..ExecPolicy::default()
    }
}

/// Only the root, and the two programs of the measurement, by digest as `sha256sum` says it.
fn allow(base: &Path) -> Result<ExecPolicy, Box<dyn Error>> {
    let mut allowed = ExecPolicy {
        mode: ExecMode::AllowList,
        ..ExecPolicy::default()
    };
    for name in ["probe", "friend"] {
        let output = Command::new("sha256sum").arg(base.join(name)).output()?;
        let text = String::from_utf8(output.stdout)?;
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2).ok_or("no digest")?, 16)?;
        }
        allowed.rules.push(ExecRule {
            verdict: RuleVerdict::Allow,
            target: ExecTarget::Digest(digest),
            reason: String::new(),
        });
    }
    Ok(allowed)
}

fn compile(to: &Path, source: &str) -> Result<(), Box<dyn Error>> {
    let file = to.with_extension("c");
    std::fs::write(&file, source)?;
    let status = Command::new("cc")
        .args(["-O2", "-w", "-o"])
        .arg(to)
        .arg(&file)
        .status()?;
    std::fs::remove_file(file)?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| "cc failed".into())
}

fn make(
    supervisor: &Supervisor,
    place: &Path,
    id: &str,
    policy: &ExecPolicy,
) -> Result<Environment, Box<dyn Error>> {
    let workspace = Workspace {
        base: Some(place.join("base")),
        frozen: Vec::new(),
        layer: place.join("layer"),
    };
    let mut spec = EnvironmentSpec::new(id, workspace);
    spec.exec = policy.clone();
    Ok(supervisor.create(&spec)?)
}

fn run(environment: &Environment, program: &str) -> Result<String, Box<dyn Error>> {
    let (mut read, write) = std::io::pipe()?;
    let step = ExecSpec {
        argv: vec![program.to_owned()],
        env: Vec::new(),
        cwd: None,
        stdin: None,
        stdout: write.try_clone()?.into(),
        stderr: write.into(),
        terminal: None,
        timeout: Some(Duration::from_mins(5)),
    };
    let running = environment.exec(step)?;
    let mut output = String::new();
    read.read_to_string(&mut output)?;
    running.wait()?;
    Ok(output)
}
