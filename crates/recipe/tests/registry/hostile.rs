//! Registries that want this host's disk, time and credentials.

use super::*;

#[test]
fn an_image_that_says_it_is_larger_than_images_may_be_is_refused_before_anything_is_fetched() {
    let total = 1 << 30;
    for sizes in [
        [total + 1, 1],
        [total / 2, total / 2 + 1],
        [u64::MAX, u64::MAX],
    ] {
        let image = image();
        let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
        for (layer, size) in sizes.into_iter().enumerate() {
            manifest["layers"][layer]["size"] = size.into();
        }
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let server = Server::start(Arc::new(move |request| {
            match request.path.contains("/manifests/") {
                true => Answer::ok(&manifest),
                false => Answer::ok(&[7; 100]),
            }
        }));
        let world = World::with(recipe::oci::Limits {
            total_bytes: total,
            ..Default::default()
        });
        let result = pull(&world, &server);
        assert!(
            matches!(&result, Err(Error::Image { problem, .. }) if problem.contains("bytes")),
            "{result:?}"
        );
        assert!(server.paths().iter().all(|path| !path.contains("/blobs/")));
    }
}

#[test]
fn a_blob_that_comes_too_slowly_for_its_size_is_given_up() {
    let image = image();
    let path = format!("/v2/team/app/blobs/{}", Digest::of(&image.layers[0].1));
    let paths = paths(&image);
    // Always a byte more before patience ends, and never all of them.
    let server = Server::start_dripping(
        Arc::new(move |request| answer(&paths, request)),
        path,
        Duration::from_millis(20),
    );
    let options = RegistryOptions {
        patience: Duration::from_millis(500),
        slowest: u64::MAX,
        ..options()
    };
    let began = std::time::Instant::now();
    let result = pull_with(&World::new(), &server, "team/app:1", options);
    let Err(Error::Registry { problem, .. }) = result else {
        panic!("{result:?}");
    };
    assert!(problem.contains("too slowly"), "{problem}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn whoever_a_redirect_leads_to_is_told_no_credentials_though_he_asks() {
    let tokens = Server::start(Arc::new(|_| Answer::ok(br#"{"token": "t0ken"}"#)));
    let realm = format!("http://{}/token", tokens.address);
    let thief = Server::start(Arc::new(move |_| {
        Answer::new(401).header("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
    }));
    let elsewhere = thief.address;
    let server = Server::start(Arc::new(move |request| {
        Answer::new(307).header("Location", format!("http://{elsewhere}{}", request.path))
    }));
    let result = pull_with(&World::new(), &server, "team/app:1", with_credentials());
    assert!(matches!(result, Err(Error::Refused { .. })), "{result:?}");
    assert_eq!(thief.paths().len(), 1);
    assert!(tokens.paths().is_empty());
}
