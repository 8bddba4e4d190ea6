//! Keys and certificates that follow from the seed alone: Ed25519, whose signatures are not random.

use std::fmt;
use std::sync::Arc;

use rancher_lets_encrypt::core::bundle::Secret;
use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::SerialNumber;
use sandbox::certs::CertificateAuthority;
use sandbox::certs::LeafContent;
use sandbox::certs::Origin;
use sandbox::certs::Subject;
use time::OffsetDateTime;

use crate::dice::Dice;

/// What stands before the 32 bytes of an Ed25519 key in PKCS#8 (RFC 8410).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The private key that follows from some bytes, PKCS#8 PEM.
pub fn key_pem(bytes: &[u8; 32]) -> Secret {
    let der = [PKCS8.as_slice(), bytes].concat();
    Secret::new(pem::encode(&pem::Pem::new("PRIVATE KEY", der)))
}

fn key(dice: &mut Dice) -> KeyPair {
    KeyPair::from_pem(key_pem(&dice.bytes()).reveal()).expect("any 32 bytes are a key")
}

/// Validity of a certificate.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    /// From.
    pub from: OffsetDateTime,
    /// Until.
    pub until: OffsetDateTime,
}

fn leaf(names: &[String], validity: Validity, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::new(names).expect("names are ASCII");
    params.distinguished_name = DistinguishedName::new();
    params.not_before = validity.from;
    params.not_after = validity.until;
    params.serial_number = Some(SerialNumber::from(serial));
    params.is_ca = IsCa::ExplicitNoCa;
    params
}

/// Leaf, chain and key, PEM each.
#[derive(Debug, Clone)]
pub struct Pems {
    /// The leaf.
    pub leaf: String,
    /// What stands behind it.
    pub chain: String,
    /// The private key.
    pub key: Secret,
}

/// A root and the intermediate below it that signs.
#[derive(Clone)]
pub struct Issuer(Arc<CertificateAuthority>);

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

impl Issuer {
    /// An issuer of a name, whose keys are drawn.
    pub fn new(name: &str, dice: &mut Dice) -> Self {
        let subject = |what| Subject::new("Simulation", &format!("{name} {what}"));
        let (root, intermediate) = (subject("Root"), subject("E1"));
        Self(Arc::new(CertificateAuthority::from_origin(&root, &[intermediate], dice)))
    }

    /// What signs.
    pub fn authority(&self) -> Arc<CertificateAuthority> {
        Arc::clone(&self.0)
    }

    /// Makes a key and signs a leaf for it.
    pub fn pems(&self, names: &[String], validity: Validity, dice: &mut Dice) -> Pems {
        let secret = key_pem(&dice.bytes());
        let key = KeyPair::from_pem(secret.reveal()).expect("any 32 bytes are a key");
        let content = LeafContent {
            names: names.to_vec(),
            common_name: None,
            not_before: validity.from,
            not_after: validity.until,
        };
        let leaf = self.0.issue_numbered(&content, dice.serial(), &key);
        Pems { leaf: leaf.pem(), chain: self.0.chain_pem(), key: secret }
    }
}

/// Keys and serial numbers of an issuer are drawn.
impl Origin for Dice {
    fn key(&mut self) -> KeyPair {
        key(self)
    }

    fn serial(&mut self) -> SerialNumber {
        SerialNumber::from(self.below(1 << 40))
    }
}

/// A certificate signed by its own key.
pub fn self_signed(names: &[String], validity: Validity, dice: &mut Dice) -> Pems {
    let secret = key_pem(&dice.bytes());
    let key = KeyPair::from_pem(secret.reveal()).expect("any 32 bytes are a key");
    let leaf = leaf(names, validity, dice.below(1 << 40))
        .self_signed(&key)
        .expect("a leaf of plain parameters can be signed");
    Pems { leaf: leaf.pem(), chain: String::new(), key: secret }
}
