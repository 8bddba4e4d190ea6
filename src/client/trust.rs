//! Which certificate of a server is trusted, and what is wrong with one that is not, in plain words.
//!
//! A certificate that stands byte for byte in the file of a setting was put there by a person for just this server: it
//! is taken whatever its form, as those are that people make themselves with `openssl req -x509` (CA:TRUE, no
//! subjectAltName, X.509 version 1), which webpki takes from nobody. The handshake's signature is checked all the same.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use rustls::CertificateError;
use rustls::DigitallySignedStruct;
use rustls::Error;
use rustls::OtherError;
use rustls::PeerIncompatible;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use time::OffsetDateTime;
use tracing::warn;
use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::der_parser::asn1_rs::FromDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;
use x509_parser::prelude::X509Version;

use crate::core::certificate::covers;
use crate::core::text::one_line;
use crate::core::text::timestamp;

/// Trusts what stands in a file, and whom roots have signed for.
#[derive(Debug)]
pub(super) struct Trust {
    /// The rules of everybody else (RFC 5280, RFC 9525).
    pub(super) rules: Arc<WebPkiServerVerifier>,
    /// What a file has, roots or servers' own.
    pub(super) pinned: Vec<CertificateDer<'static>>,
    /// The setting that names the file.
    pub(super) setting: Option<&'static str>,
    /// How signatures are checked.
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    /// Whether it was told that a pinned one is out of its dates.
    pub(super) is_told: AtomicBool,
}

/// Why a server's certificate is not trusted, with what mends it.
#[derive(Debug)]
pub(super) struct Untrusted(String);

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Untrusted {}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.is_pinned(end_entity) {
            self.tell_dates(end_entity, now);
            return Ok(ServerCertVerified::assertion());
        }
        let judged = self.rules.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        judged.map_err(|error| {
            let Error::InvalidCertificate(error) = error else {
                return error;
            };
            let told = Untrusted(self.told(&error, end_entity, server_name, now));
            CertificateError::Other(OtherError(Arc::new(told))).into()
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.is_pinned(cert) {
            return self.verify_signature(message, cert, dss);
        }
        self.rules.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !self.is_pinned(cert) {
            return self.rules.verify_tls13_signature(message, cert, dss);
        }
        // Not for handshakes any more since TLS 1.3 (RFC 8446, section 4.2.3).
        let is_old = matches!(
            dss.scheme,
            SignatureScheme::RSA_PKCS1_SHA1
                | SignatureScheme::RSA_PKCS1_SHA256
                | SignatureScheme::RSA_PKCS1_SHA384
                | SignatureScheme::RSA_PKCS1_SHA512
                | SignatureScheme::ECDSA_SHA1_Legacy
        );
        if is_old {
            return Err(PeerIncompatible::NoSignatureSchemesInCommon.into());
        }
        self.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Trust {
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        self.pinned.iter().any(|pinned| pinned == certificate)
    }

    /// As rustls does it, but for any form of certificate: the key that stands in it has signed the handshake.
    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let bad = |error: CertificateError| Error::InvalidCertificate(error);
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|_| bad(CertificateError::BadEncoding))?;
        let key = parsed.public_key();
        let algorithm = algorithm(key.raw).ok_or_else(|| bad(CertificateError::BadEncoding))?;
        let of_scheme = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
        let (_, verifiers) = of_scheme.ok_or(PeerIncompatible::NoSignatureSchemesInCommon)?;
        verifiers
            .iter()
            .filter(|verifier| verifier.public_key_alg_id().as_ref() == algorithm)
            .any(|verifier| {
                let key = &key.subject_public_key.data;
                verifier.verify_signature(key, message, dss.signature()).is_ok()
            })
            .then(HandshakeSignatureValid::assertion)
            .ok_or_else(|| bad(CertificateError::BadSignature))
    }

    /// Its dates are told, once for each time that they come to be wrong.
    fn tell_dates(&self, certificate: &CertificateDer<'_>, now: UnixTime) {
        let fault = X509Certificate::from_der(certificate)
            .ok()
            .and_then(|(_, certificate)| date_fault(&certificate, at(now)));
        let was_told = self.is_told.swap(fault.is_some(), Ordering::Relaxed);
        if let Some(fault) = fault.filter(|_| !was_told) {
            warn!(
                setting = self.setting,
                fault,
                "a server's certificate is out of its dates, and taken because the setting names it: make a new one"
            );
        }
    }

    /// Every fault that it has, and the one command, or setting, that mends them.
    fn told(
        &self,
        error: &CertificateError,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> String {
        let name = name.to_str();
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return format!("the certificate of {name} cannot be read: {error}");
        };
        let faults = faults(error, &parsed, &name, at(now));
        let is_ours = parsed.issuer() == parsed.subject();
        let file = self.setting.map(|setting| match is_ours {
            true => format!("put that certificate itself into the file of {setting}, which takes it as it is, or "),
            false => format!("put the certificate of its CA, or itself, into the file of {setting}, or "),
        });
        let place = match self.setting {
            Some(setting) => format!(", and put cert.pem into the file of {setting}"),
            None => String::new(),
        };
        format!(
            "the certificate of {name} is not trusted: {}: {}make a right one for it: {}{place}",
            faults.join("; "),
            file.unwrap_or_default(),
            command(&name),
        )
    }
}

