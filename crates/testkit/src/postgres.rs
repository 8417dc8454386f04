//! A throw-away PostgreSQL: a server for the life of the test process, a database for each test.
//!
//! Where `NIGHTCREW_TEST_POSTGRES` holds the URL of a server on which databases may be created,
//! that one is used. Otherwise a cluster is made in a temporary folder, as an ordinary user
//! because `initdb` refuses root, and reached by a socket in that folder. A shell guards it: when
//! the test process ends, however it ends, the shell stops the server and removes the folder.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// URL of a server to use instead of a throw-away one.
const SERVER: &str = "NIGHTCREW_TEST_POSTGRES";

/// What a throw-away cluster is made and run with.
const PROGRAMS: &[&str] = &["initdb", "pg_ctl", "postgres"];

/// Arguments: folder of the PostgreSQL programs. Ends when its input does.
const GUARD: &str = r#"
trap '' INT HUP TERM
folder=$(mktemp -d "${TMPDIR:-/tmp}/nightcrew-postgres.XXXXXX") || exit 1
cd "$folder" || exit 1
stop() { "$1/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1; cd /; rm -rf "$folder"; }
if "$1/initdb" -D "$folder/data" -U nightcrew -A trust -E UTF8 --locale=C --no-sync >"$folder/log" 2>&1 &&
   "$1/pg_ctl" -D "$folder/data" -w -l "$folder/log" \
       -o "-k '$folder' -c listen_addresses='' -c max_connections=300" start >/dev/null 2>&1
then
    echo "ready $folder"
    cat >/dev/null
    stop "$1"
else
    tail -n 5 "$folder/log" >&2
    stop "$1"
    exit 1
fi
"#;

/// Why there is no PostgreSQL to test with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PostgresError {
    /// The programs are not installed.
    #[error("{0} is not installed (on Debian: apt-get install postgresql)")]
    NotInstalled(&'static str),
    /// The cluster could not be made or started.
    #[error("the throw-away cluster did not start: {0}")]
    NotStarted(String),
    /// A statement failed.
    #[error("`{statement}` failed: {cause}")]
    Refused {
        /// The statement.
        statement: String,
        /// What psql said.
        cause: String,
    },
}

/// A server that databases can be created on.
#[derive(Debug)]
pub struct Server {
    /// URL without a database, ending in `/`.
    base: String,
    /// Database to connect to for creating others.
    first: String,
    psql: PathBuf,
    /// Ends when this end of its input is closed, with this process at the latest.
    _guard: Option<Child>,
}

/// A database of one test; dropped with this value.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
    server: &'static Server,
}

impl Database {
    /// Its URL, such as `postgres://USER@HOST/NAME`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server of our own goes away as a whole; on another one nothing may stay.
        if self.server._guard.is_none() {
            let _ = self.server.run(&format!(
                "DROP DATABASE IF EXISTS {} WITH (FORCE)",
                self.name
            ));
        }
    }
}

/// A new, empty database; `None` after a line that begins with `SKIP` where there is no server.
///
/// # Panics
/// When there is none although `NIGHTCREW_REQUIRE_ALL` is `1`.
#[must_use]
#[expect(
    clippy::print_stdout,
    reason = "a test that is left out says so in the output of the tests"
)]
pub fn database_or_skip() -> Option<Database> {
    match database() {
        Ok(database) => Some(database),
        Err(error)
            if std::env::var_os("NIGHTCREW_REQUIRE_ALL").is_some_and(|value| value == "1") =>
        {
            panic!("no PostgreSQL: {error}")
        }
        Err(error) => {
            println!("SKIP no PostgreSQL: {error}");
            None
        }
    }
}

/// A new, empty database on the server of this process.
///
/// # Errors
/// Why there is no server, or why it refused to make a database.
pub fn database() -> Result<Database, PostgresError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = server()?;
    let name = format!(
        "test_{}_{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    server.run(&format!("CREATE DATABASE {name}"))?;
    Ok(Database {
        url: format!("{}{name}", server.base),
        name,
        server,
    })
}

/// The server of this process, started when it is first asked for.
///
/// # Errors
/// Why there is none.
pub fn server() -> Result<&'static Server, PostgresError> {
    static SERVER_OF_THIS_PROCESS: OnceLock<Result<Server, PostgresError>> = OnceLock::new();
    let server = SERVER_OF_THIS_PROCESS.get_or_init(|| match std::env::var(SERVER) {
        Ok(url) if !url.is_empty() => Server::given(&url),
        _ => Server::start(),
    });
    server.as_ref().map_err(PostgresError::clone)
}

