//! What the tests of this crate share: leaves.

use ledger::{Heading, Leaf};

pub(crate) fn payload(n: u64) -> Vec<u8> {
    format!("{{\"task\":{n}}}").into_bytes()
}

pub(crate) fn leaf(n: u64) -> Leaf {
    let heading = Heading {
        kind: "task.prepared".into(),
        at: 1_760_000_000_000_000 + n,
        actor: "automation:travis".into(),
        scope: "org".into(),
        subject: format!("task:{}", n / 3),
        seq: n % 3,
    };
    Leaf::new(heading, &payload(n), [n as u8; 32]).unwrap()
}
