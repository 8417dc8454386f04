//! What tests of the storage share: a storage, a base, and environments over disks.

use std::fs;
use std::path::PathBuf;

use sandbox::Environment;
use sandbox::storage::{
    Backend, Bases, Disk, Expected, ImportLimits, Origin, Snapshot, Storage, StorageError,
};

use super::{World, sh};

const FILES: &[(&str, &str)] = &[
    ("f0", "base"),
    ("f1", "base"),
    ("d0/f0", "base"),
    ("d0/d1/f0", "base"),
    ("d0/d1/f1", "base"),
    ("d1/d0/f2", "base"),
    ("d2/f1", "base"),
];

/// A storage, a base, and an environment over a disk when asked for.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) storage: Storage,
    pub(crate) folder: PathBuf,
    pub(crate) base: PathBuf,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let storage = Storage::open(&world.place.join("storage")).unwrap();
        Self::over(world, storage)
    }

    /// Whatever the file system offers, frozen layers are stacked.
    pub(crate) fn stacked() -> Self {
        let world = World::new();
        let folder = world.place.join("storage");
        let storage = Storage::open_with(&folder, Backend::Stack).unwrap();
        Self::over(world, storage)
    }

    pub(crate) fn over(world: World, storage: Storage) -> Self {
        let base = world.base(FILES);
        Self {
            folder: world.place.join("storage"),
            world,
            storage,
            base,
        }
    }

    pub(crate) fn disk(&self, name: &str) -> Disk {
        self.storage.create_disk(name, origin()).unwrap()
    }

    pub(crate) fn environment(&self, disk: &Disk) -> Environment {
        let mut spec = self.world.spec(disk.name(), None);
        disk.insert_into(&mut spec, self.bases());
        let outputs = self.world.place.join("out");
        fs::create_dir_all(&outputs).unwrap();
        spec.outputs = Some(outputs);
        self.world.supervisor.create(&spec).expect("an environment")
    }

    pub(crate) fn bases(&self) -> Bases<'_> {
        Bases {
            workspace: Some(&self.base),
            home: None,
        }
    }

    pub(crate) fn step(&self, disk: &Disk, script: &str) -> String {
        let environment = self.environment(disk);
        let out = sh(&environment, script).ok();
        environment.destroy().unwrap();
        out
    }

    pub(crate) fn export(&self, snapshot: &Snapshot) -> (Vec<u8>, [u8; 32]) {
        let mut file = Vec::new();
        let digest = self
            .storage
            .export(snapshot, self.bases(), &mut file)
            .unwrap();
        (file, digest)
    }
}

pub(crate) fn origin() -> Origin {
    Origin {
        recipe: Some("recipe".to_owned()),
        base: Some("commit".to_owned()),
        home: None,
    }
}

pub(crate) fn import(storage: &Storage, file: &[u8]) -> Result<Snapshot, StorageError> {
    storage.import(&mut &*file, &Expected::default(), &ImportLimits::default())
}
