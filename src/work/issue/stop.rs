//! Why an attempt stopped, and what is noted about it.

use std::future::Future;

use time::Duration;
use time::OffsetDateTime;
use tracing::info;

use crate::core::names::DomainName;
use crate::core::names::Names;
use crate::core::problem::AuthorityError;
use crate::core::problem::AuthorityErrorKind;
use crate::core::problem::Problem;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::resource::Account;
use crate::core::setback::Setback;
use crate::core::text::timestamp;
use crate::ports::Answered;
use crate::ports::Authority as _;
use crate::ports::Clock as _;
use crate::ports::World;
use crate::store::StoreError;
use crate::store::ledger::Subject;
use crate::store::ledger::Wait;
use crate::work::context::Context;
use crate::work::context::refusals;
use crate::work::issue::Attempt;

/// Why an attempt stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// Everything about it is on record already.
    Setback(Setback),
    /// The authority's answer.
    Authority(AuthorityError),
    /// The authority's refusal of an order that was opened.
    Order(Problem),
    /// The authority gave no answer about an order that was put aside: its certificate may be there by now.
    Unseen(Box<AuthorityError>, Setback),
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
        context: &Context<W>,
        attempt: Subject,
        directory: &str,
        names: &Names,
    ) -> Setback {
        match self {
            Self::Setback(setback) | Self::Unseen(_, setback) => setback,
            Self::Store(error) => {
                let what = Failure::of(FailureKind::Disk, error.to_string());
                context.fail(attempt, what).await.into()
            }
            Self::Authority(error) => {
                let kind = FailureKind::of(&error);
                at_authority(context, attempt, directory, names, kind, &error).await
            }
            Self::Order(problem) => {
                let kind = FailureKind::of_order(&problem);
                let error = AuthorityError::refused(problem);
                at_authority(context, attempt, directory, names, kind, &error).await
            }
        }
    }
}

/// Notes an authority's answer by the table of reactions.
async fn at_authority<W: World>(
    context: &Context<W>,
    attempt: Subject,
    directory: &str,
    names: &Names,
    kind: FailureKind,
    error: &AuthorityError,
) -> Setback {
    let told = error.not_before;
    let what = Failure::of(kind, sentence(kind, error, told)).with_address_of(&error.problem);
    let mut last: Option<Wait> = None;
    for subject in subjects(context, kind, attempt, directory, names, error).await {
        let wait = match told {
            Some(until) => context.fail_until(subject, until, what.clone()).await,
            None => context.fail(subject, what.clone()).await,
        };
        last = last.filter(|last| wait.until < last.until).or(Some(wait));
    }
    match last {
        Some(wait) => wait.into(),
        None => Setback::failure(what),
    }
}

/// What waits: this attempt, the account with everything, or names.
async fn subjects<W: World>(
    context: &Context<W>,
    kind: FailureKind,
    attempt: Subject,
    directory: &str,
    names: &Names,
    error: &AuthorityError,
) -> Vec<Subject> {
    let concerned = match (kind, error.kind) {
        (
            FailureKind::AccountLimited | FailureKind::AccountRefused | FailureKind::ActionRequired,
            _,
        ) => {
            let directory = directory.to_owned();
            return vec![Subject::Account { directory }];
        }
        (_, AuthorityErrorKind::Refused | AuthorityErrorKind::RateLimited(_)) => {
            concerned(names, &error.problem)
        }
        _ => return vec![attempt],
    };
    let account = context.account_url_at(directory).await;
    let subject = |name| refusals(directory, &account, name);
    concerned.into_iter().map(subject).collect()
}

/// What happened.
fn sentence(kind: FailureKind, error: &AuthorityError, told: Option<OffsetDateTime>) -> String {
    let until = told.map_or_else(String::new, |until| format!(" until {}", timestamp(until)));
    match (kind, error.kind) {
        (FailureKind::Limited, _) => format!("the authority limits these names{until}: {error}"),
        (FailureKind::AccountLimited, _) => {
            format!("the authority limits this account{until}: {error}")
        }
        (FailureKind::Paused, _) => {
            format!("the authority has paused these names until a person acts: {error}")
        }
        (_, AuthorityErrorKind::Refused) => format!("the authority refuses: {error}"),
        _ => format!("the authority gives no usable answer: {error}"),
    }
}

