//! What a login can be bound to, so that it is worth nothing on another connection (RFC 5056).

use super::der::value;
use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use rustls::Connection;

/// `tls-exporter` (RFC 9266).
pub(super) fn exporter(connection: &Connection) -> Option<Vec<u8>> {
    connection.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None).ok()
}

/// `tls-server-end-point` (RFC 5929 §4.1): the certificate's hash, by the algorithm of its signature, but not by a weaker one
/// than SHA-256. None: its signature has no such algorithm.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    Some(digest(signature_hash(certificate)?, certificate).as_ref().to_vec())
}

/// `Certificate = SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OBJECT IDENTIFIER … }, … }` (RFC 5280 §4.1)
fn signature_hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    let (inside, _) = value(certificate, 0x30)?;
    let (_, rest) = value(inside, 0x30)?;
    let (algorithm, _) = value(rest, 0x30)?;
    let (oid, _) = value(algorithm, 0x06)?;
    Some(match oid {
        // RSA (PKCS #1) with MD5, SHA-1, SHA-2; ECDSA with SHA-1, SHA-2
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04" | b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05" => &SHA256,
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b" | b"\x2a\x86\x48\xce\x3d\x04\x01" | b"\x2a\x86\x48\xce\x3d\x04\x03\x02" => {
            &SHA256
        }
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c" | b"\x2a\x86\x48\xce\x3d\x04\x03\x03" => &SHA384,
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d" | b"\x2a\x86\x48\xce\x3d\x04\x03\x04" => &SHA512,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    #[test]
    fn the_hash_is_that_of_the_signature() {
        for (algorithm, hash) in
            [(&PKCS_ECDSA_P256_SHA256, Some(&SHA256)), (&PKCS_ECDSA_P384_SHA384, Some(&SHA384)), (&PKCS_ED25519, None)]
        {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let certificate = CertificateParams::new(["x.example".to_owned()]).unwrap().self_signed(&key).unwrap();
            let der: &[u8] = certificate.der();
            assert_eq!(end_point(der), hash.map(|hash| digest(hash, der).as_ref().to_vec()));
            (0..der.len().min(600)).for_each(|cut| drop(end_point(&der[..cut])));
        }
        assert_eq!(end_point(b"\x30\x83\xff\xff\xff\x30"), None);
    }
}
