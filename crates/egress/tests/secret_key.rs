//! The key of the secrets: lost, another one, changed, and where it may come from.

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::{World, set, value};
use egress::secret::{Context, KeySource, SecretError};

const VALUE: &str = "correct+horse/battery=staple-0123456789";

#[test]
fn a_lost_key_says_what_is_lost_and_what_is_not() {
    let world = World::new();
    set(&world.secrets(), "token", "organisation", VALUE).unwrap();
    std::fs::remove_file(world.folder.path().join("secrets.key")).unwrap();
    let secrets = world.secrets();
    let error = value(&secrets, "token", &Context::default()).unwrap_err();
    assert!(
        matches!(error, SecretError::KeyLost { count: 1, .. }),
        "{error}"
    );
    let text = format!("{error} {}", error.cure().unwrap());
    for part in [
        "values of 1 secrets",
        "names, scopes and uses",
        "not lost",
        "rekey --forget-values",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // No new key by itself: the old one may turn up again.
    assert!(set(&secrets, "other", "organisation", "x").is_err());
    assert!(!world.folder.path().join("secrets.key").exists());
    assert_eq!(
        secrets.store().list().unwrap().0.len(),
        1,
        "names are there without the key"
    );
    assert!(secrets.store().rekey(false).is_err());
    let done = secrets.store().rekey(true).unwrap();
    assert_eq!(done.forgotten, ["token (organisation)"]);
    assert!(matches!(
        value(&secrets, "token", &Context::default()),
        Err(SecretError::Forgotten { .. })
    ));
    set(&secrets, "token", "organisation", "again").unwrap();
    assert_eq!(
        value(&secrets, "token", &Context::default()).unwrap(),
        "again"
    );
}

#[test]
fn another_key_is_told_from_a_damaged_file() {
    let world = World::new();
    set(&world.secrets(), "token", "organisation", VALUE).unwrap();
    let other = World::new();
    set(&other.secrets(), "x", "organisation", "x").unwrap();
    let secrets = world.with_key("", other.key());
    assert!(matches!(
        value(&secrets, "token", &Context::default()),
        Err(SecretError::KeyOther { .. })
    ));
    assert!(matches!(
        set(&secrets, "y", "organisation", "y"),
        Err(SecretError::KeyOther { .. })
    ));
}

#[test]
fn a_new_key_opens_everything_also_after_a_crash_in_between() {
    let world = World::new();
    let (secrets, running) = (world.secrets(), world.secrets());
    for n in 0..5 {
        set(
            &secrets,
            &format!("s{n}"),
            "organisation",
            &format!("value-{n}"),
        )
        .unwrap();
    }
    assert_eq!(
        value(&running, "s0", &Context::default()).unwrap(),
        "value-0"
    );
    let key = world.folder.path().join("secrets.key");
    let before = std::fs::read_to_string(&key).unwrap();
    assert_eq!(secrets.store().rekey(false).unwrap().sealed, 5);
    let after = std::fs::read_to_string(&key).unwrap();
    let line = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("AGE-"))
            .unwrap()
            .to_owned()
    };
    assert_ne!(line(&before), line(&after));
    assert!(!after.contains(&line(&before)));
    // A server that runs meanwhile goes on.
    assert_eq!(
        value(&running, "s1", &Context::default()).unwrap(),
        "value-1"
    );
    // A crash in the middle: both keys in the file, some values under either.
    set(&secrets, "late", "organisation", "under-the-new").unwrap();
    std::fs::write(&key, format!("{}\n{}\n", line(&before), line(&after))).unwrap();
    let crashed = world.secrets();
    assert_eq!(crashed.store().rekey(false).unwrap().sealed, 6);
    assert_eq!(
        value(&world.secrets(), "late", &Context::default()).unwrap(),
        "under-the-new"
    );
    assert_eq!(
        std::fs::read_to_string(&key)
            .unwrap()
            .matches("AGE-")
            .count(),
        1
    );
}

#[test]
fn keys_come_from_commands_and_passphrases_and_not_from_files_that_others_read() {
    let world = World::new();
    set(&world.secrets(), "token", "organisation", VALUE).unwrap();
    let file = world.folder.path().join("secrets.key");
    let command = KeySource::Command(vec!["cat".into(), file.display().to_string()]);
    assert_eq!(
        value(&world.with_key("", command), "token", &Context::default()).unwrap(),
        VALUE
    );
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = value(&world.secrets(), "token", &Context::default()).unwrap_err();
    assert!(error.cure().unwrap().contains("chmod 600"), "{error}");

    let world = World::new();
    let phrase = world.folder.path().join("phrase");
    std::fs::write(&phrase, "open sesame\n").unwrap();
    std::fs::set_permissions(&phrase, std::fs::Permissions::from_mode(0o600)).unwrap();
    let source = || KeySource::Passphrase {
        phrase: phrase.clone(),
        file: world.folder.path().join("key.age"),
    };
    set(
        &world.with_key("", source()),
        "token",
        "organisation",
        VALUE,
    )
    .unwrap();
    assert_eq!(
        value(&world.with_key("", source()), "token", &Context::default()).unwrap(),
        VALUE
    );
    std::fs::write(&phrase, "open barley\n").unwrap();
    let error = value(&world.with_key("", source()), "token", &Context::default()).unwrap_err();
    assert!(matches!(error, SecretError::KeyUnusable { .. }), "{error}");
}
