//! The actions that workflows use, each pinned to a commit where the commit is known.
//!
//! To update: change the commit and the version beside it, nothing else.

/// An action at a fixed version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) repository: &'static str,
    /// A commit, or a version tag where no commit is recorded yet.
    pub(crate) reference: &'static str,
    /// The version that the commit is; empty when `reference` is the version.
    pub(crate) version: &'static str,
}

const fn action(
    repository: &'static str,
    reference: &'static str,
    version: &'static str,
) -> Action {
    Action {
        repository,
        reference,
        version,
    }
}

pub(crate) const CHECKOUT: Action = action(
    "actions/checkout",
    "08c6903cd8c0fde910a37f88322edcfb5dd907a8",
    "v5.0.0",
);
pub(crate) const CACHE: Action = action(
    "actions/cache",
    "0057852bfaa89a56745cba8c7296529d2fc39830",
    "v4.3.0",
);
pub(crate) const NODE: Action = action(
    "actions/setup-node",
    "a0853c24544627f65ddf259abe73b1d18a591444",
    "v5.0.0",
);
pub(crate) const PYTHON: Action = action(
    "actions/setup-python",
    "e797f83bcb11b83ae66e0230d6156d7c80228e7c",
    "v6.0.0",
);
pub(crate) const GO: Action = action(
    "actions/setup-go",
    "44694675825211faa026b3c33043df3e48a5fa00",
    "v6.0.0",
);
pub(crate) const JAVA: Action = action(
    "actions/setup-java",
    "dded0888837ed1f317902acf8a20df0ad188d165",
    "v5.0.0",
);
pub(crate) const RUBY: Action = action("ruby/setup-ruby", "v1", "");
pub(crate) const PHP: Action = action("shivammathur/setup-php", "v2", "");
pub(crate) const PERL: Action = action("shogo82148/actions-setup-perl", "v1", "");
pub(crate) const R: Action = action("r-lib/actions/setup-r", "v2", "");
pub(crate) const JULIA: Action = action("julia-actions/setup-julia", "v2", "");
pub(crate) const BEAM: Action = action("erlef/setup-beam", "v1", "");
pub(crate) const DART: Action = action("dart-lang/setup-dart", "v1", "");
pub(crate) const HASKELL: Action = action("haskell-actions/setup", "v2", "");
pub(crate) const D: Action = action("dlang-community/setup-dlang", "v2", "");
pub(crate) const CRYSTAL: Action = action("crystal-lang/install-crystal", "v1", "");
pub(crate) const DOTNET: Action = action("actions/setup-dotnet", "v5", "");
