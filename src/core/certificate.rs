//! Certificates as we meet them: leaves, and what a place shows of one.

use thiserror::Error;
use time::Duration;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::DistributionPointName;
use x509_parser::extensions::GeneralName;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;
use x509_parser::x509::X509Name;

use crate::core::fingerprint::Fingerprint;
use crate::core::names::DomainName;
use crate::core::names::NameSet;

/// Why something that was read whole is not the certificate, or bundle, that it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Flaw(pub String);

/// What a decision needs to know of an end-entity certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// SHA-256 of the DER form.
    pub fingerprint: Fingerprint,
    /// Start of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
    /// Who issued it, as text for people: the common name, or all there is. Nothing is decided by it.
    pub issuer: Box<str>,
    /// Whether it is signed by its own key, proven by the signature.
    pub is_self_signed: bool,
    /// Whether the CA itself marks it as a staging certificate.
    pub is_marked_staging: bool,
    names: Box<[Box<str>]>,
}

impl Leaf {
    /// The names it covers, sorted: lower-case DNS names, wildcards among them; other kinds of name with their kind.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// The names that are domain names as we know them.
    pub fn domain_names(&self) -> NameSet {
        self.names().filter_map(|name| name.parse().ok()).collect()
    }

    /// Whether clients accept it for `name`: exactly, or by a wildcard for the first label (RFC 6125).
    pub fn covers(&self, name: &DomainName) -> bool {
        self.names().any(|own| covers(own, name.as_str()))
    }

    /// Whether it lists exactly these names.
    pub fn names_equal(&self, names: &NameSet) -> bool {
        self.names.len() == names.len()
            && self.names().zip(names).all(|(own, name)| own == name.as_str())
    }

    /// From start to end of validity.
    pub fn lifetime(&self) -> Duration {
        self.not_after - self.not_before
    }

    /// Whether it is valid at `now` by its dates.
    pub fn is_current(&self, now: OffsetDateTime) -> bool {
        self.not_before <= now && now < self.not_after
    }

    fn read(certificate: &X509Certificate<'_>, der: &[u8], chain: &[X509Certificate<'_>]) -> Self {
        Self {
            fingerprint: Fingerprint::of(&[der]),
            not_before: certificate.validity().not_before.to_datetime(),
            not_after: certificate.validity().not_after.to_datetime(),
            issuer: issuer_of(certificate).into(),
            is_self_signed: is_self_signed(certificate),
            is_marked_staging: is_marked_staging(certificate, chain),
            names: names_of(certificate),
        }
    }
}

type Attributes<'a> = Box<dyn Iterator<Item = &'a AttributeTypeAndValue<'a>> + 'a>;

/// Far above any real name.
const LONGEST_ISSUER: usize = 200;

fn issuer_of(certificate: &X509Certificate<'_>) -> String {
    let issuer = certificate.issuer();
    let first = |mut attributes: Attributes<'_>| {
        let value = attributes.next()?.as_str().ok()?;
        Some(value.to_owned())
    };
    let common: Attributes<'_> = Box::new(issuer.iter_common_name());
    let organization: Attributes<'_> = Box::new(issuer.iter_organization());
    let text = match (first(organization), first(common)) {
        (Some(organization), Some(common)) => format!("{common} ({organization})"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => issuer.to_string(),
    };
    let is_plain = |char: &char| !char.is_control();
    text.chars().filter(is_plain).take(LONGEST_ISSUER).collect()
}

/// Whether it is signed by its own key, proven by the signature.
pub(super) fn is_self_signed(certificate: &X509Certificate<'_>) -> bool {
    certificate.issuer() == certificate.subject() && certificate.verify_signature(None).is_ok()
}

/// Whether a name of a certificate, both in lower case, stands for `name`: exactly, or as a wildcard for its first label
/// (RFC 6125).
pub(crate) fn covers(own: &str, name: &str) -> bool {
    match own.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => own == name,
    }
}

fn names_of(certificate: &X509Certificate<'_>) -> Box<[Box<str>]> {
    let mut names: Vec<Box<str>> = Vec::new();
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        names.extend(extension.value.general_names.iter().map(|name| {
            if let GeneralName::DNSName(name) = name {
                name.to_ascii_lowercase().into_boxed_str()
            } else {
                name.to_string().into_boxed_str()
            }
        }));
    }
    // Without alternatives some clients, HAProxy's SNI among them, still go by the common name.
    if names.is_empty() {
        let common = certificate.subject().iter_common_name().next();
        names.extend(
            common.and_then(|name| name.as_str().ok()).map(|name| name.to_ascii_lowercase().into()),
        );
    }
    names.sort_unstable();
    names.dedup();
    names.into()
}

