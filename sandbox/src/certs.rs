//! Certificates for the stand-ins and their tests: authorities with intermediates, leaves, self-signed ones.
//!
//! All keys are ECDSA P-256.

use std::sync::Arc;

use rcgen::BasicConstraints;
use rcgen::Certificate;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::DnValue;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::PublicKeyData;
use rcgen::SerialNumber;
use ring::rand::SecureRandom;
use ring::rand::SystemRandom;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use time::OffsetDateTime;
use time::macros::datetime;

/// When the certificates of authorities and of their web servers begin to be valid.
const LONG_AGO: OffsetDateTime = datetime!(2020-01-01 0:00 UTC);
/// When they end to be valid.
const FAR_AWAY: OffsetDateTime = datetime!(2049-01-01 0:00 UTC);
/// The longest common name that X.509 has room for.
const LONGEST_COMMON_NAME: usize = 64;

/// Who a certificate of an authority is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// `C`, two letters, or none.
    pub country: Option<String>,
    /// `O`.
    pub organization: String,
    /// `CN`.
    pub common_name: String,
}

impl Subject {
    /// A subject without a country.
    pub fn new(organization: &str, common_name: &str) -> Self {
        Self {
            country: None,
            organization: organization.to_owned(),
            common_name: common_name.to_owned(),
        }
    }

    /// The same with a country.
    pub fn in_country(mut self, country: &str) -> Self {
        self.country = Some(country.to_owned());
        self
    }

    fn name(&self) -> DistinguishedName {
        let mut name = DistinguishedName::new();
        if let Some(country) = &self.country {
            name.push(DnType::CountryName, printable(country));
        }
        name.push(DnType::OrganizationName, printable(&self.organization));
        name.push(DnType::CommonName, printable(&self.common_name));
        name
    }
}

/// Public authorities write their names as `PrintableString` wherever the characters allow it.
fn printable(text: &str) -> DnValue {
    match text.try_into() {
        Ok(printable) => DnValue::PrintableString(printable),
        Err(_) => DnValue::Utf8String(text.to_owned()),
    }
}

/// What a leaf says besides its key.
#[derive(Debug, Clone)]
pub struct LeafContent {
    /// The alternative names: DNS names or IP addresses.
    pub names: Vec<String>,
    /// The common name; left out when it is too long for the field.
    pub common_name: Option<String>,
    /// Valid from.
    pub not_before: OffsetDateTime,
    /// Valid until.
    pub not_after: OffsetDateTime,
}

impl LeafContent {
    /// A leaf for `names` with the first of them as common name.
    pub fn new(names: &[&str], not_before: OffsetDateTime, not_after: OffsetDateTime) -> Self {
        Self {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            common_name: names.first().map(|&name| name.to_owned()),
            not_before,
            not_after,
        }
    }

    /// The same without a common name: with an empty subject.
    pub fn without_common_name(mut self) -> Self {
        self.common_name = None;
        self
    }

    fn params(&self, serial: SerialNumber) -> CertificateParams {
        let mut params =
            CertificateParams::new(self.names.clone()).expect("names of tests are ASCII");
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = &self.common_name
            && name.len() <= LONGEST_COMMON_NAME
        {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        params.not_before = self.not_before;
        params.not_after = self.not_after;
        params.serial_number = Some(serial);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
    }
}

/// Where the keys and serial numbers of an authority come from.
pub trait Origin {
    /// A key.
    fn key(&mut self) -> KeyPair;
    /// A serial number that no other certificate has.
    fn serial(&mut self) -> SerialNumber;
}

/// What the system draws.
struct System;

impl Origin for System {
    fn key(&mut self) -> KeyPair {
        new_key()
    }

    fn serial(&mut self) -> SerialNumber {
        random_serial()
    }
}

/// Random, because the default is made from the key, and a renewal may keep its key.
fn random_serial() -> SerialNumber {
    serial(|bytes| SystemRandom::new().fill(bytes).expect("the system has random bytes"))
}

/// A serial number of drawn bytes.
pub(crate) fn serial(fill: impl FnOnce(&mut [u8])) -> SerialNumber {
    let mut bytes = [0; 18];
    fill(&mut bytes);
    // Serials are positive and have no leading zero.
    bytes[0] = bytes[0] & 0x7f | 0x01;
    SerialNumber::from_slice(&bytes)
}

/// A certificate with its key, all PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The private key, one PKCS#8 block.
    pub key_pem: String,
    /// The leaf alone.
    pub cert_pem: String,
    /// The intermediates, issuer of the leaf first; empty when it is self-signed.
    pub chain_pem: String,
}

impl Pair {
    /// The leaf followed by the intermediates.
    pub fn full_chain_pem(&self) -> String {
        format!("{}{}", self.cert_pem, self.chain_pem)
    }
}

/// A root and the intermediates below it; the first of these signs the leaves.
pub struct CertificateAuthority {
    root: Arc<CertifiedIssuer<'static, KeyPair>>,
    intermediates: Vec<CertifiedIssuer<'static, KeyPair>>,
}

