//! From `environment.network` to rules: every entry is read, and what makes no sense is refused.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use model::network::{GitRule, HostRule, NetworkEntry, NetworkProtocol};

use super::bundles::bundles;
use super::glob::Glob;
use super::mirrors::{Mirror, Mirrors};
use super::rule::{GitGlobs, Rule};
use crate::credential;
use crate::gateway::GATEWAY_HOST;
use crate::name::{Host, Name};
use crate::{address, dns};

/// Most values of one key of a rule.
pub(super) const MOST_VALUES: usize = 256;

/// Which hosts a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum HostPattern {
    /// This one.
    Exact(Host),
    /// Every name below this one.
    Below(Name),
}

/// The rules of one entry.
///
/// # Errors
/// What is wrong and what is right.
pub(super) fn entry(
    number: usize,
    entry: &NetworkEntry,
    mirrors: &Mirrors,
) -> Result<Vec<(HostPattern, Rule)>, String> {
    match entry {
        NetworkEntry::Host(rule) => Ok(vec![host_rule(format!("network[{number}]"), rule)?]),
        NetworkEntry::Bundle(name) => {
            let bundle = bundles().get(name).ok_or_else(|| unknown_bundle(name))?;
            let mut rules = Vec::new();
            for rule in &bundle.hosts {
                rules.extend(bundle_rule(format!("bundle {name}"), rule, mirrors)?);
            }
            Ok(rules)
        }
    }
}

fn unknown_bundle(name: &str) -> String {
    let known: Vec<&str> = bundles().keys().map(String::as_str).collect();
    format!(
        "there is no bundle `{}`; bundles are {}; a host is written `host: NAME`",
        model::egress::harmless(name),
        known.join(", ")
    )
}

/// A host of a bundle, and its mirror beside it: registries write their own address into what they
/// answer, and clients follow it.
fn bundle_rule(
    name: String,
    rule: &HostRule,
    mirrors: &Mirrors,
) -> Result<Vec<(HostPattern, Rule)>, String> {
    let (pattern, mut compiled) = host_rule(name, rule)?;
    let mirror = match &pattern {
        HostPattern::Exact(Host::Name(host)) => mirrors.of(host).cloned(),
        _ => None,
    };
    let Some(mirror) = mirror else {
        return Ok(vec![(pattern, compiled)]);
    };
    let itself = mirror_rule(&compiled, &mirror)?;
    compiled.private = true;
    let host = HostPattern::Exact(mirror.host.clone());
    compiled.mirror = Some(mirror);
    Ok(vec![(pattern, compiled), (host, itself)])
}

fn mirror_rule(rule: &Rule, mirror: &Mirror) -> Result<Rule, String> {
    let below = Glob::parse(format!("{}/**", mirror.base).trim_start_matches('/'))?;
    Ok(Rule {
        ports: BTreeSet::from([mirror.port]),
        protocol: mirror.protocol,
        methods: vec!["GET".to_owned(), "HEAD".to_owned()],
        paths: vec![below],
        git: None,
        private: true,
        mirror: None,
        ..rule.clone()
    })
}

fn host_rule(name: String, rule: &HostRule) -> Result<(HostPattern, Rule), String> {
    let pattern = host_pattern(&rule.host, rule.private)?;
    let protocol = protocol(rule)?;
    let compiled = Rule {
        name,
        ports: ports(rule, protocol)?,
        protocol,
        methods: methods(&rule.methods)?,
        paths: paths(&rule.paths)?,
        git: rule.git.as_ref().map(git).transpose()?,
        programs: programs(&rule.programs)?,
        credential: rule.credential.clone(),
        private: rule.private,
        send: rule.send.map(|size| size.0),
        mirror: None,
    };
    if let Some(used) = &rule.credential {
        credential::check(used)?;
    }
    if rule.git.is_some() && rule.paths.is_empty() && !rule.methods.is_empty() {
        return Err(
            "`methods` beside `git` are about `paths`: name some, or leave `methods` out"
                .to_owned(),
        );
    }
    Ok((pattern, compiled))
}

fn host_pattern(text: &str, private: bool) -> Result<HostPattern, String> {
    let shown = model::egress::harmless(text);
    let wrong = |error| format!("`{shown}` is not a host: {error}");
    let (below, rest) = match text.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let host = match rest.parse::<Ipv6Addr>() {
        Ok(address) if !below => Host::from(std::net::IpAddr::V6(address)),
        _ => Host::parse(rest).map_err(wrong)?,
    };
    match host {
        Host::Name(name) => {
            check_name(&name)?;
            Ok(if below {
                HostPattern::Below(name)
            } else {
                HostPattern::Exact(name.into())
            })
        }
        Host::Address(_) if below => Err(format!("`{shown}`: nothing is below an address")),
        Host::Address(address) => {
            if address::is_loopback(address) || dns::is_pin(address) {
                return Err(format!("{address} is the environment itself"));
            }
            match address::forbidden(address) {
                Some(class) if !private => Err(format!(
                    "{address} is not public ({class}): add `private: true` if it is meant"
                )),
                _ => Ok(HostPattern::Exact(address.into())),
            }
        }
    }
}