/// Whether the programs are there that [`server`] needs.
#[must_use]
pub fn is_installed() -> bool {
    let given = std::env::var_os(SERVER).is_some_and(|url| !url.is_empty());
    folder_of(&["psql"]).is_ok() && (given || folder_of(PROGRAMS).is_ok())
}

impl Server {
    fn given(url: &str) -> Result<Self, PostgresError> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
        let (host, first) = rest.split_once('/').unwrap_or((rest, "postgres"));
        let first = if first.is_empty() { "postgres" } else { first };
        let psql = folder_of(&["psql"])?.join("psql");
        Ok(Self {
            base: format!("{scheme}://{host}/"),
            first: first.to_owned(),
            psql,
            _guard: None,
        })
    }

    fn start() -> Result<Self, PostgresError> {
        let programs = folder_of(PROGRAMS)?;
        let psql = folder_of(&["psql"])?.join("psql");
        let failed = |cause: std::io::Error| PostgresError::NotStarted(cause.to_string());
        let mut guard = as_ordinary_user()
            .args(["sh", "-c", GUARD, "guard"])
            .arg(&programs)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(output) = guard.stdout.take() {
            BufReader::new(output)
                .read_line(&mut line)
                .map_err(failed)?;
        }
        let Some(folder) = line.trim_end().strip_prefix("ready ") else {
            let mut cause = String::new();
            if let Some(mut complaints) = guard.stderr.take() {
                complaints.read_to_string(&mut cause).map_err(failed)?;
            }
            return Err(PostgresError::NotStarted(cause.trim().to_owned()));
        };
        let base = format!("postgres://nightcrew@{}/", folder.replace('/', "%2F"));
        Ok(Self {
            base,
            first: "postgres".to_owned(),
            psql,
            _guard: Some(guard),
        })
    }

    /// Executes one statement.
    fn run(&self, statement: &str) -> Result<(), PostgresError> {
        let refused = |cause: String| PostgresError::Refused {
            statement: statement.to_owned(),
            cause,
        };
        let output = Command::new(&self.psql)
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement])
            .arg(format!("{}{}", self.base, self.first))
            .stdin(Stdio::null())
            .output()
            .map_err(|cause| refused(cause.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(refused(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ))
    }
}

/// The folder that holds all these programs: on the path, or the newest version that Debian installed.
fn folder_of(programs: &[&'static str]) -> Result<PathBuf, PostgresError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.path().join("bin"))
                .collect()
        })
        .unwrap_or_default();
    versions.sort_by_key(|folder| std::cmp::Reverse(version_of(folder)));
    folders.extend(versions);
    let holds_all = |folder: &PathBuf| {
        programs
            .iter()
            .all(|program| folder.join(program).is_file())
    };
    folders
        .into_iter()
        .find(holds_all)
        .ok_or(PostgresError::NotInstalled(programs[0]))
}

fn version_of(bin: &Path) -> u32 {
    let version = bin
        .parent()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str());
    version.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A command line that runs what follows it as somebody other than root.
fn as_ordinary_user() -> Command {
    if !is_root() {
        return Command::new("env");
    }
    let user = if user_exists("postgres") {
        "postgres"
    } else {
        "nobody"
    };
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", user, "--regid"])
        .arg(group_of(user))
        .arg("--clear-groups");
    command.arg("--");
    command.current_dir("/").env_remove("TMPDIR");
    command
}

fn is_root() -> bool {
    // The owner of this directory is the effective user; reading it needs no further crate.
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

fn passwd_line(user: &str) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users
        .lines()
        .find(|line| line.split(':').next() == Some(user))
        .map(str::to_owned)
}

fn user_exists(user: &str) -> bool {
    passwd_line(user).is_some()
}

fn group_of(user: &str) -> String {
    let line = passwd_line(user).unwrap_or_default();
    line.split(':').nth(3).unwrap_or("65534").to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn databases_are_separate_and_reachable() {
        let Some(first) = super::database_or_skip() else {
            return;
        };
        let Some(second) = super::database_or_skip() else {
            return;
        };
        assert_ne!(first.url(), second.url());
        let server = super::server().unwrap();
        server.run("SELECT 1").unwrap();
        assert!(server.run("SELECT no_such_column").is_err());
    }
}
