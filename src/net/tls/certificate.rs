//! The self-signed certificate of a host that has no other.

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The paths of certificate and key in `dir`; what is not there is made. The key is made first and the certificate from
/// the key that lies there, each in one step, so whatever interrupts us, and however many do this at once, the two fit.
pub(super) fn ensure(dir: &Path, hostname: &str) -> io::Result<(PathBuf, PathBuf)> {
    let certificate = dir.join("cert.pem");
    let key = dir.join("key.pem");
    fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    if !key.try_exists()? {
        let pair = KeyPair::generate().map_err(io::Error::other)?;
        place(dir, &key, 0o600, &pair.serialize_pem())?;
    }
    if !certificate.try_exists()? {
        let pair = KeyPair::from_pem(&fs::read_to_string(&key)?)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, format!("{}: {error}", key.display())))?;
        place(dir, &certificate, 0o644, &sign(hostname, &pair)?)?;
        log::info!("tls made certificate={} hostname={hostname}", certificate.display());
    }
    Ok((certificate, key))
}

/// A certificate in PEM for ten years from yesterday.
fn sign(hostname: &str, pair: &KeyPair) -> io::Result<String> {
    let mut params = CertificateParams::new(vec![hostname.to_owned()]).map_err(io::Error::other)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, hostname);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let from = today.yesterday().map_err(io::Error::other)?;
    // Some years have no 29 February, so no certificate begins or ends on one.
    let (month, day) = (from.month().unsigned_abs(), from.day().unsigned_abs().min(28));
    params.not_before = date_time_ymd(i32::from(from.year()), month, day);
    params.not_after = date_time_ymd(i32::from(from.year()) + 10, month, day);
    Ok(params.self_signed(pair).map_err(io::Error::other)?.pem())
}

/// Writes a file under its name in one durable step; one that is there already stays.
fn place(dir: &Path, path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".new-").permissions(fs::Permissions::from_mode(0o600)).tempfile_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => fs::File::open(dir)?.sync_all(),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::ServerTls;

    #[test]
    fn made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("tls");
        ServerTls::self_signed(&at, "mail.example.org").unwrap();
        let mode = |name: &str| fs::metadata(at.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("key.pem"), mode("cert.pem")), (0o600, 0o644));
        let before = (fs::read(at.join("cert.pem")).unwrap(), fs::read(at.join("key.pem")).unwrap());
        ServerTls::self_signed(&at, "other.example.org").unwrap();
        assert_eq!(before, (fs::read(at.join("cert.pem")).unwrap(), fs::read(at.join("key.pem")).unwrap()));
        fs::remove_file(at.join("cert.pem")).unwrap();
        ServerTls::self_signed(&at, "mail.example.org").unwrap();
        assert_eq!(before.1, fs::read(at.join("key.pem")).unwrap());
        assert_eq!(fs::read_dir(&at).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_pair_is_refused_with_the_name_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = ensure(dir.path(), "a.example").unwrap();
        let other = tempfile::tempdir().unwrap();
        let (_, other_key) = ensure(other.path(), "b.example").unwrap();
        let error = |certificate: &Path, key: &Path| ServerTls::load(certificate, key).unwrap_err().to_string();
        assert!(error(&certificate, &other_key).contains("key.pem"));
        assert!(error(&certificate, &dir.path().join("none")).contains("none"));
        assert!(error(&key, &key).contains("no certificate"));
        assert!(error(&certificate, &certificate).contains("cert.pem"));
    }
}
