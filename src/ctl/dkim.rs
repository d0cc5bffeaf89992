//! `pillarboxctl dkim …`: makes keys that mail is signed with.

use super::dns::key_record;
use super::{Failure, say};
use crate::mail::Domain;
use crate::sys::exit;
use crate::trust::dkim::SigningKey;
use base64::Engine;
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes a key beside the configuration, and tells what to do with it. RSA is what all hosts know; ring makes none, so
/// openssl(1) does.
pub fn make(file: &Path, domain: &str, selector: &str, ed25519: bool) -> Result<(), Failure> {
    let (domain, selector) = (name(domain)?, name(selector)?);
    let dir = file.parent().unwrap_or(Path::new("/")).join("dkim");
    let path = dir.join(format!("{domain}.{selector}.pem"));
    let pem = if ed25519 { make_ed25519()? } else { make_rsa()? };
    let key = SigningKey::from_pem(&pem).map_err(|error| Failure::new(exit::SOFTWARE, error))?;
    let told = |error: std::io::Error| Failure::new(exit::CANTCREAT, format!("{}: {error}", path.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(told)?;
    // A key that is there may be in use: it is never overwritten.
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(told)?;
    let kept = written.write_all(&pem).and_then(|()| written.sync_all()).and_then(|()| File::open(&dir)?.sync_all());
    if let Err(error) = kept {
        let _ = fs::remove_file(&path);
        return Err(told(error));
    }
    let (record, conf, path) = (key_record(&domain, &selector, Box::new(key)), file.display(), path.display());
    say(&format!(
        "The key is in {path}. Publish this in the zone of {domain}:\n\n{record}\n\n\
         When all name servers have it, put this into {conf}, and say: pillarboxctl reload\n\n\
         [[dkim]]\ndomain   = \"{domain}\"\nselector = \"{selector}\"\nkey      = \"{path}\"\n"
    ))
}

/// A domain or selector, as it is asked for.
fn name(text: &str) -> Result<String, Failure> {
    match Domain::parse(text) {
        Ok(name @ Domain::Name(_)) => Ok(name.key()),
        _ => Err(Failure::new(exit::USAGE, format!("`{text}` is not a domain name"))),
    }
}

fn make_ed25519() -> Result<Vec<u8>, Failure> {
    let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let der = made.map_err(|_| Failure::new(exit::OSERR, "no random numbers"))?;
    let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")).into_bytes())
}

fn make_rsa() -> Result<Vec<u8>, Failure> {
    let mut openssl = Command::new("openssl");
    openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let output = openssl.stdin(Stdio::null()).output().map_err(|error| {
        Failure::new(exit::UNAVAILABLE, format!("openssl, which makes RSA keys, can't be run: {error}; --ed25519 needs none"))
    })?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(Failure::new(exit::UNAVAILABLE, String::from_utf8_lossy(&output.stderr).trim())),
    }
}
