//! Test helper: the smallest program that can serve as a supervisor.

fn main() {
    sandbox::supervisor::run_if_requested();
}
