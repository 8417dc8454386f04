//! The life of a change at the local forge.
#![expect(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use common::{Bench, alice, at, bot, git, oid};
use forge::git::Oid;
use forge::{
    Change, ChangeFilter, ChangeState, ChangeUpdate, ForgeError, ForgeEventKind, MergeMethod,
    Mergeable, NewComment, Verdict,
};

fn open(bench: &Bench, branch: &str, file: &str, content: &str) -> Change {
    let new = bench.new_change(branch, file, content);
    bench.forge.open_change(&bench.name, &new).unwrap()
}

#[test]
fn a_change_lives_from_open_through_review_to_merged_by_each_method() {
    for (method, parents) in [
        (MergeMethod::Merge, 2),
        (MergeMethod::Squash, 1),
        (MergeMethod::Rebase, 1),
    ] {
        let bench = Bench::new();
        let (forge, name) = (&bench.forge, &bench.name);
        let change = open(&bench, "nightcrew/one", "new.txt", "new\n");
        assert_eq!((change.number, change.state), (1, ChangeState::Open));
        assert_eq!(bench.branch_head("nightcrew/one"), Some(change.head));

        let comment = NewComment {
            actor: alice(),
            text: "why?".into(),
            at: at(2),
            key: None,
        };
        forge.comment(name, 1, &comment).unwrap();
        let reviewed = forge
            .request_changes(name, 1, &alice(), "please explain", at(3))
            .unwrap();
        assert_eq!(reviewed.verdict(), Some(Verdict::ChangesRequested));
        let approved = forge.approve(name, 1, &alice(), at(4)).unwrap();
        assert_eq!(approved.verdict(), Some(Verdict::Approved));

        let diff = forge.diff(name, 1).unwrap();
        assert_eq!((diff.files.len(), diff.added(), diff.deleted()), (1, 1, 0));
        assert_eq!(forge.mergeable(name, 1).unwrap(), Mergeable::Yes);

        // Somebody else's work on the main branch in between, so that a rebase has something to do.
        git(
            &bench.work(),
            &["checkout", "-q", "-B", "main", "origin/main"],
        );
        std::fs::write(bench.work().join("other"), "x").unwrap();
        let other = bench.commit_push("other work");

        let merged = forge.merge(name, 1, method, &alice(), at(5)).unwrap();
        assert_eq!(bench.main_head(), merged.commit);
        let shown = git(
            &bench.bare(),
            &["log", "-1", "--format=%P%n%cn%n%ct", "main"],
        );
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0].split(' ').count(), parents, "{method:?}");
        assert!(lines[0].starts_with(&other.to_string()));
        assert_eq!((lines[1], lines[2]), ("Alice", "1700000005"));
        assert_eq!(git(&bench.bare(), &["show", "main:new.txt"]), "new");
        assert_eq!(git(&bench.bare(), &["show", "main:other"]), "x");

        let change = forge.change(name, 1).unwrap();
        assert_eq!(change.state, ChangeState::Merged);
        assert_eq!(change.merged.unwrap().commit, merged.commit);
        forge
            .delete_branch(name, "nightcrew/one", change.head)
            .unwrap();
        assert_eq!(bench.branch_head("nightcrew/one"), None);
        assert_eq!(
            forge.diff(name, 1).unwrap().files.len(),
            1,
            "the diff outlives the branch"
        );
        let again = forge.merge(name, 1, method, &alice(), at(6));
        assert!(matches!(
            again,
            Err(ForgeError::Closed {
                number: 1,
                state: ChangeState::Merged
            })
        ));
        bench.fsck();
    }
}

#[test]
fn rebase_keeps_authors_and_messages_and_fast_forwards_where_it_can() {
    let bench = Bench::new();
    let change = open(&bench, "b", "new.txt", "new\n");
    let merged = bench
        .forge
        .merge(&bench.name, 1, MergeMethod::Rebase, &alice(), at(5))
        .unwrap();
    assert_eq!(merged.commit, change.head);
    let second = open(&bench, "c", "second.txt", "new\n");
    git(
        &bench.work(),
        &["checkout", "-q", "-B", "main", "origin/main"],
    );
    std::fs::write(bench.work().join("other"), "x").unwrap();
    bench.commit_push("other work");
    let merged = bench
        .forge
        .merge(
            &bench.name,
            second.number,
            MergeMethod::Rebase,
            &alice(),
            at(9),
        )
        .unwrap();
    assert_ne!(merged.commit, second.head);
    let shown = git(&bench.bare(), &["log", "-1", "--format=%an|%cn|%s", "main"]);
    assert_eq!(shown, "Person|Alice|change second.txt");
}

