//! `bench idle`: what a server uses when nothing happens.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use testkit::server::Server;

use super::report::Page;
use super::usage::{cpu_of, memory};
use super::{Common, at};
use crate::shell::{program, say};

const REPOSITORIES: usize = 400;
const REST: Duration = Duration::from_secs(60);

/// Measures, and writes `docs/benchmarks/idle.md`.
pub(super) fn execute(common: &Common) -> Result<bool> {
    let program = program(common.program.as_deref())?;
    let scratch = common.scratch()?;
    let fleet = scratch.path().join("fleet");
    testkit::fleet::build(&fleet, &crate::fleet::source(false), REPOSITORIES)?;
    let nightcrew = at(&program, scratch.path(), "data");
    nightcrew.must(&["inventory", "import", &fleet.to_string_lossy(), "--quiet"])?;
    let mut server = Server::start(&nightcrew, None)?;
    server.api()?.context("the server died")?;
    say("letting the server come to rest, then looking for 60 s …");
    std::thread::sleep(Duration::from_secs(5));
    let (before, began) = (cpu_of(server.pid())?, Instant::now());
    std::thread::sleep(REST);
    let share = (cpu_of(server.pid())? - before) / began.elapsed().as_secs_f64() * 100.0;
    let mut page = Page::new(
        "idle",
        "A server with nothing to do",
        "400 repositories in the inventory, no campaign; one minute.",
    );
    page.at_most("CPU of one core", share, 0.5, " %");
    let mebibytes = memory(server.pid(), "VmRSS").map_or(0.0, |kib| {
        f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
    });
    page.at_most("memory", mebibytes, 150.0, " MiB");
    server.stop()?;
    page.write(common, "idle")
}
