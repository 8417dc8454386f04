//! Steps on a terminal of the environment's own.

mod common;

use std::fs::File;
use std::io::{Read, Write};

use common::{World, quiet, sh};
use sandbox::{Environment, ExitStatus, Running, TerminalSize};

const SIZE: TerminalSize = TerminalSize {
    rows: 31,
    columns: 97,
};

fn start(environment: &Environment, script: &str) -> Running {
    let mut step = quiet(script);
    step.terminal = Some(SIZE);
    environment.exec(step).expect("a step")
}

fn steering(running: &Running) -> File {
    let terminal = running.terminal().expect("a terminal");
    File::from(terminal.try_clone().expect("another descriptor"))
}

/// Reads until `mark` was printed.
fn until(file: &mut File, mark: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains(mark) {
        let length = file.read(&mut buffer).expect("it goes on");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    text
}

/// Reads to the end, which a terminal says with an error.
fn rest(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let error = file.read_to_end(&mut bytes).expect_err("its end");
    assert_eq!(error.raw_os_error(), Some(5), "EIO");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_step_has_a_terminal_of_the_wanted_size_that_the_host_does_not_have() {
    let world = World::new();
    let environment = world.empty("terminal");
    let running = start(
        &environment,
        "tty; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all; echo $TERM; echo >/dev/tty here",
    );
    let printed = rest(&mut steering(&running));
    assert_eq!(
        printed,
        "/dev/pts/0\r\n31 97\r\nall\r\nxterm-256color\r\nhere\r\n"
    );
    assert_eq!(running.wait().unwrap().status, ExitStatus::Code(0));
    drop(running);
    // The next one gets the same number again: the instance is the environment's own.
    let running = start(&environment, "tty; ls /dev/pts");
    assert_eq!(rest(&mut steering(&running)), "/dev/pts/0\r\n0  ptmx\r\n");
}

#[test]
fn what_is_typed_arrives_and_control_c_interrupts() {
    let world = World::new();
    let environment = world.empty("typed");
    let running = start(
        &environment,
        "trap 'echo interrupted; exit 7' INT; read line; echo \"got $line\"; while :; do :; done",
    );
    let mut terminal = steering(&running);
    terminal.write_all(b"hello\n").unwrap();
    until(&mut terminal, "got hello");
    terminal.write_all(b"\x03").unwrap();
    until(&mut terminal, "interrupted");
    assert_eq!(running.wait().unwrap().status, ExitStatus::Code(7));
}

#[test]
fn programs_are_told_of_a_new_size() {
    let world = World::new();
    let environment = world.empty("resized");
    let running = start(
        &environment,
        "trap 'stty size; exit 0' WINCH; echo ready; while :; do :; done",
    );
    let mut terminal = steering(&running);
    until(&mut terminal, "ready");
    let size = TerminalSize {
        rows: 50,
        columns: 120,
    };
    running.terminal().unwrap().resize(size).unwrap();
    until(&mut terminal, "50 120");
    assert_eq!(running.wait().unwrap().status, ExitStatus::Code(0));
}

#[test]
fn ordinary_steps_have_no_terminal_to_reach() {
    let world = World::new();
    let environment = world.empty("none");
    let ran = sh(
        &environment,
        "tty; (echo x >/dev/tty) 2>&1; ls -d /dev/pts/* /dev/console /dev/tty1 2>/dev/null",
    );
    assert!(ran.out.starts_with("not a tty\n"), "{ran:?}");
    assert!(ran.out.contains("cannot create /dev/tty"), "{ran:?}");
    assert!(ran.out.ends_with("/dev/pts/ptmx\n"), "{ran:?}");
}

#[test]
fn words_cannot_be_put_into_a_terminal() {
    let world = World::new();
    let environment = world.empty("inject");
    // TIOCSTI, TIOCSETD, TIOCLINUX.
    let script = "perl -e 'for (0x5412, 0x5423, 0x541C) { my $x = qq(x\\0\\0\\0); \
                  printf q(%s.), ioctl(STDIN, $_, $x) ? q(done) : 0+$! }'; echo; read -t 0 line; echo end";
    let running = start(&environment, script);
    let printed = rest(&mut steering(&running));
    assert!(printed.starts_with("1.1.1."), "{printed}");
}

#[test]
fn what_runs_on_a_terminal_ends_with_its_step_and_a_step_that_fails_to_start_is_told() {
    let world = World::new();
    let environment = world.empty("ends");
    let running = start(&environment, "echo started; sleep 87201");
    let mut terminal = steering(&running);
    until(&mut terminal, "started");
    running.kill().unwrap();
    assert_eq!(running.wait().unwrap().status, ExitStatus::Signal(9));
    rest(&mut terminal);
    assert_eq!(common::processes("sleep 87201"), Vec::<String>::new());
    let mut step = quiet("");
    step.argv = vec!["no-such-program".to_owned()];
    step.terminal = Some(SIZE);
    let running = environment.exec(step).unwrap();
    assert!(rest(&mut steering(&running)).contains("program not found"));
    assert_eq!(running.wait().unwrap().status, ExitStatus::Code(127));
    // Steps without one go on as before.
    assert_eq!(sh(&environment, "echo plain").ok(), "plain\n");
}

#[test]
fn an_ordinary_user_has_terminals_too() {
    common::again_as_an_ordinary_user("", &["a_step", "what_is", "programs_are", "words"]);
}
