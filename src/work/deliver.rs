//! Converging the destination: a bundle goes in, or comes back, and its users hear of it.

use std::sync::Arc;

use time::Duration;
use tracing::debug;

use crate::core::bundle::Bundle;
use crate::core::certificate::Leaf;
use crate::core::held::CertificateId;
use crate::core::held::Held;
use crate::core::held::Ownership;
use crate::core::held::Upload;
use crate::core::held::Which;
use crate::core::names::DomainName;
use crate::core::names::NameSet;
use crate::core::names::Names;
use crate::core::problem::DestinationError;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::setback::Setback;
use crate::decide::classify::DiskCopy;
use crate::decide::classify::Facts;
use crate::decide::classify::Known;
use crate::decide::classify::RemoteCopy;
use crate::decide::classify::ReplaceForeign;
use crate::decide::classify::Stored;
use crate::decide::classify::judge;
use crate::decide::classify::provenance;
use crate::decide::filter::Allowed;
use crate::decide::filter::OnRecord;
use crate::decide::filter::may_be_given_up;
use crate::decide::filter::staging;
use crate::decide::table::Action;
use crate::decide::table::AtDestination;
use crate::ports::Clock;
use crate::ports::Destination;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::work::context::Context;
use crate::work::context::claims::Claim;
use crate::work::context::claims::Claimed;
use crate::work::issue::trust_dates;

pub mod restore;
pub mod wake;

/// What a pass knows beside the certificate in hand.
#[derive(Debug, Default)]
pub struct View {
    /// Every certificate at the destination, in its order.
    pub held: Vec<Held>,
    /// Whether it could be read; else it may hold anything.
    pub is_whole: bool,
    /// Every name that somebody wants.
    pub wanted: NameSet,
    /// Every leaf on record.
    pub known: Known,
}

/// A certificate that is wanted at the destination.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it is for; the first name is its name there, if it has none yet.
    pub names: Names,
    /// Names that wait after a failure.
    pub waiting: NameSet,
    /// What was there when the pass looked.
    pub remote: Option<Held>,
    /// What the pass knows beside.
    pub view: Arc<View>,
}

impl Target {
    /// Its name there.
    pub fn name(&self) -> &str {
        self.remote
            .as_ref()
            .map_or_else(|| self.names.primary().as_str(), |held| held.name.as_str())
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject::Push { certificate: self.names.primary().to_string() }
    }
}

/// How often a write is tried again that met another change.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::milliseconds(200);
/// How long a change may take to be carried out; half a second was seen.
const LONGEST_CHANGE: Duration = Duration::seconds(60);

/// Brings a bundle to the destination, if what is there now may still be replaced, and answers the id it has there.
///
/// Looks again before it writes: whoever pasted something in the meantime keeps it. Only what leads to the same
/// leaf and chain there is a success.
pub async fn push<W: World>(
    context: &Context<W>,
    target: &Target,
    bundle: &Bundle,
    directory: Option<&str>,
) -> Result<CertificateId, Setback> {
    let pushing = Pushing { context, target, bundle, directory };
    match pushing.run().await {
        Ok(id) => {
            context.clear(&target.subject()).await;
            Ok(id)
        }
        Err(what) => {
            let place = context.world.destination().describe().name;
            let text = format!("not pushed to {place}: {}", what.text);
            let wait = context.fail(target.subject(), Failure { text, ..what }).await;
            Err(wait.into())
        }
    }
}

struct Pushing<'a, W: World> {
    context: &'a Context<W>,
    target: &'a Target,
    bundle: &'a Bundle,
    directory: Option<&'a str>,
}

