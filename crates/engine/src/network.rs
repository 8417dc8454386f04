//! What an environment may reach: what its automation asks for, within what the server permits.
//!
//! The result never reaches more than either side permits. What a limit touches in part is cut as a
//! whole, except bundles, of which the hosts that are permitted stay.

use std::net::IpAddr;

use model::network::{BUNDLES, HostRule, NetworkDefinition, NetworkEntry, NetworkLimits};

/// A definition within limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrowed {
    /// What is left.
    pub definition: NetworkDefinition,
    /// What was taken away, a sentence each.
    pub removed: Vec<String>,
}

/// Cuts a definition to what limits permit. `bundle` gives the hosts of a bundle; one that it does
/// not know reaches nothing.
#[must_use]
pub fn narrow(
    definition: &NetworkDefinition,
    limits: &NetworkLimits,
    bundle: impl Fn(&str) -> Option<Vec<HostRule>>,
) -> Narrowed {
    let mut narrowed = Narrowed::default();
    for entry in &definition.0 {
        match entry {
            NetworkEntry::Host(rule) => match refusal(&rule.host, limits, false) {
                None => narrowed.definition.0.push(entry.clone()),
                Some(why) => narrowed.removed.push(format!("`{}`: {why}", rule.host)),
            },
            NetworkEntry::Bundle(name) => {
                let hosts = bundle(name).unwrap_or_default();
                narrow_bundle(name, hosts, limits, &mut narrowed);
            }
        }
    }
    narrowed
}

fn narrow_bundle(name: &str, hosts: Vec<HostRule>, limits: &NetworkLimits, to: &mut Narrowed) {
    let only = limits.allow_only.as_ref();
    let named = only.is_some_and(|only| only.iter().any(|item| item == name));
    let (mut kept, mut removed) = (Vec::new(), Vec::new());
    for rule in hosts {
        match refusal(&rule.host, limits, named) {
            None => kept.push(NetworkEntry::Host(Box::new(rule))),
            Some(why) => removed.push(format!("`{}` of the bundle `{name}`: {why}", rule.host)),
        }
    }
    if removed.is_empty() {
        // Whole, it keeps its name in what is recorded.
        to.definition.0.push(NetworkEntry::Bundle(name.to_owned()));
    } else {
        to.definition.0.append(&mut kept);
        to.removed.append(&mut removed);
    }
}

/// Why a host is not permitted; `named` when its bundle is.
fn refusal(host: &str, limits: &NetworkLimits, named: bool) -> Option<&'static str> {
    let host = Pattern::of(host);
    let denied = |item: &String| Pattern::of(item).meets(&host);
    if limits.deny.iter().any(denied) {
        return Some("the server's configuration denies it (`network.deny`)");
    }
    let only = limits.allow_only.as_ref().filter(|_| !named)?;
    let covered = only.iter().any(|item| Pattern::of(item).covers(&host));
    (!covered).then_some("the server's configuration does not allow it (`network.allow_only`)")
}

/// What is wrong with limits: the first entry that is neither a host nor, where one may be, a bundle.
///
/// # Errors
/// A sentence with the key and the entry.
pub fn check_limits(limits: &NetworkLimits) -> Result<(), String> {
    let host = |key: &str, text: &String| {
        crate::definition::check_host(text).map_err(|message| format!("network.{key}: {message}"))
    };
    limits.deny.iter().try_for_each(|text| host("deny", text))?;
    let only = limits.allow_only.iter().flatten();
    only.filter(|text| !BUNDLES.contains(&text.as_str()))
        .try_for_each(|text| host("allow_only", text))
}

/// The tightest of both: what either denies, and only what both allow.
#[must_use]
pub fn tightest(first: &NetworkLimits, second: &NetworkLimits) -> NetworkLimits {
    let mut deny = first.deny.clone();
    for item in &second.deny {
        if !deny.contains(item) {
            deny.push(item.clone());
        }
    }
    let allow_only = match (&first.allow_only, &second.allow_only) {
        (Some(first), Some(second)) => Some(both(first, second)),
        (first, second) => first.as_ref().or(second.as_ref()).cloned(),
    };
    NetworkLimits { deny, allow_only }
}

/// Items of either list that the other covers.
fn both(first: &[String], second: &[String]) -> Vec<String> {
    let covered = |item: &String, by: &[String]| {
        let pattern = Pattern::of(item);
        by.iter()
            .any(|other| other == item || Pattern::of(other).covers(&pattern))
    };
    let mut items: Vec<String> = Vec::new();
    let from_first = first.iter().filter(|item| covered(item, second));
    for item in from_first.chain(second.iter().filter(|item| covered(item, first))) {
        if !items.contains(item) {
            items.push(item.clone());
        }
    }
    items
}

/// Hosts that one text means.
#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    Address(IpAddr),
    Name(String),
    /// Everything below this name.
    Below(String),
}

impl Pattern {
    fn of(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        let bare = lower
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(&lower).parse::<IpAddr>() {
            return Self::Address(address.to_canonical());
        }
        match lower.strip_prefix("*.") {
            Some(rest) => Self::Below(rest.to_owned()),
            None => Self::Name(lower),
        }
    }

