//! What the gate costs a file's first open, its next ones, an execution, and a storm of new files.

use std::process::Command;

use crate::world::{World, modes, step};
use crate::{median, say};

const PROGRAM: &str = "/nightcrew/bin/nightcrew";

pub(crate) fn measure(rounds: usize) {
    let world = World::new();
    let base = world.tree("base", 10_000);
    let own = std::env::current_exe().expect("this program");
    let mut series: Vec<(String, Vec<f64>)> = Vec::new();
    let mut add = |name: String, value: f64| match series.iter_mut().find(|(n, _)| *n == name) {
        Some((_, values)) => values.push(value),
        None => series.push((name, vec![value])),
    };
    for round in 0..rounds {
        for (words, mode) in modes() {
            let name = format!("{round}-{mode:?}");
            let environment = world
                .supervisor
                .create(&world.spec(&name, &base, mode))
                .expect("an environment");
            let mut ask = |what: &str, arguments: &[&str]| {
                let argv = [&[PROGRAM, "inside"], arguments].concat();
                let value = step(&environment, &argv, &[])
                    .trim()
                    .parse()
                    .expect("a number");
                add(format!("{what}: {words}"), value);
            };
            ask(
                "first open of a file of the workspace's base",
                &["first", "/work"],
            );
            ask(
                "repeated open of a file of the workspace's base",
                &["again", "/work/0/0", "20000"],
            );
            ask(
                "repeated open of a file of the system",
                &["again", "/usr/bin/env", "20000"],
            );
            ask("start and end of `/bin/true`", &["exec", "300"]);
            ask(
                "a small file made, written and read",
                &["make", "/work/new", "5000"],
            );
            environment.destroy().expect("destroyed");
            world.remove(&name);
        }
        let native = |arguments: &[&str]| {
            let output = Command::new(&own).arg("inside").args(arguments).output();
            let output = output.expect("this program").stdout;
            String::from_utf8_lossy(&output)
                .trim()
                .parse()
                .expect("a number")
        };
        let tree = base.to_string_lossy();
        add(
            "first open of a file of the workspace's base: outside".into(),
            native(&["first", &tree]),
        );
        let file = format!("{tree}/0/0");
        add(
            "repeated open of a file of the workspace's base: outside".into(),
            native(&["again", &file, "20000"]),
        );
        add(
            "repeated open of a file of the system: outside".into(),
            native(&["again", "/usr/bin/env", "20000"]),
        );
        add(
            "start and end of `/bin/true`: outside".into(),
            native(&["exec", "300"]),
        );
        let folder = world.place.path().join(format!("new-{round}"));
        add(
            "a small file made, written and read: outside".into(),
            native(&["make", &folder.to_string_lossy(), "5000"]),
        );
        std::fs::remove_dir_all(folder).expect("removed");
    }
    for (name, values) in &series {
        say(name, median(values), " µs");
    }
}
