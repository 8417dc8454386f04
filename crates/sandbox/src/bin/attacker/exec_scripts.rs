//! A denied script, read by its interpreter instead of executed: 12 of the catalogue, second half.

use std::process::Command;

use super::context::{Context, Denied};
use super::kit::{self, run};
use super::outcome::{Attack, Attempt, Stop};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "exec-script-direct",
        12,
        "run the denied script by its path",
        |context| run(&mut Command::new(context.path(Denied::Script)?)),
    ),
    Attack::new(
        "exec-script-copied",
        12,
        "run a copy of the denied script",
        |context| run(&mut Command::new(context.copy(Denied::Script, "copied")?)),
    )
    .carried(),
    Attack::new(
        "exec-script-sh",
        12,
        "sh reads the denied script",
        |context| run(Command::new("sh").arg(context.path(Denied::Script)?)),
    ),
    Attack::new(
        "exec-script-sh-copy",
        12,
        "sh reads a copy of the denied script",
        |context| run(Command::new("sh").arg(context.copy(Denied::Script, "notes.txt")?)),
    )
    .carried(),
    Attack::new(
        "exec-script-sh-plain",
        12,
        "sh reads denied words that name no interpreter",
        |context| run(Command::new("sh").arg(context.path(Denied::Plain)?)),
    ),
    Attack::new(
        "exec-script-sh-plain-copy",
        12,
        "sh reads a copy of denied words that name no interpreter",
        |context| run(Command::new("sh").arg(context.copy(Denied::Plain, "notes.txt")?)),
    )
    .carried(),
    Attack::new(
        "exec-script-proc-root",
        12,
        "sh reads the denied script through /proc/self/root",
        |context| {
            run(Command::new("sh").arg(format!(
                "/proc/self/root{}",
                context.path(Denied::Script)?.display()
            )))
        },
    ),
    Attack::new(
        "exec-script-dot",
        12,
        "sh includes the denied script",
        |context| words(context, "sh", ". \"$FILE\""),
    ),
    Attack::new(
        "exec-script-source",
        12,
        "bash includes the denied script",
        |context| words(context, "bash", "source \"$FILE\""),
    ),
    Attack::new(
        "exec-script-redirect",
        12,
        "sh reads the denied script as its input",
        |context| words(context, "sh", "sh <\"$FILE\""),
    ),
    Attack::new(
        "exec-script-eval",
        12,
        "sh evaluates the words of the denied script",
        |context| words(context, "sh", "eval \"$(cat \"$FILE\")\""),
    ),
    Attack::new(
        "exec-script-pipe",
        12,
        "the words of the script reach sh through a pipe",
        pipe,
    )
    .carried(),
    Attack::new(
        "exec-script-argument",
        12,
        "the words of the script reach sh as an argument",
        argument,
    )
    .carried(),
    Attack::new(
        "exec-script-git-hook",
        12,
        "git starts a copy of the script as a hook",
        hook,
    )
    .carried(),
    Attack::new(
        "exec-script-python-copy",
        12,
        "python reads the script and hands it to a shell",
        |context| {
            run(Command::new(kit::program("python3")?).args(["-c", "import subprocess,sys; subprocess.run(open(sys.argv[1]).read(),shell=True,check=True)"]).arg(context.path(Denied::Script)?))
        },
    ),
];

fn words(context: &Context, shell: &str, script: &str) -> Attempt {
    let shell = kit::program(shell)?;
    run(Command::new(shell)
        .args(["-c", script])
        .env("FILE", context.path(Denied::Script)?))
}

fn pipe(context: &Context) -> Attempt {
    let bytes = context.bytes(Denied::Script)?;
    kit::judge(&kit::said_with(&mut Command::new("sh"), &bytes)?)
}

fn argument(context: &Context) -> Attempt {
    let text = String::from_utf8(context.bytes(Denied::Script)?)
        .map_err(|error| Stop::Fault(error.to_string()))?;
    run(Command::new("sh").args(["-c", &text]))
}

fn hook(context: &Context) -> Attempt {
    let git = kit::program("git")?;
    let place = context.place()?;
    let bytes = context.bytes(Denied::Script)?;
    let hooks = place.join("hooks");
    std::fs::create_dir(&hooks)?;
    context.program(&hooks.join("pre-commit"), &bytes)?;
    let script = r#""$GIT" init -q . && "$GIT" -c user.name=a -c user.email=a@b -c core.hooksPath=hooks commit -q --allow-empty -m x 2>&1"#;
    run(Command::new("sh")
        .args(["-c", script])
        .env("GIT", git)
        .env("HOME", &place)
        .current_dir(&place))
}
