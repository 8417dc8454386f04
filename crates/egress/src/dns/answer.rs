//! What a question is answered: made-up addresses for names that policy names, nothing for others.

use std::net::{IpAddr, Ipv4Addr};

use model::egress::{EgressEvent, EgressKind, EgressRefusal, harmless};

use super::PORT;
use super::message::{Code, Query, Wrong, kind};
use super::pins::Pins;
use crate::name::Name;
use crate::policy::NetworkPolicy;

/// Class IN, the only one there is.
const INTERNET: u16 = 1;

/// Answers a question, and tells what happened where that is worth keeping: a name that was given
/// an address, or a question that was refused. The time of the event is left at 0 for whoever keeps
/// it.
///
/// Nothing comes back for bytes that are no question; never more than a few bytes beyond the
/// question.
#[must_use]
pub fn answer(
    question: &[u8],
    policy: &NetworkPolicy,
    pins: &mut Pins,
) -> (Option<Vec<u8>>, Option<EgressEvent>) {
    let query = match Query::parse(question) {
        Ok(query) => query,
        Err(wrong) => {
            let answer = match wrong {
                Wrong::Silence => None,
                Wrong::Answer(header, code) => Some(header.answer(code)),
            };
            let event = refused(String::new(), String::new(), EgressRefusal::ProtocolInvalid);
            return (answer, Some(event));
        }
    };
    let (answer, event) = decide(&query, policy, pins);
    (Some(answer), event)
}

fn decide(
    query: &Query<'_>,
    policy: &NetworkPolicy,
    pins: &mut Pins,
) -> (Vec<u8>, Option<EgressEvent>) {
    let refuse = |code, reason| {
        let event = refused(harmless(&query.shown()), type_name(query.kind), reason);
        (query.answer(code, None), Some(event))
    };
    if query.edns.is_some_and(|edns| edns.version != 0) {
        return refuse(Code::BadVersion, EgressRefusal::ProtocolInvalid);
    }
    if query.class != INTERNET || kind::TRANSFERS.contains(&query.kind) {
        return refuse(Code::Refused, EgressRefusal::HostNotNamed);
    }
    if query.kind == kind::PTR
        && let Some(name) = pinned(query, pins).filter(|name| policy.names(name))
    {
        return (
            query.answer(Code::Done, Some((kind::PTR, &wire(name)))),
            None,
        );
    }
    let name = match query.name() {
        Ok(name) if policy.names(&name) => name,
        Ok(_) => return refuse(Code::NoSuchName, EgressRefusal::HostNotNamed),
        Err(_) => return refuse(Code::NoSuchName, EgressRefusal::NameInvalid),
    };
    if query.kind != kind::A {
        return (query.answer(Code::Done, None), None);
    }
    match pins.pin(&name) {
        Some(address) => {
            let answer = query.answer(Code::Done, Some((kind::A, &address.octets())));
            (answer, Some(permitted(&name, address)))
        }
        None => refuse(Code::Failed, EgressRefusal::VolumeExhausted),
    }
}

/// The name behind `4.3.2.1.in-addr.arpa`.
fn pinned<'a>(query: &Query<'_>, pins: &'a Pins) -> Option<&'a Name> {
    let [d, c, b, a, domain, root] = query.labels() else {
        return None;
    };
    if !domain.eq_ignore_ascii_case(b"in-addr") || !root.eq_ignore_ascii_case(b"arpa") {
        return None;
    }
    let number = |label: &[u8]| std::str::from_utf8(label).ok()?.parse::<u8>().ok();
    let address = Ipv4Addr::new(number(a)?, number(b)?, number(c)?, number(d)?);
    pins.name(IpAddr::V4(address))
}

/// A name as the wire has it.
fn wire(name: &Name) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.as_str().len() + 2);
    for label in name.as_str().split('.') {
        // Labels of a name have at most 63 characters.
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn type_name(kind: u16) -> String {
    let known = match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        other => return format!("TYPE{other}"),
    };
    known.to_owned()
}

fn permitted(name: &Name, address: Ipv4Addr) -> EgressEvent {
    EgressEvent {
        refused: None,
        address: address.to_string(),
        ..refused(
            name.to_string(),
            type_name(kind::A),
            EgressRefusal::HostNotNamed,
        )
    }
}

fn refused(host: String, detail: String, reason: EgressRefusal) -> EgressEvent {
    EgressEvent {
        kind: EgressKind::Name,
        refused: Some(reason),
        host,
        port: PORT,
        detail,
        rule: String::new(),
        address: String::new(),
        sent: 0,
        received: 0,
        count: 1,
        at_ms: 0,
    }
}
