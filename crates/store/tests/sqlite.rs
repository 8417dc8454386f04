//! What only a SQLite store has to show: crashes, locks, full and read-only disks.

#![expect(clippy::unwrap_used, reason = "what a test did not expect ends it")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use store::{Commit, DocumentWrite, OpenOptions, SqliteStore, Store, StoreError};

/// Makes this program a child that commits until it is killed; holds the database.
const CHILD: &str = "NIGHTCREW_STORE_TEST_CHILD";

#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
fn skip(reason: &str) {
    assert!(
        std::env::var_os("NIGHTCREW_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "{reason}"
    );
    println!("SKIP {reason}");
}

async fn open(path: &Path) -> Result<Arc<SqliteStore>, StoreError> {
    SqliteStore::open(path, OpenOptions::default()).await
}

fn document(key: &str, bytes: usize) -> Commit {
    let write = DocumentWrite {
        kind: "k".into(),
        key: key.into(),
        body: Some("x".repeat(bytes)),
    };
    Commit {
        documents: vec![write],
        leaves: vec![key.as_bytes().to_vec()],
        ..Commit::default()
    }
}

/// Not a test by itself: the child of the two tests below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_commits_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let store = open(Path::new(&path)).await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..8 {
        let store = Arc::clone(&store);
        writers.push(tokio::spawn(async move {
            for n in 0.. {
                let key = format!("{writer}-{n}");
                store.commit(document(&key, 300)).await.unwrap();
                // Written only after the store said that it is durable.
                println!("acknowledged {key}");
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// A child, and its acknowledgements as lines.
fn child(path: &Path) -> (std::process::Child, impl Iterator<Item = String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_that_commits_until_it_is_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let keys = output.lines().map_while(Result::ok).filter_map(|line| {
        let (_, key) = line.split_once("acknowledged ")?;
        Some(key.to_owned())
    });
    (child, keys)
}

#[tokio::test]
async fn no_acknowledged_commit_is_lost_by_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 1..=5 {
        let (mut child, mut keys) = child(&path);
        acknowledged.extend(keys.by_ref().take(40 * round));
        child.kill().unwrap();
        // What it had said before it died counts as well; a line may be cut by its death.
        let mut rest: Vec<String> = keys.collect();
        rest.pop();
        acknowledged.extend(rest);
        child.wait().unwrap();

        let store = open(&path).await.unwrap();
        assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
        for key in &acknowledged {
            assert!(
                store.document("k", key).await.unwrap().is_some(),
                "{key} was acknowledged and is gone"
            );
        }
        let documents = store.documents("k", "", 1_000_000).await.unwrap();
        for document in documents {
            store
                .commit(Commit {
                    documents: vec![DocumentWrite {
                        kind: "k".into(),
                        key: document.key,
                        body: None,
                    }],
                    ..Commit::default()
                })
                .await
                .unwrap();
        }
        acknowledged.clear();
    }
}

#[tokio::test]
async fn a_second_opener_is_told_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let store = open(&path).await.unwrap();
    let refused = open(&path).await.unwrap_err();
    let own = std::process::id().to_string();
    assert!(
        matches!(&refused, StoreError::InUse { pid, .. } if *pid == own),
        "{refused:?}"
    );
    drop(store);

    let (mut child, mut keys) = child(&path);
    keys.next().unwrap();
    let refused = open(&path).await.unwrap_err();
    let holder = child.id().to_string();
    assert!(
        matches!(&refused, StoreError::InUse { pid, .. } if *pid == holder),
        "{refused:?}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    open(&path).await.unwrap();
}

#[tokio::test]
async fn a_lock_is_not_handed_down_to_child_processes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let store = open(&path).await.unwrap();
    let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
    drop(store);
    let again = open(&path).await;
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    again.unwrap();
}

#[tokio::test]
async fn a_newer_database_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    drop(open(&path).await.unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    let sql = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
               SELECT 99, 'future', applied_on, '1' FROM refinery_schema_history LIMIT 1";
    connection.execute(sql, []).unwrap();
    connection.close().unwrap();

    let before = fs::read(&path).unwrap();
    let refused = open(&path).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::TooNew { found: 99, known } if known < 99),
        "{refused:?}"
    );
    assert!(refused.cure().is_some());
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    fs::write(&path, "my diary, not a database".repeat(100)).unwrap();
    let refused = open(&path).await.unwrap_err();
    assert!(matches!(refused, StoreError::Damaged(_)), "{refused:?}");
    assert!(fs::read_to_string(&path).unwrap().starts_with("my diary"));
}

#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deeper/store.sqlite");
    let store = open(&path).await.unwrap();
    store.commit(document("a", 10)).await.unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let file = folder.path().join(format!("deeper/store.sqlite{suffix}"));
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o077,
            0,
            "{}",
            file.display()
        );
    }
}