/// What makes a certificate that everybody takes who has it in a file (tried with OpenSSL 3.0).
fn command(name: &str) -> String {
    let kind = if name.parse::<IpAddr>().is_ok() { "IP" } else { "DNS" };
    format!(
        "`openssl req -x509 -newkey rsa:2048 -nodes -days 825 -subj /CN={name} -addext subjectAltName={kind}:{name} \
         -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem`"
    )
}

/// The contents of the `AlgorithmIdentifier` in a `SubjectPublicKeyInfo`, both as DER.
fn algorithm(key: &[u8]) -> Option<&[u8]> {
    let (_, key) = Any::from_der(key).ok()?;
    let (_, algorithm) = Any::from_der(key.data).ok()?;
    Some(algorithm.data)
}

fn at(now: UnixTime) -> OffsetDateTime {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn date_fault(certificate: &X509Certificate<'_>, now: OffsetDateTime) -> Option<String> {
    let dates = certificate.validity();
    let (from, until) = (dates.not_before.to_datetime(), dates.not_after.to_datetime());
    if until < now {
        Some(format!("it has expired at {}", timestamp(until)))
    } else if now < from {
        Some(format!(
            "it is not valid before {}: is the clock of this machine right?",
            timestamp(from)
        ))
    } else {
        None
    }
}

/// All that is wrong with it; what nobody knows here in the words of `error`.
fn faults(
    error: &CertificateError,
    certificate: &X509Certificate<'_>,
    name: &str,
    now: OffsetDateTime,
) -> Vec<String> {
    let mut faults = Vec::new();
    if certificate.version() != X509Version::V3 {
        faults.push(
            "it is X.509 version 1, which has no subjectAltName (`openssl x509 -req` without -extfile makes such)"
                .to_owned(),
        );
    } else {
        let constraints = certificate.basic_constraints().ok().flatten();
        if constraints.is_some_and(|constraints| constraints.value.ca) {
            faults.push("it is that of a CA (CA:TRUE), and a server's must not be".to_owned());
        }
        faults.extend(name_fault(certificate, name));
    }
    faults.extend(date_fault(certificate, now));
    let is_self_signed = certificate.issuer() == certificate.subject();
    let is_unknown =
        matches!(error, CertificateError::UnknownIssuer | CertificateError::BadSignature);
    if is_unknown || is_self_signed {
        let issuer = one_line(&certificate.issuer().to_string());
        faults.push(match is_self_signed {
            true => "it has signed itself, and is not in a file that is trusted".to_owned(),
            false => format!("its issuer is not trusted ({issuer})"),
        });
    }
    if faults.is_empty() {
        faults.push(one_line(&error.to_string()));
    }
    faults
}

/// Names count in subjectAltName only (RFC 9525, section 6.3).
fn name_fault(certificate: &X509Certificate<'_>, name: &str) -> Option<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let Some(names) = names else {
        return Some(
            "it has no subjectAltName: a name in its subject (CN) does not count any more"
                .to_owned(),
        );
    };
    let shown: Vec<String> = names.value.general_names.iter().filter_map(shown).collect();
    let name = name.to_ascii_lowercase();
    if shown.iter().any(|own| covers(&own.to_ascii_lowercase(), &name)) {
        return None;
    }
    Some(format!("it is for {}, not for {name}", one_line(&shown.join(", "))))
}

fn shown(name: &GeneralName<'_>) -> Option<String> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "servers are named in these two ways only")]
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}
