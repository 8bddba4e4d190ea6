//! The token of a check: nobody's at the authority, so that no sweep takes it for the daemon's while it is used.
//!
//! It says in its name when the check began, because files of a webroot are listed without their age.

use ring::rand::SecureRandom;
use ring::rand::SystemRandom;
use time::Duration;
use time::OffsetDateTime;

use crate::core::resource::ChallengeStatus;
use crate::core::resource::Http01;
use crate::core::resource::Token;

const PREFIX: &str = "preflight-";
/// Longer than any check lasts.
const LIFE: Duration = Duration::DAY;

/// A challenge that no account has; none if the system gives no random numbers.
pub fn challenge(now: OffsetDateTime) -> Option<Http01> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (name, rest) = text.split_at(32);
    let token = Token::try_from(format!("{PREFIX}{}-{name}", now.unix_timestamp())).ok()?;
    Some(Http01 {
        key_authorization: format!("{}.{rest}", token.as_str()),
        token,
        status: ChallengeStatus::Pending,
    })
}

/// Whether this was published by a check that was killed. One that may still run is left alone, so a check and a start
/// of the daemon do not get into each other's way.
pub fn is_stray(token: &Token, content: &str, now: OffsetDateTime) -> bool {
    let began_at = token
        .as_str()
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('-'))
        .and_then(|(began_at, _)| began_at.parse().ok())
        .and_then(|began_at| OffsetDateTime::from_unix_timestamp(began_at).ok());
    // After a clock was set back it may lie ahead.
    let is_over = began_at.is_some_and(|began_at| LIFE <= (now - began_at).abs());
    let begins = format!("{}.", token.as_str());
    // A full disk leaves the beginning, or nothing.
    is_over && (content.starts_with(&begins) || begins.starts_with(content))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

    #[test]
    fn what_a_check_published_is_stray_once_no_check_can_use_it_any_more() {
        let Http01 { token, key_authorization, .. } = challenge(NOW).unwrap();
        for (after, is_over) in [
            (Duration::ZERO, false),
            (LIFE - Duration::SECOND, false),
            (LIFE, true),
            (Duration::days(900), true),
            (-Duration::HOUR, false),
            (-LIFE, true),
        ] {
            let is_stray = |content: &str| is_stray(&token, content, NOW + after);
            assert_eq!(is_stray(&key_authorization), is_over, "{after}");
            assert_eq!(is_stray(&key_authorization[..20]), is_over, "{after}");
            assert_eq!(is_stray(""), is_over, "{after}");
            assert!(!is_stray("something"), "{after}");
        }
    }

    #[test]
    fn names_of_others_are_never_strays() {
        for name in [
            "preflight-",
            "preflight-7",
            "preflight-x-y",
            "preflight--y",
            "preflight-99999999999999999999-y",
            "other-7-y",
        ] {
            let token = Token::try_from(name.to_owned()).unwrap();
            let content = format!("{name}.x");
            assert!(!is_stray(&token, &content, NOW), "{name}");
        }
    }
}