#[test]
fn a_conflicting_merge_is_refused_and_names_the_files() {
    let bench = Bench::new();
    open(&bench, "b", "README", "ours\n");
    git(
        &bench.work(),
        &["checkout", "-q", "-B", "main", "origin/main"],
    );
    std::fs::write(bench.work().join("README"), "theirs\n").unwrap();
    let main = bench.commit_push("their work");
    for method in [MergeMethod::Merge, MergeMethod::Squash, MergeMethod::Rebase] {
        match bench.forge.merge(&bench.name, 1, method, &alice(), at(5)) {
            Err(ForgeError::Conflicts { files }) => assert_eq!(files[0].as_bytes(), b"README"),
            other => panic!("{method:?}: {other:?}"),
        }
    }
    assert!(matches!(
        bench.forge.mergeable(&bench.name, 1).unwrap(),
        Mergeable::Conflicts { .. }
    ));
    assert_eq!(bench.main_head(), main);
    assert_eq!(
        bench.forge.change(&bench.name, 1).unwrap().state,
        ChangeState::Open
    );
}

#[test]
fn opening_twice_gives_the_same_change_and_changes_nothing() {
    let bench = Bench::new();
    let new = bench.new_change("b", "new.txt", "new\n");
    let first = bench.forge.open_change(&bench.name, &new).unwrap();
    let refs = git(&bench.bare(), &["for-each-ref"]);
    let second = bench.forge.open_change(&bench.name, &new).unwrap();
    assert_eq!(first, second);
    assert_eq!(refs, git(&bench.bare(), &["for-each-ref"]));
    let found = bench.forge.find_change(&bench.name, "b").unwrap().unwrap();
    assert_eq!(found, first);
}

#[test]
fn a_commit_of_a_person_on_our_branch_is_never_overwritten() {
    let bench = Bench::new();
    let ours = open(&bench, "b", "new.txt", "new\n");
    let work = bench.work();
    git(&work, &["fetch", "-q", "origin", "b"]);
    git(&work, &["checkout", "-q", "-b", "b", "FETCH_HEAD"]);
    std::fs::write(work.join("hand"), "made").unwrap();
    let theirs = bench.commit_push("by hand");

    let again = bench.new_change("b", "new.txt", "newer\n");
    match bench.forge.open_change(&bench.name, &again) {
        Err(ForgeError::BranchMoved {
            expected, found, ..
        }) => {
            assert_eq!((expected, found), (Some(ours.head), Some(theirs)));
        }
        other => panic!("{other:?}"),
    }
    let update = update_to(&again.commit, ours.head, &again);
    let moved = bench.forge.update_change(&bench.name, 1, &update);
    assert!(matches!(moved, Err(ForgeError::BranchMoved { .. })));
    assert_eq!(bench.branch_head("b"), Some(theirs));
    let change = bench.forge.change(&bench.name, 1).unwrap();
    assert!(change.has_foreign_commits());

    // Knowing the person's commit, an update on top of it goes through.
    let update = update_to(&again.commit, theirs, &again);
    let change = bench.forge.update_change(&bench.name, 1, &update).unwrap();
    assert_eq!(
        (change.head, bench.branch_head("b")),
        (again.commit, Some(again.commit))
    );
    // And closing never deletes a person's work.
    git(
        &work,
        &[
            "push",
            "-q",
            "-f",
            "origin",
            &format!("{theirs}:refs/heads/b"),
        ],
    );
    bench
        .forge
        .close(&bench.name, 1, true, &bot(), at(9))
        .unwrap();
    assert_eq!(bench.branch_head("b"), Some(theirs));
}

fn update_to(commit: &Oid, expected: Oid, new: &forge::NewChange) -> ChangeUpdate {
    ChangeUpdate {
        expected_head: expected,
        commit: *commit,
        base_commit: None,
        bundle: new.bundle.clone(),
        title: None,
        body: Some("newer".into()),
        evidence: None,
        actor: bot(),
        at: at(7),
    }
}

