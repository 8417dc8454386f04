//! The stylesheet, the script and the icon, under addresses that name their content.

use std::sync::LazyLock;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::http::PathText;

/// One file.
struct Asset {
    name: String,
    kind: &'static str,
    body: &'static str,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        asset(
            "console",
            "css",
            "text/css; charset=utf-8",
            include_str!("assets/console.css"),
        ),
        asset(
            "console",
            "js",
            "text/javascript; charset=utf-8",
            include_str!("assets/console.js"),
        ),
        asset(
            "icon",
            "svg",
            "image/svg+xml",
            include_str!("assets/icon.svg"),
        ),
    ]
});

fn asset(stem: &str, ending: &str, kind: &'static str, body: &'static str) -> Asset {
    let hash = hex::encode(&Sha256::digest(body.as_bytes())[..6]);
    Asset {
        name: format!("{stem}-{hash}.{ending}"),
        kind,
        body,
    }
}

/// Address of the stylesheet.
pub(super) fn css() -> String {
    format!("/assets/{}", ASSETS[0].name)
}

/// Address of the script.
pub(super) fn script() -> String {
    format!("/assets/{}", ASSETS[1].name)
}

/// Address of the icon.
pub(super) fn icon() -> String {
    format!("/assets/{}", ASSETS[2].name)
}

/// Another content has another address, so an answer is good for ever.
pub(super) async fn serve(PathText(file): PathText<String>) -> Response {
    match ASSETS.iter().find(|asset| asset.name == file) {
        Some(asset) => {
            let cache = (header::CACHE_CONTROL, "public, max-age=31536000, immutable");
            ([(header::CONTENT_TYPE, asset.kind), cache], asset.body).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
