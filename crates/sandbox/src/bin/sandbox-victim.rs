//! Test helper: the tool that a policy denies. Whoever sees its line knows that its bytes were executed.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

fn main() {
    // Put together here, so that the line does not stand in the file and printing the file proves nothing.
    println!(
        "NIGHTCREW-{}-RAN",
        "MITCIV".chars().rev().collect::<String>()
    );
}
