//! The demo's repositories, as bare git repositories of the local forge.

use forge::RepoName;
use forge::git::Git;
use forge::local::LocalForge;

use crate::data_dir::DataDir;
use crate::embedded::{self, EmbeddedFile};
use crate::failure::{Doing, Failure};

/// Builds the fleet; the names of its repositories.
pub(super) fn build(data_dir: &DataDir) -> Result<Vec<String>, Failure> {
    let forge = open(data_dir)?;
    let mut names = Vec::new();
    for (name, files) in embedded::fleet() {
        let repository: RepoName = name
            .parse()
            .doing(format_args!("name the repository {name}"))?;
        forge
            .create_repository(&repository, "main")
            .doing(format_args!("make the repository {name}"))?;
        let git_dir = forge
            .git_dir(&repository)
            .doing(format_args!("find the repository {name}"))?;
        let stream = commit_stream("Begin", None, &files);
        forge
            .git()
            .at(&git_dir, "fast-import")
            .arg("--quiet")
            .stdin(stream)
            .output()
            .doing(format_args!("fill {name}"))?;
        names.push(name);
    }
    Ok(names)
}

/// Commits files to a repository's default branch, as a push by somebody would.
pub(super) fn push(data_dir: &DataDir, name: &str, files: &[(&str, &[u8])]) -> Result<(), Failure> {
    let forge = open(data_dir)?;
    let repository: RepoName = name
        .parse()
        .doing(format_args!("name the repository {name}"))?;
    let git_dir = forge
        .git_dir(&repository)
        .doing(format_args!("find the repository {name}"))?;
    let files: Vec<EmbeddedFile> = files
        .iter()
        .map(|(path, content)| EmbeddedFile {
            path: (*path).to_owned(),
            content: content.to_vec(),
            executable: false,
        })
        .collect();
    let stream = commit_stream("Change by hand", Some("refs/heads/main"), &files);
    forge
        .git()
        .at(&git_dir, "fast-import")
        .arg("--quiet")
        .stdin(stream)
        .output()
        .doing(format_args!("push to {name}"))?;
    Ok(())
}

fn open(data_dir: &DataDir) -> Result<LocalForge, Failure> {
    let git = Git::find()
        .doing("find git")
        .map_err(|failure| failure.hint("install git 2.38 or newer"))?;
    LocalForge::open(&data_dir.forge(), git).doing("open the local forge")
}

/// One commit as a `git fast-import` stream (git-fast-import(1)).
fn commit_stream(message: &str, from: Option<&str>, files: &[EmbeddedFile]) -> Vec<u8> {
    let seconds = crate::clock::now().as_second();
    let mut stream = Vec::new();
    let mut line = |text: String| stream.extend_from_slice(text.as_bytes());
    line("commit refs/heads/main\n".to_owned());
    line(format!(
        "committer Somebody <somebody@example.org> {seconds} +0000\n"
    ));
    line(format!("data {}\n{message}\n", message.len()));
    if let Some(from) = from {
        line(format!("from {from}^0\n"));
    }
    for file in files {
        let mode = if file.executable { "100755" } else { "100644" };
        stream.extend_from_slice(
            format!(
                "M {mode} inline {}\ndata {}\n",
                file.path,
                file.content.len()
            )
            .as_bytes(),
        );
        stream.extend_from_slice(&file.content);
        stream.push(b'\n');
    }
    stream
}
