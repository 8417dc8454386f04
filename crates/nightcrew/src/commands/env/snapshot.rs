//! `nightcrew env snapshot|fork|export|import`: keep a state, begin many from one, take it elsewhere.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use sandbox::storage::{Expected, ImportLimits, Snapshot};
use serde_json::json;

use super::create;
use crate::clock;
use crate::config::Config;
use crate::failure::{Doing, Failure};
use crate::keeper::home::{Home, Homes, Standing};
use crate::keeper::process;
use crate::keeper::snapshot::Kept;
use crate::keeper::spec::Spec;
use crate::print;

/// `env snapshot NAME [--as NAME]`.
pub(super) fn snapshot(homes: &Homes, name: &str, wanted: Option<&str>) -> Result<u8, Failure> {
    let home = homes.get(name)?;
    let called = match wanted {
        Some(called) => {
            homes.check_free(called)?;
            called.to_owned()
        }
        None => free_name(homes, name)?,
    };
    let spec = home.spec()?;
    let taken = freeze(homes, &home)?;
    let kept = Kept {
        id: taken.id().clone(),
        at: clock::now(),
        spec,
    };
    homes.name_snapshot(&called, &kept)?;
    if print::is_json() {
        print::json(&json!({"snapshot": called, "of": name, "layers": taken.depth()}));
    } else {
        print::line(format!("{}  keeps what {name} holds", print::bold(&called)));
        print::hint(&format!("nightcrew env fork {called}"));
    }
    Ok(0)
}

fn free_name(homes: &Homes, name: &str) -> Result<String, Failure> {
    for number in 1..=u32::MAX {
        let called = format!("{name}-{number}");
        if homes.check_free(&called).is_ok() {
            return Ok(called);
        }
    }
    Err(Failure::new("there is no name left for a snapshot"))
}

/// Takes a snapshot of an environment that nothing runs in; it is made again at once over the same
/// disk, which costs less than any copy.
fn freeze(homes: &Homes, home: &Home) -> Result<Snapshot, Failure> {
    let standing = home.standing();
    match &standing {
        Standing::Ready(status) if status.busy => {
            return Err(Failure::new(format!(
                "a program runs in the environment `{}`",
                home.name()
            ))
            .hint("a state while something writes would be half of it: wait for its end"));
        }
        Standing::Changing => {
            return Err(Failure::new(format!(
                "the environment `{}` is being made or removed",
                home.name()
            )));
        }
        Standing::Ready(_) => home.end()?,
        Standing::Dead => {}
    }
    let frozen = homes
        .storage()
        .disk(home.name())
        .and_then(|mut disk| homes.storage().freeze(&mut disk))
        .doing(format_args!("freeze the environment `{}`", home.name()));
    if matches!(standing, Standing::Ready(_)) {
        process::start(home)?;
    }
    frozen
}