#[test]
fn a_branch_that_exists_without_a_change_of_ours_is_left_alone() {
    let bench = Bench::new();
    let new = bench.new_change("b", "new.txt", "new\n");
    git(
        &bench.work(),
        &[
            "push",
            "-q",
            "origin",
            &format!("{}:refs/heads/b", new.base_commit),
        ],
    );
    let refused = bench.forge.open_change(&bench.name, &new);
    assert!(matches!(
        refused,
        Err(ForgeError::BranchMoved { expected: None, .. })
    ));
    assert_eq!(
        bench
            .forge
            .list_changes(&bench.name, &ChangeFilter::default(), None)
            .unwrap()
            .items,
        []
    );
}

#[test]
fn an_update_replaces_our_own_head_and_doing_it_again_is_harmless() {
    let bench = Bench::new();
    let first = open(&bench, "b", "new.txt", "new\n");
    let again = bench.new_change("b", "new.txt", "newer\n");
    let update = update_to(&again.commit, first.head, &again);
    let one = bench.forge.update_change(&bench.name, 1, &update).unwrap();
    let two = bench.forge.update_change(&bench.name, 1, &update).unwrap();
    assert_eq!((one.head, one.body.as_str()), (again.commit, "newer"));
    assert_eq!(one, two);
}

#[test]
fn closing_deletes_the_branch_and_a_later_attempt_opens_a_new_change() {
    let bench = Bench::new();
    let new = bench.new_change("b", "new.txt", "new\n");
    let first = bench.forge.open_change(&bench.name, &new).unwrap();
    bench
        .forge
        .close(&bench.name, 1, true, &alice(), at(3))
        .unwrap();
    bench
        .forge
        .close(&bench.name, 1, true, &alice(), at(3))
        .unwrap();
    assert_eq!(bench.branch_head("b"), None);
    assert_eq!(bench.forge.diff(&bench.name, 1).unwrap().files.len(), 1);
    // The very same commit again is the retry of an act that ended: it finds the closed change.
    let same = bench.forge.open_change(&bench.name, &new).unwrap();
    assert_eq!(
        (same.number, same.state),
        (first.number, ChangeState::Closed)
    );
    let second = open(&bench, "b", "new.txt", "other\n");
    assert_eq!(second.number, 2);
    assert_eq!(
        bench
            .forge
            .find_change(&bench.name, "b")
            .unwrap()
            .unwrap()
            .number,
        2
    );
    bench.fsck();
}

#[test]
fn a_comment_with_a_key_is_made_once() {
    let bench = Bench::new();
    open(&bench, "b", "new.txt", "new\n");
    let comment = NewComment {
        actor: bot(),
        text: "done".into(),
        at: at(2),
        key: Some("task-7".into()),
    };
    bench.forge.comment(&bench.name, 1, &comment).unwrap();
    let change = bench.forge.comment(&bench.name, 1, &comment).unwrap();
    assert_eq!(change.comments.len(), 1);
}

