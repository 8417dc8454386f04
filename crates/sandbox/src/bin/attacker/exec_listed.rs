//! A script of one's own, read by an interpreter whose scripts are judged: 12 of the catalogue, third
//! part. The interpreter, perl, is listed for these attacks alone.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::context::Context;
use super::kit::{self, run};
use super::outcome::{Attack, Attempt, Stop};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "exec-listed-script",
        12,
        "a listed interpreter reads a script that was written inside",
        |context| run(Command::new(kit::program("perl")?).arg(script(&context.place()?, "s.pl")?)),
    ),
    Attack::new(
        "exec-listed-copied",
        12,
        "a copy of a listed interpreter reads it",
        |context| {
            let place = context.place()?;
            run(Command::new(copy(&place, &kit::program("perl")?)?).arg(script(&place, "s.pl")?))
        },
    ),
    Attack::new(
        "exec-listed-loader",
        12,
        "the dynamic loader starts the interpreter that reads it",
        |context| {
            run(Command::new(kit::loader()?)
                .arg(kit::program("perl")?)
                .arg(script(&context.place()?, "s.pl")?))
        },
    ),
    Attack::new(
        "exec-listed-loader-copied",
        12,
        "a copy of the dynamic loader starts a copy of the interpreter",
        |context| {
            let place = context.place()?;
            run(Command::new(copy(&place, &kit::loader()?)?)
                .arg(copy(&place, &kit::program("perl")?)?)
                .arg(script(&place, "s.pl")?))
        },
    ),
    Attack::new(
        "exec-listed-deep",
        12,
        "the script lies deeper than a path can be long",
        deep,
    ),
];

fn script(place: &Path, name: &str) -> Result<PathBuf, Stop> {
    let path = place.join(name);
    std::fs::write(&path, "print 'NIGHTCREW-' . 'VICTIM-RAN', qq(\\n);\n")?;
    Ok(path)
}

fn copy(place: &Path, program: &Path) -> Result<PathBuf, Stop> {
    let name = program.file_name().unwrap_or_default().as_bytes();
    let to = place.join(format!("copy-{}", String::from_utf8_lossy(name)));
    std::fs::copy(program, &to).map_err(|error| kit::stop(&error, "copying a program"))?;
    Ok(to)
}

fn deep(context: &Context) -> Attempt {
    kit::program("perl")?;
    let words = "n=$(head -c 200 /dev/zero | tr '\\0' n); i=0
        while [ $i -lt 25 ]; do mkdir $n && cd -P $n || exit 1; i=$((i+1)); done
        cat \"$SCRIPT\" >s && perl s";
    let place = context.place()?;
    run(Command::new("sh")
        .args(["-c", words])
        .env("SCRIPT", script(&place, "source")?)
        .current_dir(place))
}
