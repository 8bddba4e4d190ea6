//! Bundles: a private key, the leaf made for it, and the certificates behind the leaf, known to fit each other.
//!
//! Of a kind of key that this program cannot use it is known that the two do not contradict each other.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;

use crate::core::certificate::CERTIFICATE;
use crate::core::certificate::CertificateChain;
use crate::core::certificate::Flaw;
use crate::core::certificate::Leaf;
use crate::core::certificate::broken;
use crate::core::certificate::certificates;
use crate::core::certificate::is_self_signed;
use crate::core::certificate::parse;
use crate::core::names::NameSet;

mod key;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

fn to_pem(tag: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, der), config)
}

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; the caller keeps it out of logs, errors and URLs.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The kind of key that certificates are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA on the curve P-256.
    Ec256,
    /// RSA of 2048 bits, for clients that know no ECDSA.
    Rsa2048,
}

impl KeyType {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Ec256, Self::Rsa2048];
}

/// A private key, the leaf made for it, and the certificates between it and a root; known to fit each other.
#[derive(Clone)]
pub struct Bundle {
    shown: CertificateChain,
    key: Secret,
    certificate: Vec<u8>,
    chain: Vec<Vec<u8>>,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle").field("shown", &self.shown).finish_non_exhaustive()
    }
}

impl Bundle {
    /// Reads a chain (leaf first) and its key, both PEM.
    pub fn parse(chain: &str, key: &Secret) -> Result<Self, Flaw> {
        let mut ders = certificates(chain)?;
        // The reader passes over a block without an end, and the leaf alone is not what was issued.
        if chain.matches(BEGIN).count() != ders.len() {
            return Err(broken("its chain is torn"));
        }
        drop_superfluous(&mut ders);
        let shown = CertificateChain::of(&ders)?;
        let certificate = ders.remove(0);
        let key = key::fitting(&parse(&certificate)?, key)?;
        Ok(Self { shown, key, certificate, chain: ders })
    }

    /// The leaf.
    pub fn leaf(&self) -> &Leaf {
        &self.shown.leaf
    }

    /// What a place shows that holds exactly this.
    pub fn shown(&self) -> &CertificateChain {
        &self.shown
    }

    /// The private key as one PKCS#8 block.
    pub fn key_pem(&self) -> &Secret {
        &self.key
    }

    /// The leaf as one block.
    pub fn certificate_pem(&self) -> String {
        to_pem(CERTIFICATE, &self.certificate)
    }

    /// The certificates behind the leaf.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| to_pem(CERTIFICATE, der)).collect()
    }

    /// The leaf and the certificates behind it.
    pub fn fullchain_pem(&self) -> String {
        self.certificate_pem() + &self.chain_pem()
    }

    /// Checks what a CA answered before anything is published: the names, the dates, that the chain links.
    pub fn verify(&self, names: &NameSet, now: OffsetDateTime) -> Result<(), String> {
        let leaf = self.leaf();
        if !leaf.names_equal(names) {
            let got: Vec<_> = leaf.names().collect();
            return Err(format!("it is for {}, not for what was ordered", got.join(" ")));
        }
        if now < leaf.not_before {
            return Err(format!("it is not valid before {}", leaf.not_before));
        }
        if leaf.not_after <= now {
            return Err(format!("it expired at {}", leaf.not_after));
        }
        self.verify_chain()
    }

    fn verify_chain(&self) -> Result<(), String> {
        let ders = std::iter::once(&self.certificate).chain(&self.chain);
        let links: Vec<_> = ders
            .map(|der| parse(der).map_err(|flaw| flaw.to_string()))
            .collect::<Result<_, _>>()?;
        for pair in links.windows(2) {
            let [link, next] = pair else { continue };
            if link.issuer() != next.subject() {
                return Err(format!(
                    "its chain does not link: `{}` is not issued by `{}`",
                    link.subject(),
                    next.subject()
                ));
            }
            if !may_be_signed_by(link, next) {
                return Err(format!(
                    "its chain does not link: `{}` is not signed by `{}`",
                    link.subject(),
                    next.subject()
                ));
            }
        }
        Ok(())
    }
}

