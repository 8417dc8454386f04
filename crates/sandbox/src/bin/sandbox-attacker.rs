//! Test helper: performs one attack of the catalogue from inside an environment.
//!
//! `sandbox-attacker NAME` exits 0 when the attack succeeded (a bypass), 10 when it was blocked, 20 when
//! it makes no sense on this kernel or machine, 30 when only the host can tell, and 70 when the attack
//! could not be carried out as meant: that is a mistake of this program or its surroundings, never a
//! success of the fence. One line says what was seen.
//!
//! `--control NAME` carries out the harmless part of the same attack where no fence is, which must
//! exit 0: the proof that it would work. `--list` prints the catalogue, one attack a line,
//! separated by tabs: name, number in the catalogue, control, sentence.
//! `--network NAME` attacks the network of an environment that has one.
//! `--craft KIND FILE` writes one of the small programs that tests need beside the tool.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(
    unsafe_code,
    reason = "attacks speak to the kernel directly; nothing of this is in the product"
)]

mod attacker;

fn main() {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    std::process::exit(attacker::main(&arguments));
}
