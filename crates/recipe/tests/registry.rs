//! Pulling from a registry, and registries that do what they should not.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod common;
#[path = "registry/hostile.rs"]
mod hostile;
#[path = "common/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Image, LayerBuilder, Packing, World};
use recipe::oci::registry::{Credentials, RegistryOptions};
use recipe::oci::{Platform, Reference, RegistryImage, Unpacked};
use recipe::{Digest, Error};
use server::{Answer, Request, Server};

fn image() -> Image {
    let one = LayerBuilder::new()
        .folder("etc")
        .file("etc/one", b"1")
        .done();
    let two = LayerBuilder::new().file("etc/two", b"2").done();
    Image::new(&[(one, Packing::Gzip), (two, Packing::Zstd)])
}

/// All paths of a registry with this image as `team/app:1`.
fn paths(image: &Image) -> BTreeMap<String, Vec<u8>> {
    let mut paths = BTreeMap::new();
    let list = image.list();
    let by_digest = |bytes: &[u8]| format!("/v2/team/app/manifests/{}", Digest::of(bytes));
    paths.insert("/v2/team/app/manifests/1".into(), list.clone());
    paths.insert(by_digest(&list), list);
    paths.insert(by_digest(&image.manifest), image.manifest.clone());
    for blob in image.blobs() {
        paths.insert(
            format!("/v2/team/app/blobs/{}", Digest::of(blob)),
            blob.to_vec(),
        );
    }
    paths
}

fn registry() -> Server {
    let paths = paths(&image());
    Server::start(Arc::new(move |request| answer(&paths, request)))
}

fn answer(paths: &BTreeMap<String, Vec<u8>>, request: &Request) -> Answer {
    paths
        .get(&request.path)
        .map_or_else(|| Answer::new(404), |body| Answer::ok(body))
}

fn options() -> RegistryOptions {
    RegistryOptions {
        patience: Duration::from_secs(20),
        ..RegistryOptions::default()
    }
}

fn pull_with(
    world: &World,
    server: &Server,
    rest: &str,
    options: RegistryOptions,
) -> Result<Unpacked, Error> {
    let reference: Reference = format!("{}/{rest}", server.address).parse().unwrap();
    let image = RegistryImage::new(reference, options, &world.store)?;
    world.store.unpack(&image, &Platform::here(), None)
}

fn pull(world: &World, server: &Server) -> Result<Unpacked, Error> {
    pull_with(world, server, "team/app:1", options())
}

fn blobs(world: &World) -> Vec<String> {
    world
        .contents()
        .into_iter()
        .filter(|name| !name.contains("/own/"))
        .collect()
}

#[test]
fn an_image_is_pulled_and_is_the_same_as_from_a_folder() {
    let (world, server) = (World::new(), registry());
    let pulled = pull(&world, &server).unwrap();
    let local = World::new().unpack_image(&image()).unwrap();
    assert_eq!(
        (pulled.tree.digest, pulled.info.id),
        (local.tree.digest, local.info.id)
    );
    let layers: Vec<_> = image()
        .layers
        .iter()
        .map(|(_, layer)| Digest::of(layer).hex())
        .collect();
    assert!(
        blobs(&world)
            .iter()
            .all(|name| !layers.iter().any(|layer| name.contains(layer))),
        "unpacked layers go"
    );
}

#[test]
fn by_digest_nothing_is_asked_twice() {
    let (world, server) = (World::new(), registry());
    let by_digest = format!("team/app@{}", Digest::of(&image().list()));
    let first = pull_with(&world, &server, &by_digest, options()).unwrap();
    let asked = server.paths().len();
    let second = pull_with(&world, &server, &by_digest, options()).unwrap();
    assert_eq!(server.paths().len(), asked);
    assert_eq!(first.tree, second.tree);
}

#[test]
fn a_fetch_goes_on_with_the_next_blob() {
    let (image, broken) = (image(), Arc::new(Mutex::new(true)));
    let second = format!("/v2/team/app/blobs/{}", Digest::of(&image.layers[1].1));
    let (paths, state) = (paths(&image), Arc::clone(&broken));
    let server = Server::start(Arc::new(move |request| {
        match request.path == second && *state.lock().unwrap() {
            true => Answer::new(500),
            false => answer(&paths, request),
        }
    }));
    let world = World::new();
    assert!(matches!(pull(&world, &server), Err(Error::Registry { .. })));
    let asked = server.paths().len();
    *broken.lock().unwrap() = false;
    pull(&world, &server).unwrap();
    let first = format!("/v2/team/app/blobs/{}", Digest::of(&image.layers[0].1));
    assert!(
        !server.paths()[asked..].contains(&first),
        "what was unpacked is not fetched again"
    );
}

