//! The catalogue, as the attacker itself tells it.

use std::process::Command;

/// What proves that an attack would work if nothing stopped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    User,
    Root,
    None,
}

/// One attack.
#[derive(Clone, Debug)]
pub(crate) struct Attack {
    pub(crate) name: String,
    /// Its number in the catalogue.
    pub(crate) item: u8,
    pub(crate) control: Control,
    /// One sentence.
    pub(crate) what: String,
}

/// Every attack.
pub(crate) fn read() -> Vec<Attack> {
    let output = Command::new(crate::scene::programs().join("sandbox-attacker"))
        .arg("--list")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let mut parts = line.split('\t').map(str::to_owned);
            let mut next = || parts.next().unwrap();
            Attack {
                name: next(),
                item: next().parse().unwrap(),
                control: match next().as_str() {
                    "user" => Control::User,
                    "root" => Control::Root,
                    _ => Control::None,
                },
                what: next(),
            }
        })
        .collect()
}
