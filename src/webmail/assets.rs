//! Files that never change under their name.

use crate::httpd::{Response, Status};
use ring::digest;
use std::fmt::Write;
use std::sync::LazyLock;

const STYLE: &str = include_str!("style.css");

/// Its name has a digest of what is in it: browsers keep it for good.
pub(super) static STYLE_NAME: LazyLock<String> = LazyLock::new(|| {
    let digest = digest::digest(&digest::SHA256, STYLE.as_bytes());
    let mut name = "style-".to_owned();
    for byte in digest.as_ref().iter().take(6) {
        let _ = write!(name, "{byte:02x}");
    }
    name + ".css"
});

/// Gives one.
pub(super) fn get(name: &str) -> Result<Response, Status> {
    if name != *STYLE_NAME {
        return Err(Status::NOT_FOUND);
    }
    Ok(Response::of(Status::OK, "text/css; charset=utf-8", STYLE.as_bytes())
        .with("Cache-Control", "public, max-age=31536000, immutable")
        .with("ETag", &format!("\"{name}\"")))
}
