//! Orders and authorizations as they are shown. An order is read leniently: what is missing or odd in it must not cost
//! a certificate that was issued.

use instant_acme::AuthorizationState;
use instant_acme::ChallengeType;
use instant_acme::Identifier;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::acme::directory::Seen;
use crate::acme::problem::Document;
use crate::core::names::DomainName;
use crate::core::resource::Authorization;
use crate::core::resource::AuthorizationStatus;
use crate::core::resource::ChallengeStatus;
use crate::core::resource::Http01;
use crate::core::resource::Order;
use crate::core::resource::OrderStatus;
use crate::core::resource::Token;

/// Reads an order (RFC 8555, section 7.1.3), and what of it does not change. An error says what makes no sense.
pub(super) fn order(url: &str, body: &[u8], known: Seen) -> Result<(Order, Seen), String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if !value.is_object() {
        return Err("it is no order".to_owned());
    }
    let text = |field: &str| value[field].as_str().map(str::to_owned);
    let certificate = text("certificate");
    let status = match (value["status"].as_str(), &certificate) {
        (Some("pending"), _) => OrderStatus::Pending,
        (Some("ready"), _) => OrderStatus::Ready,
        (Some("processing"), _) => OrderStatus::Processing,
        // Only an order that is valid has one.
        (Some("valid"), _) | (None, Some(_)) => OrderStatus::Valid,
        (Some("invalid"), _) => OrderStatus::Invalid,
        (Some(status), _) => return Err(format!("an order is {status:?}")),
        (None, None) => return Err("an order has no status".to_owned()),
    };
    let list = |field: &str| value[field].as_array().into_iter().flatten();
    let names: Vec<DomainName> = list("identifiers")
        .filter_map(|identifier| identifier["value"].as_str()?.parse().ok())
        .collect();
    let seen = Seen {
        names: if names.is_empty() { known.names } else { names },
        finalize: text("finalize").or(known.finalize),
    };
    let error: Option<Document> = serde_json::from_value(value["error"].clone()).ok();
    let expires = value["expires"].as_str();
    let order = Order {
        url: url.to_owned(),
        status,
        authorizations: list("authorizations")
            .filter_map(|url| url.as_str().map(str::to_owned))
            .collect(),
        certificate,
        expires: expires.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok()),
        error: error.map(|error| error.read(&seen.names)),
        not_before: None,
    };
    Ok((order, seen))
}

/// Reads an authorization (RFC 8555, section 7.1.4), and the URL of its HTTP-01 challenge.
pub(super) fn authorization(
    url: &str,
    body: &[u8],
    key_authorization: impl FnOnce(&Token) -> String,
) -> Result<(Authorization, Option<String>), String> {
    use instant_acme::AuthorizationStatus as Status;
    let state: AuthorizationState =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let name = if let Identifier::Dns(name) = state.identifier().identifier {
        name.parse().ok()
    } else {
        None
    };
    let name = name.ok_or("the authorization is not about a domain name")?;
    let status = match state.status {
        Status::Pending => AuthorizationStatus::Pending,
        Status::Valid => AuthorizationStatus::Valid,
        Status::Invalid => AuthorizationStatus::Invalid,
        Status::Revoked | Status::Expired | Status::Deactivated => AuthorizationStatus::Over,
    };
    let is_ours = |challenge: &instant_acme::Challenge| challenge.r#type == ChallengeType::Http01;
    let found = state.challenges.into_iter().find(is_ours);
    let error = found.as_ref().and_then(|found| found.error.as_ref());
    let error = error.map(|error| Document::from(error).read(&[]));
    let challenge_url = found.as_ref().map(|found| found.url.clone());
    let challenge = found.and_then(|found| {
        let token = Token::try_from(found.token).ok()?;
        Some(Http01 {
            key_authorization: key_authorization(&token),
            token,
            status: match found.status {
                instant_acme::ChallengeStatus::Pending => ChallengeStatus::Pending,
                instant_acme::ChallengeStatus::Processing => ChallengeStatus::Processing,
                instant_acme::ChallengeStatus::Valid => ChallengeStatus::Valid,
                instant_acme::ChallengeStatus::Invalid => ChallengeStatus::Invalid,
            },
        })
    });
    let authorization =
        Authorization { url: url.to_owned(), name, status, challenge, error, not_before: None };
    Ok((authorization, challenge_url))
}
