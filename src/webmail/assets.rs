//! Files that never change under their name: a digest of what is in them is part of it, so browsers keep them for good.

use crate::httpd::{Response, Status};
use ring::digest;
use std::fmt::Write;
use std::sync::LazyLock;

/// One of them.
#[derive(Debug)]
pub(super) struct Asset {
    name: String,
    kind: &'static str,
    text: &'static str,
}

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("style.css")));
pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("app", "js", "text/javascript; charset=utf-8", include_str!("app.js")));
pub(super) static ICON: LazyLock<Asset> = LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

impl Asset {
    fn new(stem: &str, ending: &str, kind: &'static str, text: &'static str) -> Asset {
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let mut name = format!("{stem}-");
        for byte in digest.as_ref().iter().take(6) {
            let _ = write!(name, "{byte:02x}");
        }
        Asset { name: format!("{name}.{ending}"), kind, text }
    }

    /// Where pages find it.
    pub(super) fn path(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

/// Gives one.
pub(super) fn get(name: &str) -> Result<Response, Status> {
    let found = [&*STYLE, &*SCRIPT, &*ICON].into_iter().find(|asset| asset.name == name).ok_or(Status::NOT_FOUND)?;
    Ok(Response::of(Status::OK, found.kind, found.text.as_bytes())
        .with("Cache-Control", "public, max-age=31536000, immutable")
        .with("ETag", &format!("\"{name}\"")))
}
