//! The URLs of an authority, in the shape that Boulder gives them.

use super::problem::Problem;
use super::records::Account;
use super::records::ChallengeKind;

/// Something of an account: its number within the authority, after that of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owned {
    pub(super) account: u64,
    pub(super) id: u64,
}

impl Owned {
    /// The same, unless it belongs to another account than the one that asks: then it is as if it were not there.
    pub fn asked_by(self, account: &Account) -> Result<Self, Problem> {
        if self.account == account.id {
            Ok(self)
        } else {
            Err(Problem::not_found(format!(
                "Nothing of this kind found for account ID {}",
                account.id
            )))
        }
    }
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    Account(u64),
    Authorization(Owned),
    Certificate(String),
    Challenge(Owned, ChallengeKind),
    Directory,
    Finalize(Owned),
    KeyChange,
    NewAccount,
    NewNonce,
    NewOrder,
    Order(Owned),
    RevokeCertificate,
    Unknown,
}

impl Resource {
    pub(super) fn parse(path: &str) -> Self {
        Self::known(path).unwrap_or(Self::Unknown)
    }

    fn known(path: &str) -> Option<Self> {
        if path == "/directory" {
            return Some(Self::Directory);
        }
        let mut parts = path.strip_prefix("/acme/")?.split('/');
        let kind = parts.next()?;
        let rest: Vec<&str> = parts.collect();
        let owned = |account: &str, id: &str| {
            Some(Owned { account: account.parse().ok()?, id: id.parse().ok()? })
        };
        match (kind, rest.as_slice()) {
            ("acct", [id]) => Some(Self::Account(id.parse().ok()?)),
            ("authz", [account, id]) => Some(Self::Authorization(owned(account, id)?)),
            ("cert", [serial]) => Some(Self::Certificate((*serial).to_owned())),
            ("chall", [account, id, challenge]) => {
                let challenge = ChallengeKind::parse(challenge)?;
                Some(Self::Challenge(owned(account, id)?, challenge))
            }
            ("finalize", [account, id]) => Some(Self::Finalize(owned(account, id)?)),
            ("key-change", []) => Some(Self::KeyChange),
            ("new-acct", []) => Some(Self::NewAccount),
            ("new-nonce", []) => Some(Self::NewNonce),
            ("new-order", []) => Some(Self::NewOrder),
            ("order", [account, id]) => Some(Self::Order(owned(account, id)?)),
            ("revoke-cert", []) => Some(Self::RevokeCertificate),
            _ => None,
        }
    }

    /// The reverse of [`Resource::parse`].
    pub(super) fn url(&self, base: &str) -> String {
        let path = match self {
            Self::Account(id) => format!("acme/acct/{id}"),
            Self::Authorization(Owned { account, id }) => format!("acme/authz/{account}/{id}"),
            Self::Certificate(serial) => format!("acme/cert/{serial}"),
            Self::Challenge(Owned { account, id }, challenge) => {
                format!("acme/chall/{account}/{id}/{}", challenge.name())
            }
            Self::Directory => "directory".to_owned(),
            Self::Finalize(Owned { account, id }) => format!("acme/finalize/{account}/{id}"),
            Self::KeyChange => "acme/key-change".to_owned(),
            Self::NewAccount => "acme/new-acct".to_owned(),
            Self::NewNonce => "acme/new-nonce".to_owned(),
            Self::NewOrder => "acme/new-order".to_owned(),
            Self::Order(Owned { account, id }) => format!("acme/order/{account}/{id}"),
            Self::RevokeCertificate => "acme/revoke-cert".to_owned(),
            Self::Unknown => String::new(),
        };
        format!("{base}/{path}")
    }

    /// The name of the endpoint, for faults and tests.
    pub(super) fn endpoint(&self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Authorization(_) => "authorization",
            Self::Certificate(_) => "certificate",
            Self::Challenge(..) => "challenge",
            Self::Directory => "directory",
            Self::Finalize(_) => "finalize",
            Self::NewAccount => "new-account",
            Self::NewNonce => "new-nonce",
            Self::NewOrder => "new-order",
            Self::Order(_) => "order",
            Self::KeyChange | Self::RevokeCertificate | Self::Unknown => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_back() {
        let owned = Owned { account: 3, id: 4 };
        for resource in [
            Resource::Account(3),
            Resource::Authorization(owned),
            Resource::Certificate("0a1b".to_owned()),
            Resource::Challenge(owned, ChallengeKind::Http01),
            Resource::Directory,
            Resource::Finalize(owned),
            Resource::KeyChange,
            Resource::NewAccount,
            Resource::NewNonce,
            Resource::NewOrder,
            Resource::Order(owned),
            Resource::RevokeCertificate,
        ] {
            assert_eq!(Resource::parse(&resource.url("")), resource);
        }
        for path in ["/", "/acme", "/acme/order/3", "/acme/order/3/x", "/acme/authz/3/4/5"] {
            assert_eq!(Resource::parse(path), Resource::Unknown, "{path}");
        }
    }
}
