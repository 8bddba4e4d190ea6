//! Why an attempt stopped, and what is noted about it.

use std::future::Future;

use time::Duration;
use time::OffsetDateTime;

use crate::classify::timestamp;
use crate::engine::Engine;
use crate::engine::Setback;
use crate::engine::refusals;
use crate::issue::Attempt;
use crate::names::DomainName;
use crate::names::Names;
use crate::ports::AuthorityError;
use crate::ports::Clock;
use crate::ports::Problem;
use crate::ports::RetryAfter;
use crate::ports::World;
use crate::schedule;
use crate::store::StoreError;
use crate::store::ledger::Subject;

/// Why an attempt stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// Everything about it is on record already.
    Setback(Setback),
    /// The authority's answer.
    Authority(AuthorityError),
    /// The disk.
    Store(StoreError),
}

impl From<Setback> for Stop {
    fn from(setback: Setback) -> Self {
        Self::Setback(setback)
    }
}

impl From<AuthorityError> for Stop {
    fn from(error: AuthorityError) -> Self {
        Self::Authority(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// How often a request is made that gets no answer, before the certificate waits.
const TRIES: u32 = 3;
/// What an authority asks us to wait without leaving the place.
const SHORT: Duration = Duration::seconds(2);

impl Stop {
    /// Notes on the right clock what stopped an attempt, and says when it is tried again.
    pub(super) async fn into_setback<W: World>(
        self,
        engine: &Engine<W>,
        attempt: Subject,
        names: &Names,
    ) -> Setback {
        let now = engine.now();
        let wait = match self {
            Self::Setback(setback) => return setback,
            Self::Store(error) => engine.fail_soon(attempt, &error.to_string()).await,
            Self::Authority(AuthorityError::Unavailable {
                retry_after,
                detail,
            }) => {
                let detail = unavailable(&detail);
                match retry_after.and_then(|asked| asked.later_than(now)) {
                    Some(until) => engine.fail_until(attempt, until, &detail).await,
                    None => engine.fail(attempt, schedule::after_silence, &detail).await,
                }
            }
            Self::Authority(AuthorityError::RateLimited {
                retry_after,
                detail,
            }) => {
                return rate_limited(engine, names, retry_after, &detail).await;
            }
            Self::Authority(AuthorityError::Refused(problem)) => {
                return refused(engine, names, &problem).await;
            }
            Self::Authority(error) => {
                let detail = unavailable(&error.to_string());
                engine.fail(attempt, schedule::after_refusal, &detail).await
            }
        };
        Setback::failure_until(wait.detail, wait.until)
    }
}

fn unavailable(detail: &str) -> String {
    format!("the authority gives no usable answer: {detail}")
}

/// When a limit ends: as the authority says, but not at once.
pub(super) fn limit_ends(retry_after: RetryAfter, now: OffsetDateTime) -> OffsetDateTime {
    let at_least = now + schedule::after_refusal(1);
    retry_after.later_than(now).unwrap_or(at_least)
}

/// Every name waits as long as the authority says; without a time a person must act, and once a day is enough.
async fn rate_limited<W: World>(
    engine: &Engine<W>,
    names: &Names,
    retry_after: Option<RetryAfter>,
    detail: &str,
) -> Setback {
    let now = engine.now();
    let until = match retry_after {
        Some(asked) => limit_ends(asked, now),
        None => now + Duration::DAY,
    };
    let detail = match retry_after {
        Some(_) => format!(
            "the authority limits these names until {}: {detail}",
            timestamp(until)
        ),
        None => format!("the authority has paused these names until a person acts: {detail}"),
    };
    let account = engine.account_url().await;
    for name in mentioned(names, &detail) {
        engine
            .fail_until(
                refusals(engine.settings.policy.wanted_directory(), &account, name),
                until,
                &detail,
            )
            .await;
    }
    Setback::failure_until(detail, until)
}

/// The names that the authority singles out wait, or all of them if it does not.
async fn refused<W: World>(engine: &Engine<W>, names: &Names, problem: &Problem) -> Setback {
    let singled: Vec<&DomainName> = problem.names.iter().map(|(name, _)| name).collect();
    let waiting: Vec<&DomainName> = names.iter().filter(|name| singled.contains(name)).collect();
    let waiting = if waiting.is_empty() {
        mentioned(names, &problem.detail)
    } else {
        waiting
    };
    let detail = format!("the authority refuses: {problem}");
    let account = engine.account_url().await;
    let mut until = engine.now();
    for name in waiting {
        let subject = refusals(engine.settings.policy.wanted_directory(), &account, name);
        until = until.max(
            engine
                .fail(subject, schedule::after_refusal, &detail)
                .await
                .until,
        );
    }
    Setback::failure_until(detail, until)
}

/// The names that a text is about, all of them if it mentions none. Boulder tells a single name in the text only
/// (boulder `policy/pa.go`).
fn mentioned<'a>(names: &'a Names, text: &str) -> Vec<&'a DomainName> {
    let is_apart = |char: char| !char.is_ascii_alphanumeric() && char != '.' && char != '-';
    let words: Vec<&str> = text
        .split(is_apart)
        .map(|word| word.trim_matches('.'))
        .collect();
    let (told, others): (Vec<_>, Vec<_>) = names
        .iter()
        .partition(|name| words.contains(&name.as_str()));
    if told.is_empty() { others } else { told }
}

impl<W: World> Attempt<'_, W> {
    /// Asks the authority; where no answer comes, again after a moment.
    pub(super) async fn ask<T, F>(
        &self,
        directory: &str,
        request: impl Fn() -> F,
    ) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, AuthorityError>> + Send,
    {
        let mut pause = Duration::milliseconds(250);
        let mut tries = 1;
        loop {
            let result = self.ask_once(directory, &request).await;
            let Err(Stop::Authority(AuthorityError::Unavailable { retry_after, .. })) = &result
            else {
                return result;
            };
            let now = self.engine.now();
            let asked = retry_after.map(|retry_after| retry_after.at(now) - now);
            if tries == TRIES || asked.is_some_and(|asked| asked > SHORT) {
                return result;
            }
            let time = asked.unwrap_or(pause).max(pause);
            self.engine.world.clock().sleep(time).await;
            pause *= 4;
            tries += 1;
        }
    }

    /// Asks the authority once, unless the breaker is open, which this answer may open or close.
    pub(super) async fn ask_once<T, F>(
        &self,
        directory: &str,
        request: impl Fn() -> F,
    ) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, AuthorityError>> + Send,
    {
        let breaker = Subject::Authority {
            directory: directory.to_owned(),
        };
        if let Some(wait) = self.engine.open_breaker(&breaker) {
            let retry_after = Some(RetryAfter::At(wait.until));
            return Err(AuthorityError::Unavailable {
                retry_after,
                detail: wait.detail,
            }
            .into());
        }
        let result = request().await;
        match &result {
            Err(AuthorityError::Unavailable {
                retry_after,
                detail,
            }) => {
                self.engine.note_outage(breaker, *retry_after, detail).await;
            }
            Ok(_) | Err(_) => self.engine.clear(&breaker).await,
        }
        Ok(result?)
    }
}