/// A small file system of its own, gone with this value.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Self(folder);
        disk.run("mount", &["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
            .then_some(disk)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let done = Command::new(program)
            .args(arguments)
            .arg(self.0.path())
            .stderr(Stdio::null())
            .status();
        done.is_ok_and(|status| status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.run("umount", &["-l"]);
    }
}

#[tokio::test]
async fn a_read_only_folder_is_named_with_its_cure() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let root = fs::write(folder.path().join("probe"), "").is_ok();
    let disk = if root { Disk::mount() } else { None };
    if root
        && !disk
            .as_ref()
            .is_some_and(|disk| disk.run("mount", &["-o", "remount,ro"]))
    {
        return skip("root may write everywhere, and no file system can be mounted here");
    }
    let place = disk.as_ref().map_or(folder.path(), |disk| disk.0.path());
    let refused = open(&place.join("store.sqlite")).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::ReadOnly { .. }),
        "{refused:?}"
    );
    assert!(refused.cure().is_some());
}

#[tokio::test]
async fn a_full_disk_stops_commits_until_space_is_free() {
    let Some(disk) = Disk::mount() else {
        return skip("no small file system can be mounted here (needs root)");
    };
    let path = disk.0.path().join("store.sqlite");
    let ballast = disk.0.path().join("ballast");
    let store = open(&path).await.unwrap();
    fs::write(&ballast, vec![1; 900_000]).unwrap();
    let mut kept = Vec::new();
    let full = loop {
        let key = format!("d{}", kept.len());
        match store.commit(document(&key, 20_000)).await {
            Ok(_) => kept.push(key),
            Err(error) => break error,
        }
        assert!(kept.len() < 1_000, "the disk never became full");
    };
    assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
    assert!(full.is_retryable() && full.cure().is_some());
    assert!(
        store.commit(document("again", 20_000)).await.is_err(),
        "still full"
    );
    assert_eq!(
        store.documents("k", "", 9_999).await.unwrap().len(),
        kept.len(),
        "reading goes on"
    );

    fs::remove_file(&ballast).unwrap();
    store.commit(document("after", 20_000)).await.unwrap();
    drop(store);
    let store = open(&path).await.unwrap();
    assert_eq!(
        store.documents("k", "", 9_999).await.unwrap().len(),
        kept.len() + 1
    );
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn an_address_says_which_store_it_means() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let store = store::open(
        &format!("sqlite:{}", path.display()),
        OpenOptions::default(),
    )
    .await
    .unwrap();
    assert!(store.describe().starts_with("SQLite 3."));
    for bad in [
        "",
        "sqlite:",
        "mysql://x",
        "/some/path",
        "postgres://user:secret@host:port/x",
    ] {
        let refused = store::open(bad, OpenOptions::default())
            .await
            .err()
            .unwrap();
        assert!(
            matches!(refused, StoreError::InvalidAddress(_)),
            "{refused:?}"
        );
        assert!(!refused.to_string().contains("secret"));
    }
}
