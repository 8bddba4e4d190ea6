//! What an authority shows (RFC 8555, section 7.1), and what is shown to it.

use time::OffsetDateTime;

use crate::core::bundle::Secret;
use crate::core::names::DomainName;
use crate::core::problem::Problem;

/// An account at an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Directory URL of the authority.
    pub directory: String,
    /// Its URL there.
    pub url: String,
    /// Its private key, PKCS#8 PEM.
    pub key: Secret,
}

/// How an order stands (RFC 8555, section 7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of RFC 8555")]
pub enum OrderStatus {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
}

/// An order as the authority shows it.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its URL.
    pub url: String,
    /// How it stands.
    pub status: OrderStatus,
    /// URLs of its authorizations.
    pub authorizations: Vec<String>,
    /// Where its certificate is, once that is issued.
    pub certificate: Option<String>,
    /// When it ends, if the authority says so.
    pub expires: Option<OffsetDateTime>,
    /// What went wrong with it as a whole.
    pub error: Option<Problem>,
    /// When to look again; a time that lay ahead when the answer came.
    pub not_before: Option<OffsetDateTime>,
}

/// How an authorization stands; `Over` is deactivated, expired or revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of RFC 8555")]
pub enum AuthorizationStatus {
    Pending,
    Valid,
    Invalid,
    Over,
}

/// An authorization as the authority shows it.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// Its URL.
    pub url: String,
    /// The name that it is about.
    pub name: DomainName,
    /// How it stands.
    pub status: AuthorizationStatus,
    /// Its HTTP-01 challenge, if it has one.
    pub challenge: Option<Http01>,
    /// Why its HTTP-01 challenge failed. One that is to be tried again has a reason too (RFC 8555, section 8.2).
    pub error: Option<Problem>,
    /// When to look again; a time that lay ahead when the answer came.
    pub not_before: Option<OffsetDateTime>,
}

/// An HTTP-01 challenge and the answer to it (RFC 8555, section 8.3).
#[derive(Debug, Clone)]
pub struct Http01 {
    /// The name of the file.
    pub token: Token,
    /// The content of the file.
    pub key_authorization: String,
    /// How it stands.
    pub status: ChallengeStatus,
}

/// How a challenge stands (RFC 8555, section 7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of RFC 8555")]
pub enum ChallengeStatus {
    Pending,
    Processing,
    Valid,
    Invalid,
}

/// A challenge token, safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

impl Token {
    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Token {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_safe = (1..=255).contains(&text.len()) && text.bytes().all(is_base64url);
        if is_safe { Ok(Self(text)) } else { Err("a token has only letters, digits, `-` and `_`") }
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0
    }
}
