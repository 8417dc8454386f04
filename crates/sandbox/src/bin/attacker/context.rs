//! What an attack is told: the denied files, places to write, host paths to aim at.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::outcome::Stop;

/// What the tool prints.
pub(crate) const MARKER: &str = "NIGHTCREW-VICTIM-RAN";
/// What the harmless program of the same size prints.
pub(crate) const BENIGN: &str = "NIGHTCREW-BENIGN-RAN";

/// A denied file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Denied {
    /// A dynamically linked program, at `TARGET`.
    Tool,
    /// A static program of one segment, at `TARGET_TINY`.
    Tiny,
    /// A shared library that speaks when it is loaded, at `TARGET_SO`.
    Library,
    /// A script for `sh`, at `TARGET_SCRIPT`.
    Script,
    /// Words for `sh` that name no interpreter, at `TARGET_PLAIN`.
    Plain,
}

impl Denied {
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Tool => "TARGET",
            Self::Tiny => "TARGET_TINY",
            Self::Library => "TARGET_SO",
            Self::Script => "TARGET_SCRIPT",
            Self::Plain => "TARGET_PLAIN",
        }
    }
}

/// The surroundings of one attack.
pub(crate) struct Context {
    /// Bytes come from the carriers (`CARRIER_…`), not from the denied files.
    pub(crate) smuggled: bool,
    /// Outside, to prove that it would work.
    pub(crate) control: bool,
    places: RefCell<Vec<PathBuf>>,
}

impl Context {
    pub(crate) fn new(smuggled: bool, control: bool) -> Self {
        Self {
            smuggled,
            control,
            places: RefCell::default(),
        }
    }

    /// A variable that the test must have set.
    pub(crate) fn variable(&self, name: &str) -> Result<String, Stop> {
        std::env::var(name).map_err(|_| Stop::Fault(format!("the variable {name} is not set")))
    }

    pub(crate) fn path(&self, denied: Denied) -> Result<PathBuf, Stop> {
        self.variable(denied.variable()).map(PathBuf::from)
    }

    /// The environment's first process; in a control, a process of the host that stands for it.
    pub(crate) fn first_process(&self) -> Result<String, Stop> {
        if self.control {
            self.variable("HOST_PID")
        } else {
            Ok("1".into())
        }
    }

    /// The tool, where it may be moved.
    pub(crate) fn movable(&self) -> Result<PathBuf, Stop> {
        self.variable("TARGET_WORK").map(PathBuf::from)
    }

    /// A harmless program as large as the tiny one.
    pub(crate) fn benign(&self) -> Result<Vec<u8>, Stop> {
        let path = self.variable("BENIGN")?;
        std::fs::read(&path).map_err(|error| Stop::Fault(format!("{path}: {error}")))
    }

    /// The denied bytes: read from the file, or brought along.
    pub(crate) fn bytes(&self, denied: Denied) -> Result<Vec<u8>, Stop> {
        if self.smuggled {
            return self.carried(denied);
        }
        let path = self.path(denied)?;
        match std::fs::read(&path) {
            Ok(bytes) if bytes.is_empty() => {
                Err(Stop::Blocked("the denied file shows no content".into()))
            }
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(super::kit::stop(&error, "reading the denied file")),
        }
    }

    /// The denied bytes from a file that does not look like them: every bit turned round.
    pub(crate) fn carried(&self, denied: Denied) -> Result<Vec<u8>, Stop> {
        let path = self.variable(&denied.variable().replace("TARGET", "CARRIER"))?;
        let bytes =
            std::fs::read(&path).map_err(|error| Stop::Fault(format!("{path}: {error}")))?;
        Ok(bytes.iter().map(|byte| !byte).collect())
    }

    /// A new folder where programs may be written.
    pub(crate) fn place(&self) -> Result<PathBuf, Stop> {
        let root = std::env::var_os("ATTACK_PLACE").map_or_else(std::env::temp_dir, PathBuf::from);
        self.place_in(&root)
    }

    /// A new folder in this one.
    pub(crate) fn place_in(&self, root: &Path) -> Result<PathBuf, Stop> {
        let number = self.places.borrow().len();
        let place = root.join(format!("attack-{}-{number}", std::process::id()));
        std::fs::create_dir(&place)
            .map_err(|error| Stop::Fault(format!("{}: {error}", place.display())))?;
        self.places.borrow_mut().push(place.clone());
        Ok(place)
    }

    /// An executable file with this content.
    pub(crate) fn program(&self, path: &Path, bytes: &[u8]) -> Result<(), Stop> {
        std::fs::write(path, bytes)
            .map_err(|error| super::kit::stop(&error, "writing a program"))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// A copy of the denied bytes under this name in a new folder.
    pub(crate) fn copy(&self, denied: Denied, name: &str) -> Result<PathBuf, Stop> {
        let path = self.place()?.join(name);
        self.program(&path, &self.bytes(denied)?)?;
        Ok(path)
    }

    /// Removes what the attack left, as far as that goes.
    pub(crate) fn clean(&self) {
        for place in self.places.borrow().iter() {
            let _ = std::fs::remove_dir_all(place);
        }
    }
}
