//! Signed requests: JWS in flattened JSON, ES256 ([RFC 8555, 6.2](https://www.rfc-editor.org/rfc/rfc8555#section-6.2)).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header;
use ring::digest;
use ring::signature;
use serde::Deserialize;
use serde_json::Value;

use super::problem::Problem;
use crate::serve::Asked;

/// A P-256 public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The uncompressed point.
    point: Vec<u8>,
}

impl PublicKey {
    /// What stands for the key with this text where nothing is signed: other texts are other keys.
    pub fn standing_for(text: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        Self { point: [[4].as_slice(), digest.as_ref(), digest.as_ref()].concat() }
    }

    /// The bytes of the key as they stand in a certificate, too.
    pub(super) fn point(&self) -> &[u8] {
        &self.point
    }

    /// The thumbprint of the JWK ([RFC 7638](https://www.rfc-editor.org/rfc/rfc7638)).
    pub fn thumbprint(&self) -> String {
        let (x, y) = self.point[1..].split_at(32);
        let (x, y) = (encoded(x), encoded(y));
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        encoded(digest::digest(&digest::SHA256, jwk.as_bytes()).as_ref())
    }
}

pub(super) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

/// Whose key the signature is to be checked with.
#[derive(Debug, Clone)]
pub(super) enum Signer {
    /// The account with this URL.
    Account(String),
    /// This key.
    Key(PublicKey),
}

/// A signed request that was read and not yet checked.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) signer: Signer,
    pub(super) nonce: Option<String>,
    pub(super) url: String,
    pub(super) payload: Vec<u8>,
    input: String,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Flattened {
    protected: String,
    payload: String,
    signature: String,
    header: Option<Value>,
    signatures: Option<Value>,
}

#[derive(Deserialize)]
struct Protected {
    alg: String,
    nonce: Option<String>,
    url: Option<String>,
    jwk: Option<Jwk>,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Signed {
    pub(super) fn parse(request: &Asked) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        if content_type.is_none_or(|value| value != "application/jose+json") {
            return Err(Problem::new(
                415,
                "malformed",
                "Invalid Content-Type header on POST. Content-Type must be \"application/jose+json\"",
            ));
        }
        let jws: Flattened = serde_json::from_slice(request.body())
            .map_err(|_| Problem::malformed("Parse error reading JWS"))?;
        if jws.header.is_some() {
            return Err(Problem::malformed(
                "JWS \"header\" field not allowed. All headers must be in \"protected\" field",
            ));
        }
        if jws.signatures.is_some() {
            return Err(Problem::malformed(
                "JWS \"signatures\" field not allowed. Only the \"signature\" field should contain a signature",
            ));
        }
        let unreadable = || Problem::malformed("Parse error reading JWS");
        let protected = decoded(&jws.protected).ok_or_else(unreadable)?;
        let protected: Protected = serde_json::from_slice(&protected).map_err(|_| unreadable())?;
        // Before the key, which need not be one of ours when the algorithm is not.
        if protected.alg != "ES256" {
            return Err(Problem::new(
                400,
                "badSignatureAlgorithm",
                format!(
                    "JWS signature header contains unsupported algorithm {:?}, expected ES256",
                    protected.alg
                ),
            ));
        }
        Ok(Self {
            signer: signer(protected.jwk, protected.kid)?,
            nonce: protected.nonce,
            url: protected
                .url
                .ok_or_else(|| Problem::malformed("JWS header parameter 'url' required"))?,
            payload: decoded(&jws.payload).ok_or_else(unreadable)?,
            signature: decoded(&jws.signature).ok_or_else(unreadable)?,
            input: format!("{}.{}", jws.protected, jws.payload),
        })
    }

    /// Checks the signature.
    pub(super) fn verify(&self, key: &PublicKey) -> Result<(), Problem> {
        signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, key.point())
            .verify(self.input.as_bytes(), &self.signature)
            .map_err(|_| Problem::malformed("JWS verification error"))
    }
}

fn signer(jwk: Option<Jwk>, kid: Option<String>) -> Result<Signer, Problem> {
    match (jwk, kid) {
        (Some(jwk), None) => Ok(Signer::Key(jwk.into_key()?)),
        (None, Some(kid)) => Ok(Signer::Account(kid)),
        (Some(_), Some(_)) => {
            Err(Problem::malformed("jwk and kid header fields are mutually exclusive"))
        }
        (None, None) => Err(Problem::malformed("No Key ID in JWS header")),
    }
}

impl Jwk {
    fn into_key(self) -> Result<PublicKey, Problem> {
        let unfit = || Problem::new(400, "badPublicKey", "only keys on the curve P-256 are taken");
        if self.kty != "EC" || self.crv.as_deref() != Some("P-256") {
            return Err(unfit());
        }
        let coordinate = |text: Option<String>| {
            let bytes = decoded(&text?)?;
            (bytes.len() == 32).then_some(bytes)
        };
        let x = coordinate(self.x).ok_or_else(unfit)?;
        let y = coordinate(self.y).ok_or_else(unfit)?;
        Ok(PublicKey { point: [vec![4], x, y].concat() })
    }
}