#[test]
fn two_writers_racing_make_one_change() {
    let bench = Bench::new();
    let new = bench.new_change("b", "new.txt", "new\n");
    // Two forges over one folder, as two processes would have.
    let other =
        forge::local::LocalForge::open(bench.forge.root(), forge::git::Git::find().unwrap())
            .unwrap();
    let barrier = std::sync::Barrier::new(8);
    let numbers: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let (forge, name, new, barrier) = (
                    if n % 2 == 0 { &bench.forge } else { &other },
                    &bench.name,
                    &new,
                    &barrier,
                );
                scope.spawn(move || {
                    barrier.wait();
                    forge.open_change(name, new).unwrap().number
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(numbers, [1; 8]);
    let all = bench
        .forge
        .list_changes(&bench.name, &ChangeFilter::default(), None)
        .unwrap();
    assert_eq!(all.items.len(), 1);
}

#[test]
fn racing_writers_of_different_branches_get_different_numbers() {
    let bench = Bench::new();
    let news: Vec<_> = (0..6)
        .map(|n| bench.new_change(&format!("b{n}"), &format!("f{n}"), "x"))
        .collect();
    let other =
        forge::local::LocalForge::open(bench.forge.root(), forge::git::Git::find().unwrap())
            .unwrap();
    let mut numbers: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = news
            .iter()
            .enumerate()
            .map(|(n, new)| {
                let (forge, name) = (if n % 2 == 0 { &bench.forge } else { &other }, &bench.name);
                scope.spawn(move || forge.open_change(name, new).unwrap().number)
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    bench.fsck();
}

#[test]
fn a_pack_that_lacks_the_commit_or_holds_rubbish_is_refused_and_nothing_is_left() {
    let bench = Bench::new();
    let mut new = bench.new_change("b", "new.txt", "new\n");
    let good = new.bundle.clone().unwrap();
    let broken = bench.path("broken");
    std::fs::write(&broken, b"PACK is not what this is").unwrap();
    for bad in [Some(broken), Some(bench.path("work/README")), None] {
        new.bundle = bad;
        assert!(bench.forge.open_change(&bench.name, &new).is_err());
    }
    let commit = new.commit;
    new.bundle = Some(good);
    new.commit = oid("1111111111111111111111111111111111111111");
    assert!(bench.forge.open_change(&bench.name, &new).is_err());
    assert_eq!(bench.branch_head("b"), None);
    assert_eq!(bench.forge.find_change(&bench.name, "b").unwrap(), None);
    new.commit = commit;
    bench.forge.open_change(&bench.name, &new).unwrap();
}

#[test]
fn a_bundle_is_taken_as_well_as_a_pack() {
    let bench = Bench::new();
    let mut new = bench.new_change("b", "new.txt", "new\n");
    let bundle = bench.path("x.bundle");
    git(
        &bench.work(),
        &["branch", "-f", "tmp", &new.commit.to_string()],
    );
    git(
        &bench.work(),
        &[
            "bundle",
            "create",
            "-q",
            bundle.to_str().unwrap(),
            &format!("{}..tmp", new.base_commit),
        ],
    );
    new.bundle = Some(bundle);
    let change = bench.forge.open_change(&bench.name, &new).unwrap();
    assert_eq!(bench.branch_head("b"), Some(change.head));
    bench.fsck();
}

#[test]
fn events_tell_what_happened_once_and_survive_a_restart() {
    let bench = Bench::new();
    let start = bench.forge.events_since(&bench.name, None).unwrap();
    assert_eq!(start.items, []);
    open(&bench, "b", "new.txt", "new\n");
    bench
        .forge
        .approve(&bench.name, 1, &alice(), at(2))
        .unwrap();
    git(
        &bench.work(),
        &["checkout", "-q", "-B", "main", "origin/main"],
    );
    std::fs::write(bench.work().join("other"), "x").unwrap();
    let pushed = bench.commit_push("pushed into the folder");
    // Another process reads on from the cursor of the first.
    let other =
        forge::local::LocalForge::open(bench.forge.root(), forge::git::Git::find().unwrap())
            .unwrap();
    let page = other
        .events_since(&bench.name, start.next.as_ref())
        .unwrap();
    let again = other
        .events_since(&bench.name, start.next.as_ref())
        .unwrap();
    assert_eq!(
        page, again,
        "the same cursor gives the same events with the same ids"
    );
    let kinds: Vec<_> = page.items.iter().map(|event| &event.what).collect();
    assert!(matches!(
        kinds[0],
        ForgeEventKind::ChangeOpened { number: 1, .. }
    ));
    assert!(matches!(
        kinds[1],
        ForgeEventKind::ChangeApproved { number: 1, .. }
    ));
    assert!(matches!(kinds[2], ForgeEventKind::Push { after, .. } if *after == pushed));
    assert_eq!(kinds.len(), 3);
    git(&bench.work(), &["push", "-q", "-f", "origin", "HEAD:b"]);
    let page = other.events_since(&bench.name, page.next.as_ref()).unwrap();
    assert!(
        matches!(page.items[0].what, ForgeEventKind::ChangeMoved { found: Some(f), .. } if f == pushed)
    );
    let page = other.events_since(&bench.name, page.next.as_ref()).unwrap();
    assert_eq!(page.items, []);
}

#[test]
fn lists_come_in_pages() {
    let bench = Bench::new();
    let new = bench.new_change("b0", "f", "x");
    for n in 0..103 {
        let mut new = new.clone();
        new.branch = format!("b{n}");
        bench.forge.open_change(&bench.name, &new).unwrap();
    }
    let first = bench
        .forge
        .list_changes(&bench.name, &ChangeFilter::default(), None)
        .unwrap();
    assert_eq!(first.items.len(), 100);
    let rest = bench
        .forge
        .list_changes(&bench.name, &ChangeFilter::default(), first.next.as_ref())
        .unwrap();
    assert_eq!((rest.items.len(), rest.next), (3, None));
    // Packing refs and objects behind our back changes nothing.
    git(&bench.bare(), &["pack-refs", "--all", "--prune"]);
    git(&bench.bare(), &["repack", "-adq"]);
    let other =
        forge::local::LocalForge::open(bench.forge.root(), forge::git::Git::find().unwrap())
            .unwrap();
    assert_eq!(
        other
            .find_change(&bench.name, "b102")
            .unwrap()
            .unwrap()
            .number,
        103
    );
    other.close(&bench.name, 103, true, &bot(), at(3)).unwrap();
    assert_eq!(bench.branch_head("b102"), None);
    assert_eq!(
        other.change(&bench.name, 103).unwrap().state,
        ChangeState::Closed
    );
}

#[test]
fn a_pack_with_holes_is_refused() {
    let bench = Bench::new();
    let mut new = bench.new_change("b", "deep/new.txt", "new\n");
    // Only the commit, without its trees and files.
    let pack = bench.path("holes.pack");
    let mut child = common::person(&bench.work())
        .args(["pack-objects", "--stdout", "-q"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::fs::File::create(&pack).unwrap())
        .spawn()
        .unwrap();
    std::io::Write::write_all(
        &mut child.stdin.take().unwrap(),
        format!("{}\n", new.commit).as_bytes(),
    )
    .unwrap();
    assert!(child.wait().unwrap().success());
    new.bundle = Some(pack);
    let refused = bench.forge.open_change(&bench.name, &new);
    assert!(
        matches!(
            refused,
            Err(ForgeError::Git(forge::git::GitError::BadPack { .. }))
        ),
        "{refused:?}"
    );
    assert_eq!(bench.branch_head("b"), None);
    bench.fsck();
}

#[test]
fn a_commit_that_does_not_grow_out_of_its_base_is_refused() {
    let bench = Bench::new();
    let mut new = bench.new_change("b", "new.txt", "new\n");
    let tree = git(&bench.work(), &["rev-parse", "HEAD^{tree}"]);
    let orphan = oid(&git(&bench.work(), &["commit-tree", "-m", "orphan", &tree]));
    let commit = std::mem::replace(&mut new.commit, orphan);
    new.bundle = Some(bench.pack(new.base_commit, orphan));
    assert!(matches!(
        bench.forge.open_change(&bench.name, &new),
        Err(ForgeError::Invalid(_))
    ));
    new.commit = new.base_commit;
    assert!(matches!(
        bench.forge.open_change(&bench.name, &new),
        Err(ForgeError::Invalid(_))
    ));
    // Two commits on the base are fine.
    git(
        &bench.work(),
        &["checkout", "-q", "--detach", &commit.to_string()],
    );
    new.commit = bench.commit("second");
    new.bundle = Some(bench.pack(new.base_commit, new.commit));
    bench.forge.open_change(&bench.name, &new).unwrap();
}

#[test]
fn compacting_keeps_everything() {
    let bench = Bench::new();
    for n in 0..5 {
        open(&bench, &format!("b{n}"), &format!("f{n}"), "x");
    }
    bench
        .forge
        .close(&bench.name, 2, true, &bot(), at(3))
        .unwrap();
    bench.forge.compact(&bench.name).unwrap();
    let packs = std::fs::read_dir(bench.bare().join("objects/pack"))
        .unwrap()
        .flatten();
    assert_eq!(
        packs
            .filter(|e| e.path().extension().is_some_and(|e| e == "pack"))
            .count(),
        1
    );
    assert_eq!(bench.forge.diff(&bench.name, 2).unwrap().files.len(), 1);
    assert_eq!(open(&bench, "b9", "f9", "x").number, 6);
    bench.fsck();
}

#[tokio::test]
async fn the_trait_offers_the_same_to_async_code() {
    let bench = Bench::new();
    let forge: Box<dyn forge::Forge> = Box::new(bench.forge.clone());
    let new = bench.new_change("b", "new.txt", "new\n");
    let change = forge.open_change(&bench.name, new).await.unwrap();
    assert_eq!(
        forge
            .find_change(&bench.name, "b")
            .await
            .unwrap()
            .value
            .unwrap(),
        *change
    );
    assert_eq!(
        forge.list_repositories(None).await.unwrap().items[0].name,
        bench.name
    );
    let merged = forge
        .merge(&bench.name, 1, MergeMethod::Squash, alice(), at(2))
        .await
        .unwrap();
    assert_eq!(
        forge.repository(&bench.name).await.unwrap().head,
        Some(merged.commit)
    );
    let missing = forge.change(&bench.name, 7).await.unwrap_err();
    assert!(matches!(missing, ForgeError::NotFound(_)) && !missing.is_retryable());
}
