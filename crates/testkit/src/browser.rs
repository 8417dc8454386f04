//! A real browser, spoken to over W3C WebDriver (<https://www.w3.org/TR/webdriver2/>): Chromium
//! without a window, driven by `chromedriver`.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest wait for an answer of the driver.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at a page.
const PACE: Duration = Duration::from_millis(25);
/// Key of an element's reference in answers (WebDriver, section "Elements").
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// What the browser is started with. It resolves no name and calls nobody at home.
const ARGUMENTS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/// A browser with one page. Dropping it ends every process of it.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    /// Kept open: the driver writes into it.
    said: BufReader<ChildStdout>,
    port: u16,
    session: String,
    profile: TempDir,
}

/// An element of the page as it was when it was found.
#[derive(Debug, Clone)]
pub struct Element(String);

impl Browser {
    /// Where the two programs are, when both are installed.
    #[must_use]
    pub fn programs() -> Option<(PathBuf, PathBuf)> {
        Some((
            program(&["chromium", "chromium-browser", "google-chrome"])?,
            program(&["chromedriver"])?,
        ))
    }

    /// Starts one with a fresh profile and an empty page of 1280 × 900 pixels.
    ///
    /// # Errors
    /// When a program is missing or does not start.
    pub fn start() -> io::Result<Self> {
        let (browser, driver) = Self::programs().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "no chromium with chromedriver")
        })?;
        let profile = tempfile::Builder::new()
            .prefix("nightcrew-browser-")
            .tempdir()?;
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let stdout = driver.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut this = Self {
            driver,
            said: BufReader::new(stdout),
            port: 0,
            session: String::new(),
            profile,
        };
        this.port = this.announced()?;
        let data = format!(
            "--user-data-dir={}",
            this.profile.path().join("profile").display()
        );
        let arguments: Vec<&str> = ARGUMENTS.iter().copied().chain([data.as_str()]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": browser, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = this.ask("POST", "/session", &wanted)?;
        this.session = answer
            .get("sessionId")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        this.resize(1280, 900)?;
        Ok(this)
    }

    /// The port that the driver says it chose.
    fn announced(&mut self) -> io::Result<u16> {
        let mut line = String::new();
        while self.said.read_line(&mut line)? > 0 {
            if let Some((_, port)) = line
                .trim_end()
                .trim_end_matches('.')
                .split_once("successfully on port ")
            {
                return port.parse().map_err(io::Error::other);
            }
            line.clear();
        }
        Err(io::Error::other(
            "chromedriver ended before it said its port",
        ))
    }

    /// Goes to an address and waits until the page is loaded.
    ///
    /// # Errors
    /// When the browser is lost or nobody answers there.
    pub fn open(&self, address: &str) -> io::Result<()> {
        self.post("/url", &json!({"url": address})).map(drop)
    }

    /// The address of the page.
    ///
    /// # Errors
    /// When the browser is lost.
    pub fn url(&self) -> io::Result<String> {
        Ok(text(self.ask("GET", &self.path("/url"), &Value::Null)?))
    }

    /// The first element that a CSS selector finds.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, css: &str) -> io::Result<Element> {
        self.find_all(css)?
            .into_iter()
            .next()
            .ok_or_else(|| io::Error::other(format!("no element is `{css}`")))
    }

    /// All elements that a CSS selector finds.
    ///
    /// # Errors
    /// When the browser is lost or the selector is none.
    pub fn find_all(&self, css: &str) -> io::Result<Vec<Element>> {
        let found = self.post("/elements", &json!({"using": "css selector", "value": css}))?;
        let ids = found
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|element| element.get(ELEMENT)?.as_str());
        Ok(ids.map(|id| Element(id.to_owned())).collect())
    }

    /// The text of an element as a person sees it.
    ///
    /// # Errors
    /// When the element is gone.
    pub fn text(&self, element: &Element) -> io::Result<String> {
        Ok(text(self.ask(
            "GET",
            &self.path(&format!("/element/{}/text", element.0)),
            &Value::Null,
        )?))
    }

    /// Clicks an element, as a person would: it must be visible and not covered.
    ///
    /// # Errors
    /// When it cannot be clicked.
    pub fn click(&self, element: &Element) -> io::Result<()> {
        self.post(&format!("/element/{}/click", element.0), &json!({}))
            .map(drop)
    }

    /// Types into an element.
    ///
    /// # Errors
    /// When nothing can be typed there.
    pub fn type_into(&self, element: &Element, words: &str) -> io::Result<()> {
        self.post(
            &format!("/element/{}/value", element.0),
            &json!({"text": words}),
        )
        .map(drop)
    }

    /// Executes JavaScript in the page; what it returns.
    ///
    /// # Errors
    /// When it throws.
    pub fn run(&self, script: &str) -> io::Result<Value> {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Makes the page this large, in CSS pixels. A window could not be as narrow as a telephone.
    ///
    /// # Errors
    /// When the browser is lost.
    pub fn resize(&self, width: u32, height: u32) -> io::Result<()> {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        self.post("/goog/cdp/execute", &command).map(drop)
    }

    /// The page as a PNG image.
    ///
    /// # Errors
    /// When the browser is lost.
    pub fn screenshot(&self) -> io::Result<Vec<u8>> {
        Ok(decode(&text(self.ask(
            "GET",
            &self.path("/screenshot"),
            &Value::Null,
        )?)))
    }

    /// What the browser complained about since the last call: level and message. A refused load or
    /// a violated content policy is among it.
    ///
    /// # Errors
    /// When the browser is lost.
    pub fn complaints(&self) -> io::Result<Vec<String>> {
        let log = self.post("/se/log", &json!({"type": "browser"}))?;
        let part = |entry: &Value, key: &str| text(entry.get(key).cloned().unwrap_or_default());
        let entries = log.as_array().into_iter().flatten();
        Ok(entries
            .map(|entry| format!("{} {}", part(entry, "level"), part(entry, "message")))
            .filter(|line| line.starts_with("SEVERE") || line.starts_with("WARNING"))
            .collect())
    }

    /// Looks at the page until it is as wanted.
    ///
    /// # Errors
    /// When it is not in time, with the text of the page.
    pub fn until(
        &self,
        what: &str,
        mut is_so: impl FnMut(&Self) -> io::Result<bool>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Elements may vanish while we look at them: the page is alive.
            if is_so(self).unwrap_or(false) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let page = self
                    .run("return document.body.innerText")
                    .map(text)
                    .unwrap_or_default();
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("never was so: {what}; the page:\n{page}"),
                ));
            }
            std::thread::sleep(PACE);
        }
    }

    fn path(&self, below: &str) -> String {
        format!("/session/{}{below}", self.session)
    }

    fn post(&self, below: &str, value: &Value) -> io::Result<Value> {
        self.ask("POST", &self.path(below), value)
    }

    /// One request to the driver, on a connection of its own; the `value` of the answer.
    fn ask(&self, method: &str, path: &str, value: &Value) -> io::Result<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let body = if value.is_null() {
            String::new()
        } else {
            value.to_string()
        };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        let body = answer(BufReader::new(stream))?;
        let answer: Value = serde_json::from_slice(&body).map_err(io::Error::other)?;
        let value = answer.get("value").cloned().unwrap_or_default();
        match value.get("error").and_then(Value::as_str) {
            Some(error) => {
                let message = value
                    .get("message")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                Err(io::Error::other(format!(
                    "{method} {path}: {error}: {message}"
                )))
            }
            None => Ok(value),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.ask("DELETE", &self.path(""), &Value::Null);
        }
        let group = i32::try_from(self.driver.id()).unwrap_or(i32::MAX);
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        let _ = self.driver.wait();
    }
}

/// The body of an HTTP answer with a length.
fn answer(mut stream: BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn program(names: &[&str]) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    names.iter().find_map(|name| {
        std::env::split_paths(&folders)
            .map(|folder| folder.join(name))
            .find(|path| Path::is_file(path))
    })
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        _ => String::new(),
    }
}

/// Base64 (RFC 4648, section 4); anything outside its alphabet is passed over.
fn decode(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0_u32);
    for character in text.bytes() {
        let six = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_reads_back() {
        assert_eq!(super::decode("TmlnaHRjcmV3IQ=="), b"Nightcrew!");
        assert_eq!(super::decode(""), b"");
    }
}
