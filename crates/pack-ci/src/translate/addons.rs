//! `addons`: packages, hosts and ready-made programs.

use super::services::{self, Needs};
use crate::{account::Claims, yaml::At};

/// Commands that install what the addons of a Linux job ask for.
pub(crate) fn linux(at: &At<'_>, claims: &Claims, needs: &mut Needs) -> Vec<String> {
    let mut commands = Vec::new();
    for (key, value) in at.entries() {
        match key {
            "apt" if value.is_map() => apt(&value, claims, &mut commands),
            "apt" | "apt_packages" => install(&packages(&value, claims), &mut commands),
            "postgresql" => services::postgres_addon(&value, claims, needs),
            "mariadb" => services::mariadb_addon(&value, claims, needs),
            "hosts" => hosts(&value, claims, &mut commands),
            "ssh_known_hosts" => known_hosts(&value, claims, &mut commands),
            "homebrew" => claims.not_needed(&value.path, "Homebrew is for macOS jobs"),
            _ => other(key, &value, claims),
        }
    }
    commands
}

/// Commands for a macOS job, which ignores the rest.
pub(crate) fn mac(at: &At<'_>, claims: &Claims) -> Vec<String> {
    let mut commands = Vec::new();
    for (key, value) in at.entries() {
        match key {
            "homebrew" => {
                for (key, value) in value.entries() {
                    match key {
                        "packages" => {
                            let names = words(&value);
                            if !names.is_empty() {
                                commands.push(format!("brew install {}", names.join(" ")));
                            }
                            claims.mapped(&value.path, "step `Install packages`");
                        }
                        "update" => claims
                            .not_needed(&value.path, "Homebrew updates itself before it installs"),
                        _ => {}
                    }
                }
            }
            "apt" | "apt_packages" | "postgresql" | "mariadb" => claims.not_needed(
                &value.path,
                "no job that Travis applied it to: it is for Linux",
            ),
            _ => other(key, &value, claims),
        }
    }
    commands
}

fn other(key: &str, value: &At<'_>, claims: &Claims) {
    match key {
        "chrome" | "chromium" => {
            claims.not_needed(&value.path, "Chrome is installed on the hosted runners");
        }
        "firefox" if value.text().is_some_and(|text| text.starts_with("latest")) => {
            claims.not_needed(&value.path, "Firefox is installed on the hosted runners");
        }
        _ => claims.manual(
            &value.path,
            format!("the addon `{key}` has no counterpart here: replace it by a step or an action"),
        ),
    }
}

fn apt(at: &At<'_>, claims: &Claims, commands: &mut Vec<String>) {
    let mut names = Vec::new();
    for (key, value) in at.entries() {
        match key {
            "sources" | "source" => sources(&value, claims, commands),
            "packages" | "package" => names.extend(packages(&value, claims)),
            "update" => claims.mapped(&value.path, "`apt-get update` in `Install packages`"),
            "config" => claims.not_needed(&value.path, "apt's own retries are kept as they are"),
            _ => {}
        }
    }
    install(&names, commands);
}

fn install(names: &[String], commands: &mut Vec<String>) {
    if !names.is_empty() {
        commands.push("sudo apt-get update -q".to_owned());
        commands.push(format!(
            "sudo apt-get install -yq --no-install-recommends {}",
            names.join(" ")
        ));
    }
}

/// Package names: anything else never becomes part of a command.
fn packages(at: &At<'_>, claims: &Claims) -> Vec<String> {
    let mut names = Vec::new();
    for item in at.items().iter().flat_map(At::items) {
        let text = item.text().unwrap_or_default();
        let found: Vec<&str> = text.split_whitespace().collect();
        if item.node.is_null() || found.is_empty() || !found.iter().all(|name| is_package(name)) {
            claims.manual(&item.path, "this is no package name: correct or drop it");
        } else if found.iter().any(|name| is_gone(name)) {
            claims.manual(
                &item.path,
                "Ubuntu has no package of this old version any more: choose a newer compiler",
            );
        } else {
            claims.mapped(&item.path, "step `Install packages`");
            names.extend(found.into_iter().map(str::to_owned));
        }
    }
    names
}

fn is_package(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.:_=~*".contains(c))
}

/// Compilers that left Ubuntu before 22.04.
fn is_gone(name: &str) -> bool {
    let Some((tool, version)) = name.rsplit_once('-') else {
        return false;
    };
    let major = version.split('.').next().unwrap_or_default();
    let major: Option<u32> = major.parse().ok();
    match tool {
        "gcc" | "g++" | "gfortran" => major.is_some_and(|major| major < 9),
        "clang" | "llvm" => major.is_some_and(|major| major < 11),
        _ => false,
    }
}

fn words(at: &At<'_>) -> Vec<String> {
    at.items()
        .iter()
        .filter_map(At::text)
        .flat_map(str::split_whitespace)
        .filter(|word| {
            word.chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.:_@/".contains(c))
        })
        .map(str::to_owned)
        .collect()
}

fn sources(at: &At<'_>, claims: &Claims, commands: &mut Vec<String>) {
    for item in at.items().iter().flat_map(At::items) {
        let line = item
            .get("sourceline")
            .and_then(|line| line.text())
            .or_else(|| item.text())
            .unwrap_or_default();
        let ppa = match line {
            "ubuntu-toolchain-r-test" => Some("ppa:ubuntu-toolchain-r/test"),
            text => text.strip_prefix("ppa:").map(|_| text),
        };
        match ppa.filter(|ppa| {
            ppa.chars()
                .all(|c| c.is_ascii_alphanumeric() || ":/-.+_".contains(c))
        }) {
            Some(ppa) => {
                commands.push(format!("sudo add-apt-repository -y {ppa}"));
                claims.mapped(&item.path, "step `Install packages`");
            }
            None if line.starts_with("google-chrome") => {
                claims.not_needed(&item.path, "Chrome is installed on the hosted runners");
            }
            None => claims.manual(
                &item.path,
                "add this package source in `Install packages`, for Ubuntu 22.04 and with its key",
            ),
        }
    }
}

fn hosts(at: &At<'_>, claims: &Claims, commands: &mut Vec<String>) {
    let names = words(at);
    if names.is_empty() {
        claims.manual(&at.path, "name the hosts");
        return;
    }
    commands.push(format!(
        "echo \"127.0.0.1 {}\" | sudo tee -a /etc/hosts",
        names.join(" ")
    ));
    claims.mapped(&at.path, "step `Install packages`");
}

fn known_hosts(at: &At<'_>, claims: &Claims, commands: &mut Vec<String>) {
    let names = words(at);
    if names.is_empty() {
        claims.manual(&at.path, "name the hosts");
        return;
    }
    commands.push("mkdir -p ~/.ssh".to_owned());
    commands.push(format!(
        "ssh-keyscan -H {} >> ~/.ssh/known_hosts",
        names.join(" ")
    ));
    claims.mapped(&at.path, "step `Install packages`");
}
