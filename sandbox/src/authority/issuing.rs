//! From a signing request to a certificate.

use std::sync::Arc;

use rcgen::CertificateSigningRequestParams;
use rcgen::DnType;
use rcgen::DnValue;
use rcgen::PublicKeyData;
use rcgen::SanType;
use rcgen::SerialNumber;
use ring::digest;
use time::OffsetDateTime;

use super::limits::Token;
use super::problem::Problem;
use super::records::Account;
use super::records::Issued;
use super::records::Order;
use super::resource::Resource;
use super::settings::AuthoritySettings;
use super::state::State;
use crate::certs::CertificateAuthority;
use crate::certs::LeafContent;
use crate::certs::new_key;

/// The settings in force and the issuer that they ask for.
#[derive(Clone)]
pub struct Rules {
    /// The settings.
    pub settings: Arc<AuthoritySettings>,
    /// Who signs.
    pub issuer: Arc<CertificateAuthority>,
}

/// A signing request whose signature holds.
pub(super) struct SigningRequest {
    params: CertificateSigningRequestParams,
    /// In lower case, sorted, each once; the common name among them.
    pub(super) names: Vec<String>,
    common_name: Option<String>,
}

/// A certificate that was just signed.
pub(super) struct Signed {
    serial: String,
    record: Issued,
}

impl SigningRequest {
    pub(super) fn parse(der: &[u8], account: &Account) -> Result<Self, Problem> {
        let params = CertificateSigningRequestParams::from_der(&der.into())
            .map_err(|why| bad_request(&why.to_string()))?;
        if params.public_key.der_bytes() == account.key.point() {
            return Err(Problem::malformed(
                "certificate public key must be different than account key",
            ));
        }
        let common_name = params.params.distinguished_name.get(&DnType::CommonName).and_then(text);
        let mut names: Vec<String> = common_name.clone().into_iter().collect();
        for name in &params.params.subject_alt_names {
            let SanType::DnsName(name) = name else {
                return Err(bad_request("it has names that are not DNS names"));
            };
            names.push(name.as_str().to_ascii_lowercase());
        }
        names.sort();
        names.dedup();
        Ok(Self { params, names, common_name })
    }
}

pub(super) fn bad_request(why: &str) -> Problem {
    Problem::new(400, "badCSR", format!("Error parsing CSR: {why}"))
}

fn text(value: &DnValue) -> Option<String> {
    let text = match value {
        DnValue::PrintableString(text) => text.as_str(),
        DnValue::Utf8String(text) => text,
        DnValue::Ia5String(text) => text.as_str(),
        DnValue::BmpString(_) | DnValue::TeletexString(_) | DnValue::UniversalString(_) | _ => {
            return None;
        }
    };
    Some(text.to_ascii_lowercase())
}

impl Rules {
    /// Signs what the order is for, or what the settings make of it.
    pub(super) fn sign(
        &self,
        order: &Order,
        request: &SigningRequest,
        serial: SerialNumber,
        now: OffsetDateTime,
    ) -> Signed {
        let settings = &self.settings;
        let not_before = whole_seconds(now - settings.backdate + settings.postdate);
        let names = settings.wrong_names.as_ref().unwrap_or(&order.names);
        let content = LeafContent {
            names: names.clone(),
            common_name: common_name(settings, names, request),
            not_before,
            not_after: not_before + settings.lifetime,
        };
        let number = hex(serial.as_ref());
        let certificate = if settings.wrong_key {
            self.issuer.issue_numbered(&content, serial, &new_key())
        } else {
            self.issuer.issue_numbered(&content, serial, &request.params.public_key)
        };
        let der = certificate.der();
        let mut names = content.names;
        names.sort();
        let chain = if settings.wrong_chain {
            CertificateAuthority::new(&settings.root, settings.chain()).chain_pem()
        } else {
            self.issuer.chain_pem()
        };
        Signed {
            serial: number,
            record: Issued {
                names,
                leaf_sha256: hex(digest::digest(&digest::SHA256, der).as_ref()),
                not_before,
                not_after: content.not_after,
                account: order.account.clone(),
                order: order.url.clone(),
                chain_pem: format!("{}{chain}", certificate.pem()),
            },
        }
    }
}

/// That of the request if it is among the names, else the first name; none of more than 63 letters.
fn common_name(
    settings: &AuthoritySettings,
    names: &[String],
    request: &SigningRequest,
) -> Option<String> {
    let wanted = request
        .common_name
        .as_ref()
        .filter(|name| names.contains(name))
        .or_else(|| names.first())
        .filter(|name| settings.common_name && name.len() <= 63);
    wanted.cloned()
}

fn whole_seconds(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(0).expect("zero is a number of nanoseconds")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl State {
    /// Signs and keeps a certificate, and returns its URL. From here on it has been issued and counts, whatever becomes of
    /// the order.
    pub(super) fn issue(
        &mut self,
        order: &Order,
        request: &SigningRequest,
        rules: &Rules,
        now: OffsetDateTime,
    ) -> String {
        let settings = &rules.settings;
        let signed = rules.sign(order, request, self.chance.serial(), now);
        let url = Resource::Certificate(signed.serial.clone()).url(&self.base);
        let names = order.names.clone();
        let mut tokens = vec![Token::duplicate(&names)];
        if !self.is_renewal(&names, now) {
            tokens.extend(Token::certificate(&names));
        }
        self.last_issued.insert(names, now);
        for token in tokens {
            self.buckets.spend(&settings.limits, token, now);
        }
        self.certificates.insert(signed.serial, self.issued.len());
        self.issued.push(signed.record);
        url
    }
}
