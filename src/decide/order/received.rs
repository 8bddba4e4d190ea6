//! The chain that came, until it is judged for good.

use serde::Deserialize;
use serde::Serialize;
use time::Duration;
use time::OffsetDateTime;

use crate::core::bundle::Bundle;
use crate::decide::order::PendingOrder;

/// How long a certificate that was refused stands in the way of another order for the same names.
const BLOCKED_FOR: Duration = Duration::DAY;

/// What an authority has issued, before it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The chain as it came.
    pub chain: String,
    /// When it came.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Why it was refused, the last time it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl PendingOrder {
    /// Keeps the chain that came.
    pub fn receive(&mut self, chain: String, now: OffsetDateTime) {
        self.received = Some(Received { chain, at: now, refused: None });
    }

    /// Notes why the chain was refused. Answers whether that is news.
    pub fn refuse(&mut self, why: &str) -> bool {
        let Some(received) = &mut self.received else {
            return false;
        };
        let is_news = received.refused.as_deref() != Some(why);
        received.refused = Some(why.to_owned());
        is_news
    }

    /// Until when a certificate that was refused stands in the way of another, and why it was refused.
    pub fn block(&self, now: OffsetDateTime) -> Option<(&str, OffsetDateTime)> {
        let received = self.received.as_ref()?;
        let why = received.refused.as_deref()?;
        let until = received.at.min(now).saturating_add(BLOCKED_FOR);
        (now < until).then_some((why, until))
    }

    /// What was issued, if it is what was ordered and can be used by now.
    pub fn verified(&self, now: OffsetDateTime) -> Result<Bundle, String> {
        let chain = self.received.as_ref().map_or("", |received| &received.chain);
        let bundle = Bundle::parse(chain, &self.key).map_err(|flaw| flaw.to_string())?;
        bundle.verify(&self.names.set(), now)?;
        Ok(bundle)
    }

    /// Whether the chain that came was not judged yet, or would be judged otherwise by now, as when it was not valid yet.
    pub fn is_to_be_judged(&self, now: OffsetDateTime) -> bool {
        let received = self.received.as_ref();
        received.is_some_and(|it| it.refused.is_none() || self.verified(now).is_ok())
    }
}
