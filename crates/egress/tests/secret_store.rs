//! Secrets at rest: what lies on the disk, who may use it, and what is lost with what.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use common::{World, context, set, value};
use egress::secret::{Content, Context, Issued, NewSecret, Scope, SecretError};
use model::network::CredentialUse;
use zeroize::Zeroizing;

const VALUE: &str = "correct+horse/battery=staple-0123456789";

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all
}

#[test]
fn values_are_on_the_disk_in_no_form_and_files_are_private() {
    let world = World::new();
    let secrets = world.secrets();
    set(&secrets, "token", "organisation", VALUE).unwrap();
    assert_eq!(
        value(&secrets, "token", &Context::default()).unwrap(),
        VALUE
    );
    let base64 = common::run("base64", &["-w0"], VALUE.as_bytes()).unwrap();
    for path in files(world.folder.path()) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let parts = [VALUE, &VALUE[..12], base64.trim(), &base64[..16]];
        assert!(
            !parts.iter().any(|part| text.contains(part)),
            "{}",
            path.display()
        );
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    let folder = world.folder.path().join("secrets").metadata().unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    let shown = format!(
        "{:?} {:?}",
        secrets,
        secrets.resolve("token", &Context::default(), "e").unwrap()
    );
    assert!(!shown.contains(VALUE), "{shown}");
}

#[test]
fn age_itself_opens_what_is_sealed() {
    // The format is age's: a person without Nightcrew gets at the values with the key alone.
    let world = World::new();
    set(&world.secrets(), "token", "organisation", VALUE).unwrap();
    let path = world.folder.path().join("secrets/token@organisation.json");
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();

    use base64::Engine as _;
    let sealed = base64::engine::general_purpose::STANDARD
        .decode(file["sealed"].as_str().unwrap())
        .unwrap();
    assert!(sealed.starts_with(b"age-encryption.org/v1\n"));
    let key = std::fs::read_to_string(world.folder.path().join("secrets.key")).unwrap();
    let key: age::x25519::Identity = key
        .lines()
        .find(|line| !line.starts_with('#'))
        .unwrap()
        .parse()
        .unwrap();
    let plain = age::decrypt(&key, &sealed).unwrap();
    let plain: serde_json::Value = serde_json::from_slice(&plain).unwrap();
    assert_eq!(plain["value"], VALUE);
}

#[test]
fn the_narrowest_scope_wins_and_others_are_refused() {
    let world = World::new();
    let secrets = world.secrets();
    set(&secrets, "token", "organisation", "of-all").unwrap();
    set(&secrets, "token", "automation:bump", "of-bump").unwrap();
    set(&secrets, "token", "repository:shop/cart", "of-cart").unwrap();
    set(&secrets, "only", "automation:bump", "of-bump").unwrap();
    for (automation, repository, expected) in [
        ("bump", "shop/cart", "of-cart"),
        ("bump", "shop/other", "of-bump"),
        ("other", "shop/cart", "of-cart"),
        ("other", "shop/other", "of-all"),
        // A name that only looks like another one.
        ("bump", "shop%2fcart", "of-bump"),
    ] {
        assert_eq!(
            value(&secrets, "token", &context(automation, repository)).unwrap(),
            expected,
            "{automation} {repository}"
        );
    }
    let error = value(&secrets, "only", &context("other", "shop/cart")).unwrap_err();
    assert!(
        matches!(&error, SecretError::OutOfScope { scopes, .. } if scopes == &[Scope::Automation("bump".into())]),
        "{error}"
    );
    assert!(matches!(
        value(&secrets, "none", &Context::default()),
        Err(SecretError::NotFound { .. })
    ));
    assert!(value(&secrets, "../../etc/passwd", &Context::default()).is_err());
}

