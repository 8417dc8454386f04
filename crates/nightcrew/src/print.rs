//! Standard output is for data, standard error for people. Colour only on a terminal.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::cli::Global;

static JSON: OnceLock<bool> = OnceLock::new();
static QUIET: OnceLock<bool> = OnceLock::new();

/// Takes over what was said on the command line, and starts the log.
pub(crate) fn set_up(global: &Global) {
    let _ = JSON.set(global.json);
    let _ = QUIET.set(global.quiet);
    let filter = tracing_subscriber::EnvFilter::try_from_env("NIGHTCREW_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // It would say so on standard error, and panic where that cannot be written either: a thread
        // that warns of a full disk must not die of its warning.
        .log_internal_errors(false)
        .try_init();
}

/// Whether machines read the answer.
pub(crate) fn is_json() -> bool {
    JSON.get().copied().unwrap_or(false)
}

/// A line of data.
pub(crate) fn line(text: impl AsRef<str>) {
    anstream::println!("{}", text.as_ref());
}

/// Text of data as it is.
pub(crate) fn raw(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    // A closed pipe is the reader's choice.
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// A value for machines.
pub(crate) fn json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => line(text),
        Err(error) => {
            crate::print::error(&format!("the answer cannot be written as JSON: {error}"));
        }
    }
}

/// A remark for people.
pub(crate) fn note(text: impl AsRef<str>) {
    if !QUIET.get().copied().unwrap_or(false) {
        anstream::eprintln!("{}", text.as_ref());
    }
}

/// Something to be wary of.
pub(crate) fn warning(text: &str) {
    let style = style(AnsiColor::Yellow).bold();
    anstream::eprintln!("{style}warning{style:#}: {text}");
}

/// Shows that something takes its time, where somebody looks on; to be cleared afterwards.
pub(crate) fn spinner(text: &str) -> ProgressBar {
    let silent = is_json() || QUIET.get().copied().unwrap_or(false);
    let target = match silent {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let bar = ProgressBar::with_draw_target(None, target).with_message(text.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// What went wrong.
pub(crate) fn error(text: &str) {
    let style = style(AnsiColor::Red).bold();
    anstream::eprintln!("{style}error{style:#}: {text}");
}

/// What can be done about it.
pub(crate) fn hint(text: &str) {
    let style = style(AnsiColor::Cyan);
    anstream::eprintln!("{style}hint{style:#}: {text}");
}

/// A style of one colour.
pub(crate) fn style(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(colour.into()))
}

/// Text in bold.
pub(crate) fn bold(text: &str) -> String {
    let style = Style::new().bold();
    format!("{style}{text}{style:#}")
}

/// Text that matters less.
pub(crate) fn dim(text: &str) -> String {
    let style = Style::new().dimmed();
    format!("{style}{text}{style:#}")
}

/// A task's status in its colour, with its mark, so that colour is never alone.
pub(crate) fn status(name: &str) -> String {
    let (mark, colour) = match name {
        "merged" => ("✔", AnsiColor::Green),
        "in_review" | "submitted" => ("◆", AnsiColor::Blue),
        "no_change" => ("–", AnsiColor::Green),
        "failed" | "unverified" => ("✘", AnsiColor::Red),
        "rejected" | "superseded" | "cancelled" => ("⊘", AnsiColor::Magenta),
        "waiting" => ("…", AnsiColor::Yellow),
        _ => ("▶", AnsiColor::Cyan),
    };
    let style = style(colour);
    format!("{style}{mark} {name}{style:#}")
}
