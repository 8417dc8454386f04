//! Environments on disk: `environments/NAME/` in the data directory.
//!
//! `control/` is for this user only and holds the socket, the lock that a living keeper holds, its
//! log, and what the environment was asked to be. Beside them, `.storage` is what environments wrote
//! and snapshots of it, `.bases` copies of workspaces, `.roots` images and set-ups, `.snapshots` the
//! names of snapshots.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use sandbox::storage::Storage;

use super::channel::Channel;
use super::message::{Answer, Request, Status};
use super::spec::Spec;
use crate::data_dir::DataDir;
use crate::failure::{Doing, Failure};

/// All environments of a data directory.
#[derive(Debug, Clone)]
pub(crate) struct Homes {
    root: PathBuf,
    storage: Storage,
}

/// The folder of one environment.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    name: String,
    folder: PathBuf,
}

/// How an environment stands.
#[derive(Debug)]
pub(crate) enum Standing {
    /// A keeper answers.
    Ready(Box<Status>),
    /// A keeper is there and does not answer yet, or not any more.
    Changing,
    /// No keeper: it was stopped, killed, or the machine was started anew. What it wrote is there.
    Dead,
}

impl Standing {
    /// The word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Ready(status) if status.busy => "busy",
            Self::Ready(_) => "ready",
            Self::Changing => "changing",
            Self::Dead => "dead",
        }
    }
}

/// A name as people and file systems bear it.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    let begins = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if begins && name.len() <= 60 && name.bytes().all(good) {
        return Ok(());
    }
    let text = format!("`{}` is no name for an environment", name.escape_debug());
    Err(Failure::usage(text).hint(
        "lower case letters, digits, `-`, `_` and `.`, at most 60, beginning with a letter or digit",
    ))
}

impl Homes {
    /// The environments of this data directory.
    pub(crate) fn open(data_dir: &DataDir) -> Result<Self, Failure> {
        let root = data_dir.root().join("environments");
        fs::create_dir_all(&root).doing(format_args!("make {}", root.display()))?;
        for private in [".snapshots", ".bases"] {
            let path = root.join(private);
            fs::create_dir_all(&path).doing(format_args!("make {}", path.display()))?;
        }
        let storage = Storage::open(&root.join(".storage")).doing("open what environments keep")?;
        Ok(Self { root, storage })
    }

    /// What environments keep.
    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Where unpacked images and finished set-ups are.
    pub(crate) fn roots(&self) -> runner::root::Roots {
        runner::root::Roots::at(self.root.join(".roots"))
    }

    /// A place for a copy of a workspace, which lives as long as somebody stands on it.
    pub(crate) fn new_base(&self) -> Result<PathBuf, Failure> {
        let mut bytes = [0; 12];
        getrandom::fill(&mut bytes)
            .map_err(|error| Failure::new(format!("there are no random bytes: {error}")))?;
        Ok(self.root.join(".bases").join(hex::encode(bytes)))
    }

    /// Removes an environment or a snapshot with everything that only it stood on.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Failure> {
        if let Some(kept) = self.snapshot(name)? {
            self.forget_snapshot(name, &kept)?;
        } else {
            let home = self.get(name)?;
            if home.control().is_dir() {
                home.end()?;
            }
            if let Ok(disk) = self.storage.disk(name) {
                self.storage
                    .remove_disk(&disk)
                    .doing(format_args!("remove what the environment `{name}` wrote"))?;
            }
            sandbox::remove_layer(&home.folder)
                .doing(format_args!("remove the environment `{name}`"))?;
        }
        self.sweep()
    }

    /// Removes bases that nothing stands on any more.
    fn sweep(&self) -> Result<(), Failure> {
        let mut used: Vec<PathBuf> = Vec::new();
        for home in self.list()? {
            match home.spec() {
                Ok(spec) => used.extend(spec.base),
                // One that is being made, or cannot be read: nothing is removed under it.
                Err(_) => return Ok(()),
            }
        }
        used.extend(
            self.snapshots()?
                .into_iter()
                .filter_map(|(_, kept)| kept.spec.base),
        );
        let folder = self.root.join(".bases");
        for entry in fs::read_dir(&folder).doing("list bases")?.flatten() {
            if !used.contains(&entry.path()) {
                sandbox::remove_layer(&entry.path()).doing("remove a base")?;
            }
        }
        Ok(())
    }

    /// Every environment, by name.
    pub(crate) fn list(&self) -> Result<Vec<Home>, Failure> {
        let mut all = Vec::new();
        let entries = fs::read_dir(&self.root).doing("list the environments")?;
        for entry in entries {
            let entry = entry.doing("list the environments")?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && check_name(&name).is_ok() {
                all.push(self.at(&name));
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The environment of this name.
    pub(crate) fn get(&self, name: &str) -> Result<Home, Failure> {
        check_name(name)?;
        let home = self.at(name);
        if home.folder.is_dir() {
            return Ok(home);
        }
        Err(Failure::new(format!("there is no environment `{name}`"))
            .hint("`nightcrew env list` lists them; `nightcrew env create --name NAME` makes one"))
    }

    /// A folder for a new environment; a free name is found when none is given.
    pub(crate) fn create(&self, name: Option<&str>) -> Result<Home, Failure> {
        if let Some(name) = name {
            check_name(name)?;
            if self.snapshot(name)?.is_some() {
                return Err(
                    Failure::new(format!("there is a snapshot `{name}` already"))
                        .hint("choose another --name"),
                );
            }
            let home = self.at(name);
            return match home.make() {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::new(
                    format!("there is an environment `{name}` already"),
                )
                .hint(format!(
                    "choose another --name, or remove it: nightcrew env rm {name}"
                ))),
                made => made
                    .map(|()| home)
                    .doing(format_args!("make the environment `{name}`")),
            };
        }
        for number in 1..=u32::MAX {
            let home = self.at(&format!("env-{number}"));
            match home.make() {
                Ok(()) => return Ok(home),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).doing("make an environment's folder"),
            }
        }
        Err(Failure::new("there is no name left for an environment"))
    }

    /// The folder of all environments.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, name: &str) -> Home {
        Home {
            name: name.to_owned(),
            folder: self.root.join(name),
        }
    }
}