/// Leaves out what stands twice, the leaf among it, and roots: whoever trusts one has it, and balancers refuse a chain
/// that holds the leaf again. The leaf itself stays, whoever signed it (RFC 8446, section 4.4.2), and so does a root
/// that has issued it: without it no chain would be left, and servers refuse an empty file.
fn drop_superfluous(ders: &mut Vec<Vec<u8>>) {
    let only = ders.split_first().and_then(|(leaf, behind)| {
        behind.iter().find(|der| *der != leaf && issued(der, leaf)).cloned()
    });
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for der in std::mem::take(ders) {
        if !seen.contains(&der) && (seen.is_empty() || !is_root(&der)) {
            seen.push(der);
        }
    }
    if seen.len() == 1 {
        seen.extend(only);
    }
    *ders = seen;
}

fn issued(issuer: &[u8], leaf: &[u8]) -> bool {
    let (Ok(issuer), Ok(leaf)) = (parse(issuer), parse(leaf)) else { return false };
    leaf.issuer() == issuer.subject() && may_be_signed_by(&leaf, &issuer)
}

/// An algorithm that ring does not know is no proof of a wrong chain.
fn may_be_signed_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    let verified = certificate.verify_signature(Some(issuer.public_key()));
    verified != Err(X509Error::SignatureVerificationError)
}

fn is_root(der: &[u8]) -> bool {
    parse(der).is_ok_and(|certificate| is_self_signed(&certificate))
}

#[cfg(test)]
mod tests {
    use pkcs8::der::Decode;
    use rcgen::KeyPair;
    use time::Duration;

    use super::*;
    use crate::core::certificate::tests::NOW;
    use crate::core::certificate::tests::params;
    use crate::core::certificate::tests::pems;

