//! What makes no sense in the key `environment.network`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::automation::EnvironmentDefinition;
use model::network::{
    BUNDLES, CredentialUse, GitRule, HostRule, MOST_ENTRIES, MOST_PORTS, MOST_VALUES, NetworkEntry,
    NetworkProtocol,
};

use super::environment::{below, item};
use super::{Place, Problem, distance, problem};

/// Where names are answered inside an environment.
const NAMES: u16 = 53;

/// Ports on which every environment with a network listens.
const ALWAYS: [u16; 3] = [NAMES, 80, 443];

/// Longest name of a host and of a part of it (RFC 1035, 2.3.4).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// Longest name of a secret, a header, a variable or a method, and of a header's text.
const LONGEST_WORD: usize = 100;

pub(super) fn check(environment: &EnvironmentDefinition, path: &[Place]) -> Result<(), Problem> {
    let entries = &environment.network.0;
    if entries.len() > MOST_ENTRIES {
        return Err(problem(path, format!("more than {MOST_ENTRIES} entries")));
    }
    let mut seen = BTreeSet::new();
    let mut variables = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let path = item(path, index);
        match entry {
            NetworkEntry::Bundle(name) => {
                check_bundle(name, &path)?;
                if !seen.insert(name) {
                    let message = format!("the bundle `{name}` is there twice");
                    return Err(problem(&path, message));
                }
            }
            NetworkEntry::Host(rule) => {
                check_rule(rule, &path)?;
                check_variable(rule, environment, &mut variables, &path)?;
            }
        }
    }
    check_ports(environment, path)
}

fn check_bundle(name: &str, path: &[Place]) -> Result<(), Problem> {
    if BUNDLES.contains(&name) {
        return Ok(());
    }
    let shown = model::egress::harmless(name);
    let known = BUNDLES.join(", ");
    let mut problem = problem(
        path,
        format!("there is no bundle `{shown}`; bundles are {known}"),
    );
    let nearest = BUNDLES.iter().map(|known| (distance(name, known), known));
    problem.hint = match nearest.min() {
        _ if name.contains(['.', ':']) => Some(format!("a host is written {{host: {shown}}}")),
        Some((0..=2, known)) => Some(format!("did you mean `{known}`?")),
        _ => None,
    };
    Err(problem)
}

fn check_rule(rule: &HostRule, path: &[Place]) -> Result<(), Problem> {
    check_host(&rule.host).map_err(|message| problem(&below(path, "host"), message))?;
    check_each("ports", &rule.ports, path, |port| match *port {
        0 => Err("0 is no port".to_owned()),
        NAMES => Err("port 53 is where names are answered inside an environment".to_owned()),
        _ => Ok(()),
    })?;
    check_each("methods", &rule.methods, path, |method| {
        check_method(method)
    })?;
    check_each("paths", &rule.paths, path, |text| check_path(text))?;
    if !rule.programs.is_empty() {
        let message = "which program connects is not known to the broker yet, and nothing would be permitted: leave `programs` out";
        return Err(problem(&below(path, "programs"), message));
    }
    check_protocol(rule, path)?;
    if let Some(git) = &rule.git {
        check_git(git, &below(path, "git"))?;
        if rule.paths.is_empty() && !rule.methods.is_empty() {
            let message =
                "`methods` beside `git` are about `paths`: name some, or leave `methods` out";
            return Err(problem(&below(path, "methods"), message));
        }
    }
    if let Some(used) = &rule.credential {
        check_credential(used, &below(path, "credential"))?;
    }
    if rule.send.is_some_and(|send| send.0 == 0) {
        return Err(problem(
            &below(path, "send"),
            "0 bytes are not even a request",
        ));
    }
    Ok(())
}

fn check_each<T>(
    key: &'static str,
    values: &[T],
    path: &[Place],
    check: impl Fn(&T) -> Result<(), String>,
) -> Result<(), Problem> {
    let path = below(path, key);
    if values.len() > MOST_VALUES {
        return Err(problem(&path, format!("more than {MOST_VALUES} entries")));
    }
    for (index, value) in values.iter().enumerate() {
        check(value).map_err(|message| problem(&item(&path, index), message))?;
    }
    Ok(())
}

