//! Authorities, and certificates for hosts.

use super::zone::{TLSA, Zone};
use pillarbox::net::tls::ServerTls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, date_time_ymd};
use ring::digest::{SHA256, SHA512, digest};
use std::fs;
use std::path::PathBuf;

pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub der: Vec<u8>,
    pub pem: String,
}

/// A host's certificate, those above it, and its key.
pub struct Certificate {
    pub der: Vec<u8>,
    /// Its public key, as SubjectPublicKeyInfo.
    pub key: Vec<u8>,
    chain: String,
    secret: String,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "An authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        Authority { der: made.der().to_vec(), pem: made.pem(), params, key }
    }

    /// A certificate for a name; those above it are sent with it.
    pub fn vouch(&self, name: &str) -> Certificate {
        self.sign(&host(name))
    }

    /// The same, over since long.
    pub fn vouched(&self, name: &str) -> Certificate {
        self.sign(&expired(host(name)))
    }

    fn sign(&self, params: &CertificateParams) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap();
        certificate(&key, made.der(), made.pem() + &self.pem)
    }
}

/// One that vouches for itself, and is over since long.
pub fn self_signed(name: &str) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let made = expired(host(name)).self_signed(&key).unwrap();
    certificate(&key, made.der(), made.pem())
}

fn certificate(key: &KeyPair, der: &[u8], chain: String) -> Certificate {
    Certificate { der: der.to_vec(), key: key.subject_public_key_info(), chain, secret: key.serialize_pem() }
}

fn host(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    params
}

impl Certificate {
    /// For a server.
    pub fn tls(&self) -> ServerTls {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| -> PathBuf {
            fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        };
        ServerTls::load(&write("cert.pem", &self.chain), &write("key.pem", &self.secret)).unwrap()
    }
}

/// Publishes a TLSA record: usage, selector and matching type, of this content.
pub fn publish(zone: &Zone, host: &str, port: u16, parameters: [u8; 3], secure: bool, content: &[u8]) {
    let data = match parameters[2] {
        1 => digest(&SHA256, content).as_ref().to_vec(),
        2 => digest(&SHA512, content).as_ref().to_vec(),
        _ => content.to_vec(),
    };
    zone.add(&format!("_{port}._tcp.{host}"), TLSA, secure, [&parameters[..], &data].concat());
}