    fn names(text: &str) -> NameSet {
        text.split(' ').map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_bundle_is_read_back_as_it_was_written() {
        let (chain, key) = pems(&params(&["a.example.com"], Duration::ZERO, Duration::days(90)));
        let bundle = Bundle::parse(&chain, &Secret::new(key)).unwrap();
        let again = Bundle::parse(&bundle.fullchain_pem(), bundle.key_pem()).unwrap();
        assert_eq!(again.shown(), bundle.shown());
        assert_eq!(
            CertificateChain::parse(&bundle.certificate_pem(), &bundle.chain_pem()).unwrap(),
            *bundle.shown()
        );
        assert!(!format!("{bundle:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_key_of_another_certificate_or_torn_is_broken() {
        let (chain, key) = pems(&params(&["a.example.com"], Duration::ZERO, Duration::days(90)));
        let other = KeyPair::generate().unwrap().serialize_pem();
        for key in [
            other.as_str(),
            &key[..key.len() / 2],
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            let read = Bundle::parse(&chain, &Secret::new(key));
            assert!(matches!(read, Err(Flaw(_))), "{read:?}");
        }
    }

    #[test]
    fn a_chain_that_is_torn_is_not_a_leaf_alone() {
        let (chain, key) = pems(&params(&["a.example.com"], Duration::ZERO, Duration::days(90)));
        let key = Secret::new(key);
        let behind_leaf = chain.rfind("-----BEGIN").unwrap();
        Bundle::parse(&chain[..behind_leaf], &key).unwrap();
        for length in [behind_leaf + BEGIN.len(), chain.len() - 20, chain.len() - 4] {
            let read = Bundle::parse(&chain[..length], &key);
            assert!(matches!(read, Err(Flaw(_))), "{length}: {read:?}");
        }
    }

    /// A certificate that another one has signed, and one that is its own authority, as blocks.
    fn intermediate_and_root() -> [String; 2] {
        let root = rcgen::CertifiedIssuer::self_signed(
            params(&["root.test"], Duration::ZERO, Duration::days(90)),
            KeyPair::generate().unwrap(),
        );
        let root = root.unwrap();
        let intermediate = params(&["middle.test"], Duration::ZERO, Duration::days(90));
        let intermediate = intermediate.signed_by(&KeyPair::generate().unwrap(), &root).unwrap();
        [intermediate.pem(), root.pem()].map(|pem| pem.replace('\r', ""))
    }

    #[test]
    fn what_stands_twice_is_dropped_once_and_roots_stay_out() {
        let (chain, key) = pems(&params(&["a.example.com"], Duration::ZERO, Duration::days(90)));
        let bundle = Bundle::parse(&chain, &Secret::new(&*key)).unwrap();
        let leaf = bundle.certificate_pem();
        let [middle, root] = intermediate_and_root();
        let key = Secret::new(key);
        let whole = Bundle::parse(&format!("{leaf}{middle}"), &key).unwrap();
        for text in [
            format!("{leaf}{leaf}{middle}"),
            format!("{leaf}{middle}{middle}"),
            format!("{leaf}{middle}{leaf}"),
            format!("{leaf}{middle}{root}"),
            format!("{leaf}{root}{middle}{root}{middle}{leaf}"),
        ] {
            let read = Bundle::parse(&text, &key).unwrap();
            assert_eq!(read.certificate_pem(), leaf);
            assert_eq!(read.chain_pem(), whole.chain_pem());
            assert_eq!(read.chain_pem().matches(BEGIN).count(), 1);
            assert_eq!(read.shown(), whole.shown());
        }
    }

    /// nginx refuses a chain file without a certificate.
    #[test]
    fn a_root_that_has_issued_the_leaf_stays_where_nothing_else_is_behind_it() {
        let root = rcgen::CertifiedIssuer::self_signed(
            params(&["root.test"], Duration::ZERO, Duration::days(90)),
            KeyPair::generate().unwrap(),
        );
        let root = root.unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = params(&["a.example.com"], Duration::ZERO, Duration::days(90));
        let leaf = leaf.signed_by(&key, &root).unwrap().pem();
        let [_, other] = intermediate_and_root();
        let root = root.pem().replace('\r', "");
        let key = Secret::new(key.serialize_pem());
        let read = Bundle::parse(&format!("{leaf}{leaf}{root}{root}"), &key).unwrap();
        assert_eq!(read.chain_pem(), root);
        let read = Bundle::parse(&format!("{leaf}{other}"), &key);
        assert!(read.is_err() || read.unwrap().chain_pem().is_empty());
    }

    #[test]
    fn a_leaf_that_is_its_own_authority_stays() {
        let key = KeyPair::generate().unwrap();
        let own = params(&["a.example.com"], Duration::ZERO, Duration::days(90));
        let own = own.self_signed(&key).unwrap().pem();
        let read =
            Bundle::parse(&format!("{own}{own}"), &Secret::new(key.serialize_pem())).unwrap();
        assert!(read.leaf().is_self_signed);
        assert_eq!(read.chain_pem(), "");
    }

    #[test]
    fn what_a_ca_answers_is_verified() {
        let (chain, key) =
            pems(&params(&["a.example.com", "b.example.com"], Duration::ZERO, Duration::days(90)));
        let (other, _) = pems(&params(&["c.example.com"], Duration::ZERO, Duration::days(90)));
        let key = Secret::new(key);
        let bundle = Bundle::parse(&chain, &key).unwrap();
        let good = names("a.example.com b.example.com");
        bundle.verify(&good, NOW).unwrap();
        assert!(bundle.verify(&names("a.example.com"), NOW).unwrap_err().contains("ordered"));
        assert!(
            bundle.verify(&good, NOW - Duration::SECOND).unwrap_err().contains("not valid before")
        );
        assert!(bundle.verify(&good, NOW + Duration::days(90)).unwrap_err().contains("expired"));
        let wrong = Bundle::parse(&(bundle.certificate_pem() + &other), &key).unwrap();
        assert!(wrong.verify(&good, NOW).unwrap_err().contains("does not link"));
    }

    #[test]
    fn older_forms_of_keys_become_pkcs8() {
        let (chain, key) = pems(&params(&["a.example.com"], Duration::ZERO, Duration::days(90)));
        let pkcs8 = pem::parse(&key).unwrap();
        let inner = pkcs8::PrivateKeyInfo::from_der(pkcs8.contents()).unwrap().private_key;
        let sec1 = Secret::new(to_pem("EC PRIVATE KEY", inner));
        let bundle = Bundle::parse(&chain, &sec1).unwrap();
        assert!(bundle.key_pem().reveal().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        Bundle::parse(&chain, bundle.key_pem()).unwrap();
    }
}