#[test]
fn what_is_not_there_is_said_so() {
    let (world, server) = (World::new(), registry());
    match pull_with(&world, &server, "team/app:2", options()) {
        Err(Error::NotFound { registry, what }) => {
            assert_eq!(registry, server.address.to_string());
            assert_eq!(what, "manifest 2 of team/app");
        }
        other => panic!("{other:?}"),
    }
}

/// A registry that answers the first layer with something else.
fn with_layer(
    other: impl Fn(&[u8]) -> Answer + Send + Sync + 'static,
) -> (World, Result<Unpacked, Error>) {
    let image = image();
    let layer = image.layers[0].1.clone();
    let path = format!("/v2/team/app/blobs/{}", Digest::of(&layer));
    let paths = paths(&image);
    let server = Server::start(Arc::new(move |request| match request.path == path {
        true => other(&layer),
        false => answer(&paths, request),
    }));
    let world = World::new();
    let result = pull(&world, &server);
    assert!(
        !world
            .contents()
            .iter()
            .any(|name| name.contains("/own/") || name.contains("/tmp/")),
        "nothing stays"
    );
    (world, result)
}

#[test]
fn other_bytes_than_promised_are_refused() {
    let (_, result) = with_layer(|layer| {
        let mut changed = layer.to_vec();
        changed[20] ^= 1;
        Answer::ok(&changed)
    });
    assert!(
        matches!(result, Err(Error::WrongDigest { .. })),
        "{result:?}"
    );
}

