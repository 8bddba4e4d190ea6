//! Bundles: a private key, the leaf made for it, and the certificates behind the leaf, known to fit each other.

use std::fmt;

use pkcs8::der::Decode;
use pkcs8::der::Encode;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::public_key::PublicKey;

use crate::certificate::CERTIFICATE;
use crate::certificate::Flaw;
use crate::certificate::Leaf;
use crate::certificate::Shown;
use crate::certificate::broken;
use crate::certificate::certificates;
use crate::certificate::parse;
use crate::names::NameSet;

const PRIVATE_KEY: &str = "PRIVATE KEY";
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

/// A private key, the leaf made for it, and the certificates between it and a root; known to fit each other.
#[derive(Clone)]
pub struct Bundle {
    shown: Shown,
    key: Secret,
    certificate: Vec<u8>,
    chain: Vec<Vec<u8>>,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("shown", &self.shown)
            .finish_non_exhaustive()
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
        let shown = Shown::of(&ders)?;
        let certificate = ders.remove(0);
        let key = fitting_key(&parse(&certificate)?, key)?;
        Ok(Self {
            shown,
            key,
            certificate,
            chain: ders,
        })
    }

    /// The leaf.
    pub fn leaf(&self) -> &Leaf {
        &self.shown.leaf
    }

    /// What a place shows that holds exactly this.
    pub fn shown(&self) -> &Shown {
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
        self.chain
            .iter()
            .map(|der| to_pem(CERTIFICATE, der))
            .collect()
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
            return Err(format!(
                "it is for {}, not for what was ordered",
                got.join(" ")
            ));
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
            // An algorithm that ring does not know is no proof of a wrong chain.
            if link.verify_signature(Some(next.public_key()))
                == Err(X509Error::SignatureVerificationError)
            {
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

/// The key as one PKCS#8 block, if its public half is the one in the certificate.
fn fitting_key(leaf: &X509Certificate<'_>, key: &Secret) -> Result<Secret, Flaw> {
    let der = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
        .map_err(|_| broken("the private key is not PEM"))?;
    let spki = leaf.public_key().raw;
    let signer = any_supported_type(&der).map_err(|_| {
        let algorithm = leaf.public_key().parsed();
        match algorithm {
            Ok(key) if can_judge(&key) => broken("the private key does not parse"),
            Ok(_) | Err(_) => {
                Flaw::Unjudged("its key is of a kind that this program cannot check".to_owned())
            }
        }
    })?;
    let public = signer
        .public_key()
        .ok_or_else(|| Flaw::Unjudged("its key shows no public half".to_owned()))?;
    if public.as_ref() != spki {
        return Err(broken("the private key belongs to another certificate"));
    }
    let pkcs8 = match &der {
        PrivateKeyDer::Pkcs8(key) => key.secret_pkcs8_der().to_vec(),
        PrivateKeyDer::Pkcs1(key) => to_pkcs8(spki, key.secret_pkcs1_der())?,
        PrivateKeyDer::Sec1(key) => to_pkcs8(spki, key.secret_sec1_der())?,
        _ => return Err(Flaw::Unjudged("its key has an unknown form".to_owned())),
    };
    Ok(Secret::new(to_pem(PRIVATE_KEY, &pkcs8)))
}

fn can_judge(key: &PublicKey<'_>) -> bool {
    matches!(key, PublicKey::RSA(key) if (2048..=4096).contains(&key.key_size()))
        || matches!(key, PublicKey::EC(point) if matches!(point.key_size(), 256 | 384))
}

/// RFC 5958: the algorithm is the certificate's own, because the two are known to fit.
fn to_pkcs8(spki: &[u8], inner: &[u8]) -> Result<Vec<u8>, Flaw> {
    let convert = || {
        let spki = pkcs8::SubjectPublicKeyInfoRef::from_der(spki)?;
        pkcs8::PrivateKeyInfo {
            algorithm: spki.algorithm,
            private_key: inner,
            public_key: None,
        }
        .to_der()
    };
    convert().map_err(|error| {
        broken(format!(
            "the private key cannot be written as PKCS#8: {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;
    use time::Duration;

    use super::*;
    use crate::certificate::tests::NOW;
    use crate::certificate::tests::params;
    use crate::certificate::tests::pems;

    fn names(text: &str) -> NameSet {
        text.split(' ').map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_bundle_is_read_back_as_it_was_written() {
        let (chain, key) = pems(&params(
            &["a.example.com"],
            Duration::ZERO,
            Duration::days(90),
        ));
        let bundle = Bundle::parse(&chain, &Secret::new(key)).unwrap();
        let again = Bundle::parse(&bundle.fullchain_pem(), bundle.key_pem()).unwrap();
        assert_eq!(again.shown(), bundle.shown());
        assert_eq!(
            Shown::parse(&bundle.certificate_pem(), &bundle.chain_pem()).unwrap(),
            *bundle.shown()
        );
        assert!(!format!("{bundle:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_key_of_another_certificate_or_torn_is_broken() {
        let (chain, key) = pems(&params(
            &["a.example.com"],
            Duration::ZERO,
            Duration::days(90),
        ));
        let other = KeyPair::generate().unwrap().serialize_pem();
        for key in [
            other.as_str(),
            &key[..key.len() / 2],
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            let read = Bundle::parse(&chain, &Secret::new(key));
            assert!(matches!(read, Err(Flaw::Broken(_))), "{read:?}");
        }
    }

    #[test]
    fn a_chain_that_is_torn_is_not_a_leaf_alone() {
        let (chain, key) = pems(&params(
            &["a.example.com"],
            Duration::ZERO,
            Duration::days(90),
        ));
        let key = Secret::new(key);
        let behind_leaf = chain.rfind("-----BEGIN").unwrap();
        Bundle::parse(&chain[..behind_leaf], &key).unwrap();
        for length in [behind_leaf + BEGIN.len(), chain.len() - 20, chain.len() - 4] {
            let read = Bundle::parse(&chain[..length], &key);
            assert!(matches!(read, Err(Flaw::Broken(_))), "{length}: {read:?}");
        }
    }

    #[test]
    fn what_a_ca_answers_is_verified() {
        let (chain, key) = pems(&params(
            &["a.example.com", "b.example.com"],
            Duration::ZERO,
            Duration::days(90),
        ));
        let (other, _) = pems(&params(
            &["c.example.com"],
            Duration::ZERO,
            Duration::days(90),
        ));
        let key = Secret::new(key);
        let bundle = Bundle::parse(&chain, &key).unwrap();
        let good = names("a.example.com b.example.com");
        bundle.verify(&good, NOW).unwrap();
        assert!(
            bundle
                .verify(&names("a.example.com"), NOW)
                .unwrap_err()
                .contains("ordered")
        );
        assert!(
            bundle
                .verify(&good, NOW - Duration::SECOND)
                .unwrap_err()
                .contains("not valid before")
        );
        assert!(
            bundle
                .verify(&good, NOW + Duration::days(90))
                .unwrap_err()
                .contains("expired")
        );
        let wrong = Bundle::parse(&(bundle.certificate_pem() + &other), &key).unwrap();
        assert!(
            wrong
                .verify(&good, NOW)
                .unwrap_err()
                .contains("does not link")
        );
    }

    #[test]
    fn older_forms_of_keys_become_pkcs8() {
        let (chain, key) = pems(&params(
            &["a.example.com"],
            Duration::ZERO,
            Duration::days(90),
        ));
        let pkcs8 = pem::parse(&key).unwrap();
        let inner = pkcs8::PrivateKeyInfo::from_der(pkcs8.contents())
            .unwrap()
            .private_key;
        let sec1 = Secret::new(to_pem("EC PRIVATE KEY", inner));
        let bundle = Bundle::parse(&chain, &sec1).unwrap();
        assert!(
            bundle
                .key_pem()
                .reveal()
                .starts_with("-----BEGIN PRIVATE KEY-----\n")
        );
        Bundle::parse(&chain, bundle.key_pem()).unwrap();
    }
}
