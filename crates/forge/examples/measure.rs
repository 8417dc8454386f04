//! Measures the operations on hot paths: wall time, and CPU time with that of the git processes.
//!
//! `cargo run --release -p forge --example measure [FILES]`, where FILES is the size of the large repository.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::{Bench, alice, at, git};
use forge::git::{BaseRequest, Start, clone_base};
use forge::{MergeMethod, NewChange};

fn cpu() -> f64 {
    let own = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<f64> = own
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .map(|f| f.parse().unwrap_or(0.0))
        .collect();
    // utime, stime, cutime, cstime: fields 14 to 17, in ticks of 10 ms.
    fields[11..15].iter().sum::<f64>() * 10.0
}

fn measure(what: &str, times: usize, mut act: impl FnMut(usize)) {
    let (started, before) = (Instant::now(), cpu());
    for n in 0..times {
        act(n);
    }
    let wall = started.elapsed().as_secs_f64() * 1000.0 / times as f64;
    println!(
        "{what:44} {times:4} times  wall {wall:8.2} ms  cpu {:8.2} ms",
        (cpu() - before) / times as f64
    );
}

fn main() {
    let bench = Bench::new();
    for n in 0..30 {
        std::fs::write(
            bench.work().join(format!("f{n}")),
            format!("file {n}\n").repeat(n),
        )
        .unwrap();
    }
    bench.commit_push("more");
    clones(&bench, 100);
    let mut news: Vec<NewChange> = Vec::new();
    let first = bench.new_change("b", "new.txt", "new\n");
    for n in 0..100 {
        let mut new = first.clone();
        new.branch = format!("nightcrew/campaign/target-{n}");
        news.push(new);
    }
    // One repository for each change, as in a campaign.
    let names: Vec<forge::RepoName> = (0..100)
        .map(|n| format!("fleet/r{n}").parse().unwrap())
        .collect();
    for name in &names {
        bench.forge.create_repository(name, "main").unwrap();
        let dir = bench.forge.git_dir(name).unwrap();
        git(
            &bench.bare(),
            &["push", "-q", dir.to_str().unwrap(), "main"],
        );
    }
    measure("find_change, first look", 100, |n| {
        drop(bench.forge.find_change(&names[n], "x").unwrap());
    });
    measure("find_change, later", 1000, |n| {
        drop(bench.forge.find_change(&names[n % 100], "x").unwrap());
    });
    let refspec = format!("{}:refs/heads/pushed", first.commit);
    measure("git push of the same (to compare)", 100, |n| {
        let dir = bench.forge.git_dir(&names[n]).unwrap();
        let receive =
            "--receive-pack=git -c core.fsync=committed -c core.fsyncMethod=batch receive-pack";
        git(
            &bench.work(),
            &["push", "-q", receive, dir.to_str().unwrap(), &refspec],
        );
    });
    measure("open_change", 100, |n| {
        drop(bench.forge.open_change(&names[n], &news[n]).unwrap());
    });
    measure("open_change again", 100, |n| {
        drop(bench.forge.open_change(&names[n], &news[n]).unwrap());
    });
    measure("find_change of an open change", 1000, |n| {
        drop(
            bench
                .forge
                .find_change(&names[n % 100], &news[n % 100].branch)
                .unwrap(),
        );
    });
    measure("diff", 100, |n| {
        drop(bench.forge.diff(&names[n], 1).unwrap());
    });
    measure("approve", 100, |n| {
        drop(bench.forge.approve(&names[n], 1, &alice(), at(3)).unwrap());
    });
    measure("events_since", 1000, |n| {
        drop(bench.forge.events_since(&names[n % 100], None).unwrap());
    });
    measure("repositories (101)", 100, |_| {
        drop(bench.forge.repositories().unwrap());
    });
    for (method, range) in [
        (MergeMethod::Merge, 0..30),
        (MergeMethod::Squash, 30..60),
        (MergeMethod::Rebase, 60..90),
    ] {
        let mut left = range;
        measure(&format!("merge ({method:?})"), left.len(), |_| {
            let n = left.next().unwrap();
            bench
                .forge
                .merge(&names[n], 1, method, &alice(), at(4))
                .unwrap();
        });
    }
    for (n, name) in names.iter().enumerate().take(1) {
        println!(
            "{name}: {}",
            git(
                &bench.forge.git_dir(name).unwrap(),
                &["count-objects", "-v"]
            )
            .replace('\n', "  ")
        );
        assert_eq!(n, 0);
    }
    let files = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(20_000);
    large(files);
}

fn clones(bench: &Bench, times: usize) {
    let remote = bench.bare().to_str().unwrap().to_owned();
    let url = format!("file://{remote}");
    measure("git clone --depth 1 file:// (to compare)", times, |n| {
        git(
            bench.dir.path(),
            &["clone", "-q", "--depth", "1", &url, &format!("plain{n}")],
        );
    });
    let request = BaseRequest {
        remote,
        start: Start::Default,
        depth: Some(1),
    };
    measure("clone_base, depth 1", times, |n| {
        clone_base(
            bench.forge.git(),
            &request,
            &bench.path(&format!("base{n}")),
        )
        .unwrap();
    });
}

fn large(files: u32) {
    let bench = Bench::empty();
    for n in 0..files {
        let folder = bench.work().join(format!("d{}", n % 200));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("f{n}")), format!("file {n}\n")).unwrap();
    }
    bench.commit_push("large");
    println!("{files} files:");
    clones(&bench, 3);
    measure("git status in the base tree", 5, |_| {
        drop(git(&bench.path("base0"), &["status", "--porcelain"]));
    });
    measure("git status in the plain clone", 5, |_| {
        drop(git(&bench.path("plain0"), &["status", "--porcelain"]));
    });
    let new = bench.new_change("b", "new.txt", "new\n");
    measure("open_change", 1, |_| {
        drop(bench.forge.open_change(&bench.name, &new).unwrap());
    });
}
