//! Keys, notes and checkpoints.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ledger::{
    Checkpoint, CheckpointError, Hash, KeyError, Note, NoteError, SignedCheckpoint, SigningKey,
    VerifierKey,
};
use proptest::prelude::*;

/// The example of the reference implementation of signed notes.
const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const SECRET: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
const SIGNATURE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2\
                         pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn key() -> SigningKey {
    SigningKey::from_seed("example.com/log", &[1; 32]).unwrap()
}

fn write_key(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_reference_note_verifies_and_is_signed_alike() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    write_key(&path, SECRET, 0o600);
    let secret = SigningKey::load_or_create(&path, "PeterNeumann").unwrap();
    let public: VerifierKey = PUBLIC.parse().unwrap();
    assert_eq!(secret.verifier(), public);
    assert_eq!(public.to_string(), PUBLIC);
    let text = format!("{TEXT}\n{SIGNATURE}");
    let note = Note::parse(&text).unwrap();
    assert_eq!(note.verify(&public).unwrap(), TEXT);
    assert_eq!(note.to_string(), text);
    assert_eq!(Note::sign(TEXT, &secret).unwrap(), note);
}

#[test]
fn signatures_of_unknown_keys_are_kept_and_one_wrong_signature_spoils_the_note() {
    let note = Note::sign("text\n", &key()).unwrap();
    let other = SigningKey::from_seed("witness", &[2; 32]).unwrap();
    let cosigned = format!("{note}— witness {}\n", "AAAAAAAA");
    let parsed = Note::parse(&cosigned).unwrap();
    assert_eq!(parsed.to_string(), cosigned);
    parsed.verify(&key().verifier()).unwrap();
    let missing = note.verify(&other.verifier());
    assert_eq!(missing, Err(NoteError::NotSigned("witness".into())));
    // The same name with another key has another id: not this key's signature.
    let twin = SigningKey::from_seed("example.com/log", &[3; 32]).unwrap();
    assert!(matches!(
        note.verify(&twin.verifier()),
        Err(NoteError::NotSigned(_))
    ));
    let spoilt = note.to_string().replace("text", "test");
    let spoilt = Note::parse(&spoilt).unwrap();
    assert!(matches!(
        spoilt.verify(&key().verifier()),
        Err(NoteError::WrongSignature(_))
    ));
}

#[test]
fn malformed_notes_are_refused() {
    let note = Note::sign("text\n", &key()).unwrap().to_string();
    for wrong in [
        note.trim_end().to_owned(),
        note.replace("\n\n", "\n"),
        note.replace("— ", "- "),
        note.replace("— ", "—  "),
        note.replace("example.com/log", "example+log"),
        note.replace("text", "te\txt"),
        note.replace('\n', "\r\n"),
        format!("{note}\n"),
        format!("{note}rest"),
        "text\n\n".into(),
        "text\n\n— name AAAAAA==\n".into(),
        format!("{note}{}", "— a AAAAAAAA\n".repeat(100)),
        "x".repeat(2_000_000),
    ] {
        assert!(Note::parse(&wrong).is_err(), "{wrong}");
    }
    for wrong in ["", "no newline", "bell\u{7}\n"] {
        assert!(Note::sign(wrong, &key()).is_err());
    }
}

#[test]
fn a_checkpoint_has_the_form_of_the_specification() {
    let signed = SignedCheckpoint::sign(3, Hash::of_leaf(b"x"), &key());
    let text = signed.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["example.com/log", "3"]);
    assert_eq!((lines[2].len(), lines[3], lines.len()), (44, "", 5));
    assert!(lines[4].starts_with("— example.com/log "));
    let parsed = SignedCheckpoint::parse(&text).unwrap();
    assert_eq!(parsed, signed);
    assert_eq!(
        parsed.verify(&key().verifier()).unwrap(),
        signed.unverified()
    );
}