impl<W: World> Pushing<'_, W> {
    async fn run(&self) -> Result<CertificateId, Failure> {
        let mut pause = FIRST_PAUSE;
        let mut present = match &self.target.remote {
            Some(held) => self.destination().look(Which::Id(&held.id)).await?,
            None => None,
        };
        let mut tries = 1;
        loop {
            let mut _given_up = None;
            if let Some(held) = &present {
                match self.verdict(held) {
                    verdict if verdict.at_destination == AtDestination::Same => {
                        return Ok(held.id.clone());
                    }
                    verdict if verdict.action == Action::Push || verdict.pushes_first => {}
                    verdict => return Err(verdict.why.into()),
                }
                _given_up = self.takes_no_name_away(held).await?;
                self.is_really_due(held).await?;
            }
            // Held until it is carried out: a wake-up before that pays for nothing.
            let _writing = match self.destination().can().has_users {
                true => Some(self.context.owe_wake().await),
                false => None,
            };
            match self.write(present.as_ref()).await {
                Ok(written) => {
                    let id = written.id.clone();
                    debug!(name = written.name, %id, "certificate written");
                    self.until_same(written).await?;
                    return Ok(id);
                }
                // The name may be taken by now: what has it is looked for, and judged like everything there.
                Err(error @ (DestinationError::Conflict(_) | DestinationError::Unavailable(_)))
                    if tries < TRIES =>
                {
                    debug!(name = self.target.name(), %error, "write tried again");
                }
                Err(error) => return Err(error.into()),
            }
            self.context.world.clock().sleep(pause).await;
            pause *= 2;
            tries += 1;
            present = match &present {
                Some(held) => self.destination().look(Which::Id(&held.id)).await?,
                None => self.destination().look(Which::Named(self.target.name())).await?,
            };
        }
    }

    fn destination(&self) -> &W::Destination {
        self.context.world.destination()
    }

    fn verdict(&self, held: &Held) -> Allowed {
        let stored = Stored {
            shown: self.bundle.shown().clone(),
            directory: self.directory.map(str::to_owned),
            stored_at: None,
        };
        let facts = Facts {
            names: &self.target.names,
            waiting: &self.target.waiting,
            disk: &DiskCopy::Whole(stored),
            remote: RemoteCopy::Held(held),
            known: &self.target.view.known,
            policy: &self.context.settings.policy,
            is_asked: false,
        };
        let now = self.context.now();
        staging(&facts, judge(&facts, now), now)
    }

    /// What it is called, for people.
    fn place(&self) -> &'static str {
        self.destination().describe().name
    }

    async fn write(&self, present: Option<&Held>) -> Result<Held, DestinationError> {
        let directory = self.directory.filter(|_| self.destination().can().carries_mark);
        let ownership = directory.map(|directory| Ownership {
            leaf: self.bundle.leaf().fingerprint,
            directory: directory.to_owned(),
        });
        let upload = Upload {
            certificate: self.bundle.certificate_pem(),
            chain: self.bundle.chain_pem(),
            key: self.bundle.key_pem().clone(),
        };
        let name = self.target.names.primary().as_str();
        self.destination().put(name, present, &upload, ownership.as_ref()).await
    }

    /// Waits until the change is carried out, and makes sure that it is the one that was meant. A look that fails is
    /// no reason to write again.
    async fn until_same(&self, written: Held) -> Result<(), Failure> {
        let patience = self.context.now() + LONGEST_CHANGE;
        let mut held = written;
        let mut pause = Duration::milliseconds(4);
        while held.is_changing {
            if patience < self.context.now() {
                let why = format!("`{}` is still changing at {}", held.name, self.place());
                return Err(Failure::of(FailureKind::DestinationBusy, why));
            }
            self.context.world.clock().sleep(pause).await;
            pause = (pause * 2_i32).min(Duration::seconds(2));
            match self.destination().look(Which::Id(&held.id)).await {
                Ok(Some(changed)) => held = changed,
                Ok(None) => {
                    let why = format!("`{}` was removed while it was written", held.name);
                    return Err(why.into());
                }
                Err(error @ DestinationError::Unavailable(_)) => {
                    debug!(name = held.name, %error, "looked for again");
                }
                Err(error) => return Err(error.into()),
            }
        }
        debug!(name = held.name, "change carried out");
        match &held.content {
            Ok(shown) if shown == self.bundle.shown() => Ok(()),
            Ok(_) => Err(Failure::from(format!(
                "{} shows another certificate under `{}` than was pushed",
                self.place(),
                held.name
            ))),
            Err(flaw) => Err(Failure::from(format!(
                "{} shows no certificate under `{}`: {flaw}",
                self.place(),
                held.name
            ))),
        }
    }

    /// Before a certificate of others is replaced for its dates: nobody brings its key back if they were read by a
    /// clock that is wrong.
    async fn is_really_due(&self, held: &Held) -> Result<(), Failure> {
        let policy = &self.context.settings.policy;
        let Ok(shown) = &held.content else {
            return Ok(());
        };
        if policy.replace_foreign != ReplaceForeign::Due
            || shown.leaf.is_self_signed
            || provenance(&self.target.view.known, held, shown).is_some()
        {
            return Ok(());
        }
        let trusted = trust_dates(self.context, policy.wanted_directory()).await;
        trusted.map_err(|setback| Failure::from(setback.reason))
    }

    /// No name that is still wanted, and that the certificate there covers, loses it, unless another valid one
    /// there covers it, or it was left out so that the others live on. What it gives up is claimed until it is written: the other one must not do the same.
    async fn takes_no_name_away(&self, held: &Held) -> Result<Option<Claimed>, Failure> {
        let Ok(shown) = &held.content else {
            return Ok(None);
        };
        if !self.is_served_well(held, &shown.leaf) {
            return Ok(None);
        }
        let is_given_up =
            |name: &&DomainName| shown.leaf.covers(name) && !self.bundle.leaf().covers(name);
        // One that is not ours may stay for the sake of any name.
        let is_ours = provenance(&self.target.view.known, held, shown).is_some();
        let hopeless = match is_ours {
            true => self.hopeless_names(&shown.leaf).await,
            false => NameSet::new(),
        };
        let given_up: Vec<&DomainName> = self
            .target
            .view
            .wanted
            .iter()
            .filter(is_given_up)
            .filter(|name| !hopeless.contains(name))
            .collect();
        if given_up.is_empty() {
            return Ok(None);
        }
        let claims = given_up.iter().copied().cloned().map(Claim::GivenUp);
        let Some(claimed) = self.context.claim(claims.collect()) else {
            let why = "another certificate that covers some of its names is being written";
            return Err(why.into());
        };
        let mut lost: Vec<&str> = Vec::new();
        for name in given_up {
            if !self.is_covered_elsewhere(name, held).await? {
                lost.push(name.as_str());
            }
        }
        if lost.is_empty() {
            return Ok(Some(claimed));
        }
        let reason = format!(
            "the certificate `{}` at {} covers {}, which ours does not yet",
            held.name,
            self.place(),
            lost.join(" ")
        );
        Err(reason.into())
    }

    /// Names of ours that the certificate there covers and that keep the others from being renewed.
    async fn hopeless_names(&self, leaf: &Leaf) -> NameSet {
        let account = self.context.account_url().await;
        let (now, renew_before) = (self.context.now(), self.context.settings.policy.renew_before);
        let certificate = self.target.names.primary().as_str();
        let record = self.context.recorded(certificate, &account, now);
        let is_hopeless =
            |name: &&DomainName| may_be_given_up(leaf, record.failures(name), renew_before, now);
        let names = self.target.names.iter().filter(is_hopeless);
        names.cloned().collect()
    }

    /// Whether another certificate there serves a name well. What the pass saw may have been written over since.
    async fn is_covered_elsewhere(&self, name: &DomainName, held: &Held) -> Result<bool, Failure> {
        let covers = |other: &Held| {
            other.content.as_ref().is_ok_and(|shown| {
                shown.leaf.covers(name) && self.is_served_well(other, &shown.leaf)
            })
        };
        let others = self.target.view.held.iter();
        for other in others.filter(|other| other.id != held.id && covers(other)) {
            let present = self.destination().look(Which::Id(&other.id)).await?;
            if present.is_some_and(|present| covers(&present)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_served_well(&self, held: &Held, leaf: &Leaf) -> bool {
        let directory = held
            .content
            .as_ref()
            .ok()
            .and_then(|shown| provenance(&self.target.view.known, held, shown));
        leaf.is_current(self.context.now())
            && self.context.settings.policy.is_production(leaf, directory.flatten())
    }
}