#[test]
fn a_damaged_file_is_named_and_harms_no_other() {
    let world = World::new();
    let secrets = world.secrets();
    for name in ["a", "b", "c"] {
        set(&secrets, name, "organisation", &format!("value-of-{name}")).unwrap();
    }
    // A narrower one that is damaged must not make a wider one take its place.
    set(&secrets, "c", "automation:bump", "narrow").unwrap();
    let folder = world.folder.path().join("secrets");
    std::fs::write(folder.join("b@organisation.json"), "{\"v\":1,").unwrap();
    std::fs::write(folder.join("c@automation=bump.json"), [0xff; 10]).unwrap();
    std::fs::write(folder.join("store.json"), "garbage").unwrap();
    let (records, damaged) = secrets.store().list().unwrap();
    assert_eq!(
        records
            .iter()
            .map(|record| record.name.as_str())
            .collect::<Vec<_>>(),
        ["a", "c"]
    );
    assert_eq!(damaged.len(), 2);
    assert!(
        damaged
            .iter()
            .any(|error| error.to_string().contains("b@organisation.json")),
        "{damaged:?}"
    );
    assert_eq!(
        value(&secrets, "a", &Context::default()).unwrap(),
        "value-of-a"
    );
    assert!(matches!(
        value(&secrets, "b", &Context::default()),
        Err(SecretError::Damaged { .. })
    ));
    assert!(matches!(
        value(&secrets, "c", &context("bump", "r")),
        Err(SecretError::Damaged { .. })
    ));
    // Setting it again is the cure.
    set(&secrets, "b", "organisation", "again").unwrap();
    assert_eq!(value(&secrets, "b", &Context::default()).unwrap(), "again");
}

#[test]
fn a_value_that_was_put_in_the_place_of_another_is_told() {
    let world = World::new();
    let secrets = world.secrets();
    set(&secrets, "cheap", "organisation", "cheap-value").unwrap();
    set(&secrets, "dear", "organisation", "dear-value").unwrap();
    let folder = world.folder.path().join("secrets");
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let mut cheap = read("cheap@organisation.json");
    cheap["sealed"] = read("dear@organisation.json")["sealed"].clone();
    std::fs::write(folder.join("cheap@organisation.json"), cheap.to_string()).unwrap();
    let error = value(&secrets, "cheap", &Context::default()).unwrap_err();
    assert!(error.to_string().contains("another secret"), "{error}");
}

#[test]
fn the_same_value_has_the_same_fingerprint_and_another_secret_another() {
    let world = World::new();
    let secrets = world.secrets();
    let print = |name: &str, value: &str| {
        set(&secrets, name, "organisation", value).unwrap();
        let record = secrets
            .store()
            .record(&name.parse().unwrap(), &Scope::Organisation)
            .unwrap();
        record.fingerprint.unwrap()
    };
    let (first, other, again) = (print("a", VALUE), print("a", "other"), print("a", VALUE));
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert_ne!(print("b", VALUE), first);
}

#[test]
fn expired_secrets_are_refused_and_waiting_for_a_person_until_they_are_rotated() {
    let world = World::new();
    let secrets = world.secrets();
    let new = |value: &str, expires| NewSecret {
        name: "token".parse().unwrap(),
        scope: Scope::Organisation,
        content: Content::Value(Zeroizing::new(value.to_owned())),
        expires,
        owner: Some("ada".to_owned()),
    };
    let store = secrets.store();
    store
        .set(new("old", Some(world.clock.in_seconds(60))), secrets.now())
        .unwrap();
    assert_eq!(
        value(&secrets, "token", &Context::default()).unwrap(),
        "old"
    );
    assert!(secrets.troubles().is_empty());
    world.clock.advance(60);
    let error = value(&secrets, "token", &Context::default()).unwrap_err();
    assert!(
        matches!(error, SecretError::Expired { .. })
            && error.cure().unwrap().contains("rotate token"),
        "{error}"
    );
    let troubles = secrets.troubles();
    assert_eq!(
        (troubles.len(), troubles[0].owner.as_deref()),
        (1, Some("ada"))
    );
    world.clock.advance(1);
    store.set(new("new", None), secrets.now()).unwrap();
    assert!(secrets.troubles().is_empty(), "{:?}", secrets.troubles());
    assert_eq!(
        value(&secrets, "token", &Context::default()).unwrap(),
        "new"
    );
}