fn check_name(name: &Name) -> Result<(), String> {
    if name.is_localhost() {
        return Err(format!("`{name}` is the environment itself"));
    }
    if name.as_str() == GATEWAY_HOST {
        return Err(format!(
            "`{name}` is the model gateway, which needs no rule"
        ));
    }
    Ok(())
}

fn protocol(rule: &HostRule) -> Result<NetworkProtocol, String> {
    let text = !rule.methods.is_empty() || !rule.paths.is_empty();
    let secret = rule.git.is_some() || rule.credential.is_some();
    match rule.protocol {
        None if text || secret => Ok(NetworkProtocol::Https),
        None => Ok(NetworkProtocol::Tls),
        Some(NetworkProtocol::Http) if secret => {
            Err("`git` and `credential` need `protocol: https`".to_owned())
        }
        Some(NetworkProtocol::Tls | NetworkProtocol::Tcp) if text || secret => {
            Err("`methods`, `paths`, `git` and `credential` need `protocol: https`".to_owned())
        }
        Some(protocol) => Ok(protocol),
    }
}

fn ports(rule: &HostRule, protocol: NetworkProtocol) -> Result<BTreeSet<u16>, String> {
    bounded("ports", &rule.ports)?;
    if rule.ports.contains(&0) {
        return Err("0 is not a port".to_owned());
    }
    if rule.ports.contains(&dns::PORT) {
        return Err("port 53 is where names are answered inside an environment".to_owned());
    }
    if !rule.ports.is_empty() {
        return Ok(rule.ports.iter().copied().collect());
    }
    match protocol {
        NetworkProtocol::Https | NetworkProtocol::Tls => Ok(BTreeSet::from([443])),
        NetworkProtocol::Http => Ok(BTreeSet::from([80])),
        NetworkProtocol::Tcp => Err("`protocol: tcp` needs `ports`".to_owned()),
    }
}

fn methods(methods: &[String]) -> Result<Vec<String>, String> {
    bounded("methods", methods)?;
    for method in methods {
        if !is_method(method) {
            return Err(format!(
                "`{}` is not a method that can be permitted: write it in capitals, as in `GET`",
                model::egress::harmless(method)
            ));
        }
    }
    Ok(methods.to_vec())
}

/// Longest method.
const LONGEST_METHOD: usize = 32;

/// Whether a method may ever pass. CONNECT makes a tunnel, TRACE sends credentials back, and PRI
/// begins another protocol.
pub(super) fn is_method(method: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
    !method.is_empty()
        && method.len() <= LONGEST_METHOD
        && method.bytes().all(letter)
        && !["CONNECT", "TRACE", "TRACK", "PRI"].contains(&method)
}

fn paths(paths: &[String]) -> Result<Vec<Glob>, String> {
    bounded("paths", paths)?;
    let path = |path: &String| {
        let rest = path.strip_prefix('/').ok_or_else(|| {
            format!(
                "`{}` is not a path: it begins with `/`",
                model::egress::harmless(path)
            )
        })?;
        Glob::parse(rest)
    };
    paths.iter().map(path).collect()
}

fn git(rule: &GitRule) -> Result<GitGlobs, String> {
    bounded("repositories", &rule.repositories)?;
    bounded("push", &rule.push)?;
    let push = |name: &String| {
        if !name.starts_with("refs/") {
            return Err(format!(
                "`{}` is not the full name of a ref: write `refs/heads/NAME`",
                model::egress::harmless(name)
            ));
        }
        Glob::parse(name)
    };
    Ok(GitGlobs {
        repositories: rule
            .repositories
            .iter()
            .map(|path| Glob::parse(crate::git::repository(path)))
            .collect::<Result<_, _>>()?,
        push: rule.push.iter().map(push).collect::<Result<_, _>>()?,
    })
}

fn programs(programs: &[String]) -> Result<Vec<String>, String> {
    bounded("programs", programs)?;
    for program in programs {
        let plain = !program.is_empty() && !program.chars().any(char::is_control);
        if !plain || (program.contains('/') && !program.starts_with('/')) {
            return Err(format!(
                "`{}` is not a program: write its name, or its path from `/`",
                model::egress::harmless(program)
            ));
        }
    }
    Ok(programs.to_vec())
}

fn bounded<T>(key: &str, values: &[T]) -> Result<(), String> {
    if values.len() > MOST_VALUES {
        return Err(format!("`{key}` has at most {MOST_VALUES} values"));
    }
    Ok(())
}