/// A name, `*.` and a name, or an address.
pub(crate) fn check_host(text: &str) -> Result<(), String> {
    let shown = model::egress::harmless(text);
    let name = text.strip_prefix("*.").unwrap_or(text);
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if bare.unwrap_or(name).parse::<IpAddr>().is_ok() {
        return if name.len() == text.len() {
            Ok(())
        } else {
            Err(format!("`{shown}`: nothing is below an address"))
        };
    }
    if text.contains('/') {
        return Err(format!(
            "`{shown}` is more than a host: leave out the scheme, and write paths under `paths`"
        ));
    }
    if text
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        return Err(format!(
            "`{shown}` is more than a host: write the port under `ports`"
        ));
    }
    let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= LONGEST_LABEL
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(known)
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|b| b.is_ascii_digit())
        || last.starts_with("0x")
        || last.starts_with("0X");
    if name.len() > LONGEST_NAME || !name.split('.').all(label) || number {
        return Err(format!(
            "`{shown}` is no host: a name, `*.` and a name for everything below it, or an address"
        ));
    }
    if name == "localhost" || name.ends_with(".localhost") {
        return Err(format!("`{shown}` is the environment itself"));
    }
    Ok(())
}

fn check_method(method: &str) -> Result<(), String> {
    let letters = method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    let never = ["CONNECT", "TRACE", "TRACK", "PRI"].contains(&method);
    if method.is_empty() || method.len() > LONGEST_WORD || !letters || never {
        return Err(format!(
            "`{}` is no method that can be permitted: write it in capitals, as in GET",
            model::egress::harmless(method)
        ));
    }
    Ok(())
}

fn check_path(text: &str) -> Result<(), String> {
    let dots = text.split('/').any(|part| part == "." || part == "..");
    if !text.starts_with('/') || dots || text.contains(['?', '#']) || !plain(text) {
        return Err(format!(
            "`{}` is no path: it begins with `/`, has no `.` and `..`, and ends before the query",
            model::egress::harmless(text)
        ));
    }
    Ok(())
}

/// Rules that look into what is said need a protocol that is looked into.
fn check_protocol(rule: &HostRule, path: &[Place]) -> Result<(), Problem> {
    let looks = [
        ("methods", !rule.methods.is_empty()),
        ("paths", !rule.paths.is_empty()),
        ("git", rule.git.is_some()),
        ("credential", rule.credential.is_some()),
    ];
    let found = match rule.protocol {
        Some(NetworkProtocol::Tls | NetworkProtocol::Tcp) => looks.iter().find(|(_, asked)| *asked),
        // What is put in would be readable on the way.
        Some(NetworkProtocol::Http) => looks[2..].iter().find(|(_, asked)| *asked),
        Some(NetworkProtocol::Https) | None => None,
    };
    if let Some((key, _)) = found {
        let mut problem = problem(
            &below(path, key),
            format!("`{key}` needs a connection that is looked into, and this protocol is not"),
        );
        problem.hint = Some("write `protocol: https`, or leave `protocol` out".to_owned());
        return Err(problem);
    }
    if rule.protocol == Some(NetworkProtocol::Tcp) && rule.ports.is_empty() {
        return Err(problem(
            &below(path, "protocol"),
            "`protocol: tcp` needs `ports`",
        ));
    }
    Ok(())
}

fn check_git(git: &GitRule, path: &[Place]) -> Result<(), Problem> {
    check_each("repositories", &git.repositories, path, |text| {
        if text.is_empty() || !plain(text) || text.split('/').any(|part| part == "..") {
            return Err(format!(
                "`{}` is no repository: write its path, as in org/name",
                model::egress::harmless(text)
            ));
        }
        Ok(())
    })?;
    check_each("push", &git.push, path, |text| {
        if !text.starts_with("refs/") || !plain(text) {
            return Err(format!(
                "`{}` is not the full name of a ref: write refs/heads/NAME",
                model::egress::harmless(text)
            ));
        }
        Ok(())
    })
}

