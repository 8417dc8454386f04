//! Answers kept in a folder, and given again from there: for tests and demonstrations, where no
//! model is asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{Body, BodyError};

/// Largest answer that is kept.
const LARGEST: usize = 16 * 1024 * 1024;

/// Largest file that is read: an answer as base64, with room for the request.
const LARGEST_FILE: u64 = 96 * 1024 * 1024;

/// A kept answer.
#[derive(Debug, Serialize, Deserialize)]
struct Tape {
    path: String,
    model: String,
    status: u16,
    content_type: String,
    /// Milliseconds since the request was sent, and bytes in base64.
    chunks: Vec<(u64, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<String>,
}

/// The name under which the answer to a request is kept: a digest of path and body.
#[must_use]
pub(super) fn digest(path: &str, body: &[u8]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(path.as_bytes());
    context.update(b"\n");
    context.update(body);
    hex::encode(context.finish())
}

/// An answer that is being kept.
#[derive(Debug)]
pub(super) struct Recording {
    file: PathBuf,
    tape: Tape,
    started: Instant,
    size: usize,
}

impl Recording {
    /// Begins.
    pub(super) fn new(
        folder: &Path,
        path: &str,
        model: &str,
        body: &Bytes,
        keep_prompt: bool,
    ) -> Self {
        Self {
            file: folder.join(digest(path, body)).with_extension("json"),
            tape: Tape {
                path: path.to_owned(),
                model: model.to_owned(),
                status: 200,
                content_type: String::new(),
                chunks: Vec::new(),
                request: keep_prompt.then(|| String::from_utf8_lossy(body).into_owned()),
            },
            started: Instant::now(),
            size: 0,
        }
    }

    /// The head of the answer.
    pub(super) fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.tape.status = status.as_u16();
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        kind.clone_into(&mut self.tape.content_type);
    }

    /// A part of it.
    pub(super) fn push(&mut self, bytes: &Bytes) {
        self.size = self.size.saturating_add(bytes.len());
        if self.size <= LARGEST {
            let at = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.tape.chunks.push((at, STANDARD.encode(bytes)));
        }
    }

    /// Keeps it. What is too large, or cannot be written, is not kept, and a remark says so.
    pub(super) fn keep(self) {
        if self.size > LARGEST {
            tracing::warn!(
                model = self.tape.model,
                "an answer is too large to be recorded"
            );
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn_blocking(move || {
            let write = || -> std::io::Result<()> {
                let folder = self.file.parent().unwrap_or(Path::new("."));
                std::fs::create_dir_all(folder)?;
                let text = serde_json::to_vec(&self.tape)?;
                // Whoever reads meanwhile finds the whole or nothing.
                let beside = self
                    .file
                    .with_extension(format!("{}.part", std::process::id()));
                std::fs::write(&beside, text)?;
                std::fs::rename(&beside, &self.file)
            };
            if let Err(error) = write() {
                tracing::warn!(file = %self.file.display(), %error, "an answer cannot be recorded");
            }
        });
    }
}

/// An answer that was kept.
pub(super) struct Replayed {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// The kept answer to this request, if there is one.
pub(super) async fn replay(
    folder: &Path,
    path: &str,
    body: &[u8],
    timing: bool,
) -> Option<Replayed> {
    let file = folder.join(digest(path, body)).with_extension("json");
    let size = tokio::fs::metadata(&file).await.ok()?.len();
    if size > LARGEST_FILE {
        return None;
    }
    let tape: Tape = serde_json::from_slice(&tokio::fs::read(&file).await.ok()?).ok()?;
    let mut chunks = Vec::with_capacity(tape.chunks.len());
    for (at, bytes) in tape.chunks {
        let bytes = Bytes::from(STANDARD.decode(bytes).ok()?);
        chunks.push((Duration::from_millis(at), bytes));
    }
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_str(&tape.content_type).ok()?,
    );
    headers.insert("x-nightcrew-replayed", HeaderValue::from_static("true"));
    Some(Replayed {
        status: StatusCode::from_u16(tape.status).ok()?,
        headers,
        body: played(chunks, timing),
    })
}

fn played(chunks: Vec<(Duration, Bytes)>, timing: bool) -> Body {
    let start = Instant::now();
    let chunks = futures_util::stream::unfold(chunks.into_iter(), move |mut chunks| async move {
        let (at, bytes) = chunks.next()?;
        if timing {
            tokio::time::sleep_until(start + at).await;
        }
        Some((Ok::<_, BodyError>(Frame::data(bytes)), chunks))
    });
    StreamBody::new(chunks).boxed_unsync()
}
