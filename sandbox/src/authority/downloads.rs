//! Downloading ([RFC 8555, 7.4.2](https://www.rfc-editor.org/rfc/rfc8555#section-7.4.2)).

use http::StatusCode;

use super::problem::Problem;
use super::records::Account;
use super::records::Issued;
use super::reply::Reply;
use super::resource::Resource;
use super::settings::AuthoritySettings;
use super::settings::downloads::Download;
use super::settings::quirk::Quirk;
use super::shared::Shared;
use super::shared::post_as_get;
use super::state::State;
use crate::serve::Asked;

const CHAIN: &str = "application/pem-certificate-chain";

impl State {
    /// What a download of a certificate gets, by its URL.
    pub fn download(
        &self,
        account: &Account,
        url: &str,
        settings: &AuthoritySettings,
    ) -> Result<String, Problem> {
        let not_found = || Problem::not_found("Certificate not found");
        let issued = self.issued_at(url).ok_or_else(not_found)?;
        if issued.account != account.url {
            return Err(Problem::unauthorized(
                "Account in use did not issue specified certificate",
            ));
        }
        match Quirk::first(&settings.downloads, &issued.names, |_| true) {
            Some(Download::Refuse(problem)) => Err(problem),
            Some(Download::Text(text)) => Ok(text),
            None => Ok(issued.chain_pem.clone()),
        }
    }

    /// The certificate with this URL, unless it is forgotten.
    pub fn issued_at(&self, url: &str) -> Option<&Issued> {
        let Resource::Certificate(serial) = self.resource(url) else {
            return None;
        };
        self.issued.get(*self.certificates.get(&serial)?)
    }
}

impl Shared {
    pub(super) fn certificate(&self, request: &Asked, serial: &str) -> Result<Reply, Problem> {
        let (account, payload) = self.by_account(request)?;
        post_as_get(&payload)?;
        let url = self.url(&Resource::Certificate(serial.to_owned()));
        let text = self.state.borrow().download(&account, &url, &self.settings())?;
        Ok(Reply::bytes(StatusCode::OK, CHAIN, text))
    }
}
