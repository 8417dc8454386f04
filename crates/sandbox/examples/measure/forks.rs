//! A workspace of a gigabyte frozen, forked, and resumed until its first step has run.

use std::time::Instant;

use sandbox::EnvironmentSpec;
use sandbox::storage::{Bases, Disk, Origin, Storage};

use crate::start::ms;
use crate::world::{World, modes, policy, step};
use crate::{median, quantile, say};

const MEBIBYTES: usize = 1024;

pub(crate) fn measure(rounds: usize) {
    let world = World::new();
    let storage = Storage::open(&world.place.path().join("storage")).expect("a storage");
    let mut disk = storage
        .create_disk("first", Origin::default())
        .expect("a disk");
    let spec = |disk: &Disk, mode| {
        let mut spec = EnvironmentSpec::new("measured", disk.workspace(None));
        disk.insert_into(&mut spec, Bases::default());
        spec.exec = policy(mode);
        spec
    };
    let fill = format!(
        "i=0; while [ $i -lt {MEBIBYTES} ]; do head -c 1048576 /dev/zero >$i; i=$((i+1)); done"
    );
    let first = spec(&disk, sandbox::ExecMode::Off);
    let environment = world.supervisor.create(&first).expect("an environment");
    step(&environment, &["/bin/sh", "-c", &fill], &[]);
    environment.destroy().expect("destroyed");
    let began = Instant::now();
    let snapshot = storage.freeze(&mut disk).expect("a snapshot");
    say("freeze of 1 GB", ms(began), " ms");
    for (words, mode) in modes() {
        let (mut forks, mut resumes) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let began = Instant::now();
            let fork = storage
                .fork(&snapshot, &format!("fork-{round}"))
                .expect("a fork");
            forks.push(ms(began));
            let spec = spec(&fork, mode);
            let environment = world.supervisor.create(&spec).expect("an environment");
            step(&environment, &["/bin/sh", "-c", "test -e 7"], &[]);
            resumes.push(ms(began));
            environment.destroy().expect("destroyed");
            storage.remove_disk(&fork).expect("removed");
        }
        say(
            &format!("fork of 1 GB, {words}, median"),
            median(&forks),
            " ms",
        );
        let what = format!("fork and resume of 1 GB until a step has run, {words}");
        say(&format!("{what}, median"), median(&resumes), " ms");
        say(&format!("{what}, p95"), quantile(&resumes, 0.95), " ms");
    }
}
