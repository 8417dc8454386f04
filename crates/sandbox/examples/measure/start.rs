//! From the request to the end of `/bin/true`, beside other launchers, in rotation.

use std::path::Path;
use std::time::Instant;

use crate::world::{World, is_root, modes, step};
use crate::{median, peers, quantile, say};

pub(crate) fn measure(rounds: usize) {
    let world = World::new();
    let who = if is_root() { "root" } else { "user" };
    let (small, large) = (world.tree("small", 1_000), world.tree("large", 50_000));
    let bundles = peers::bundles(&world, &large);
    let mut series: Vec<(String, Vec<f64>)> = Vec::new();
    let mut add = |name: String, value: f64| match series.iter_mut().find(|(n, _)| *n == name) {
        Some((_, values)) => values.push(value),
        None => series.push((name, vec![value])),
    };
    for round in 0..rounds + 5 {
        // The first rounds warm caches and templates up.
        let counts = round >= 5;
        for (words, mode) in modes() {
            for (size, base) in [("50,000 files", &large), ("1,000 files", &small)] {
                let name = format!("{round}-{mode:?}-{size}").replace([' ', ','], "");
                let spec = world.spec(&name, base, mode);
                let began = Instant::now();
                let environment = world.supervisor.create(&spec).expect("an environment");
                let created = ms(began);
                step(&environment, &["/bin/true"], &[]);
                let ran = ms(began);
                environment.destroy().expect("destroyed");
                let ended = ms(began);
                world.remove(&name);
                if counts {
                    add(format!("{who}, {words}, {size}: created"), created);
                    add(format!("{who}, {words}, {size}: `true` has run"), ran);
                    add(format!("{who}, {words}, {size}: destroyed"), ended);
                }
            }
        }
        for (name, value) in peers(&large, &bundles) {
            if counts {
                add(format!("{who}, {name}"), value);
            }
        }
    }
    for (name, values) in &series {
        say(&format!("{name}, median"), median(values), " ms");
        say(&format!("{name}, p95"), quantile(values, 0.95), " ms");
        say(&format!("{name}, min"), quantile(values, 0.0), " ms");
    }
}

fn peers(base: &Path, bundles: &[peers::Bundle]) -> Vec<(String, f64)> {
    let mut times = Vec::new();
    let began = Instant::now();
    if peers::bubblewrap(base) {
        times.push(("bubblewrap: `true` has run".to_owned(), ms(began)));
    }
    for bundle in bundles {
        let began = Instant::now();
        bundle.run();
        times.push((format!("{}: `true` has run", bundle.name()), ms(began)));
    }
    times
}

pub(crate) fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
