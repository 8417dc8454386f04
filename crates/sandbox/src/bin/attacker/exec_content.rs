//! Other bytes for the same work, and bytes in disguise: 11 and 14 of the catalogue.

use std::fs;
use std::process::Command;

use super::context::{Context, Denied, MARKER};
use super::elf;
use super::kit::{self, run};
use super::outcome::{Attack, Attempt, Stop};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack::new(
        "exec-padded",
        11,
        "a copy that is one byte longer",
        |context| changed(context, |bytes| bytes.push(0)),
    )
    .carried(),
    Attack::new(
        "exec-one-bit",
        11,
        "a copy with one bit changed where nothing reads it",
        |context| changed(context, |bytes| bytes[9] ^= 1),
    )
    .carried(),
    Attack::new(
        "exec-stripped",
        11,
        "a copy without its section table",
        |context| changed(context, |bytes| strip(bytes)),
    )
    .carried(),
    Attack::new(
        "exec-recompiled",
        11,
        "an equivalent program made anew inside",
        recompiled,
    ),
    Attack::new(
        "exec-compiled",
        11,
        "an equivalent program compiled inside from source",
        compiled,
    ),
    Attack::new(
        "exec-padded-ldso",
        11,
        "the dynamic loader runs a copy that is one byte longer",
        padded_loader,
    )
    .carried(),
    Attack::new(
        "exec-smuggled-base64",
        14,
        "a script with the bytes in base64 writes and runs them",
        |context| decoded(context, "base64 -d"),
    ),
    Attack::new(
        "exec-smuggled-python",
        14,
        "python decodes the bytes, writes and runs them",
        |context| {
            decoded(
                context,
                "python3 -c 'import base64,sys; sys.stdout.buffer.write(base64.b64decode(sys.stdin.read()))'",
            )
        },
    ),
    Attack::new(
        "exec-smuggled-perl",
        14,
        "perl decodes the bytes, writes and runs them",
        |context| {
            decoded(
                context,
                "perl -MMIME::Base64 -0777 -ne 'print decode_base64($_)'",
            )
        },
    ),
    Attack::new(
        "exec-smuggled-awk",
        14,
        "awk turns numbers into the bytes, and they are run",
        octal,
    ),
    Attack::new(
        "exec-smuggled-gzip",
        14,
        "a compressed file brings the bytes",
        |context| {
            unpacked(
                context,
                "gzip -c in >packed.gz && rm in && gzip -dc packed.gz >tool && chmod +x tool && ./tool",
            )
        },
    ),
    Attack::new(
        "exec-smuggled-tar",
        14,
        "an archive brings the bytes",
        |context| {
            unpacked(
                context,
                "tar -cf packed.tar in && rm in && tar -xf packed.tar && mv in tool && ./tool",
            )
        },
    ),
    Attack::new(
        "exec-smuggled-git",
        14,
        "a git object brings the bytes",
        |context| {
            unpacked(
                context,
                "git init -q . && git -c core.fsync=none hash-object -w --stdin <in >id && rm in && git cat-file blob $(cat id) >tool && chmod +x tool && ./tool",
            )
        },
    ),
    Attack::new(
        "exec-smuggled-halves",
        14,
        "dd assembles the bytes from two halves",
        |context| {
            unpacked(
                context,
                "dd if=in of=one bs=4096 count=1 status=none && dd if=in of=two bs=4096 skip=1 status=none && rm in && cat one two >tool && chmod +x tool && ./tool",
            )
        },
    ),
    Attack::new(
        "exec-smuggled-ldso",
        14,
        "the dynamic loader runs bytes from base64",
        |context| {
            let script = format!("base64 -d >data && {} ./data", kit::loader()?.display());
            shell(
                context,
                &script,
                base64(&context.carried(Denied::Tool)?).as_bytes(),
            )
        },
    ),
];

