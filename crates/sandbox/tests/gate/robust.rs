//! The gate under attack and in trouble: nothing slips, nothing hangs, nobody else notices.

use std::time::{Duration, Instant};

use sandbox::{ExecMode, ExitStatus};

use crate::common::{World, eventually, sh};
use crate::kit::{base, can_gate, create, denials, deny, name, policy};

/// The child of a process that has this name.
pub(crate) fn child_named(parent: u32, wanted: &str) -> Option<u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .find_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
            let field = |name: &str| {
                status
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::trim)
            };
            let alive = !field("State:")?.starts_with('Z');
            (alive && field("PPid:")? == parent.to_string() && field("Name:")? == wanted)
                .then_some(pid)
        })
}

fn anchor_and_gate(world: &World) -> (u32, u32) {
    let anchor = child_named(world.supervisor.process_id(), "nc-anchor").expect("an anchor");
    let gate = Seen::default();
    eventually("a gate", || gate.set_from(child_named(anchor, "nc-gate")));
    (anchor, gate.get().unwrap())
}

/// A cell that is set once something is there.
#[derive(Default)]
struct Seen(std::cell::Cell<Option<u32>>);

impl Seen {
    fn set_from(&self, value: Option<u32>) -> bool {
        self.0.set(value);
        value.is_some()
    }

    fn get(&self) -> Option<u32> {
        self.0.get()
    }
}