#[test]
fn a_short_or_long_blob_is_refused() {
    let (_, cut) = with_layer(|layer| Answer {
        length: Some(layer.len()),
        ..Answer::ok(&layer[..layer.len() / 2])
    });
    assert!(
        matches!(cut, Err(Error::WrongSize { .. } | Error::Registry { .. })),
        "{cut:?}"
    );
    let (_, short) = with_layer(|layer| Answer::ok(&layer[..layer.len() / 2]));
    assert!(matches!(short, Err(Error::WrongSize { .. })), "{short:?}");
    let (_, long) = with_layer(|layer| Answer::ok(&[layer, &[0; 100_000]].concat()));
    match long {
        Err(Error::WrongSize { wanted, found, .. }) => {
            assert_eq!(found, wanted + 1, "it is not read to its end");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_manifest_must_be_the_one_that_was_asked_for() {
    let image = image();
    let mut paths = paths(&image);
    let path = format!("/v2/team/app/manifests/{}", Digest::of(&image.manifest));
    let mut other = image.manifest;
    let end = other.len() - 1;
    other[end] = b' ';
    paths.insert(path, other);
    let server = Server::start(Arc::new(move |request| answer(&paths, request)));
    assert!(matches!(
        pull(&World::new(), &server),
        Err(Error::WrongDigest { .. })
    ));
}

#[test]
fn metadata_without_end_is_cut_off() {
    let server = Server::start(Arc::new(|_| Answer::ok(&vec![b' '; 5 << 20])));
    assert!(matches!(
        pull(&World::new(), &server),
        Err(Error::WrongSize { .. })
    ));
}

fn with_credentials() -> RegistryOptions {
    RegistryOptions {
        credentials: Some(Credentials {
            user: "ann".into(),
            password: "secret".into(),
        }),
        ..options()
    }
}

const BASIC: &str = "Basic YW5uOnNlY3JldA==";

/// A registry behind a token service of its own.
fn guarded() -> (Server, Server) {
    let tokens = Server::start(Arc::new(|request| match request.authorization.as_deref() {
        Some(BASIC) => Answer::ok(br#"{"token": "t0ken", "expires_in": 60}"#),
        _ => Answer::new(401),
    }));
    let paths = paths(&image());
    let realm = format!("http://{}/token?x=1", tokens.address);
    let registry = Server::start(Arc::new(move |request| {
        match request.authorization.as_deref() {
            Some("Bearer t0ken") => answer(&paths, request),
            _ => Answer::new(401).header(
                "WWW-Authenticate",
                format!(
                    r#"Bearer realm="{realm}",service="reg istry",scope="repository:team/app:pull""#
                ),
            ),
        }
    }));
    (tokens, registry)
}

#[test]
fn a_token_is_fetched_once_and_credentials_go_to_its_service_only() {
    let (tokens, registry) = guarded();
    pull_with(&World::new(), &registry, "team/app:1", with_credentials()).unwrap();
    assert_eq!(
        tokens.paths(),
        ["/token?x=1&service=reg%20istry&scope=repository%3Ateam%2Fapp%3Apull"]
    );
    assert!(!registry.authorizations().contains(&Some(BASIC.to_owned())));
}

#[test]
fn without_credentials_it_is_said_that_some_are_wanted() {
    let (_tokens, registry) = guarded();
    match pull(&World::new(), &registry) {
        Err(Error::Refused { problem, .. }) => {
            assert!(problem.contains("wants credentials"), "{problem}");
        }
        other => panic!("{other:?}"),
    }
    let wrong = RegistryOptions {
        credentials: Some(Credentials {
            user: "ann".into(),
            password: "wrong".into(),
        }),
        ..options()
    };
    match pull_with(&World::new(), &registry, "team/app:1", wrong) {
        Err(Error::Refused { problem, .. }) => assert!(problem.contains("not enough"), "{problem}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn basic_authentication_works() {
    let paths = paths(&image());
    let server = Server::start(Arc::new(move |request| {
        match request.authorization.as_deref() {
            Some(BASIC) => answer(&paths, request),
            _ => Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        }
    }));
    pull_with(&World::new(), &server, "team/app:1", with_credentials()).unwrap();
    assert!(
        server.authorizations()[0].is_none(),
        "nothing is sent before it is asked for"
    );
}

#[test]
fn a_registry_that_always_asks_is_given_up() {
    let server = Server::start(Arc::new(|_| {
        Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\"")
    }));
    assert!(matches!(
        pull_with(&World::new(), &server, "team/app:1", with_credentials()),
        Err(Error::Refused { .. })
    ));
    assert_eq!(server.paths().len(), 2);
    let odd = Server::start(Arc::new(|_| {
        Answer::new(401).header("WWW-Authenticate", "Negotiate")
    }));
    assert!(matches!(
        pull(&World::new(), &odd),
        Err(Error::Refused { .. })
    ));
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_host() {
    let image = image();
    let all = paths(&image);
    let storage = Server::start(Arc::new(move |request| answer(&all, request)));
    let (paths, elsewhere) = (paths(&image), storage.address);
    let server = Server::start(Arc::new(move |request| {
        match request.authorization.as_deref() {
            Some(BASIC) if request.path.contains("/blobs/") => {
                Answer::new(307).header("Location", format!("http://{elsewhere}{}", request.path))
            }
            Some(BASIC) => answer(&paths, request),
            _ => Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        }
    }));
    pull_with(&World::new(), &server, "team/app:1", with_credentials()).unwrap();
    assert!(!storage.paths().is_empty());
    assert!(storage.authorizations().iter().all(Option::is_none));
}

#[test]
fn redirects_on_the_same_host_keep_credentials_and_may_be_relative() {
    let paths = paths(&image());
    let server = Server::start(Arc::new(move |request| {
        match request.authorization.as_deref() {
            None => Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
            Some(_) => match request.path.strip_prefix("/moved") {
                Some(rest) => answer(
                    &paths,
                    &Request {
                        path: rest.into(),
                        authorization: None,
                    },
                ),
                None => Answer::new(302).header("Location", format!("/moved{}", request.path)),
            },
        }
    }));
    pull_with(&World::new(), &server, "team/app:1", with_credentials()).unwrap();
}

#[test]
fn redirects_to_where_nobody_may_lead_us_are_refused() {
    for location in [
        "http://192.0.2.1/x",
        "ftp://127.0.0.1/x",
        "http://user:pw@127.0.0.1/x",
        "//127.0.0.1/x",
        "",
        "http://",
    ] {
        let server = Server::start(Arc::new(move |_| {
            Answer::new(302).header("Location", location)
        }));
        let result = pull(&World::new(), &server);
        assert!(
            matches!(result, Err(Error::Registry { .. })),
            "{location}: {result:?}"
        );
        assert_eq!(server.paths().len(), 1);
    }
    let circle = Server::start(Arc::new(|request| {
        Answer::new(302).header("Location", request.path.clone())
    }));
    assert!(matches!(
        pull(&World::new(), &circle),
        Err(Error::Registry { .. })
    ));
    assert_eq!(circle.paths().len(), 6);
}

#[test]
fn a_token_service_without_tls_gets_no_credentials() {
    for realm in ["http://192.0.2.1/token", "nonsense", "/token"] {
        let server = Server::start(Arc::new(move |_| {
            Answer::new(401).header("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
        }));
        let result = pull_with(&World::new(), &server, "team/app:1", with_credentials());
        assert!(matches!(result, Err(Error::Registry { .. })), "{result:?}");
    }
}

#[test]
fn a_token_with_control_characters_is_not_used() {
    for body in [
        r#"{"token": "a\r\nX: y"}"#,
        r#"{"token": ""}"#,
        "{}",
        "nonsense",
    ] {
        let tokens = Server::start(Arc::new(move |_| Answer::ok(body.as_bytes())));
        let realm = format!("http://{}/", tokens.address);
        let server = Server::start(Arc::new(move |_| {
            Answer::new(401).header("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
        }));
        let result = pull(&World::new(), &server);
        assert!(matches!(result, Err(Error::Registry { .. })), "{result:?}");
    }
}

#[test]
fn proxies_of_this_process_are_not_used() {
    let program = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new(program);
    command.args([
        "--exact",
        "an_image_is_pulled_and_is_the_same_as_from_a_folder",
    ]);
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env(name, "http://127.0.0.1:9");
    }
    let output = command
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn tls_is_spoken_and_certificates_are_checked() {
    let paths = paths(&image());
    let (server, certificate) = Server::start_tls(Arc::new(move |request| answer(&paths, request)));
    let with = |certificates| RegistryOptions {
        plain_loopback: false,
        certificates,
        ..options()
    };
    let trusted = with(Some(certificate));
    pull_with(&World::new(), &server, "team/app:1", trusted).unwrap();
    let asked = server.paths().len();
    let (_, other) = Server::start_tls(Arc::new(|_| Answer::new(404)));
    for untrusted in [with(None), with(Some(other))] {
        let result = pull_with(&World::new(), &server, "team/app:1", untrusted);
        assert!(matches!(result, Err(Error::Registry { .. })), "{result:?}");
    }
    assert_eq!(server.paths().len(), asked, "nothing is said to a stranger");
}

#[test]
fn a_host_that_is_not_named_is_not_spoken_to_without_tls() {
    let server = registry();
    let strict = RegistryOptions {
        plain_loopback: false,
        ..options()
    };
    let result = pull_with(&World::new(), &server, "team/app:1", strict.clone());
    assert!(matches!(result, Err(Error::Registry { .. })), "{result:?}");
    assert_eq!(server.paths().len(), 0);
    let named = RegistryOptions {
        plain_http: vec![server.address.to_string()],
        ..strict
    };
    pull_with(&World::new(), &server, "team/app:1", named).unwrap();
}

#[test]
fn a_redirect_from_tls_to_plain_is_refused() {
    let plain = registry();
    let address = plain.address;
    let handler = move |request: &Request| {
        Answer::new(307).header("Location", format!("http://{address}{}", request.path))
    };
    let (server, certificate) = Server::start_tls(Arc::new(handler));
    let options = RegistryOptions {
        plain_loopback: false,
        plain_http: vec![address.to_string()],
        certificates: Some(certificate),
        ..options()
    };
    let result = pull_with(&World::new(), &server, "team/app:1", options);
    assert!(matches!(result, Err(Error::Registry { .. })), "{result:?}");
    assert_eq!(plain.paths().len(), 0);
}

#[test]
fn certificates_that_are_none_are_refused() {
    let options = RegistryOptions {
        certificates: Some(b"nonsense".to_vec()),
        ..options()
    };
    let result = pull_with(&World::new(), &registry(), "team/app:1", options);
    assert!(matches!(result, Err(Error::Registry { .. })), "{result:?}");
}