/// Let's Encrypt's marks of its staging hierarchy: names of issuers begin so, and their files lie on such hosts.
const STAGING_NAMES: [&str; 2] = ["(staging)", "fake le "];
const STAGING_HOST: &str = "stg-";
const STAGING_HOST_PARENT: &str = ".lencr.org";

fn is_marked_staging(certificate: &X509Certificate<'_>, chain: &[X509Certificate<'_>]) -> bool {
    has_staging_name(certificate.issuer())
        || chain
            .iter()
            .any(|link| has_staging_name(link.subject()) || has_staging_name(link.issuer()))
        || certificate
            .extensions()
            .iter()
            .any(|extension| has_staging_location(extension.parsed_extension()))
}

fn has_staging_location(extension: &ParsedExtension<'_>) -> bool {
    if let ParsedExtension::AuthorityInfoAccess(access) = extension {
        return access.accessdescs.iter().any(|entry| is_staging_location(&entry.access_location));
    }
    if let ParsedExtension::CRLDistributionPoints(points) = extension {
        let names = points.iter().filter_map(|point| match &point.distribution_point {
            Some(DistributionPointName::FullName(names)) => Some(names),
            Some(DistributionPointName::NameRelativeToCRLIssuer(_)) | None => None,
        });
        return names.flatten().any(is_staging_location);
    }
    false
}

fn has_staging_name(name: &X509Name<'_>) -> bool {
    name.iter_attributes().filter_map(|attribute| attribute.as_str().ok()).any(|value| {
        let value = value.to_ascii_lowercase();
        STAGING_NAMES.iter().any(|mark| value.starts_with(mark))
    })
}

fn is_staging_location(location: &GeneralName<'_>) -> bool {
    let GeneralName::URI(uri) = location else {
        return false;
    };
    let host = uri.split("://").nth(1).and_then(|rest| rest.split(['/', ':']).next()).unwrap_or("");
    host.starts_with(STAGING_HOST) && host.ends_with(STAGING_HOST_PARENT)
}

/// What a place shows of a certificate: the leaf, and the chain behind it as one fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateChain {
    /// The end-entity certificate.
    pub leaf: Leaf,
    /// SHA-256 over the DER form of all certificates behind the leaf, in order.
    pub chain: Fingerprint,
}

impl CertificateChain {
    /// Reads a certificate, with or without chain behind it, and a further chain.
    pub fn parse(certificate: &str, chain: &str) -> Result<Self, Flaw> {
        let mut ders = certificates(certificate)?;
        // What stands behind a leaf must not be taken for it.
        if ders.is_empty() {
            return Err(broken("there is no certificate in it"));
        }
        // A chain that does not parse is still told from another by its bytes.
        ders.extend(certificates(chain).unwrap_or_else(|_| vec![chain.as_bytes().to_vec()]));
        Self::of(&ders)
    }

    pub(crate) fn of(ders: &[Vec<u8>]) -> Result<Self, Flaw> {
        let (first, rest) =
            ders.split_first().ok_or_else(|| broken("there is no certificate in it"))?;
        let leaf = parse(first)?;
        let parsed: Vec<_> = rest.iter().filter_map(|der| parse(der).ok()).collect();
        Ok(Self { leaf: Leaf::read(&leaf, first, &parsed), chain: Fingerprint::of(rest) })
    }
}

pub(crate) fn broken(text: impl Into<String>) -> Flaw {
    Flaw(text.into())
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Flaw> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(broken("there are bytes behind the certificate")),
        Err(error) => Err(broken(format!("the certificate does not parse: {error}"))),
    }
}

/// The certificates of a PEM text in order; text around the blocks is ignored.
pub(crate) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, Flaw> {
    let blocks =
        pem::parse_many(text).map_err(|error| broken(format!("it is not PEM: {error}")))?;
    Ok(blocks
        .into_iter()
        .filter(|block| block.tag() == CERTIFICATE)
        .map(pem::Pem::into_contents)
        .collect())
}

pub(crate) const CERTIFICATE: &str = "CERTIFICATE";

#[cfg(test)]
pub(crate) mod tests;
