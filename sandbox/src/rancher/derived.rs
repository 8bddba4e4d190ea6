//! What Cattle reads from the first PEM block of `cert`, in the texts it shows.

use std::net::IpAddr;
use std::net::Ipv6Addr;

use ring::digest::SHA1_FOR_LEGACY_USE_ONLY;
use ring::digest::SHA256;
use ring::digest::digest;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::der_parser::oid::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Name;

/// `Date.toString()` of Java in UTC.
const JAVA_DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short] [month repr:short] [day] [hour]:[minute]:[second] UTC [year]"
);

/// The fields that are derived from a certificate.
#[derive(Debug, Clone, Default)]
pub(crate) struct Derived {
    pub(crate) common_name: Option<String>,
    pub(crate) alternative_names: Option<Vec<String>>,
    pub(crate) issuer: String,
    pub(crate) algorithm: String,
    pub(crate) key_size: Option<usize>,
    pub(crate) version: String,
    pub(crate) serial: String,
    pub(crate) fingerprint: String,
    pub(crate) issued: String,
    pub(crate) expires: String,
    /// SHA-256 of the leaf in hex; for tests, Cattle does not show it.
    pub(crate) leaf: String,
}

impl Derived {
    /// Reads the first PEM block; none when it is not a certificate.
    pub(crate) fn from_pem(text: &str) -> Option<Self> {
        let (_, pem) = parse_x509_pem(text.as_bytes()).ok()?;
        if pem.label != "CERTIFICATE" {
            return None;
        }
        let der = &pem.contents;
        let certificate = pem.parse_x509().ok()?;
        let sha1: Vec<String> = digest(&SHA1_FOR_LEGACY_USE_ONLY, der)
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Some(Self {
            common_name: certificate
                .subject()
                .iter_common_name()
                .next()
                .and_then(|name| name.as_str().ok())
                .map(str::to_owned),
            alternative_names: alternative_names(&certificate),
            issuer: rfc2253(certificate.issuer()),
            algorithm: algorithm(&certificate.signature_algorithm.algorithm),
            key_size: key_size(&certificate),
            version: (certificate.version().0 + 1).to_string(),
            serial: certificate.serial.to_string(),
            fingerprint: sha1.join(":"),
            issued: java_date(certificate.validity().not_before.to_datetime()),
            expires: java_date(certificate.validity().not_after.to_datetime()),
            leaf: super::origin::hex(digest(&SHA256, der).as_ref()),
        })
    }
}

fn java_date(date: OffsetDateTime) -> String {
    date.format(JAVA_DATE).expect("every date has these components")
}

/// Values only, without their types; null for a certificate without the extension.
fn alternative_names(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let extension = certificate.subject_alternative_name().ok()??;
    let names = &extension.value.general_names;
    Some(names.iter().filter_map(general_name).collect())
}

fn general_name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) =
        name
    {
        return Some((*text).to_owned());
    }
    let GeneralName::IPAddress(bytes) = name else {
        return None;
    };
    if let Ok(four) = <[u8; 4]>::try_from(*bytes) {
        return Some(IpAddr::from(four).to_string());
    }
    // Java does not shorten runs of zeros.
    let sixteen = <[u8; 16]>::try_from(*bytes).ok()?;
    let groups = Ipv6Addr::from(sixteen).segments();
    Some(groups.map(|group| format!("{group:x}")).join(":"))
}

fn key_size(certificate: &X509Certificate<'_>) -> Option<usize> {
    match certificate.public_key().parsed().ok()? {
        PublicKey::RSA(rsa) => Some(rsa.key_size()),
        PublicKey::EC(_)
        | PublicKey::DSA(_)
        | PublicKey::GostR3410(_)
        | PublicKey::GostR3410_2012(_)
        | PublicKey::Unknown(_) => None,
    }
}

/// BouncyCastle's name of a signature algorithm in capitals.
fn algorithm(oid: &Oid<'_>) -> String {
    let dotted = oid.to_id_string();
    let name = match dotted.as_str() {
        "1.2.840.113549.1.1.5" => "SHA1WITHRSA",
        "1.2.840.113549.1.1.11" => "SHA256WITHRSA",
        "1.2.840.113549.1.1.12" => "SHA384WITHRSA",
        "1.2.840.113549.1.1.13" => "SHA512WITHRSA",
        "1.2.840.10045.4.3.2" => "SHA256WITHECDSA",
        "1.2.840.10045.4.3.3" => "SHA384WITHECDSA",
        "1.2.840.10045.4.3.4" => "SHA512WITHECDSA",
        "1.3.101.112" => "ED25519",
        other => other,
    };
    name.to_owned()
}

/// The most specific part first, no space after the comma, as `X500Principal` writes it.
fn rfc2253(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let values: Vec<String> =
                rdn.iter().map(|part| attribute(part.attr_type(), part.attr_value())).collect();
            values.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(oid: &Oid<'_>, value: &Any<'_>) -> String {
    let dotted = oid.to_id_string();
    let keyword = match dotted.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        other => other,
    };
    let text = std::str::from_utf8(value.data).unwrap_or_default();
    format!("{keyword}={}", escaped(text))
}

fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut escaped = String::new();
    for (index, character) in text.chars().enumerate() {
        let special = ",+\"\\<>;".contains(character)
            || index == 0 && "# ".contains(character)
            || index == last && character == ' ';
        if special {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