/// The names that a problem is about: all of them, if it singles none out.
fn concerned<'a>(names: &'a Names, problem: &Problem) -> Vec<&'a DomainName> {
    let singled: Vec<&DomainName> = problem.names.iter().map(|(name, _)| name).collect();
    let concerned: Vec<_> = names.iter().filter(|name| singled.contains(name)).collect();
    if concerned.is_empty() { names.iter().collect() } else { concerned }
}

/// What an answer shows of the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// It works.
    Works,
    /// Nothing.
    None,
}

impl<W: World> Attempt<'_, W> {
    /// Asks the authority with an account, which is forgotten if it does not know that one; where no answer comes, again
    /// after a moment.
    pub(super) async fn ask<T, F>(
        &self,
        account: &Account,
        request: impl Fn() -> F,
    ) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, AuthorityError>> + Send,
    {
        let result = self.ask_patiently(&account.directory, request).await;
        self.forget_unknown(account, result).await
    }

    /// The same without an account that could be forgotten by the answer.
    pub(super) async fn ask_patiently<T, F>(
        &self,
        directory: &str,
        request: impl Fn() -> F,
    ) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, AuthorityError>> + Send,
    {
        self.ask_again(directory, Proof::Works, request).await
    }

    /// The account that was asked with, not the one on record by now: it may have been made again meanwhile.
    async fn forget_unknown<T>(
        &self,
        account: &Account,
        result: Result<T, Stop>,
    ) -> Result<T, Stop> {
        if let Err(Stop::Authority(error)) = &result
            && error.kind == AuthorityErrorKind::AccountUnknown
        {
            self.forget_account(account).await?;
        }
        result
    }

    /// What time it is there. A directory can be read where nothing else works.
    pub(super) async fn ask_time(
        &self,
        directory: &str,
        answered: Answered,
    ) -> Result<Option<OffsetDateTime>, Stop> {
        let request = || self.authority().time(directory, answered);
        self.ask_again(directory, Proof::None, request).await
    }

    async fn ask_again<T, F>(
        &self,
        directory: &str,
        proof: Proof,
        request: impl Fn() -> F,
    ) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, AuthorityError>> + Send,
    {
        let mut pause = Duration::milliseconds(250);
        let mut tries = 1;
        loop {
            let result = self.ask_as(directory, proof, &request).await;
            let not_before = match &result {
                Err(Stop::Authority(error))
                    if matches!(
                        error.kind,
                        AuthorityErrorKind::Unavailable | AuthorityErrorKind::Failed
                    ) =>
                {
                    error.not_before
                }
                _ => return result,
            };
            let now = self.context.now();
            let asked = not_before.map(|at| at - now);
            if tries == TRIES || asked.is_some_and(|asked| asked > SHORT) {
                return result;
            }
            let time = asked.unwrap_or(pause).max(pause);
            self.context.world.clock().sleep(time).await;
            pause *= 4;
            tries += 1;
        }
    }

    /// The same once only.
    pub(super) async fn ask_once<T, F>(
        &self,
        account: &Account,
        request: impl Fn() -> F,
    ) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, AuthorityError>> + Send,
    {
        let result = self.ask_as(&account.directory, Proof::Works, request).await;
        self.forget_unknown(account, result).await
    }

    /// Asks once, unless the breaker is open, which this answer may open or close.
    async fn ask_as<T, F>(
        &self,
        directory: &str,
        proof: Proof,
        request: impl Fn() -> F,
    ) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, AuthorityError>> + Send,
    {
        let breaker = Subject::Authority { directory: directory.to_owned() };
        if let Some(wait) = self.context.open_breaker(&breaker) {
            let kind = match wait.failure_kind {
                Some(FailureKind::NoDirectory) => Problem::NO_DIRECTORY,
                _ => "",
            };
            return Err(AuthorityError {
                not_before: Some(wait.until),
                ..AuthorityError::unavailable(Problem::new(kind, wait.detail))
            }
            .into());
        }
        let result = request().await;
        match &result {
            Err(error) if error.kind == AuthorityErrorKind::Unavailable => {
                info!(lineage = self.lineage, %error, "no usable answer from the authority");
                let what = Failure::of(FailureKind::of(error), error.to_string());
                self.context.note_outage(breaker, error.not_before, what).await;
            }
            // Nothing is known of others by it.
            Err(error) if error.kind == AuthorityErrorKind::Failed => {
                info!(lineage = self.lineage, %error, "no usable answer from the authority");
            }
            Ok(_) | Err(_) if proof == Proof::Works => self.context.clear(&breaker).await,
            Ok(_) | Err(_) => {}
        }
        Ok(result?)
    }
}
