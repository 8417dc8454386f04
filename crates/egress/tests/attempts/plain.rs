//! What is allowed works, with real clients.

use crate::support::{BASE, SECRET, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_permitted_request_arrives_with_the_credential_and_comes_back() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    let used = world.kept.all().into_iter().any(|(_, event)| {
        event.kind == model::egress::EgressKind::Credential && event.detail == "x"
    });
    assert!(used);
    assert!(!format!("{:?}", world.kept.all()).contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_trusts_the_environments_authority_and_resolves_by_the_broker() {
    let Some(world) = World::new(BASE) else {
        return;
    };
    world.control();
    for version in ["--http1.1", "--http2"] {
        let (code, out, err) =
            world.run(&["curl", "-sS", version, "https://api.example.test/v1/ping"]);
        assert_eq!((code, out.as_str()), (0, "pong"), "{version}: {err}");
    }
}