impl Home {
    /// The home in a folder, as a keeper is told it.
    pub(crate) fn of_folder(folder: PathBuf) -> Option<Self> {
        let name = folder.file_name()?.to_str()?.to_owned();
        check_name(&name).ok()?;
        Some(Self { name, folder })
    }

    fn make(&self) -> io::Result<()> {
        fs::create_dir(&self.folder)?;
        DirBuilder::new().mode(0o700).create(self.control())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn control(&self) -> PathBuf {
        self.folder.join("control")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.control().join("socket")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.control().join("log")
    }

    /// Where what environments keep is: beside all homes.
    pub(super) fn storage(&self) -> PathBuf {
        let root = self.folder.parent().unwrap_or(&self.folder);
        root.join(".storage")
    }

    fn spec_file(&self) -> PathBuf {
        self.control().join("spec.json")
    }

    /// What it was asked to be.
    pub(crate) fn spec(&self) -> Result<Spec, Failure> {
        let path = self.spec_file();
        let text = fs::read_to_string(&path).doing(format_args!("read {}", path.display()))?;
        serde_json::from_str(&text)
            .doing(format_args!("understand {}", path.display()))
            .map_err(|failure| {
                failure.hint(format!(
                    "it is damaged, or of another version: nightcrew env rm {}",
                    self.name
                ))
            })
    }

    /// Writes down what it is asked to be. The file appears when it is whole.
    pub(crate) fn write_spec(&self, spec: &Spec) -> Result<(), Failure> {
        let path = self.spec_file();
        let half = path.with_extension("half");
        let text = serde_json::to_string_pretty(spec).doing("describe the environment")?;
        fs::write(&half, text)
            .and_then(|()| fs::rename(&half, &path))
            .doing(format_args!("write {}", path.display()))
    }

    /// Takes the lock that a keeper holds for its life; `None` when one lives.
    pub(crate) fn lock(&self) -> io::Result<Option<File>> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(self.control().join("lock"))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until no keeper lives.
    fn wait_for_the_end(&self) -> io::Result<File> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(self.control().join("lock"))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    /// Talks to its keeper; `None` when nobody listens.
    pub(crate) fn connect(&self) -> Option<Channel> {
        Channel::connect(&self.socket()).ok()
    }

    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        if let Some(channel) = self.connect()
            && let Ok(Answer::Status(status)) = ask(&channel, &Request::Status)
        {
            return Standing::Ready(status);
        }
        match self.lock() {
            Ok(Some(_)) => Standing::Dead,
            _ => Standing::Changing,
        }
    }

    /// Talks to its keeper, or says how to get one.
    pub(crate) fn reach(&self) -> Result<Channel, Failure> {
        self.connect().ok_or_else(|| {
            Failure::new(format!(
                "the environment `{}` is not running; what it wrote is kept",
                self.name
            ))
            .hint(format!(
                "make it again from its layer: nightcrew env resume {}",
                self.name
            ))
        })
    }

    /// Ends its keeper, if one lives, and everything in the environment.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        if let Some(channel) = self.connect() {
            // One that dies meanwhile has ended as well: the lock tells.
            let _ = ask(&channel, &Request::End);
        }
        self.wait_for_the_end().map(drop).doing(format_args!(
            "wait for the end of the environment `{}`",
            self.name
        ))
    }

    /// The end of what its keeper had to say, for failures without a word.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let last: Vec<&str> = text.lines().rev().take(5).collect();
        let last: Vec<String> = last
            .into_iter()
            .rev()
            .map(|line| crate::table::clean(line, 300))
            .collect();
        last.join("; ")
    }
}

/// One question, one answer.
pub(crate) fn ask(channel: &Channel, request: &Request) -> Result<Answer, Failure> {
    channel
        .send(request, &[])
        .doing("ask the environment's keeper")?;
    match channel.receive().doing("hear the environment's keeper")? {
        Some((answer, _)) => Ok(answer),
        None => Err(Failure::new("the environment's keeper hung up")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn homes(folder: &Path) -> Homes {
        Homes::open(&DataDir::open(folder.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn names_that_leave_the_folder_or_mean_something_else_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "A",
            "-x",
            "ä",
            "a\nb",
            &"x".repeat(61),
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["a", "env-1", "my.env_2"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_taken_name_is_refused_and_a_free_one_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let homes = homes(folder.path());
        assert_eq!(homes.create(None).unwrap().name(), "env-1");
        assert_eq!(homes.create(None).unwrap().name(), "env-2");
        assert!(homes.create(Some("env-1")).is_err());
        assert_eq!(homes.list().unwrap().len(), 2);
    }

    #[test]
    fn without_a_keeper_an_environment_is_dead_and_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let homes = homes(folder.path());
        let home = homes.create(Some("a")).unwrap();
        assert!(matches!(home.standing(), Standing::Dead));
        let lock = home.lock().unwrap();
        assert!(matches!(home.standing(), Standing::Changing));
        drop(lock);
        homes.remove("a").unwrap();
        assert!(homes.get("a").is_err());
    }
}
