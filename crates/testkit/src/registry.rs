//! A registry on loopback with one image in it, made of this machine's programs.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::json;
use sha2::{Digest, Sha256};

/// What a shell script of a test needs.
const PROGRAMS: &[&str] = &[
    "sh", "cat", "chmod", "cp", "echo", "ls", "mkdir", "mktemp", "pwd", "readlink", "rm", "sleep",
    "touch", "true",
];

/// A registry that answers until the test program ends.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
}

impl Registry {
    /// Serves an image with a shell and a few programs at `/bin`, and these files.
    ///
    /// # Errors
    /// Programs that are not here, no free port.
    pub fn start(files: &[(&str, &str)]) -> io::Result<Self> {
        let paths = Arc::new(image(&layer(files)?));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let paths = Arc::clone(&paths);
                std::thread::spawn(move || answer(stream, &paths));
            }
        });
        Ok(Self { address })
    }

    /// The image's name.
    #[must_use]
    pub fn image(&self) -> String {
        format!("{}/test/shell:1", self.address)
    }
}

fn answer(mut stream: TcpStream, paths: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
    }
    let (status, body) = match paths.get(&path) {
        Some(body) => ("200 OK", body.as_slice()),
        None => ("404 Not Found", &b""[..]),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

/// What is where in the registry.
fn image(layer: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let name = |bytes: &[u8]| format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": machine, "os": "linux",
        "config": {"Env": ["PATH=/opt/tool/bin:/bin", "KIND=image"]},
        "rootfs": {"type": "layers", "diff_ids": [name(layer)]},
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": name(&config), "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": name(layer), "size": layer.len(),
        }],
    });
    let base = "/v2/test/shell";
    BTreeMap::from([
        (format!("{base}/manifests/1"), manifest.to_string().into()),
        (format!("{base}/blobs/{}", name(&config)), config),
        (format!("{base}/blobs/{}", name(layer)), layer.to_vec()),
    ])
}

fn layer(files: &[(&str, &str)]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8], mode: u32| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content)
    };
    let mut there: Vec<PathBuf> = Vec::new();
    for program in PROGRAMS {
        let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
        let found = found.iter().find(|path| path.exists());
        let found = found.ok_or_else(|| io::Error::other(format!("{program} is not here")))?;
        add(&format!("bin/{program}"), &std::fs::read(found)?, 0o755)?;
        let output = Command::new("ldd").arg(found).output()?;
        for word in String::from_utf8_lossy(&output.stdout).split_whitespace() {
            let library = PathBuf::from(word);
            if word.starts_with('/') && !there.contains(&library) {
                add(&word[1..], &std::fs::read(&library)?, 0o755)?;
                there.push(library);
            }
        }
    }
    add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644)?;
    for (name, content) in files {
        add(name, content.as_bytes(), 0o644)?;
    }
    tar.into_inner()
}
