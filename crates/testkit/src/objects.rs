//! Writes git objects without git: one deflated file each, so that a fleet of hundreds takes a second.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha1::{Digest as _, Sha1};

/// A file of a tree.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) content: Vec<u8>,
    pub(crate) executable: bool,
}

/// Files by path; folders are made of the paths.
pub(crate) type Files = BTreeMap<String, File>;

type Name = [u8; 20];

/// A bare repository with one commit of these files on `main`.
pub(crate) fn write_repository(repository: &Path, files: &Files, message: &str) -> io::Result<()> {
    for folder in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
        std::fs::create_dir_all(repository.join(folder))?;
    }
    let tree = write_tree(repository, files)?;
    // A fixed time: the same fleet has the same commits everywhere.
    let author = "Fleet Builder <fleet@example.org> 1700000000 +0000";
    let commit = format!(
        "tree {}\nauthor {author}\ncommitter {author}\n\n{message}\n",
        hex::encode(tree)
    );
    let commit = write_object(repository, "commit", commit.as_bytes())?;
    std::fs::write(
        repository.join("refs/heads/main"),
        format!("{}\n", hex::encode(commit)),
    )?;
    std::fs::write(
        repository.join("config"),
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n",
    )?;
    std::fs::write(repository.join("HEAD"), "ref: refs/heads/main\n")
}

fn write_tree(repository: &Path, files: &Files) -> io::Result<Name> {
    let mut folders: BTreeMap<&str, Files> = BTreeMap::new();
    // Git sorts a folder as if its name ended in a slash.
    let mut entries: BTreeMap<String, (&str, &str, Name)> = BTreeMap::new();
    for (path, file) in files {
        if let Some((folder, rest)) = path.split_once('/') {
            folders
                .entry(folder)
                .or_default()
                .insert(rest.to_owned(), file.clone());
        } else {
            let mode = if file.executable { "100755" } else { "100644" };
            let name = write_object(repository, "blob", &file.content)?;
            entries.insert(path.clone(), (mode, path, name));
        }
    }
    for (folder, below) in &folders {
        entries.insert(
            format!("{folder}/"),
            ("40000", folder, write_tree(repository, below)?),
        );
    }
    let mut content = Vec::new();
    for (mode, path, name) in entries.values() {
        content.extend_from_slice(format!("{mode} {path}\0").as_bytes());
        content.extend_from_slice(name);
    }
    write_object(repository, "tree", &content)
}

fn write_object(repository: &Path, kind: &str, content: &[u8]) -> io::Result<Name> {
    let header = format!("{kind} {}\0", content.len());
    let mut digest = Sha1::new();
    digest.update(header.as_bytes());
    digest.update(content);
    let name: Name = digest.finalize().into();
    let text = hex::encode(name);
    let folder = repository.join("objects").join(&text[..2]);
    std::fs::create_dir_all(&folder)?;
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(header.as_bytes())?;
    packed.write_all(content)?;
    std::fs::write(folder.join(&text[2..]), packed.finish()?)?;
    Ok(name)
}
