//! `nightcrew completions SHELL`

use clap::CommandFactory;

use crate::cli::Arguments;
use crate::failure::Failure;
use crate::print;

pub(super) fn execute(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "nightcrew", &mut script);
    print::raw(&String::from_utf8_lossy(&script));
    Ok(0)
}