#[test]
fn values_of_several_lines_are_kept_and_never_put_into_headers() {
    let world = World::new();
    let secrets = world.secrets();
    set(
        &secrets,
        "pem",
        "organisation",
        "line one\r\nx-injected: yes",
    )
    .unwrap();
    let resolved = secrets.resolve("pem", &Context::default(), "e").unwrap();
    assert!(matches!(
        resolved.for_header(),
        Err(SecretError::NotForHeaders { .. })
    ));
    set(&secrets, "short", "organisation", "x").unwrap();
    let short = secrets.resolve("short", &Context::default(), "e").unwrap();
    assert!(short.for_header().is_err(), "it could not be masked");
    assert!(set(&secrets, "nul", "organisation", "a\0b").is_err());
    assert!(set(&secrets, "empty", "organisation", "").is_err());
    assert!(set(&secrets, "long", "organisation", &"x".repeat(65 * 1024)).is_err());
}

#[test]
fn uses_are_kept_by_whom_and_when_and_are_bounded() {
    let world = World::new();
    let secrets = world.secrets();
    set(&secrets, "token", "organisation", VALUE).unwrap();
    for n in 0..30 {
        world.clock.advance(1);
        secrets
            .resolve("token", &context("bump", "cart"), &format!("env-{n}"))
            .unwrap();
    }
    let record = secrets
        .store()
        .record(&"token".parse().unwrap(), &Scope::Organisation)
        .unwrap();
    let uses = secrets.store().uses(&record).unwrap();
    assert_eq!((uses.count, uses.newest.len()), (30, 20));
    assert_eq!(uses.newest[0].environment, "env-29");
    assert_eq!(uses.newest[0].automation.as_deref(), Some("bump"));
    secrets
        .store()
        .remove(&"token".parse().unwrap(), &Scope::Organisation)
        .unwrap();
    assert!(matches!(
        value(&secrets, "token", &Context::default()),
        Err(SecretError::NotFound { .. })
    ));
    assert!(
        !files(world.folder.path())
            .iter()
            .any(|path| path.display().to_string().contains("token@"))
    );
}

#[test]
fn running_environments_get_a_rotated_value_by_whichever_process_without_a_restart() {
    let world = World::new();
    let (server, cli) = (std::sync::Arc::new(world.secrets()), world.secrets());
    set(&cli, "token", "organisation", "old-value").unwrap();
    let issued = Issued::new(std::sync::Arc::clone(&server));
    let uses = [CredentialUse {
        secret: "token".to_owned(),
        header: None,
        variable: None,
        format: None,
    }];
    let issues = issued.issue("env-1", &Context::default(), &uses);
    assert_eq!(
        issues[0].resolved.as_ref().unwrap().value.as_str(),
        "old-value"
    );
    assert!(issued.renew().is_empty(), "nothing changed");
    set(&cli, "token", "organisation", "new-value").unwrap();
    let renewed = issued.renew();
    assert_eq!(
        (renewed.len(), renewed[0].environment.as_str()),
        (1, "env-1")
    );
    assert_eq!(
        renewed[0].issues[0]
            .resolved
            .as_ref()
            .unwrap()
            .value
            .as_str(),
        "new-value"
    );
    assert!(issued.renew().is_empty());
    let known: Vec<String> = issued
        .known()
        .iter()
        .map(|(_, value)| value.to_string())
        .collect();
    assert_eq!(known, ["old-value", "new-value"]);
    // Removed: the environment loses it.
    cli.store()
        .remove(&"token".parse().unwrap(), &Scope::Organisation)
        .unwrap();
    assert!(issued.renew()[0].issues[0].resolved.is_err());
    issued.forget("env-1");
    set(&cli, "token", "organisation", "newer-value").unwrap();
    assert!(issued.renew().is_empty());
}
