//! Programs that start others: 12 of the catalogue, first half; and 13.

use std::fs;
use std::process::Command;

use super::context::{Context, Denied};
use super::kit::{self, run};
use super::outcome::{Attack, Attempt};

macro_rules! starters {
    ($($name:literal $what:literal $words:expr;)*) => {
        &[$(Attack::new($name, 12, $what, |context| by(context, &$words)),)*]
    };
}

const STARTERS: &[Attack] = starters! {
    "exec-by-sh" "sh starts the tool" ["sh", "-c", "$TARGET"];
    "exec-by-sh-exec" "sh replaces itself by the tool" ["sh", "-c", "exec $TARGET"];
    "exec-by-sh-command" "sh starts it with `command`" ["sh", "-c", "command $TARGET"];
    "exec-by-sh-glob" "sh finds it by a pattern" ["sh", "-c", "d=${TARGET%/*}; n=${TARGET##*/}; $d/${n%?}?"];
    "exec-by-sh-eval" "sh starts it from pieces of its name" ["sh", "-c", "a=TAR; eval \"\\$${a}GET\""];
    "exec-by-bash-exec-a" "bash starts it under another name" ["bash", "-c", "exec -a innocent $TARGET"];
    "exec-by-python" "python starts it" ["python3", "-c", "import os; os.execv(os.environ['TARGET'],['x'])"];
    "exec-by-python-subprocess" "python starts it as a child" ["python3", "-c", "import os,subprocess; subprocess.run([os.environ['TARGET']],check=True)"];
    "exec-by-perl" "perl starts it" ["perl", "-e", "exec $ENV{TARGET} or die $!"];
    "exec-by-node" "node starts it" ["node", "--jitless", "-e", "process.stdout.write(require('child_process').execFileSync(process.env.TARGET))"];
    "exec-by-awk" "awk starts it with system()" ["awk", "BEGIN { system(ENVIRON[\"TARGET\"]) }"];
    "exec-by-sed" "sed starts it with its e command" ["sh", "-c", "echo | sed \"s|.*|$TARGET|e\""];
    "exec-by-find" "find starts it with -exec" ["sh", "-c", "find / -maxdepth 0 -exec $TARGET ';'"];
    "exec-by-xargs" "xargs starts it" ["sh", "-c", "echo x | xargs $TARGET"];
    "exec-by-env" "env starts it" ["sh", "-c", "env A=b $TARGET"];
    "exec-by-nice" "nice, nohup and timeout start it" ["sh", "-c", "nice nohup timeout 9 $TARGET"];
    "exec-by-setsid" "setsid starts it" ["sh", "-c", "setsid -w $TARGET"];
    "exec-by-busybox" "an applet of busybox starts it" ["busybox", "sh", "-c", "$TARGET"];
    "exec-by-git-alias" "an alias of git starts it" ["sh", "-c", "git -c alias.x=\"!$TARGET\" x"];
    "exec-by-git-diff" "the diff program of git is it" ["sh", "-c", "git -c diff.external=$TARGET diff --no-index /etc/hostname /etc/passwd"];
    "exec-by-git-editor" "the editor of git is it" ["sh", "-c", "d=$(mktemp -d) && cd $d && git init -q . && GIT_EDITOR=\"$TARGET\" git config --file x --edit"];
    "exec-by-git-ssh" "the transport of git is it" ["sh", "-c", "GIT_SSH_COMMAND=\"$TARGET >&2; echo\" git ls-remote ssh://x/y 2>&1"];
    "exec-by-make" "make starts it" ["sh", "-c", "printf 'all:\\n\\t@%s\\n' $TARGET | make -f -"];
    "exec-by-tar" "tar starts it at a checkpoint" ["sh", "-c", "tar -cf /dev/null --checkpoint=1 --checkpoint-action=exec=$TARGET /etc/hostname"];
    "exec-by-split" "split starts it as its filter" ["sh", "-c", "echo x | split --filter=$TARGET -"];
    "exec-by-vim" "vim starts it" ["sh", "-c", "vim -es -c \"!$TARGET\" -c q </dev/null"];
    "exec-by-gdb" "gdb starts it" ["sh", "-c", "gdb -q -batch -ex \"shell $TARGET\""];
    "exec-by-script" "script starts it on a terminal" ["sh", "-c", "script -qec $TARGET /dev/null"];
    "exec-by-ld-so-sh" "the dynamic loader starts a shell that starts it" ["sh", "-c", "$(ls /lib64/ld-linux-x86-64.so.2) /bin/sh -c $TARGET"];
};

const SHEBANGS: &[Attack] = &[
    Attack::new(
        "exec-shebang",
        13,
        "a script names the tool as its interpreter",
        |context| shebang(context, &context.path(Denied::Tool)?.display().to_string()),
    ),
    Attack::new(
        "exec-shebang-copied",
        13,
        "a script names a copy of the tool as its interpreter",
        |context| {
            shebang(
                context,
                &context
                    .copy(Denied::Tool, "interpreter")?
                    .display()
                    .to_string(),
            )
        },
    )
    .carried(),
    Attack::new(
        "exec-shebang-env",
        13,
        "a script names env with the tool",
        |context| {
            shebang(
                context,
                &format!("/usr/bin/env -S {}", context.path(Denied::Tool)?.display()),
            )
        },
    ),
    Attack::new(
        "exec-shebang-ldso",
        13,
        "a script names the dynamic loader with the tool",
        |context| {
            shebang(
                context,
                &format!(
                    "{} {}",
                    kit::loader()?.display(),
                    context.path(Denied::Tool)?.display()
                ),
            )
        },
    ),
    Attack::new(
        "exec-shebang-nested",
        13,
        "a script names a script that names the tool",
        nested,
    ),
];

/// Both halves, in order.
pub(crate) const ATTACKS: &[Attack] = &{
    let mut all = [STARTERS[0]; STARTERS.len() + SHEBANGS.len()];
    let mut index = 0;
    while index < all.len() {
        all[index] = if index < STARTERS.len() {
            STARTERS[index]
        } else {
            SHEBANGS[index - STARTERS.len()]
        };
        index += 1;
    }
    all
};

fn by(context: &Context, words: &[&str]) -> Attempt {
    context.path(Denied::Tool)?;
    let (first, rest) = words.split_first().unwrap_or((&"", &[]));
    kit::program(first)?;
    // What the shell starts must be there too, or a missing program would look like a refusal.
    if *first == "sh" {
        for word in [
            "sed", "find", "xargs", "git", "make", "tar", "split", "vim", "gdb", "script", "setsid",
        ] {
            if rest[1].split(['|', ' ', ';']).any(|part| part == word) {
                kit::program(word)?;
            }
        }
    }
    run(Command::new(first)
        .args(rest)
        .env("HOME", std::env::temp_dir()))
}

fn shebang(context: &Context, interpreter: &str) -> Attempt {
    let path = context.place()?.join("script");
    context.program(&path, format!("#!{interpreter}\n").as_bytes())?;
    run(&mut Command::new(path))
}

fn nested(context: &Context) -> Attempt {
    let place = context.place()?;
    let (inner, outer) = (place.join("inner"), place.join("outer"));
    fs::write(&inner, "")?;
    context.program(
        &inner,
        format!("#!{}\n", context.path(Denied::Tool)?.display()).as_bytes(),
    )?;
    context.program(&outer, format!("#!{}\n", inner.display()).as_bytes())?;
    run(&mut Command::new(outer))
}
