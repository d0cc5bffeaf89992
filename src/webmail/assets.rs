//! Files that never change under their name.

use crate::httpd::{Response, Status};
use ring::digest;
use std::fmt::Write;
use std::sync::LazyLock;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("app.js");

pub(super) static STYLE_NAME: LazyLock<String> = LazyLock::new(|| name("style", STYLE, "css"));
pub(super) static SCRIPT_NAME: LazyLock<String> = LazyLock::new(|| name("app", SCRIPT, "js"));

/// A name has a digest of what is in the file: browsers keep it for good.
fn name(stem: &str, text: &str, ending: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut name = format!("{stem}-");
    for byte in digest.as_ref().iter().take(6) {
        let _ = write!(name, "{byte:02x}");
    }
    format!("{name}.{ending}")
}

/// Gives one.
pub(super) fn get(name: &str) -> Result<Response, Status> {
    let (kind, text) = match name {
        _ if name == *STYLE_NAME => ("text/css", STYLE),
        _ if name == *SCRIPT_NAME => ("text/javascript", SCRIPT),
        _ => return Err(Status::NOT_FOUND),
    };
    Ok(Response::of(Status::OK, &format!("{kind}; charset=utf-8"), text.as_bytes())
        .with("Cache-Control", "public, max-age=31536000, immutable")
        .with("ETag", &format!("\"{name}\"")))
}
