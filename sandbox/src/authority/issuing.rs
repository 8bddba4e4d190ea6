//! Finalizing and downloading ([RFC 8555, 7.4](https://www.rfc-editor.org/rfc/rfc8555#section-7.4)).

use std::sync::Arc;

use http::StatusCode;
use http::header;
use rcgen::CertificateSigningRequestParams;
use rcgen::DnType;
use rcgen::DnValue;
use rcgen::PublicKeyData;
use rcgen::SanType;
use ring::digest;
use serde::Deserialize;
use time::OffsetDateTime;
use x509_parser::prelude::FromDer;
use x509_parser::prelude::X509Certificate;

use super::clock;
use super::jws::decoded;
use super::limits::Token;
use super::problem::Problem;
use super::records::Account;
use super::records::Issued;
use super::records::Order;
use super::records::OrderStatus;
use super::reply::Reply;
use super::resource::Owned;
use super::resource::Resource;
use super::settings::AuthoritySettings;
use super::shared::Rules;
use super::shared::Shared;
use super::shared::post_as_get;
use super::shared::read;
use super::state::State;
use crate::certs::CertificateAuthority;
use crate::certs::LeafContent;
use crate::certs::new_key;
use crate::serve::Asked;

#[derive(Deserialize)]
struct Finalize {
    csr: String,
}

/// A signing request whose signature holds.
struct SigningRequest {
    params: CertificateSigningRequestParams,
    /// In lower case, sorted, each once; the common name among them.
    names: Vec<String>,
    common_name: Option<String>,
}

/// A certificate that was just signed.
struct Signed {
    serial: String,
    record: Issued,
}

impl SigningRequest {
    fn parse(payload: &[u8], account: &Account) -> Result<Self, Problem> {
        let asked: Finalize = read(payload)?;
        let bad = |why: &str| Problem::new(400, "badCSR", format!("Error parsing CSR: {why}"));
        let der = decoded(&asked.csr).ok_or_else(|| bad("it is not base64url"))?;
        let params = CertificateSigningRequestParams::from_der(&der.into())
            .map_err(|why| bad(&why.to_string()))?;
        if params.public_key.der_bytes() == account.key.point() {
            return Err(Problem::malformed(
                "certificate public key must be different than account key",
            ));
        }
        let common_name = params
            .params
            .distinguished_name
            .get(&DnType::CommonName)
            .and_then(text);
        let mut names: Vec<String> = common_name.clone().into_iter().collect();
        for name in &params.params.subject_alt_names {
            let SanType::DnsName(name) = name else {
                return Err(bad("it has names that are not DNS names"));
            };
            names.push(name.as_str().to_ascii_lowercase());
        }
        names.sort();
        names.dedup();
        Ok(Self {
            params,
            names,
            common_name,
        })
    }
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
    fn sign(&self, order: &Order, request: &SigningRequest, now: OffsetDateTime) -> Signed {
        let settings = &self.settings;
        let not_before = whole_seconds(now - settings.backdate + settings.postdate);
        let names = settings.wrong_names.as_ref().unwrap_or(&order.names);
        let content = LeafContent {
            names: names.clone(),
            common_name: common_name(settings, names, request),
            not_before,
            not_after: not_before + settings.lifetime,
        };
        let certificate = if settings.wrong_key {
            self.issuer.issue(&content, &new_key())
        } else {
            self.issuer.issue(&content, &request.params.public_key)
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
            serial: serial(der),
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
    time.replace_nanosecond(0)
        .expect("zero is a number of nanoseconds")
}

fn serial(der: &[u8]) -> String {
    let (_, certificate) = X509Certificate::from_der(der).expect("it was just made");
    hex(&certificate.serial.to_bytes_be())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl State {
    /// Claims a ready order for issuing, so that it cannot be finalized twice.
    fn begin_issuing(&mut self, owned: Owned, now: OffsetDateTime) -> Result<Order, Problem> {
        self.ready_order(owned, now)?;
        let order = self.orders.get_mut(&owned.id);
        let order = order.expect("it was just found");
        order.status = OrderStatus::Processing;
        Ok(order.clone())
    }

    fn ready_order(&self, owned: Owned, now: OffsetDateTime) -> Result<&Order, Problem> {
        let order = self.order(owned, now)?;
        if order.status == OrderStatus::Ready {
            return Ok(order);
        }
        Err(Problem::new(
            403,
            "orderNotReady",
            format!(
                "Order's status ({:?}) is not acceptable for finalization",
                order.status.name()
            ),
        ))
    }

    /// Keeps a certificate. From here on it has been issued and counts, whenever the order becomes valid.
    fn keep(&mut self, id: u64, signed: Signed, settings: &AuthoritySettings, now: OffsetDateTime) {
        let url = Resource::Certificate(signed.serial.clone()).url(&self.base);
        let order = self
            .orders
            .get_mut(&id)
            .expect("orders are never taken out");
        order.certificate = Some(url);
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
    }

    fn end_issuing(&mut self, id: u64) -> Order {
        let order = self
            .orders
            .get_mut(&id)
            .expect("orders are never taken out");
        order.status = OrderStatus::Valid;
        order.clone()
    }
}

impl Shared {
    pub(super) fn finalize(
        self: &Arc<Self>,
        request: &Asked,
        owned: Owned,
    ) -> Result<Reply, Problem> {
        let (account, payload) = self.by_account(request)?;
        let (owned, now) = (owned.asked_by(&account)?, clock::now());
        let names = self.state.borrow().ready_order(owned, now)?.names.clone();
        let signing_request = SigningRequest::parse(&payload, &account)?;
        if signing_request.names != names {
            return Err(
                Problem::unauthorized("CSR does not specify same identifiers as Order")
                    .while_doing("Error finalizing order"),
            );
        }
        let order = self.change(|state| state.begin_issuing(owned, now))?;
        let rules = self.rules();
        let signed = rules.sign(&order, &signing_request, now);
        let wait = rules.settings.processing;
        let order = self.change(|state| {
            state.keep(owned.id, signed, &rules.settings, now);
            if wait.is_zero() {
                state.end_issuing(owned.id)
            } else {
                order
            }
        });
        if !wait.is_zero() {
            let shared = Arc::clone(self);
            self.spawn(async move {
                tokio::time::sleep(wait).await;
                shared.change(|state| state.end_issuing(owned.id));
            });
        }
        Ok(self
            .order_reply(&order)
            .header(header::LOCATION, &order.url))
    }

    pub(super) fn certificate(&self, request: &Asked, serial: &str) -> Result<Reply, Problem> {
        let (account, payload) = self.by_account(request)?;
        post_as_get(&payload)?;
        let state = self.state.borrow();
        let issued = state
            .certificates
            .get(serial)
            .and_then(|index| state.issued.get(*index))
            .ok_or_else(|| Problem::not_found("Certificate not found"))?;
        if issued.account != account.url {
            return Err(Problem::unauthorized(
                "Account in use did not issue specified certificate",
            ));
        }
        Ok(Reply::bytes(
            StatusCode::OK,
            "application/pem-certificate-chain",
            issued.chain_pem.clone(),
        ))
    }
}