impl CertificateAuthority {
    /// Makes keys and certificates for all of them. The first intermediate signs leaves, each is signed by
    /// the next, the last by the root; without any, the root signs leaves.
    pub fn new(root: &Subject, intermediates: &[Subject]) -> Self {
        Self::from_origin(root, intermediates, &mut System)
    }

    /// The same with keys and serial numbers from elsewhere.
    pub fn from_origin(
        root: &Subject,
        intermediates: &[Subject],
        origin: &mut impl Origin,
    ) -> Self {
        let params = authority_params(root, origin.serial());
        let root = CertifiedIssuer::self_signed(params, origin.key())
            .expect("a root of plain parameters can be signed");
        Self::below(Arc::new(root), intermediates, origin)
    }

    /// The same root with new intermediates, as after a rotation.
    pub fn with_intermediates(&self, intermediates: &[Subject]) -> Self {
        Self::below(Arc::clone(&self.root), intermediates, &mut System)
    }

    fn below(
        root: Arc<CertifiedIssuer<'static, KeyPair>>,
        subjects: &[Subject],
        origin: &mut impl Origin,
    ) -> Self {
        let mut intermediates: Vec<CertifiedIssuer<'static, KeyPair>> = Vec::new();
        for subject in subjects.iter().rev() {
            let mut params = authority_params(subject, origin.serial());
            params.use_authority_key_identifier_extension = true;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            let above = intermediates.last().unwrap_or(&*root);
            let issuer = CertifiedIssuer::signed_by(params, origin.key(), above)
                .expect("an intermediate of plain parameters can be signed");
            intermediates.push(issuer);
        }
        intermediates.reverse();
        Self { root, intermediates }
    }

    /// The root, PEM.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// The intermediates, PEM each, the one that signs leaves first.
    pub fn intermediates(&self) -> Vec<String> {
        self.intermediates.iter().map(CertifiedIssuer::pem).collect()
    }

    /// The intermediates as they follow a leaf.
    pub fn chain_pem(&self) -> String {
        self.intermediates().concat()
    }

    /// Signs a leaf for somebody's public key.
    pub fn issue(&self, content: &LeafContent, key: &impl PublicKeyData) -> Certificate {
        self.issue_numbered(content, random_serial(), key)
    }

    /// The same with a serial number from elsewhere.
    pub fn issue_numbered(
        &self,
        content: &LeafContent,
        serial: SerialNumber,
        key: &impl PublicKeyData,
    ) -> Certificate {
        let mut params = content.params(serial);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        let issuer = self.intermediates.first().unwrap_or(&*self.root);
        params.signed_by(key, issuer).expect("a leaf of plain parameters can be signed")
    }

    /// Makes a key and signs a leaf for it.
    pub fn pair(&self, content: &LeafContent) -> Pair {
        let key = new_key();
        Pair {
            cert_pem: self.issue(content, &key).pem(),
            key_pem: key.serialize_pem(),
            chain_pem: self.chain_pem(),
        }
    }
}

fn authority_params(subject: &Subject, serial: SerialNumber) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject.name();
    params.not_before = LONG_AGO;
    params.not_after = FAR_AWAY;
    params.serial_number = Some(serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    params
}

/// A new P-256 key.
pub fn new_key() -> KeyPair {
    KeyPair::generate().expect("the system has random bytes")
}

/// A certificate signed by its own key, as appliances make them.
pub fn self_signed(names: &[&str], not_before: OffsetDateTime, not_after: OffsetDateTime) -> Pair {
    let key = new_key();
    let certificate = LeafContent::new(names, not_before, not_after)
        .params(random_serial())
        .self_signed(&key)
        .expect("a leaf of plain parameters can be signed");
    Pair { cert_pem: certificate.pem(), key_pem: key.serialize_pem(), chain_pem: String::new() }
}

/// A certificate of a company that has nothing to do with any ACME authority, with its chain.
pub fn bought(names: &[&str], not_before: OffsetDateTime, not_after: OffsetDateTime) -> Pair {
    let company = "Honest Paper Certificates Ltd";
    CertificateAuthority::new(
        &Subject::new(company, "Honest Paper Root G2").in_country("GB"),
        &[Subject::new(company, "Honest Paper Domain Validation CA").in_country("GB")],
    )
    .pair(&LeafContent::new(names, not_before, not_after))
}

/// What a web server with TLS needs, and what its clients have to trust.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// For the server.
    pub config: Arc<ServerConfig>,
    /// For the clients.
    pub root_pem: String,
}

/// TLS for a server at 127.0.0.1, ::1, localhost and `more_hosts`, under a root of its own.
pub fn server_config(more_hosts: &[&str]) -> ServerTls {
    let mut hosts = vec!["127.0.0.1", "::1", "localhost"];
    hosts.extend_from_slice(more_hosts);
    let authority = CertificateAuthority::new(&Subject::new("Sandbox", "Sandbox Web Root"), &[]);
    let key = new_key();
    let content = LeafContent::new(&hosts, LONG_AGO, FAR_AWAY).without_common_name();
    let leaf = authority.issue(&content, &key);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring serves the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("the key was made for this certificate");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    ServerTls { config: Arc::new(config), root_pem: authority.root_pem() }
}
