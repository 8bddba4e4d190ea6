//! Private keys, and whether one belongs to a certificate: proven where ring knows the kind of key, else by comparing
//! what stands in the two.

use pkcs8::der;
use pkcs8::der::Decode;
use pkcs8::der::Encode;
use pkcs8::der::Reader;
use pkcs8::der::SliceReader;
use pkcs8::der::Tag;
use pkcs8::der::TagNumber;
use pkcs8::der::Tagged;
use pkcs8::der::asn1::AnyRef;
use pkcs8::der::asn1::BitStringRef;
use pkcs8::der::asn1::ObjectIdentifier;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::asn1::UintRef;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;

use crate::core::bundle::Secret;
use crate::core::bundle::to_pem;
use crate::core::certificate::Flaw;
use crate::core::certificate::broken;

const PRIVATE_KEY: &str = "PRIVATE KEY";

/// RFC 8017, appendix C: `rsaEncryption`, and `id-RSASSA-PSS` for the same kind of key.
const RSA: [ObjectIdentifier; 2] = [
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10"),
];
/// RFC 5480, section 2.1.1.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The key as one PKCS#8 block, unless its public half is another than the one in the certificate. What shows no public
/// half is not refuted.
pub(super) fn fitting(leaf: &X509Certificate<'_>, key: &Secret) -> Result<Secret, Flaw> {
    let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
        .map_err(|_| broken("the private key is not PEM"))?;
    let spki = leaf.public_key().raw;
    let proven = any_supported_type(&key)
        .ok()
        .and_then(|signer| Some(signer.public_key()?.as_ref() == spki));
    let fits = match proven {
        Some(fits) => fits,
        None => may_fit(&key, spki)
            .map_err(|error| broken(format!("the private key does not parse: {error}")))?,
    };
    if !fits {
        return Err(broken("the private key belongs to another certificate"));
    }
    let pkcs8 = match &key {
        PrivateKeyDer::Pkcs8(key) => Ok(key.secret_pkcs8_der().to_vec()),
        PrivateKeyDer::Pkcs1(key) => to_pkcs8(spki, key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(key) => to_pkcs8(spki, key.secret_sec1_der()),
        _ => return Err(broken("the private key has an unknown form")),
    };
    let pkcs8 = pkcs8
        .map_err(|error| broken(format!("the private key cannot be written as PKCS#8: {error}")))?;
    Ok(Secret::new(to_pem(PRIVATE_KEY, &pkcs8)))
}

/// RFC 5958: the algorithm is the certificate's own, because the two are known to fit.
fn to_pkcs8(spki: &[u8], inner: &[u8]) -> der::Result<Vec<u8>> {
    let spki = pkcs8::SubjectPublicKeyInfoRef::from_der(spki)?;
    pkcs8::PrivateKeyInfo { algorithm: spki.algorithm, private_key: inner, public_key: None }
        .to_der()
}

/// What a key says about its public half.
#[derive(Debug, PartialEq, Eq)]
enum Half<'a> {
    /// Modulus and exponent.
    Rsa(&'a [u8], &'a [u8]),
    /// The point of an elliptic curve (SEC 1, section 2.3.3).
    Point(&'a [u8]),
    /// The bits of another kind of key.
    Bits(ObjectIdentifier, &'a [u8]),
}

/// Whether what stands in a key does not speak against a public key.
fn may_fit(key: &PrivateKeyDer<'_>, spki: &[u8]) -> der::Result<bool> {
    let spki = pkcs8::SubjectPublicKeyInfoRef::from_der(spki)?;
    let kind = spki.algorithm.oid;
    let bits = spki.subject_public_key.raw_bytes();
    let public = if RSA.contains(&kind) {
        let (modulus, exponent) =
            integers(bits, |reader| Ok((reader.decode()?, reader.decode()?)))?;
        Half::Rsa(modulus, exponent)
    } else if kind == EC {
        Half::Point(bits)
    } else {
        Half::Bits(kind, bits)
    };
    let own = match key {
        PrivateKeyDer::Pkcs1(key) => Some(rsa(key.secret_pkcs1_der())?),
        PrivateKeyDer::Sec1(key) => match point(key.secret_sec1_der())? {
            Some(point) => Some(point),
            None => return Ok(kind == EC),
        },
        PrivateKeyDer::Pkcs8(key) => {
            let info = pkcs8::PrivateKeyInfo::from_der(key.secret_pkcs8_der())
                .map_err(|_| der::ErrorKind::Failed)?;
            let own = info.algorithm.oid;
            if RSA.contains(&own) {
                Some(rsa(info.private_key)?)
            } else if own == EC {
                match point(info.private_key)? {
                    Some(point) => Some(point),
                    // Two named curves that differ say enough.
                    None => return Ok(info.algorithm == spki.algorithm),
                }
            } else {
                match info.public_key {
                    Some(bits) => Some(Half::Bits(own, bits)),
                    None => return Ok(own == kind),
                }
            }
        }
        _ => None,
    };
    Ok(own.is_none_or(|own| own.is_same(&public)))
}

impl Half<'_> {
    fn is_same(&self, other: &Self) -> bool {
        if let (Self::Point(own), Self::Point(other)) = (self, other)
            && own.first() != other.first()
        {
            // One of them may be compressed: then both begin with the same coordinate.
            let length = own.len().min(other.len());
            let is_compressed = |point: &[u8]| matches!(point.first(), Some(2 | 3));
            return is_compressed(own) != is_compressed(other)
                && own.get(1..length) == other.get(1..length);
        }
        self == other
    }
}

/// The first integers of a sequence; what stands behind them is only passed over.
fn integers<'a>(
    der: &'a [u8],
    read: impl FnOnce(
        &mut der::NestedReader<'_, SliceReader<'a>>,
    ) -> der::Result<(UintRef<'a>, UintRef<'a>)>,
) -> der::Result<(&'a [u8], &'a [u8])> {
    let mut reader = SliceReader::new(der)?;
    let (first, second) = reader.sequence(|inside| {
        let found = read(inside)?;
        while !inside.is_finished() {
            AnyRef::decode(inside)?;
        }
        Ok(found)
    })?;
    reader.finish((first.as_bytes(), second.as_bytes()))
}

/// RFC 8017, appendix A.1.2.
fn rsa(der: &[u8]) -> der::Result<Half<'_>> {
    let (modulus, exponent) = integers(der, |reader| {
        let _version: u8 = reader.decode()?;
        Ok((reader.decode()?, reader.decode()?))
    })?;
    Ok(Half::Rsa(modulus, exponent))
}

/// RFC 5915: the public half may be left out.
fn point(der: &[u8]) -> der::Result<Option<Half<'_>>> {
    const PUBLIC_KEY: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber::N1 };
    let mut reader = SliceReader::new(der)?;
    let found = reader.sequence(|inside| {
        let _version: u8 = inside.decode()?;
        let _private: OctetStringRef<'_> = inside.decode()?;
        let mut found = None;
        while !inside.is_finished() {
            let part = AnyRef::decode(inside)?;
            if part.tag() == PUBLIC_KEY {
                found = Some(BitStringRef::from_der(part.value())?.raw_bytes());
            }
        }
        Ok(found)
    })?;
    reader.finish(found.map(Half::Point))
}

#[cfg(test)]
mod tests;