/// `env fork NAME|SNAPSHOT [--count N] [--name NAME]`.
pub(super) fn fork(
    homes: &Homes,
    from: &str,
    count: u32,
    name: Option<&str>,
) -> Result<u8, Failure> {
    let (snapshot, spec, temporary) = match homes.snapshot(from)? {
        Some(kept) => (homes.stored(&kept)?, kept.spec, false),
        None => {
            let home = homes.get(from)?;
            let spec = home.spec()?;
            (freeze(homes, &home)?, spec, true)
        }
    };
    let mut made = Vec::new();
    let mut failed = None;
    for number in 1..=count {
        let called = match name {
            Some(name) if count == 1 => Some(name.to_owned()),
            Some(name) => Some(format!("{name}-{number}")),
            None => None,
        };
        match begin(homes, called.as_deref(), &snapshot, &spec, from) {
            Ok(home) => made.push(home),
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    if temporary {
        // The disks stand on its layers themselves.
        homes
            .storage()
            .remove_snapshot(snapshot.id())
            .doing("let go of the state they began from")?;
    }
    let names: Vec<&str> = made.iter().map(Home::name).collect();
    if print::is_json() {
        print::json(&json!({"from": from, "made": names}));
    } else {
        for name in &names {
            print::line(format!("{}  begins as {from}", print::bold(name)));
        }
    }
    failed.map_or(Ok(0), Err)
}

/// Makes an environment over a snapshot.
fn begin(
    homes: &Homes,
    name: Option<&str>,
    snapshot: &Snapshot,
    spec: &Spec,
    from: &str,
) -> Result<Home, Failure> {
    let home = homes.create(name)?;
    let make = || {
        homes
            .storage()
            .fork(snapshot, home.name())
            .doing("fork the snapshot")?;
        let spec = Spec {
            created_at: clock::now(),
            from: Some(from.to_owned()),
            ..spec.clone()
        };
        home.write_spec(&spec)?;
        process::start(&home)
    };
    match make() {
        Ok(_) => Ok(home),
        Err(failure) => {
            let _ = homes.remove(home.name());
            Err(failure)
        }
    }
}

/// `env export SNAPSHOT FILE`.
pub(super) fn export(homes: &Homes, name: &str, file: &Path) -> Result<u8, Failure> {
    let Some(kept) = homes.snapshot(name)? else {
        return Err(Failure::new(format!("there is no snapshot `{name}`"))
            .hint("`nightcrew env snapshot NAME` takes one of an environment"));
    };
    let snapshot = homes.stored(&kept)?;
    let doing = || format!("write {}", file.display());
    let half = file.with_extension("half");
    let bar = print::spinner(&doing());
    let written = File::create(&half).doing(doing()).and_then(|created| {
        let mut to = BufWriter::new(created);
        let digest = homes
            .storage()
            .export(&snapshot, kept.spec.bases(), &mut to)
            .doing(doing())?;
        to.flush().doing(doing())?;
        std::fs::rename(&half, file).doing(doing())?;
        Ok(digest)
    });
    bar.finish_and_clear();
    let digest = written.inspect_err(|_| {
        let _ = std::fs::remove_file(&half);
    })?;
    let digest = hex::encode(digest);
    if print::is_json() {
        print::json(&json!({"snapshot": name, "file": file, "sha256": digest}));
    } else {
        print::line(format!("{}  sha256:{digest}", file.display()));
    }
    Ok(0)
}

/// `env import FILE [--as NAME] [--workspace DIR]`.
pub(super) fn import(
    config: &Config,
    homes: &Homes,
    file: &Path,
    name: Option<&str>,
    workspace: Option<&Path>,
) -> Result<u8, Failure> {
    let called = match name {
        Some(name) => {
            homes.check_free(name)?;
            name.to_owned()
        }
        None => free_name(homes, "imported")?,
    };
    let doing = || format!("read {}", file.display());
    let bar = print::spinner(&doing());
    let opened = File::open(file).doing(doing());
    let imported = opened.and_then(|opened| {
        homes
            .storage()
            .import(
                &mut BufReader::new(opened),
                &Expected::default(),
                &ImportLimits::default(),
            )
            .doing(doing())
    });
    bar.finish_and_clear();
    let snapshot = imported?;
    let _bases = homes.hold_bases()?;
    let named = finish_import(config, homes, &snapshot, workspace).and_then(|spec| {
        let kept = Kept {
            id: snapshot.id().clone(),
            at: clock::now(),
            spec,
        };
        homes.name_snapshot(&called, &kept)
    });
    if let Err(failure) = named {
        let _ = homes.storage().remove_snapshot(snapshot.id());
        return Err(failure);
    }
    if print::is_json() {
        print::json(&json!({"snapshot": called, "file": file}));
    } else {
        print::line(format!("{}  is here", print::bold(&called)));
        print::hint(&format!("nightcrew env fork {called}"));
    }
    Ok(0)
}

/// What environments made from an imported snapshot are asked to be: this host's root, the
/// configuration's fence, and the workspace it stands on.
fn finish_import(
    config: &Config,
    homes: &Homes,
    snapshot: &Snapshot,
    workspace: Option<&Path>,
) -> Result<Spec, Failure> {
    let base: Option<PathBuf> = match (&snapshot.origin().base, workspace) {
        (Some(_), Some(folder)) => Some(create::base(homes, &create::folder(folder)?)?),
        (Some(base), None) => {
            return Err(Failure::usage(format!(
                "the snapshot stands on a workspace, which was {base}"
            ))
            .hint("give the same folder here: --workspace DIR"));
        }
        (None, _) => None,
    };
    Ok(Spec {
        base,
        workspace: workspace.map(Path::to_owned),
        ..create::plain(config)
    })
}