fn changed(context: &Context, change: impl Fn(&mut Vec<u8>)) -> Attempt {
    let mut bytes = context.bytes(Denied::Tool)?;
    change(&mut bytes);
    let path = context.place()?.join("tool");
    context.program(&path, &bytes)?;
    run(&mut Command::new(path))
}

/// Forgets the section table, which nothing needs to run a program.
fn strip(bytes: &mut [u8]) {
    bytes[40..48].fill(0);
    bytes[58..64].fill(0);
}

fn recompiled(context: &Context) -> Attempt {
    if !cfg!(target_arch = "x86_64") {
        return Err(Stop::NotApplicable(
            "the small program is for x86-64".into(),
        ));
    }
    let path = context.place()?.join("tool");
    context.program(&path, &elf::tiny(MARKER, true))?;
    run(&mut Command::new(path))
}

fn compiled(context: &Context) -> Attempt {
    let compiler = kit::program("cc")?;
    let place = context.place()?;
    let source = r#"#include <stdio.h>
int main(void) { puts("NIGHTCREW-" "VICTIM" "-RAN"); return 0; }"#;
    fs::write(place.join("tool.c"), source)?;
    let made = kit::said(
        Command::new(compiler)
            .args(["-o", "tool", "tool.c"])
            .current_dir(&place),
    )?;
    if !made.status.success() {
        return kit::judge(&made);
    }
    run(&mut Command::new(place.join("tool")))
}

fn padded_loader(context: &Context) -> Attempt {
    let mut bytes = context.bytes(Denied::Tool)?;
    bytes.push(0);
    let path = context.place()?.join("data");
    fs::write(&path, bytes)?;
    run(Command::new(kit::loader()?).arg(path))
}

/// Runs a script for `sh` in a new folder, with this on its standard input.
fn shell(context: &Context, script: &str, input: &[u8]) -> Attempt {
    let place = context.place()?;
    kit::judge(&kit::said_with(
        Command::new("sh").args(["-c", script]).current_dir(place),
        input,
    )?)
}

fn decoded(context: &Context, decoder: &str) -> Attempt {
    kit::program(decoder.split(' ').next().unwrap_or_default())?;
    let script = format!("{decoder} >tool && chmod +x tool && ./tool");
    shell(
        context,
        &script,
        base64(&context.carried(Denied::Tool)?).as_bytes(),
    )
}

fn octal(context: &Context) -> Attempt {
    // awk writes bytes only where characters are bytes.
    let script = r#"LC_ALL=C awk '{ printf "%c", $1 + 0 }' >tool; chmod +x tool; ./tool"#;
    let numbers: Vec<String> = context
        .carried(Denied::Tiny)?
        .iter()
        .map(u8::to_string)
        .collect();
    // A zero byte is beyond some awks: such a file is no program, and this attack not possible here.
    let probe = kit::said(
        Command::new("awk")
            .args([r#"BEGIN { printf "%c", 0 }"#])
            .env("LC_ALL", "C"),
    )?;
    if probe.out.len() != 1 {
        return Err(Stop::NotApplicable("this awk writes no zero bytes".into()));
    }
    shell(context, script, numbers.join("\n").as_bytes())
}

fn unpacked(context: &Context, script: &str) -> Attempt {
    let tool = script.split(' ').next().unwrap_or_default();
    kit::program(tool)?;
    shell(
        context,
        &format!("cat >in && chmod +x in && {script}"),
        &context.carried(Denied::Tool)?,
    )
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word = (u32::from(three[0]) << 16)
            | (u32::from(*three.get(1).unwrap_or(&0)) << 8)
            | u32::from(*three.get(2).unwrap_or(&0));
        for place in 0..4 {
            if place <= three.len() {
                text.push(char::from(
                    LETTERS[(word >> (18 - 6 * place)) as usize & 63],
                ));
            } else {
                text.push('=');
            }
        }
        if text.len() % 77 == 76 {
            text.push('\n');
        }
    }
    text
}
