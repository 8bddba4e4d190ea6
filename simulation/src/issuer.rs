//! Keys and certificates that follow from the seed alone: Ed25519, whose signatures are not random.

use std::fmt;

use rancher_lets_encrypt::core::bundle::Secret;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertificateSigningRequestParams;
use rcgen::CertifiedIssuer;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::PublicKeyData;
use rcgen::SerialNumber;
use time::OffsetDateTime;
use time::macros::datetime;

use crate::dice::Dice;

const LONG_AGO: OffsetDateTime = datetime!(2020-01-01 00:00 UTC);
const FAR_AWAY: OffsetDateTime = datetime!(2049-01-01 00:00 UTC);

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

fn authority(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = LONG_AGO;
    params.not_after = FAR_AWAY;
    params.serial_number = Some(SerialNumber::from(serial));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
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
pub struct Issuer {
    intermediate: CertifiedIssuer<'static, KeyPair>,
    serial: u64,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("serial", &self.serial).finish_non_exhaustive()
    }
}

impl Issuer {
    /// An issuer of a name, whose keys are drawn.
    pub fn new(name: &str, dice: &mut Dice) -> Self {
        let root = CertifiedIssuer::self_signed(authority(&format!("{name} Root"), 1), key(dice))
            .expect("a root of plain parameters can be signed");
        let intermediate =
            CertifiedIssuer::signed_by(authority(&format!("{name} E1"), 2), key(dice), &root)
                .expect("an intermediate of plain parameters can be signed");
        Self { intermediate, serial: 1000 }
    }

    /// The intermediate, PEM.
    pub fn chain(&self) -> String {
        self.intermediate.pem()
    }

    /// Signs a leaf for somebody's public key.
    pub fn sign(
        &mut self,
        names: &[String],
        validity: Validity,
        key: &impl PublicKeyData,
    ) -> String {
        self.serial += 1;
        leaf(names, validity, self.serial)
            .signed_by(key, &self.intermediate)
            .expect("a leaf of plain parameters can be signed")
            .pem()
    }

    /// Makes a key and signs a leaf for it.
    pub fn pems(&mut self, names: &[String], validity: Validity, dice: &mut Dice) -> Pems {
        let bytes = dice.bytes();
        let secret = key_pem(&bytes);
        let key = KeyPair::from_pem(secret.reveal()).expect("any 32 bytes are a key");
        Pems { leaf: self.sign(names, validity, &key), chain: self.chain(), key: secret }
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

/// A signing request: the names in it, sorted, and the public key.
pub fn request(der: &[u8]) -> Option<(Vec<String>, CertificateSigningRequestParams)> {
    let request = CertificateSigningRequestParams::from_der(&der.to_vec().into()).ok()?;
    let mut names: Vec<String> = request
        .params
        .subject_alt_names
        .iter()
        .filter_map(|name| {
            let rcgen::SanType::DnsName(name) = name else {
                return None;
            };
            Some(name.as_str().to_owned())
        })
        .collect();
    names.sort();
    Some((names, request))
}
