//! A day's coming and going: nothing may grow.

use crate::alive::{Left, both};
use crate::say;
use crate::world::{World, modes};

pub(crate) fn measure(cycles: usize) {
    let modes = modes();
    for (words, mode) in &modes {
        let cycles = cycles / modes.len();
        let world = World::new();
        let base = world.tree("base", 100);
        let turn = |n: usize| {
            let name = n.to_string();
            let spec = world.spec(&name, &base, *mode);
            let environment = world.supervisor.create(&spec).expect("an environment");
            if n.is_multiple_of(16) {
                crate::world::step(
                    &environment,
                    &["/bin/sh", "-c", "sleep 100 & echo x >file"],
                    &[],
                );
            }
            environment.destroy().expect("destroyed");
            world.remove(&name);
        };
        both(cycles / 10, &turn);
        let (before, memory) = (Left::now(&world), resident(&world));
        let began = std::time::Instant::now();
        both(cycles - cycles / 10, &turn);
        #[expect(clippy::cast_precision_loss, reason = "counts")]
        let rate = (cycles - cycles / 10) as f64 / began.elapsed().as_secs_f64();
        say(
            &format!("{words}: environments made and destroyed"),
            {
                #[expect(clippy::cast_precision_loss, reason = "counts")]
                let count = cycles as f64;
                count
            },
            "",
        );
        say(
            &format!("{words}: made and destroyed per second"),
            rate,
            "/s",
        );
        Left::now(&world).compare(&before, words);
        say(
            &format!("{words}: memory of the supervisor and its helpers grew by"),
            resident(&world) - memory,
            " MiB",
        );
    }
}

/// Resident memory of the supervisor and what it keeps running, in MiB.
fn resident(world: &World) -> f64 {
    let own = world.supervisor.process_id();
    let mut all = crate::alive::descendants(own);
    all.push(own);
    all.into_iter()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/statm")).ok())
        .filter_map(|text| text.split(' ').nth(1)?.parse::<f64>().ok())
        .sum::<f64>()
        * 4096.0
        / 1048576.0
}
