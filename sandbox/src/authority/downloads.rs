//! Downloading ([RFC 8555, 7.4.2](https://www.rfc-editor.org/rfc/rfc8555#section-7.4.2)).

use http::StatusCode;

use super::problem::Problem;
use super::reply::Reply;
use super::settings::downloads::Download;
use super::settings::quirk::Quirk;
use super::shared::Shared;
use super::shared::post_as_get;
use crate::serve::Asked;

const CHAIN: &str = "application/pem-certificate-chain";

impl Shared {
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
        let settings = self.settings();
        match Quirk::first(&settings.downloads, &issued.names, |_| true) {
            Some(Download::Refuse(problem)) => Err(problem),
            Some(Download::Text(text)) => Ok(Reply::bytes(StatusCode::OK, CHAIN, text)),
            None => Ok(Reply::bytes(StatusCode::OK, CHAIN, issued.chain_pem.clone())),
        }
    }
}
