//! What the tests of this room share.

use crate::config::Config;
use crate::config::load::from_text;
use std::path::Path;

/// A configuration with these lines.
pub(super) fn config(text: &str) -> Config {
    let text = format!("hostname = \"mail.here.test\"\ndomains = [\"here.test\"]\n{text}");
    from_text("test", &text, Path::new("/nonexistent"), &[]).unwrap()
}