#[test]
fn other_spellings_of_a_checkpoint_are_refused_though_rightly_signed() {
    let root = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=";
    let accept = |body: &str| {
        let note = Note::sign(body, &key()).unwrap().to_string();
        SignedCheckpoint::parse(&note)
    };
    accept(&format!("example.com/log\n1\n{root}\n")).unwrap();
    let extended = accept(&format!("example.com/log\n1\n{root}\nextension\n")).unwrap();
    assert_eq!(extended.unverified().extensions, ["extension"]);
    assert_eq!(extended.to_string().lines().nth(3), Some("extension"));
    let short = &root[4..];
    for wrong in [
        format!("\n1\n{root}\n"),
        format!("example.com/log\n01\n{root}\n"),
        format!("example.com/log\n+1\n{root}\n"),
        format!("example.com/log\n 1\n{root}\n"),
        format!("example.com/log\n-1\n{root}\n"),
        format!("example.com/log\n99999999999999999999\n{root}\n"),
        format!("example.com/log\n9007199254740992\n{root}\n"),
        format!("example.com/log\n1\n{short}\n"),
        format!("example.com/log\n1\n{}\n", root.trim_end_matches('=')),
        format!("example.com/log\n1\n{}\n", root.replace("B0=", "B1=")),
        format!("example.com/log\n1\n{root}\n\n"),
        "example.com/log\n1\n".into(),
    ] {
        assert!(
            matches!(accept(&wrong), Err(CheckpointError::Malformed(_))),
            "{wrong}"
        );
    }
    let foreign = accept(&format!("example.org/log\n1\n{root}\n")).unwrap();
    let verdict = foreign.verify(&key().verifier());
    assert!(matches!(verdict, Err(CheckpointError::OtherOrigin { .. })));
}

#[test]
fn a_key_file_is_made_once_with_mode_0600_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.key");
    let first = SigningKey::load_or_create(&path, "a/log").unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let again = SigningKey::load_or_create(&path, "a/log").unwrap();
    assert_eq!(first.verifier(), again.verifier());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(!format!("{first:?}").contains(fs::read_to_string(&path).unwrap().trim()));
    let other = SigningKey::load_or_create(&path, "b/log");
    assert!(matches!(other, Err(KeyError::OtherName { .. })));
}

#[test]
fn processes_that_make_a_key_at_once_get_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = &dir.path().join("key");
    let barrier = &std::sync::Barrier::new(4);
    let keys: Vec<_> = std::thread::scope(|scope| {
        let make = || {
            barrier.wait();
            SigningKey::load_or_create(path, "a/log")
                .unwrap()
                .verifier()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn damaged_and_exposed_key_files_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let load = || SigningKey::load_or_create(&path, "PeterNeumann").unwrap_err();
    write_key(&path, SECRET, 0o644);
    assert!(load().to_string().contains("chmod 600"));
    for wrong in [
        &SECRET[..60],
        "",
        &SECRET.replace("c74f20a3", "c74f20a4"),
        PUBLIC,
    ] {
        write_key(&path, wrong, 0o600);
        assert!(matches!(load(), KeyError::Damaged { .. }), "{wrong}");
        assert_eq!(fs::read_to_string(&path).unwrap(), wrong);
    }
    let nowhere = SigningKey::load_or_create(&dir.path().join("no/key"), "a");
    assert!(matches!(nowhere, Err(KeyError::Io { .. })));
}

#[test]
fn names_and_keys_that_cannot_be_written_are_refused() {
    for name in ["", "a b", "a+b", "a\n", "a\u{a0}b", "a\u{1}"] {
        assert!(
            matches!(SigningKey::generate(name), Err(KeyError::Name(_))),
            "{name:?}"
        );
    }
    for wrong in [
        &PUBLIC[..40],
        "",
        "a+b",
        &PUBLIC.replace("c74f20a3", "c74f20a4"),
        &PUBLIC.replace("c74f20a3", "C74F20A3"),
        &PUBLIC.replace("+AR", "+BR"),
        &PUBLIC.replace("Peter", "Petra"),
    ] {
        assert!(wrong.parse::<VerifierKey>().is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_checkpoint_comes_back(size in 0..=ledger::MAX_NUMBER, root: [u8; 32]) {
        let signed = SignedCheckpoint::sign(size, Hash::from_bytes(root), &key());
        let parsed = SignedCheckpoint::parse(&signed.to_string()).unwrap();
        prop_assert_eq!(&parsed, &signed);
        prop_assert_eq!(parsed.verify(&key().verifier()).unwrap().size, size);
    }

    #[test]
    fn no_changed_byte_leaves_a_checkpoint_valid(at in any::<prop::sample::Index>(), byte: u8) {
        let right = SignedCheckpoint::sign(3, Hash::of_leaf(b"x"), &key()).to_string();
        let mut bytes = right.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes) && text != right {
            let verdict = SignedCheckpoint::parse(&text)
                .and_then(|signed| signed.verify(&key().verifier()).cloned());
            prop_assert!(verdict.is_err(), "{}", text);
        }
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in "[a-z0-9+/=— \n]{0,200}|\\PC*") {
        let _ = Note::parse(&text);
        let _ = text.parse::<Checkpoint>();
        let _ = SignedCheckpoint::parse(&text);
        let _ = text.parse::<VerifierKey>();
        let _ = text.parse::<Hash>();
    }
}
