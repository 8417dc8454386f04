//! Bundles: the hosts of package managers under one name each.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use model::network::HostRule;
use serde::Deserialize;

/// A list of hosts under one name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// What it is for, for people.
    pub about: String,
    /// The hosts. Where no method is named, GET and HEAD are meant.
    pub hosts: Vec<HostRule>,
}

/// Every bundle that ships, by name.
#[must_use]
pub fn bundles() -> &'static BTreeMap<String, Bundle> {
    // The table is part of the program; a test reads it. Were it broken, no bundle would exist.
    static TABLE: LazyLock<BTreeMap<String, Bundle>> =
        LazyLock::new(|| read(include_str!("bundles.toml")).unwrap_or_default());
    &TABLE
}

fn read(text: &str) -> Result<BTreeMap<String, Bundle>, toml::de::Error> {
    let mut table: BTreeMap<String, Bundle> = toml::from_str(text)?;
    let rules = table.values_mut().flat_map(|bundle| &mut bundle.hosts);
    for rule in rules.filter(|rule| rule.methods.is_empty()) {
        // Reading git needs POST; the rule for it knows which.
        if rule.git.is_none() || !rule.paths.is_empty() {
            rule.methods = vec!["GET".to_owned(), "HEAD".to_owned()];
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use model::network::{NetworkDefinition, NetworkEntry};

    use super::*;
    use crate::name::Host;
    use crate::policy::{NetworkPolicy, RequestFacts};

    #[test]
    fn every_bundle_is_a_policy_and_lets_nothing_be_written() {
        let table = read(include_str!("bundles.toml")).unwrap();
        // Automation files are read where the table is not known.
        let names: Vec<&str> = table.keys().map(String::as_str).collect();
        assert_eq!(names, model::network::BUNDLES);
        for (name, bundle) in &table {
            let definition = NetworkDefinition(vec![NetworkEntry::Bundle(name.clone())]);
            let policy = NetworkPolicy::compile(&definition).unwrap();
            for rule in &bundle.hosts {
                assert!(rule.credential.is_none() && !rule.private && rule.programs.is_empty());
                let host = Host::parse(rule.host.trim_start_matches("*.")).unwrap();
                let port = if rule.protocol.is_some() { 80 } else { 443 };
                for method in ["POST", "PUT", "PATCH", "DELETE"] {
                    let facts = RequestFacts {
                        method,
                        ..RequestFacts::get("/a/b/c")
                    };
                    assert!(
                        policy.request(&host, port, &facts).is_err(),
                        "{name} {host} {method}"
                    );
                }
            }
        }
    }
}
