//! Requests that are signed by an account key: JSON web signatures (RFC 7515) as RFC 8555, section 6.2 has them.

use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use ring::signature::EcdsaKeyPair;
use ring::signature::KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;

use crate::core::bundle::Secret;

/// The key of an account, P-256.
pub(super) struct AccountKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    jwk: Jwk,
}

/// A public key (RFC 7517). In the order that its thumbprint is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Jwk {
    crv: &'static str,
    kty: &'static str,
    x: String,
    y: String,
}

/// Who signs, as the request says it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signer<'a> {
    /// A key that has no account yet.
    Key,
    /// The account of this URL.
    Account(&'a str),
}

#[derive(Serialize)]
struct Protected<'a> {
    alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwk: Option<&'a Jwk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    nonce: &'a str,
    url: &'a str,
}

#[derive(Serialize)]
struct Signed {
    protected: String,
    payload: String,
    signature: String,
}

impl AccountKey {
    /// Reads a key, PKCS#8 PEM; an error says why it is none that can be used.
    pub(super) fn parse(key: &Secret) -> Result<Self, String> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(key.reveal().as_bytes())
            .map_err(|error| error.to_string())?;
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.secret_pkcs8_der(), &random)
            .map_err(|error| error.to_string())?;
        // An uncompressed point: one byte for that, then both coordinates.
        let point = pair.public_key().as_ref().get(1..);
        let (x, y) = point
            .and_then(|point| point.split_at_checked(32))
            .ok_or("its public key is no point")?;
        let jwk = Jwk { crv: "P-256", kty: "EC", x: base64url(x), y: base64url(y) };
        Ok(Self { pair, random, jwk })
    }

    /// Its thumbprint (RFC 7638).
    pub(super) fn thumbprint(&self) -> String {
        base64url(digest::digest(&digest::SHA256, &json(&self.jwk)).as_ref())
    }

    /// The body of a request; without a payload it only asks to see something (RFC 8555, section 6.3).
    pub(super) fn sign(
        &self,
        signer: Signer<'_>,
        nonce: &str,
        url: &str,
        payload: Option<&[u8]>,
    ) -> Result<Vec<u8>, String> {
        let (jwk, kid) = match signer {
            Signer::Key => (Some(&self.jwk), None),
            Signer::Account(url) => (None, Some(url)),
        };
        let protected = base64url(&json(&Protected { alg: "ES256", jwk, kid, nonce, url }));
        let payload = base64url(payload.unwrap_or_default());
        let signature = self
            .pair
            .sign(&self.random, format!("{protected}.{payload}").as_bytes())
            .map_err(|_| "the system has no random bytes")?;
        Ok(json(&Signed { protected, payload, signature: base64url(signature.as_ref()) }))
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("fields of text can be written as JSON")
}

/// Base64 for URLs, without padding (RFC 4648, section 5).
pub(super) fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let padded = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for place in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * place)) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use ring::signature::ECDSA_P256_SHA256_FIXED;
    use ring::signature::UnparsedPublicKey;
    use serde_json::Value;
    use serde_json::json;

    use super::*;

    fn decoded(text: &str) -> Vec<u8> {
        let place = |char: char| match char {
            'A'..='Z' => char as u32 - 65,
            'a'..='z' => char as u32 - 71,
            '0'..='9' => char as u32 + 4,
            '-' => 62,
            '_' => 63,
            _ => panic!("{char:?} in {text}"),
        };
        let bits = text.chars().map(place).collect::<Vec<_>>();
        let bytes = bits.chunks(4).flat_map(|chunk| {
            let bits = (0..4).fold(0, |bits, at| bits << 6 | chunk.get(at).unwrap_or(&0));
            bits.to_be_bytes()[1..chunk.len()].to_vec()
        });
        bytes.collect()
    }

    fn key() -> AccountKey {
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        AccountKey::parse(&Secret::new(pem)).unwrap()
    }

    #[track_caller]
    fn check(key: &AccountKey, signer: Signer<'_>, payload: Option<&[u8]>) -> Value {
        let body = key.sign(signer, "n-1", "https://ca.test/1", payload).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let [protected, text, signature] =
            ["protected", "payload", "signature"].map(|field| body[field].as_str().unwrap());
        assert_eq!(decoded(text), payload.unwrap_or_default());
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key());
        let signed = format!("{protected}.{text}");
        public.verify(signed.as_bytes(), &decoded(signature)).unwrap();
        serde_json::from_slice(&decoded(protected)).unwrap()
    }

    #[test]
    fn a_request_is_signed_with_all_that_the_authority_wants_to_see() {
        let key = key();
        let jwk = json!({"crv": "P-256", "kty": "EC", "x": key.jwk.x, "y": key.jwk.y});
        assert_eq!(
            check(&key, Signer::Key, Some(br#"{"a":"b"}"#)),
            json!({"alg": "ES256", "jwk": jwk, "nonce": "n-1", "url": "https://ca.test/1"})
        );
        let account = Signer::Account("https://ca.test/account/1");
        for payload in [None, Some(b"{}".as_slice())] {
            assert_eq!(
                check(&key, account, payload),
                json!({
                    "alg": "ES256", "kid": "https://ca.test/account/1", "nonce": "n-1",
                    "url": "https://ca.test/1",
                })
            );
        }
    }

    #[test]
    fn a_thumbprint_is_that_of_the_fields_in_their_order() {
        let key = key();
        let Jwk { x, y, .. } = &key.jwk;
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        assert_eq!(key.thumbprint(), base64url(hash.as_ref()));
    }

    #[test]
    fn what_is_no_key_says_so_without_showing_it() {
        for text in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            let error = AccountKey::parse(&Secret::new(text.to_owned())).err().unwrap();
            assert!(!error.is_empty() && !error.contains("AAAA"), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn bytes_come_back_from_base64(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100)) {
            assert_eq!(decoded(&base64url(&bytes)), bytes);
        }
    }
}
