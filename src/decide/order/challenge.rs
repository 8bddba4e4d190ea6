//! A challenge of an order, as far as that is on record.

use serde::Deserialize;
use serde::Serialize;
use time::OffsetDateTime;

use crate::core::resource::Token;
use crate::decide::order::is_zero;

/// A challenge of an order in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedChallenge {
    /// The file in the webroot.
    pub token: Token,
    /// When the authority was first told to validate it.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub first_responded_at: Option<OffsetDateTime>,
    /// When it was told the last time.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub responded_at: Option<OffsetDateTime>,
    /// How often it was told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub times_responded: u32,
    /// How many of these tries failed, and that is on the clock of its name, while the challenge itself goes on
    /// (RFC 8555, section 8.2).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_tries: u32,
    /// The error of the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_with: Option<String>,
}

impl PublishedChallenge {
    /// One that the authority was not told of yet.
    pub fn of(token: Token) -> Self {
        Self {
            token,
            first_responded_at: None,
            responded_at: None,
            times_responded: 0,
            failed_tries: 0,
            failed_with: None,
        }
    }
}
