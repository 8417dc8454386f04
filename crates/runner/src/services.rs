//! Programs beside a step: started before it, waited for until they can be used, ended with it.
//!
//! A step ends with everything it started, so services are started by the step itself: a fixed script
//! for `sh`, to which everything that an automation says is handed as arguments. State that must
//! outlast a step belongs into the workspace or the home.

use std::collections::BTreeMap;

use recipe::{Ready, Service};

/// Starts services, waits for each, then becomes the step's program. Arguments: for each service its
/// name, how it is ready, what is looked for, seconds, a number of words and the words of the program,
/// a number of words and the words of a readiness command; then `--` and the step's program.
const SCRIPT: &str = r#"
folder=${TMPDIR:-/tmp}/services
mkdir -p "$folder" || exit 125
slice() {
  want=$1; shift; all=$#; n=0
  while [ "$n" -lt "$want" ]; do word=$1; shift; set -- "$@" "$word"; n=$((n + 1)); done
  shift $((all - want))
  "$@"
}
is_ready() {
  case $kind in
    port) grep -q ":$look 0*:0000 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null ;;
    file) [ -e "$look" ] ;;
    command) slice "$@" >>"$folder/$name.ready" 2>&1 </dev/null ;;
  esac
}
while [ "$1" != -- ]; do
  name=$1; kind=$2; look=$3; seconds=$4; shift 4
  slice "$@" >"$folder/$name.log" 2>&1 </dev/null &
  service=$!
  shift $(($1 + 1))
  end=$(($(date +%s) + seconds))
  until is_ready "$@"; do
    if ! kill -0 "$service" 2>/dev/null; then why='has ended'
    elif [ "$(date +%s)" -ge "$end" ]; then why="was not ready after $seconds s"
    else sleep 0.1; continue; fi
    echo "nightcrew: the service $name $why; the end of what it printed:" >&2
    tail -n 20 "$folder/$name.log" >&2
    exit 125
  done
  shift $(($1 + 1))
done
shift
exec "$@"
"#;

/// The program of a step with its services beside it.
pub(crate) fn beside(services: &[Service], argv: Vec<String>) -> Vec<String> {
    if services.is_empty() {
        return argv;
    }
    let mut all: Vec<String> = ["/bin/sh", "-c", SCRIPT, "sh"].map(str::to_owned).to_vec();
    for service in services {
        let (kind, look, command) = match &service.ready {
            Ready::Port(port) => ("port", format!("{port:04X}"), Vec::new()),
            Ready::File(path) => ("file", path.clone(), Vec::new()),
            Ready::Command(command) => ("command", String::new(), command.argv()),
        };
        let seconds = service.timeout.as_secs().max(1);
        all.extend([service.name.clone(), kind.to_owned(), look]);
        all.push(seconds.to_string());
        words(
            &mut all,
            with_variables(&service.env, service.command.argv()),
        );
        words(&mut all, command);
    }
    all.push("--".to_owned());
    all.extend(argv);
    all
}

fn words(all: &mut Vec<String>, words: Vec<String>) {
    all.push(words.len().to_string());
    all.extend(words);
}

fn with_variables(env: &BTreeMap<String, String>, argv: Vec<String>) -> Vec<String> {
    if env.is_empty() {
        return argv;
    }
    let variables = env.iter().map(|(name, value)| format!("{name}={value}"));
    std::iter::once("env".to_owned())
        .chain(variables)
        .chain(argv)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};
    use std::time::Duration;

    use super::*;

    fn service(name: &str, command: &[&str], ready: Ready, seconds: u64) -> Service {
        Service {
            name: name.to_owned(),
            command: recipe::Command::Program(command.iter().map(|w| (*w).to_owned()).collect()),
            env: BTreeMap::from([("GREETING".to_owned(), "it's \"me\" $HOME".to_owned())]),
            ready,
            timeout: Duration::from_secs(seconds),
        }
    }

    /// Runs a step the way an environment would, but for what ends services with it.
    fn step(services: &[Service], argv: &[&str], folder: &std::path::Path) -> Output {
        let argv = beside(services, argv.iter().map(|w| (*w).to_owned()).collect());
        Command::new(&argv[0])
            .args(&argv[1..])
            .env("TMPDIR", folder)
            .output()
            .unwrap()
    }

    #[test]
    fn the_step_starts_when_its_services_are_ready_and_words_stay_words() {
        let folder = tempfile::tempdir().unwrap();
        let flag = folder.path().join("flag").display().to_string();
        let said = folder.path().join("said").display().to_string();
        let one = service(
            "one",
            &[
                "sh",
                "-c",
                "printf %s \"$GREETING\" > \"$1\"; : > \"$2\"",
                "sh",
                &said,
                &flag,
            ],
            Ready::File(flag.clone()),
            20,
        );
        let check = recipe::Command::Program(vec!["test".into(), "-e".into(), flag]);
        let two = service("two", &["true"], Ready::Command(check), 20);
        let output = step(&[one, two], &["cat", &said], folder.path());
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, b"it's \"me\" $HOME");
    }

    #[test]
    fn a_listening_port_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let there = service("db", &["true"], Ready::Port(port), 5);
        assert!(step(&[there], &["true"], folder.path()).status.success());
    }

    #[test]
    fn a_service_that_ends_before_it_is_ready_fails_the_step_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let dead = service(
            "db",
            &["sh", "-c", "echo no disk; exit 3"],
            Ready::File("/nowhere/at/all".into()),
            20,
        );
        let output = step(&[dead], &["true"], folder.path());
        assert_eq!(output.status.code(), Some(125));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("service db has ended") && said.contains("no disk"),
            "{said}"
        );
    }

    #[test]
    fn without_services_nothing_is_added() {
        assert_eq!(beside(&[], vec!["make".into()]), ["make"]);
    }
}
