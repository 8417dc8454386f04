//! Real builds inside against outside, in pairs: `cargo build` and `npm ci`, from local copies.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use sandbox::{EnvironmentSpec, ExecMode};

use crate::world::{World, modes, step};
use crate::{median, say};

pub(crate) fn measure(pairs: usize) {
    let world = World::new();
    if let Some(toolchain) = toolchain() {
        let project = crate_with_dependencies(&world, &toolchain);
        let cargo = toolchain.join("bin/cargo");
        let path = format!("{}/bin:/usr/bin:/bin", toolchain.display());
        let argv = [&*cargo.to_string_lossy(), "build", "--offline", "--quiet"].map(str::to_owned);
        let env = [("PATH", &*path), ("CARGO_HOME", "/tmp/cargo-home")];
        compare(
            &world,
            "cargo build",
            &project,
            &argv,
            &env,
            pairs,
            &|spec| {
                spec.root.extra.push(toolchain.clone());
            },
        );
    } else {
        println!("# no Rust toolchain: no `cargo build`");
    }
    if let Some(project) = node_project(&world) {
        let argv = [
            "npm",
            "ci",
            "--offline",
            "--cache",
            ".npm-cache",
            "--ignore-scripts",
        ];
        let argv = [&argv[..], &["--no-audit", "--no-fund", "--silent"]].concat();
        let argv: Vec<String> = argv.into_iter().map(str::to_owned).collect();
        let env = [("PATH", "/usr/local/bin:/usr/bin:/bin")];
        compare(&world, "npm ci", &project, &argv, &env, pairs, &|_| {});
    } else {
        println!("# no npm, or no registry: no `npm ci`");
    }
}

/// Runs the command inside (each mode) and outside in turn, from the same clean tree.
fn compare(
    world: &World,
    what: &str,
    project: &Path,
    argv: &[String],
    env: &[(&str, &str)],
    pairs: usize,
    change: &dyn Fn(&mut EnvironmentSpec),
) {
    let mut all = modes();
    if all.len() > 1 {
        all.push(("allow-list", ExecMode::AllowList));
    }
    let mut ratios = vec![Vec::new(); all.len()];
    let (mut insides, mut outsides) = (vec![Vec::new(); all.len()], Vec::new());
    for pair in 0..=pairs {
        for (at, (_, mode)) in all.iter().enumerate() {
            let out = outside(world, project, argv, env);
            let name = format!("{}-{pair}-{at}", what.replace(' ', "-"));
            let mut spec = world.spec(&name, project, *mode);
            // What a build makes of its own may execute: build scripts of crates.
            spec.exec.trusted_producers = ["cc", "ld", "ld.bfd", "collect2", "rustc", "rust-lld"]
                .map(|name| sandbox::ExecTarget::Name(name.to_owned()))
                .to_vec();
            change(&mut spec);
            let environment = world.supervisor.create(&spec).expect("an environment");
            let words: Vec<&str> = argv.iter().map(String::as_str).collect();
            let began = Instant::now();
            step(&environment, &words, env);
            let inside = began.elapsed().as_secs_f64();
            environment.destroy().expect("destroyed");
            world.remove(&name);
            // The first pair warms up.
            if pair > 0 {
                ratios[at].push(inside / out);
                insides[at].push(inside);
                outsides.push(out);
            }
        }
    }
    say(&format!("{what}, outside"), median(&outsides), " s");
    for (at, (words, _)) in all.iter().enumerate() {
        say(&format!("{what}, {words}"), median(&insides[at]), " s");
        say(
            &format!("{what}, {words}: inside ÷ outside"),
            median(&ratios[at]),
            " ×",
        );
    }
}

fn outside(world: &World, project: &Path, argv: &[String], env: &[(&str, &str)]) -> f64 {
    let copy = world.place.path().join("outside");
    let status = Command::new("cp").arg("-a").args([project, &copy]).status();
    assert!(status.is_ok_and(|status| status.success()), "copied");
    let home = world.place.path().join("outside-home");
    let began = Instant::now();
    let output = Command::new(&argv[0])
        .args(&argv[1..])
        .current_dir(&copy)
        .env_clear()
        .env("HOME", &home)
        .envs(env.iter().copied())
        .env("CARGO_HOME", home.join("cargo"))
        .output()
        .expect("a command");
    let took = began.elapsed().as_secs_f64();
    assert!(
        output.status.success(),
        "{argv:?} outside: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    for folder in [copy, home] {
        let _ = std::fs::remove_dir_all(folder);
    }
    took
}

fn toolchain() -> Option<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    path.join("bin/cargo").is_file().then_some(path)
}

/// A small crate over a few well-known ones, with their sources beside it.
fn crate_with_dependencies(world: &World, toolchain: &Path) -> PathBuf {
    let project = world.place.path().join("crate");
    std::fs::create_dir_all(project.join("src")).expect("a folder");
    let manifest = "[package]\nname = \"measured\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n\
        [dependencies]\nregex = \"=1.11.1\"\nserde_json = \"=1.0.140\"\n\
        serde = { version = \"=1.0.219\", features = [\"derive\"] }\n\n[workspace]\n";
    std::fs::write(project.join("Cargo.toml"), manifest).expect("a file");
    std::fs::write(project.join("src/main.rs"), "fn main() {}\n").expect("a file");
    let output = Command::new(toolchain.join("bin/cargo"))
        .args(["vendor", "--quiet", "vendor"])
        .current_dir(&project)
        .output()
        .expect("cargo");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::create_dir(project.join(".cargo")).expect("a folder");
    let sources = "[source.crates-io]\nreplace-with = \"vendored\"\n\n[source.vendored]\ndirectory = \"vendor\"\n";
    std::fs::write(project.join(".cargo/config.toml"), sources).expect("a file");
    sandbox::prepare_base(&project).expect("a base");
    project
}

/// A web project of a few hundred packages, with a cache that has them all.
fn node_project(world: &World) -> Option<PathBuf> {
    let project = world.place.path().join("web");
    std::fs::create_dir_all(&project).expect("a folder");
    let manifest = r#"{"name": "measured", "version": "0.1.0", "private": true,
        "dependencies": {"express": "4.21.2", "lodash": "4.17.21", "react": "18.3.1", "react-dom": "18.3.1"},
        "devDependencies": {"eslint": "9.20.0", "typescript": "5.7.3", "webpack": "5.97.1", "jest": "29.7.0"}}"#;
    std::fs::write(project.join("package.json"), manifest).expect("a file");
    let npm = |arguments: &[&str]| {
        let status = Command::new("npm")
            .args(arguments)
            // With addresses in the lock file, the cache can answer without a directory.
            .arg("--omit-lockfile-registry-resolved=false")
            .args([
                "--cache",
                ".npm-cache",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--silent",
            ])
            .current_dir(&project)
            .status();
        status.is_ok_and(|status| status.success())
    };
    if !npm(&["install"]) {
        return None;
    }
    std::fs::remove_dir_all(project.join("node_modules")).expect("removed");
    sandbox::prepare_base(&project).expect("a base");
    Some(project)
}