fn signal(pid: u32, signal: &str) {
    let status = std::process::Command::new("kill")
        .args([signal, &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Runs both programs for as long as the file `go` is there.
const LOOP: &str = "n=0; while [ -e /nightcrew/out/go ]; do ./tool 2>/dev/null; ./friend >/dev/null || echo FAILED; n=$((n+1)); done; echo rounds $n";

fn world_with_loop() -> (World, sandbox::Environment) {
    let world = World::new();
    let base = base(&world);
    let outputs = world.place.join("outputs");
    std::fs::create_dir(&outputs).unwrap();
    std::fs::write(outputs.join("go"), "").unwrap();
    let mut spec = world.spec("loop", Some(&base));
    spec.outputs = Some(outputs);
    spec.exec = policy(ExecMode::DenyList, denials(&base));
    let environment = world.supervisor.create(&spec).unwrap();
    (world, environment)
}

fn rounds(out: &str) -> u32 {
    out.trim()
        .strip_prefix("rounds ")
        .unwrap_or_else(|| panic!("{out}"))
        .parse()
        .unwrap()
}

#[test]
fn killing_the_gate_again_and_again_lets_nothing_slip_and_breaks_nothing() {
    if !can_gate() {
        return;
    }
    let (world, environment) = world_with_loop();
    let ran = std::thread::scope(|scope| {
        let step = scope.spawn(|| sh(&environment, LOOP));
        for _ in 0..10 {
            let (anchor, gate) = anchor_and_gate(&world);
            signal(gate, "-KILL");
            eventually("another gate", || {
                child_named(anchor, "nc-gate").is_some_and(|other| other != gate)
            });
        }
        std::fs::remove_file(world.place.join("outputs/go")).unwrap();
        step.join().unwrap()
    });
    assert!(
        !ran.out.contains("RAN") && !ran.out.contains("FAILED"),
        "{ran:?}"
    );
    assert!(rounds(&ran.out) > 0, "{ran:?}");
    assert_eq!(sh(&environment, "./friend").ok(), "friend\n");
    assert_eq!(sh(&environment, "./tool").out, "");
}

#[test]
fn a_stopped_gate_blocks_until_another_takes_its_place_and_the_host_does_not_notice() {
    if !can_gate() {
        return;
    }
    let (world, environment) = world_with_loop();
    let (anchor, gate) = anchor_and_gate(&world);
    std::thread::scope(|scope| {
        signal(gate, "-STOP");
        std::fs::remove_file(world.place.join("outputs/go")).unwrap();
        let step = scope.spawn(|| {
            let started = Instant::now();
            (sh(&environment, "./tool; ./friend"), started.elapsed())
        });
        // The host executes the very file meanwhile.
        let host = std::process::Command::new(world.place.join("base/tool"))
            .output()
            .unwrap();
        assert_eq!(host.stdout, b"RAN tool\n");
        let (ran, took) = step.join().unwrap();
        assert_eq!(ran.out, "friend\n", "{ran:?}");
        assert!(took > Duration::from_secs(1), "it did not wait: {took:?}");
    });
    assert!(child_named(anchor, "nc-gate").is_some_and(|other| other != gate));
}

#[test]
fn without_an_anchor_environments_end_and_new_ones_are_guarded_again() {
    if !can_gate() {
        return;
    }
    let (world, environment) = world_with_loop();
    let (anchor, _) = anchor_and_gate(&world);
    let ran = std::thread::scope(|scope| {
        let step = scope.spawn(|| sh(&environment, LOOP));
        signal(anchor, "-KILL");
        step.join().unwrap()
    });
    assert_eq!(ran.status, ExitStatus::EnvironmentGone, "{ran:?}");
    assert!(!ran.out.contains("RAN"), "{ran:?}");
    let base = world.place.join("base");
    let again = create(
        &world,
        "again",
        Some(&base),
        policy(ExecMode::DenyList, denials(&base)),
    );
    assert_eq!(sh(&again, "./tool; ./friend").out, "friend\n");
}

#[test]
fn a_stopped_anchor_and_a_dead_gate_end_what_relies_on_them() {
    if !can_gate() {
        return;
    }
    let (world, environment) = world_with_loop();
    let (anchor, gate) = anchor_and_gate(&world);
    signal(anchor, "-STOP");
    signal(gate, "-KILL");
    let ran = sh(&environment, LOOP);
    assert_eq!(ran.status, ExitStatus::EnvironmentGone, "{ran:?}");
    assert!(!ran.out.contains("RAN"), "{ran:?}");
}

#[test]
fn a_flood_of_denials_is_a_few_events_that_count_it() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let environment = create(
        &world,
        "flood",
        Some(&base),
        policy(ExecMode::DenyList, denials(&base)),
    );
    let flood = "python3 -c '\nimport os\nfor i in range(20000):\n  try: os.open(\"tool\",0)\n  except PermissionError: pass\nfor i in range(2000):\n  n=f\"t{i}\"; os.link(\"tool\",n)\n  try: os.open(n,0)\n  except PermissionError: pass\n  os.unlink(n)\nprint(\"done\")'";
    assert_eq!(sh(&environment, flood).ok(), "done\n");
    let mut total = 0;
    let mut events = 0;
    let end = Instant::now() + Duration::from_secs(10);
    while total < 22_000 && Instant::now() < end {
        for event in environment.exec_events(Duration::from_millis(300)) {
            if event.denied {
                total += event.count;
                events += 1;
            }
        }
    }
    assert_eq!(total, 22_000, "in {events} events");
    assert!(events < 2_500, "{events}");
    assert_eq!(sh(&environment, "./friend").ok(), "friend\n");
}

#[test]
fn environments_come_and_go_without_a_trace() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let cycle = |count: u32| {
        for _ in 0..count {
            let environment = create(
                &world,
                "cycle",
                Some(&base),
                policy(ExecMode::DenyList, denials(&base)),
            );
            assert_eq!(sh(&environment, "./tool; ./friend").out, "friend\n");
            environment.destroy().unwrap();
        }
    };
    cycle(5);
    let (anchor, gate) = anchor_and_gate(&world);
    let count = |pid: u32| {
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count()
    };
    let before = (
        count(anchor),
        count(gate),
        count(world.supervisor.process_id()),
    );
    cycle(60);
    // The gate closes what it had a moment after it says that it let go.
    eventually("no descriptor is left", || {
        count(anchor) <= before.0
            && count(gate) <= before.1
            && count(world.supervisor.process_id()) <= before.2
    });
    // The layer is free as soon as an environment is destroyed.
    sandbox::remove_layer(&world.place.join("layer-cycle")).unwrap();
    drop(world);
    eventually("anchor and gate end", || {
        [anchor, gate].into_iter().all(is_over)
    });
}

#[test]
fn many_environments_at_once_are_all_judged() {
    if !can_gate() {
        return;
    }
    let world = World::new();
    let base = base(&world);
    let world = &world;
    let base = base.as_path();
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let rules = if number % 2 == 0 {
                    denials(base)
                } else {
                    vec![deny(name("nl"))]
                };
                let environment = create(
                    world,
                    &format!("many-{number}"),
                    Some(base),
                    policy(ExecMode::DenyList, rules),
                );
                for _ in 0..5 {
                    let ran = sh(&environment, "./tool; nl data; ./friend");
                    let tool = ran.out.contains("RAN");
                    let nl = ran.out.contains("nothing");
                    assert_eq!((tool, nl), (number % 2 == 1, number % 2 == 0), "{ran:?}");
                }
            });
        }
    });
}

/// Whether a process runs no more; whoever adopted it may not have waited for it yet.
fn is_over(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}
