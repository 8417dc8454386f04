//! The book's page about `devcontainer.json`, made from the table.

use std::fmt::Write as _;

use super::{KEYS, Treatment};

const HEAD: &str = "\
# devcontainer.json

This page is generated from the table in `crates/recipe/src/devcontainer/table.rs`; `UPDATE=1 cargo test -p recipe` \
writes it anew, and a test compares.

A `devcontainer.json` (in `.devcontainer/`, or `.devcontainer.json`) is read as a [recipe](environments.md#recipes). \
Comments and trailing commas are fine. What cannot be had here is refused with the key's name, never left out in \
silence; a value that asks for nothing (`false`, an empty list) is fine. A key that is not in this table is refused, too, since \
it may be a misspelt one.

| key | | |
|---|---|---|
";

const TAIL: &str = "
## Variables

| in values | stands for |
|---|---|
| `${localWorkspaceFolder}`, `${containerWorkspaceFolder}` | where the workspace is inside; the host's path is not told |
| `${localWorkspaceFolderBasename}`, `${containerWorkspaceFolderBasename}` | the last name of that |
| `${devcontainerId}` | a name that stays the same for the repository |
| `${containerEnv:NAME}`, `${containerEnv:NAME:default}` | a variable of `containerEnv`, or of the image (only in `containerEnv` and `remoteEnv`) |
| `${localEnv:NAME}` | refused: the host's environment is never read |

Anything else, such as `${HOME}` in a command, stays as it is.

## Features

A feature is a folder beside the file, named `./NAME`, with `install.sh` and `devcontainer-feature.json`. Its options become variables \
as the format says (`greeting` becomes `GREETING`); an option that the feature does not have is refused. The script runs as a set-up \
command in a copy of its folder, and its result is kept with the environment. Of `devcontainer-feature.json`, `containerEnv`, `mounts`, \
`installsAfter`, `dependsOn` (on other features of the file) and lifecycle commands hold as above; `privileged`, `capAdd`, `securityOpt` \
and `entrypoint` are refused.

## Names of images

An image's name must have its registry's host, unless the configuration names a default registry.
";

/// The whole page, as it stands in `docs/book/devcontainer.md`.
#[must_use]
pub fn book_page() -> String {
    let mut page = HEAD.to_owned();
    for row in KEYS {
        let treatment = match row.treatment {
            Treatment::Supported => "supported",
            Treatment::Ignored => "ignored",
            Treatment::Refused => "**refused**",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| `{}` | {treatment} | {} |", row.key, row.sentence);
    }
    page.push_str(TAIL);
    page
}
