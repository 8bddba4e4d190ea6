//! The account that orders are opened with.

use time::Duration;
use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::core::bundle::KeyType;
use crate::core::problem::AuthorityErrorKind;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::resource::Account;
use crate::core::setback::Setback;
use crate::decide::filter::OnRecord;
use crate::decide::order::PendingOrder;
use crate::ports::Authority;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::store::record::AccountRecord;
use crate::store::record::LostAccount;
use crate::work::context::Context;
use crate::work::issue::Attempt;
use crate::work::issue::stop::Stop;

/// An authority that answers now one way and now the other is told once.
const LOSS_IS_TOLD_FOR: Duration = Duration::HOUR;
/// How many accounts are remembered that an authority has forgotten: orders live for days.
const MOST_LOST: usize = 10;

impl<W: World> Context<W> {
    /// URL of the account at the wanted authority; empty while there is none.
    pub async fn account_url(&self) -> String {
        self.account_url_at(self.settings.policy.wanted_directory()).await
    }

    /// URL of the account at an authority; empty while there is none. When that cannot be read, it is the one that
    /// waits on the ledger are about: no name may seem to be without its wait.
    pub async fn account_url_at(&self, directory: &str) -> String {
        let file = directory.to_owned();
        let read = self.store.run(move |store| store.account(&file)).await;
        let url = match read {
            Ok(account) => account.and_then(|account| account.url),
            Err(_) => self.ledger().waiting_account(directory),
        };
        url.unwrap_or_default()
    }
}

impl<W: World> Attempt<'_, W> {
    /// The account at the wanted authority, which is made if there is none. One certificate makes it for all.
    pub(super) async fn account(&self) -> Result<Account, Stop> {
        let directory = self.context.settings.policy.wanted_directory();
        if let Some(account) = self.known_account(directory).await? {
            return Ok(account);
        }
        let _one_at_a_time = self.context.registering.lock().await;
        if let Some(account) = self.known_account(directory).await? {
            return Ok(account);
        }
        let subject = Subject::Account { directory: directory.to_owned() };
        // Before anything is counted as asked: nothing is while the authority is left alone.
        {
            let certificate = self.plan.entry.primary().as_str();
            let record = self.context.recorded(certificate, "", self.context.now());
            if let Some(setback) = record.authority() {
                return Err(setback.into());
            }
        }
        match self.register(directory).await {
            Ok(account) => {
                self.context.clear(&subject).await;
                Ok(account)
            }
            Err(Stop::Authority(error))
                if matches!(
                    error.kind,
                    AuthorityErrorKind::Refused | AuthorityErrorKind::RateLimited(_)
                ) =>
            {
                let text = format!("no account could be made: {error}");
                let what = Failure::of(FailureKind::of_new_account(&error), text)
                    .with_address_of(&error.problem);
                let wait = match error.not_before {
                    Some(until) => self.context.fail_until(subject, until, what).await,
                    None => self.context.fail(subject, what).await,
                };
                Err(Setback::from(wait).into())
            }
            Err(stop) => Err(stop),
        }
    }

    /// The key is on the disk before it is used: asked again with it, an authority answers the same account.
    async fn register(&self, directory: &str) -> Result<Account, Stop> {
        let mut record = match self.account_record(directory).await? {
            Some(record) => record,
            None => {
                let key = self.context.world.new_key(KeyType::Ec256).map_err(|error| {
                    Setback::failure(format!("no account key could be made: {error}"))
                })?;
                AccountRecord { directory: directory.to_owned(), key, url: None, lost: Vec::new() }
            }
        };
        self.save_account(&record).await?;
        debug!(directory, "account key saved");
        self.take_account_budget(directory).await?;
        let contact = self.context.settings.email.as_deref();
        let url = self
            .ask_patiently(directory, || self.authority().register(directory, &record.key, contact))
            .await?;
        debug!(directory, account = url, "account made");
        record.url = Some(url.clone());
        self.save_account(&record).await?;
        let now = self.context.now();
        let line = self.context.ledger().registered(directory, &url, now);
        self.context.write(line).await;
        info!(directory, account = url, "account on record");
        Ok(Account { directory: record.directory, url, key: record.key })
    }

    /// Whether the authority has forgotten the account of an order.
    pub(super) async fn is_of_lost_account(&self, order: &PendingOrder) -> Result<bool, Stop> {
        let record = self.account_record(&order.directory).await?;
        let is_lost =
            |lost: &LostAccount| lost.url == order.account && order.intended_at() <= lost.at;
        Ok(record.is_some_and(|record| record.lost.iter().any(is_lost)))
    }

    /// The authority does not know an account any more: the key stays. Another certificate may have found out and
    /// made it again already.
    pub(super) async fn forget_account(&self, account: &Account) -> Result<(), Stop> {
        let _one_at_a_time = self.context.registering.lock().await;
        if let Some(mut record) = self.account_record(&account.directory).await?
            && record.url.as_ref() == Some(&account.url)
        {
            let at = self.context.now();
            let is_told = |lost: &LostAccount| {
                lost.url == account.url && at - lost.at < LOSS_IS_TOLD_FOR && lost.at <= at
            };
            let (directory, account) = (&account.directory, &account.url);
            if record.lost.iter().any(is_told) {
                debug!(directory, account, "account unknown to the authority once more");
            } else {
                warn!(
                    directory,
                    account,
                    "account unknown to the authority, made again with the same key; its orders are gone with it"
                );
            }
            let url = record.url.take();
            record.lost.extend(url.map(|url| LostAccount { url, at }));
            let old = record.lost.len().saturating_sub(MOST_LOST);
            record.lost.drain(..old);
            self.save_account(&record).await?;
        }
        Ok(())
    }

    pub(super) async fn known_account(&self, directory: &str) -> Result<Option<Account>, Stop> {
        let record = self.account_record(directory).await?;
        Ok(record.and_then(|record| {
            let AccountRecord { directory, key, url, .. } = record;
            url.map(|url| Account { directory, url, key })
        }))
    }

    async fn account_record(&self, directory: &str) -> Result<Option<AccountRecord>, Stop> {
        let directory = directory.to_owned();
        Ok(self.context.store.run(move |store| store.account(&directory)).await?)
    }

    async fn save_account(&self, record: &AccountRecord) -> Result<(), Stop> {
        let record = record.clone();
        Ok(self.context.store.run(move |store| store.save_account(&record)).await?)
    }
}