fn check_credential(used: &CredentialUse, path: &[Place]) -> Result<(), Problem> {
    let word = |text: &str| !text.is_empty() && text.len() <= LONGEST_WORD;
    let letters = |text: &str, more: &[u8]| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    let wrong = |key, message: &str| Err(problem(&below(path, key), message));
    if !word(&used.secret) || !letters(&used.secret, b"-_./") {
        return wrong(
            "secret",
            "a secret has a name of letters, digits, `-`, `_`, `.` and `/`",
        );
    }
    if let Some(header) = &used.header
        && (!word(header) || !letters(header, b"-_"))
    {
        return wrong(
            "header",
            "a header has a name of letters, digits, `-` and `_`",
        );
    }
    if let Some(variable) = &used.variable {
        let digit = variable.starts_with(|c: char| c.is_ascii_digit());
        if !word(variable) || digit || !letters(variable, b"_") {
            return wrong(
                "variable",
                "a variable has a name of letters, digits and `_`",
            );
        }
    }
    if let Some(format) = &used.format {
        let places = format.matches("{}").count();
        let basic = format.strip_prefix("basic ");
        let sound = match basic {
            Some(name) => places == 0 && !name.is_empty() && !name.contains(':'),
            None => places == 1,
        };
        if !word(format) || !sound || format.chars().any(char::is_control) {
            return wrong(
                "format",
                "a format holds `{}` once, where the value is put, or is `basic NAME`",
            );
        }
    }
    Ok(())
}

/// A variable is one placeholder's, and nobody else's.
fn check_variable<'a>(
    rule: &'a HostRule,
    environment: &EnvironmentDefinition,
    seen: &mut BTreeMap<&'a str, &'a str>,
    path: &[Place],
) -> Result<(), Problem> {
    let Some(used) = &rule.credential else {
        return Ok(());
    };
    let Some(variable) = &used.variable else {
        return Ok(());
    };
    let path = below(&below(path, "credential"), "variable");
    if environment.variables.contains_key(variable) {
        let message = format!("`environment.variables` gives `{variable}` as well");
        return Err(problem(&path, message));
    }
    match seen.insert(variable, &used.secret) {
        Some(other) if other != used.secret => {
            let message = format!("`{variable}` holds the secret `{other}` already");
            Err(problem(&path, message))
        }
        _ => Ok(()),
    }
}

/// Every port is listened on inside: there is room for so many, and none for a service beside them.
fn check_ports(environment: &EnvironmentDefinition, path: &[Place]) -> Result<(), Problem> {
    let rules = environment
        .network
        .0
        .iter()
        .filter_map(|entry| match entry {
            NetworkEntry::Host(rule) => Some(rule),
            NetworkEntry::Bundle(_) => None,
        });
    let ports: BTreeSet<u16> = rules.flat_map(|rule| rule.ports.iter().copied()).collect();
    if ports.len() > MOST_PORTS {
        let message = format!("more than {MOST_PORTS} ports in all");
        return Err(problem(path, message));
    }
    if environment.network.is_default() {
        return Ok(());
    }
    let services = environment.recipe.inline().into_iter();
    let services = services.flat_map(|recipe| recipe.services.iter().enumerate());
    for (index, service) in services {
        let port = service.ready.as_ref().and_then(|ready| ready.port);
        let taken = port.filter(|port| ports.contains(port) || ALWAYS.contains(port));
        if let Some(port) = taken {
            let place = [
                Place::Key("environment"),
                Place::Key("recipe"),
                Place::Key("services"),
                Place::Item(index),
                Place::Key("ready"),
                Place::Key("port"),
            ];
            let message = format!(
                "port {port} inside leads out, as `environment.network` says: the service `{}` needs another",
                service.name
            );
            return Err(problem(&place, message));
        }
    }
    Ok(())
}

/// Characters of which paths and refs are made.
fn plain(text: &str) -> bool {
    text.len() <= 1000 && text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains('\\')
}

#[cfg(test)]
mod tests;