    /// Whether everything of `other` is in this.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Below(top), Self::Name(name)) => is_below(name, top),
            (Self::Below(top), Self::Below(name)) => name == top || is_below(name, top),
            (one, other) => one == other,
        }
    }

    /// Whether anything is in both.
    fn meets(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

fn is_below(name: &str, top: &str) -> bool {
    name.strip_suffix(top)
        .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn definition(hosts: &[&str]) -> NetworkDefinition {
        NetworkDefinition(hosts.iter().map(|host| entry(host)).collect())
    }

    fn entry(text: &str) -> NetworkEntry {
        match text.strip_prefix("bundle ") {
            Some(name) => NetworkEntry::Bundle(name.to_owned()),
            None => NetworkEntry::Host(Box::new(rule(text))),
        }
    }

    fn rule(host: &str) -> HostRule {
        HostRule {
            host: host.to_owned(),
            ..HostRule::default()
        }
    }

    fn limits(deny: &[&str], only: Option<&[&str]>) -> NetworkLimits {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        NetworkLimits {
            deny: texts(deny),
            allow_only: only.map(texts),
        }
    }

    fn bundle(name: &str) -> Option<Vec<HostRule>> {
        (name == "two").then(|| vec![rule("a.test"), rule("b.c.test")])
    }

    #[test]
    fn what_the_server_denies_is_not_reached_by_any_spelling() {
        for (host, deny, left) in [
            ("a.test", "A.Test", 0),
            ("a.test", "*.test", 0),
            ("*.test", "a.test", 0),
            ("*.a.test", "*.test", 0),
            ("a.test", "*.a.test", 1),
            ("aa.test", "a.test", 1),
            ("[::ffff:192.0.2.1]", "192.0.2.1", 0),
            ("192.0.2.1", "192.0.2.2", 1),
        ] {
            let narrowed = narrow(&definition(&[host]), &limits(&[deny], None), bundle);
            assert_eq!(narrowed.definition.0.len(), left, "{host} {deny}");
            assert_eq!(narrowed.removed.len(), 1 - left, "{host} {deny}");
        }
    }

    #[test]
    fn of_a_bundle_what_is_permitted_stays() {
        let two = definition(&["bundle two"]);
        let whole = narrow(&two, &limits(&[], Some(&["two"])), bundle);
        assert_eq!(whole.definition, two);
        let part = narrow(&two, &limits(&[], Some(&["*.c.test"])), bundle);
        assert_eq!(part.definition, definition(&["b.c.test"]));
        assert!(part.removed[0].contains("`a.test` of the bundle `two`"));
        let denied = narrow(&two, &limits(&["a.test"], Some(&["two"])), bundle);
        assert_eq!(denied.definition, definition(&["b.c.test"]));
        let unknown = narrow(&definition(&["bundle x"]), &limits(&[], None), bundle);
        assert_eq!(unknown.definition, definition(&["bundle x"]));
    }

    #[test]
    fn a_list_that_is_empty_allows_nothing() {
        let narrowed = narrow(&definition(&["a.test"]), &limits(&[], Some(&[])), bundle);
        assert!(narrowed.definition.0.is_empty());
    }

    #[test]
    fn limits_that_mean_no_host_are_named_with_their_key() {
        let check = |deny: &[&str], only: &[&str]| check_limits(&limits(deny, Some(only)));
        assert_eq!(
            check(&["*.a.test", "192.0.2.1"], &["npm", "a.test"]),
            Ok(())
        );
        assert!(
            check(&["npm:"], &[])
                .unwrap_err()
                .starts_with("network.deny: ")
        );
        assert!(
            check(&[], &["https://a.test"])
                .unwrap_err()
                .contains("allow_only")
        );
    }

    const HOSTS: [&str; 7] = [
        "a.test",
        "b.test",
        "c.b.test",
        "*.test",
        "*.b.test",
        "192.0.2.1",
        "*.c.b.test",
    ];

    fn some() -> impl Strategy<Value = Vec<&'static str>> {
        prop::collection::vec(prop::sample::select(&HOSTS[..]), 0..5)
    }

    /// Whether a definition reaches a host.
    fn reaches(definition: &NetworkDefinition, host: &Pattern) -> bool {
        definition.0.iter().any(|entry| match entry {
            NetworkEntry::Host(rule) => Pattern::of(&rule.host).covers(host),
            NetworkEntry::Bundle(_) => false,
        })
    }

    proptest! {
        #[test]
        fn what_is_left_is_within_both_and_both_together_are_within_each(
            asked in some(), deny in some(), only in prop::option::of(some()),
            deny_too in some(), only_too in prop::option::of(some()),
        ) {
            let asked = definition(&asked);
            let first = limits(&deny, only.as_deref());
            let second = limits(&deny_too, only_too.as_deref());
            let together = narrow(&asked, &tightest(&first, &second), bundle).definition;
            for host in ["a.test", "b.test", "c.b.test", "d.c.b.test", "192.0.2.1", "x.test"] {
                let host = Pattern::of(host);
                for limits in [&first, &second] {
                    let alone = narrow(&asked, limits, bundle).definition;
                    prop_assert!(!reaches(&together, &host) || reaches(&alone, &host));
                    let denied = limits.deny.iter().any(|deny| Pattern::of(deny).covers(&host));
                    prop_assert!(!(denied && reaches(&alone, &host)));
                    let allowed = limits.allow_only.as_ref().is_none_or(|only| {
                        only.iter().any(|only| Pattern::of(only).covers(&host))
                    });
                    prop_assert!(allowed || !reaches(&alone, &host));
                }
                prop_assert!(!reaches(&together, &host) || reaches(&asked, &host));
            }
        }
    }
}
