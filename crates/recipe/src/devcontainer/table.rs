//! Every key of the format, and what becomes of it.

use Treatment::{Ignored, Refused, Supported};

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It becomes a part of the recipe.
    Supported,
    /// It makes no difference to what runs here; a note says so.
    Ignored,
    /// A file that has it is refused, with the sentence of its row. A value that asks for nothing
    /// (`false`, an empty list) is fine.
    Refused,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// With dots where it stands in another.
    pub key: &'static str,
    /// What becomes of it.
    pub treatment: Treatment,
    /// Why, or how. A sentence without its subject.
    pub sentence: &'static str,
    /// Members of a file that has it, for the test of this row.
    pub example: &'static str,
}

const fn row(
    key: &'static str,
    treatment: Treatment,
    sentence: &'static str,
    example: &'static str,
) -> Row {
    Row {
        key,
        treatment,
        sentence,
        example,
    }
}

/// All keys of the published schema, in its order, then older ones that files still have.
pub const KEYS: &[Row] = &[
    row(
        "$schema",
        Ignored,
        "is for editors",
        r#""$schema": "https://schema.example/x.json""#,
    ),
    row(
        "name",
        Ignored,
        "is shown by other tools only",
        r#""name": "x""#,
    ),
    row(
        "features",
        Supported,
        "adds the scripts of folders beside the file (`./NAME` with `install.sh`) to the set-up, with their options as variables; features in registries or archives, and those that bring a container engine, are refused by name",
        r#""features": {"./hello": {"greeting": "hi"}}"#,
    ),
    row(
        "overrideFeatureInstallOrder",
        Supported,
        "orders the features",
        r#""features": {"./hello": {}, "./other": {}}, "overrideFeatureInstallOrder": ["./other"]"#,
    ),
    row(
        "secrets",
        Ignored,
        "only recommends; no secret is ever inside an environment",
        r#""secrets": {"KEY": {"description": "x"}}"#,
    ),
    row(
        "forwardPorts",
        Ignored,
        "forwards nothing; commands reach ports on the environment's own loopback",
        r#""forwardPorts": [3000, "db:5432"]"#,
    ),
    row(
        "portsAttributes",
        Ignored,
        "is about forwarded ports",
        r#""portsAttributes": {"3000": {"label": "x"}}"#,
    ),
    row(
        "otherPortsAttributes",
        Ignored,
        "is about forwarded ports",
        r#""otherPortsAttributes": {"onAutoForward": "silent"}"#,
    ),
    row(
        "updateRemoteUserUID",
        Ignored,
        "is always so: files of the workspace belong to the one user inside",
        r#""updateRemoteUserUID": false"#,
    ),
    row(
        "containerEnv",
        Supported,
        "sets variables of all commands",
        r#""containerEnv": {"A": "b"}"#,
    ),
    row(
        "containerUser",
        Ignored,
        "makes no difference: see `remoteUser`",
        r#""containerUser": "dev""#,
    ),
    row(
        "mounts",
        Supported,
        "makes caches of volumes; mounts of the host's files are refused by name",
        r#""mounts": ["source=cache,target=/var/cache/x,type=volume"]"#,
    ),
    row(
        "init",
        Ignored,
        "is always so: a process of ours takes care of orphans",
        r#""init": true"#,
    ),
    row(
        "privileged",
        Refused,
        "asks for privileges, which nothing in an environment has",
        r#""privileged": true"#,
    ),
    row(
        "capAdd",
        Refused,
        "asks for capabilities, which nothing in an environment has",
        r#""capAdd": ["SYS_PTRACE"]"#,
    ),
    row(
        "securityOpt",
        Refused,
        "loosens the fence, which a repository must not",
        r#""securityOpt": ["seccomp=unconfined"]"#,
    ),
    row(
        "remoteEnv",
        Supported,
        "sets variables of all commands, over `containerEnv`; `null` removes one of them",
        r#""remoteEnv": {"A": "c"}"#,
    ),
    row(
        "remoteUser",
        Ignored,
        "makes no difference: everything runs as the environment's one user, called `root` inside and nobody outside, whose home is `/home/agent`; scripts of features are told so in `_REMOTE_USER`",
        r#""remoteUser": "dev""#,
    ),
    row(
        "initializeCommand",
        Refused,
        "would run on the host",
        r#""initializeCommand": "true""#,
    ),
    row(
        "onCreateCommand",
        Supported,
        "runs in every new workspace, first: in a task before its first step, of `nightcrew env` when the environment is made; it reaches what the environment does",
        r#""onCreateCommand": "make deps""#,
    ),
    row(
        "updateContentCommand",
        Supported,
        "runs in every new workspace, second",
        r#""updateContentCommand": ["make", "deps"]"#,
    ),
    row(
        "postCreateCommand",
        Supported,
        "runs in every new workspace, third",
        r#""postCreateCommand": {"a": "make a", "b": ["make", "b"]}"#,
    ),
    row(
        "postStartCommand",
        Supported,
        "runs at every start of the environment; in a task before its first step, and again when it goes on after it waited",
        r#""postStartCommand": "true""#,
    ),
    row(
        "postAttachCommand",
        Supported,
        "runs at every start, after `postStartCommand`",
        r#""postAttachCommand": "true""#,
    ),
    row(
        "waitFor",
        Ignored,
        "makes no difference: steps wait for all commands",
        r#""waitFor": "postCreateCommand""#,
    ),
    row(
        "userEnvProbe",
        Ignored,
        "makes no difference: no variables are taken from shells' start files",
        r#""userEnvProbe": "none""#,
    ),
    row(
        "hostRequirements",
        Ignored,
        "is the runner's to decide: its limits hold",
        r#""hostRequirements": {"cpus": 4}"#,
    ),
    row(
        "hostRequirements.cpus",
        Ignored,
        "is the runner's to decide",
        r#""hostRequirements": {"cpus": 4}"#,
    ),
    row(
        "hostRequirements.memory",
        Ignored,
        "is the runner's to decide",
        r#""hostRequirements": {"memory": "8gb"}"#,
    ),
    row(
        "hostRequirements.storage",
        Ignored,
        "is the runner's to decide",
        r#""hostRequirements": {"storage": "8gb"}"#,
    ),
    row(
        "hostRequirements.gpu",
        Refused,
        "asks for a GPU, which no environment has; `\"optional\"` is fine",
        r#""hostRequirements": {"gpu": true}"#,
    ),
    row(
        "customizations",
        Ignored,
        "is for other tools",
        r#""customizations": {"vscode": {"extensions": ["x.y"]}}"#,
    ),
    row(
        "additionalProperties",
        Ignored,
        "is a slip of the schema and means nothing",
        r#""additionalProperties": {}"#,
    ),
    row(
        "appPort",
        Ignored,
        "publishes nothing",
        r#""appPort": [3000]"#,
    ),
    row(
        "runArgs",
        Refused,
        "is for a Docker engine, and none runs here; write what is meant as another key",
        r#""runArgs": ["--network=host"]"#,
    ),
    row(
        "shutdownAction",
        Ignored,
        "makes no difference: environments end with their task",
        r#""shutdownAction": "none""#,
    ),
    row(
        "overrideCommand",
        Ignored,
        "makes no difference: the image's own command never runs",
        r#""overrideCommand": false"#,
    ),
    row(
        "workspaceFolder",
        Supported,
        "is where the workspace appears, beside `/work`, and where commands begin; below `/work`, at `/tmp`, `/etc` or the home, in `/run`, `/proc`, `/sys`, `/dev`, `/nightcrew`, and in any home but `/home/agent` it is refused, since these are the environment's own",
        r#""workspaceFolder": "/srv/x""#,
    ),
    row(
        "workspaceMount",
        Supported,
        "says where the workspace appears, beside `/work`; its source must be `${localWorkspaceFolder}`, anything else of the host is refused",
        r#""workspaceFolder": "/srv/x/sub", "workspaceMount": "source=${localWorkspaceFolder},target=/srv/x,type=bind""#,
    ),
    row(
        "build",
        Refused,
        "wants a Dockerfile built, and there is no Docker engine here; build it elsewhere and name the result in `image`",
        r#""build": {"dockerfile": "Dockerfile"}"#,
    ),
    row(
        "build.dockerfile",
        Refused,
        "see `build`",
        r#""build": {"dockerfile": "Dockerfile"}"#,
    ),
    row(
        "build.context",
        Refused,
        "see `build`",
        r#""build": {"dockerfile": "Dockerfile", "context": ".."}"#,
    ),
    row(
        "build.target",
        Refused,
        "see `build`",
        r#""build": {"target": "dev"}"#,
    ),
    row(
        "build.args",
        Refused,
        "see `build`",
        r#""build": {"args": {"A": "b"}}"#,
    ),
    row(
        "build.cacheFrom",
        Refused,
        "see `build`",
        r#""build": {"cacheFrom": "x"}"#,
    ),
    row(
        "build.options",
        Refused,
        "see `build`",
        r#""build": {"options": ["--pull"]}"#,
    ),
    row(
        "dockerFile",
        Refused,
        "wants a Dockerfile built, and there is no Docker engine here; build it elsewhere and name the result in `image`",
        r#""dockerFile": "Dockerfile""#,
    ),
    row(
        "context",
        Refused,
        "is about building a Dockerfile; see `dockerFile`",
        r#""context": "..""#,
    ),
    row(
        "image",
        Supported,
        "is the root",
        r#""image": "registry.example/dev:1""#,
    ),
    row(
        "dockerComposeFile",
        Refused,
        "wants Docker Compose, which does not run here; write the services as `services` of a recipe",
        r#""dockerComposeFile": "compose.yml""#,
    ),
    row(
        "service",
        Refused,
        "is about Docker Compose; see `dockerComposeFile`",
        r#""service": "app""#,
    ),
    row(
        "runServices",
        Refused,
        "is about Docker Compose; see `dockerComposeFile`",
        r#""runServices": ["db"]"#,
    ),
    row(
        "extensions",
        Ignored,
        "is an older name of a part of `customizations`",
        r#""extensions": ["x.y"]"#,
    ),
    row(
        "settings",
        Ignored,
        "is an older name of a part of `customizations`",
        r#""settings": {"a": 1}"#,
    ),
    row(
        "devPort",
        Ignored,
        "is for one editor",
        r#""devPort": 1234"#,
    ),
];

/// The row of a key.
pub(super) fn row_of(key: &str) -> Option<&'static Row> {
    KEYS.iter().find(|row| row.key == key)
}
