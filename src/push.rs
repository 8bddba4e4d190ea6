//! Converging Rancher: a bundle goes in, or comes back, and the balancers hear of it.

use std::sync::Arc;

use time::Duration;
use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::bundle::Bundle;
use crate::certificate::Leaf;
use crate::classify::DiskCopy;
use crate::classify::Facts;
use crate::classify::Known;
use crate::classify::RemoteCopy;
use crate::classify::Stored;
use crate::classify::Verdict;
use crate::classify::day;
use crate::classify::judge;
use crate::classify::provenance;
use crate::decide::Action;
use crate::decide::AtRancher;
use crate::engine::Engine;
use crate::engine::Setback;
use crate::mark::Mark;
use crate::names::DomainName;
use crate::names::NameSet;
use crate::names::Names;
use crate::ports::Clock;
use crate::ports::Held;
use crate::ports::Orchestrator;
use crate::ports::OrchestratorError;
use crate::ports::Service;
use crate::ports::Upload;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::store::publish::Origin;
use crate::store::record::Source;

/// What a pass knows beside the certificate in hand.
#[derive(Debug, Default)]
pub struct View {
    /// Every certificate at Rancher.
    pub held: Vec<Held>,
    /// Every name that somebody wants.
    pub wanted: NameSet,
    /// Every leaf on record.
    pub known: Known,
}

/// A certificate that is wanted at Rancher.
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
    /// Its name at Rancher.
    pub fn name(&self) -> &str {
        self.remote
            .as_ref()
            .map_or_else(|| self.names.primary().as_str(), |held| held.name.as_str())
    }

    fn subject(&self) -> Subject {
        Subject::Push {
            certificate: self.names.primary().to_string(),
        }
    }
}

/// How often a write is tried again that met another change.
const TRIES: usize = 5;
const FIRST_PAUSE: Duration = Duration::milliseconds(200);
/// How long Rancher may take to carry a change out; seen: half a second.
const LONGEST_CHANGE: Duration = Duration::seconds(60);

/// Brings a bundle into Rancher, if what is there now may still be replaced, and answers the id it has there.
///
/// Looks again before it writes: whoever pasted something in the meantime keeps it. Only what leads to the same
/// leaf and chain there is a success.
pub async fn push<W: World>(
    engine: &Engine<W>,
    target: &Target,
    bundle: &Bundle,
    directory: Option<&str>,
) -> Result<String, Setback> {
    let pushing = Pushing {
        engine,
        target,
        bundle,
        directory,
    };
    match pushing.run().await {
        Ok(id) => {
            engine.clear(&target.subject()).await;
            Ok(id)
        }
        Err(Failure::Setback(setback)) => Err(setback),
        Err(Failure::Said(detail)) => {
            let detail = format!("not pushed to Rancher: {detail}");
            let wait = engine.fail_soon(target.subject(), &detail).await;
            Err(Setback::failure_until(wait.detail, wait.until))
        }
    }
}

enum Failure {
    Setback(Setback),
    Said(String),
}

impl From<OrchestratorError> for Failure {
    fn from(error: OrchestratorError) -> Self {
        Self::Said(error.to_string())
    }
}

struct Pushing<'a, W: World> {
    engine: &'a Engine<W>,
    target: &'a Target,
    bundle: &'a Bundle,
    directory: Option<&'a str>,
}

impl<W: World> Pushing<'_, W> {
    async fn run(&self) -> Result<String, Failure> {
        let mut pause = FIRST_PAUSE;
        let mut present = match &self.target.remote {
            Some(held) => self.orchestrator().look(&held.id).await?,
            None => None,
        };
        for _ in 0..TRIES {
            if let Some(held) = &present {
                match self.verdict(held) {
                    verdict if verdict.at_rancher == AtRancher::Same => return Ok(held.id.clone()),
                    verdict if verdict.action == Action::Push || verdict.pushes_first => {}
                    verdict => return Err(Failure::Setback(Setback::failure(verdict.reason))),
                }
                self.takes_no_name_away(held)?;
            }
            self.engine.owe_wake().await;
            let written = self.write(present.as_ref()).await;
            self.engine.owe_wake().await;
            match written {
                Ok(written) => {
                    let id = written.id.clone();
                    debug!(name = written.name, id, "certificate written");
                    self.until_same(written).await?;
                    return Ok(id);
                }
                Err(OrchestratorError::NotUnique(_)) => {
                    debug!(name = self.target.name(), "name taken, looked for");
                }
                Err(
                    error @ (OrchestratorError::Conflict(_) | OrchestratorError::Unavailable(_)),
                ) => {
                    debug!(name = self.target.name(), %error, "write tried again");
                }
                Err(error) => return Err(error.into()),
            }
            self.engine.world.clock().sleep(pause).await;
            pause *= 2;
            present = match &present {
                Some(held) => self.orchestrator().look(&held.id).await?,
                None => self
                    .orchestrator()
                    .find(self.target.name())
                    .await?
                    .into_iter()
                    .next(),
            };
        }
        Err(Failure::Said(
            "Rancher kept refusing the change or did not answer".to_owned(),
        ))
    }

    fn orchestrator(&self) -> &W::Orchestrator {
        self.engine.world.orchestrator()
    }

    fn verdict(&self, held: &Held) -> Verdict {
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
            policy: &self.engine.settings.policy,
        };
        judge(&facts, self.engine.now())
    }

    async fn write(&self, present: Option<&Held>) -> Result<Held, OrchestratorError> {
        let description = present.map_or("", |held| held.description.as_str());
        let description = match self.directory {
            Some(directory) => {
                let mark = Mark {
                    leaf: self.bundle.leaf().fingerprint,
                    directory,
                };
                let (text, is_cut) = mark.write(description);
                if is_cut {
                    warn!(
                        name = self.target.name(),
                        "description cut so that our mark fits"
                    );
                }
                text
            }
            None => description.to_owned(),
        };
        let upload = Upload {
            certificate: self.bundle.certificate_pem(),
            chain: self.bundle.chain_pem(),
            key: self.bundle.key_pem().clone(),
            description,
        };
        match present {
            Some(held) => self.orchestrator().replace(&held.id, &upload).await,
            None => {
                self.orchestrator()
                    .create(self.target.names.primary().as_str(), &upload)
                    .await
            }
        }
    }

    /// Waits until the change is carried out, and makes sure that it is the one that was meant. A look that fails is
    /// no reason to write again.
    async fn until_same(&self, written: Held) -> Result<(), Failure> {
        let patience = self.engine.now() + LONGEST_CHANGE;
        let mut held = written;
        let mut pause = Duration::milliseconds(4);
        while held.is_changing {
            if patience < self.engine.now() {
                let why = format!("`{}` is still changing at Rancher", held.name);
                return Err(Failure::Said(why));
            }
            self.engine.world.clock().sleep(pause).await;
            pause = (pause * 2_i32).min(Duration::seconds(2));
            match self.orchestrator().look(&held.id).await {
                Ok(Some(changed)) => held = changed,
                Ok(None) => {
                    let why = format!("`{}` was removed while it was written", held.name);
                    return Err(Failure::Said(why));
                }
                Err(error @ OrchestratorError::Unavailable(_)) => {
                    debug!(name = held.name, %error, "looked for again");
                }
                Err(error) => return Err(error.into()),
            }
        }
        debug!(name = held.name, "change carried out");
        match &held.content {
            Ok(shown) if shown == self.bundle.shown() => Ok(()),
            Ok(_) => Err(Failure::Said(format!(
                "Rancher shows another certificate under `{}` than was pushed",
                held.name
            ))),
            Err(flaw) => Err(Failure::Said(format!(
                "Rancher shows no certificate under `{}`: {flaw}",
                held.name
            ))),
        }
    }

    /// No name that is still wanted, and that the certificate there covers, loses it, unless another valid one at
    /// Rancher covers it.
    fn takes_no_name_away(&self, held: &Held) -> Result<(), Failure> {
        let Ok(shown) = &held.content else {
            return Ok(());
        };
        if !self.is_served_well(held, &shown.leaf) {
            return Ok(());
        }
        let view = &self.target.view;
        let is_lost = |name: &&DomainName| {
            let elsewhere = view.held.iter().any(|other| {
                other.id != held.id
                    && other.content.as_ref().is_ok_and(|shown| {
                        shown.leaf.covers(name) && self.is_served_well(other, &shown.leaf)
                    })
            });
            shown.leaf.covers(name) && !self.bundle.leaf().covers(name) && !elsewhere
        };
        let lost: Vec<&str> = view
            .wanted
            .iter()
            .filter(is_lost)
            .map(DomainName::as_str)
            .collect();
        if lost.is_empty() {
            return Ok(());
        }
        let reason = format!(
            "the certificate `{}` at Rancher covers {}, which ours does not yet",
            held.name,
            lost.join(" ")
        );
        Err(Failure::Said(reason))
    }

    fn is_served_well(&self, held: &Held, leaf: &Leaf) -> bool {
        let directory = held
            .content
            .as_ref()
            .ok()
            .and_then(|shown| provenance(&self.target.view.known, held, shown));
        leaf.is_current(self.engine.now())
            && self
                .engine
                .settings
                .policy
                .is_production(leaf, directory.flatten())
    }
}

/// How long to wait before Rancher is asked for a key again that it did not give.
const ASK_AGAIN_AFTER: Duration = Duration::DAY;

/// Takes a certificate of ours and its key back from Rancher into a lineage of the store.
pub async fn restore<W: World>(
    engine: &Engine<W>,
    target: &Target,
    held: &Held,
    lineage: Option<&str>,
) -> Result<Bundle, Setback> {
    let fail = async |detail: String| {
        let detail = format!("not restored from Rancher: {detail}");
        let wait = engine.fail_soon(target.subject(), &detail).await;
        Err(Setback::failure_until(wait.detail, wait.until))
    };
    let revealed = match engine.world.orchestrator().reveal(&held.id).await {
        Ok(revealed) => revealed,
        Err(error) => return fail(error.to_string()).await,
    };
    debug!(
        name = held.name,
        has_key = revealed.key.is_some(),
        "certificate revealed"
    );
    let Ok(shown) = &held.content else {
        return fail("it does not parse".to_owned()).await;
    };
    let subject = Subject::Key {
        leaf: shown.leaf.fingerprint,
    };
    let until = engine.now() + ASK_AGAIN_AFTER;
    let Some(key) = revealed.key else {
        let detail = "Rancher holds our certificate but does not give its key back: it stays as it is until it is due";
        engine.fail_until(subject, until, detail).await;
        return Err(Setback::failure_until(detail, until));
    };
    let bundle = match Bundle::parse(&revealed.chain, &key) {
        Ok(bundle) if bundle.shown() == shown => bundle,
        Ok(_) => return fail("it changed while it was asked for".to_owned()).await,
        Err(flaw) => {
            let detail = format!(
                "what Rancher gives back for `{}` cannot be used: {flaw}",
                held.name
            );
            engine.fail_until(subject, until, &detail).await;
            return Err(Setback::failure_until(detail, until));
        }
    };
    let directory = provenance(&target.view.known, held, shown)
        .flatten()
        .map(str::to_owned);
    let origin = Origin {
        directory,
        source: Source::Restored,
        at: engine.now(),
    };
    let (names, stored) = (target.names.clone(), bundle.clone());
    let lineage = lineage.map(str::to_owned);
    let stored = engine.store.run(move |store| {
        let lineage = match lineage {
            Some(lineage) => lineage,
            None => store.free_name(names.primary())?,
        };
        store.publish(&lineage, &names, &stored, &origin)
    });
    if let Err(error) = stored.await {
        return fail(error.to_string()).await;
    }
    engine.clear(&target.subject()).await;
    engine.clear(&subject).await;
    info!(names = %target.names, not_after = %day(bundle.leaf().not_after), "certificate restored from Rancher");
    Ok(bundle)
}

/// Wakes the balancers by one `update` action, if that is owed.
///
/// Any service of the environment will do: the action raises the one version that all balancers watch. Our own goes
/// first, because it disturbs nobody else.
pub async fn wake<W: World>(engine: &Engine<W>, pushed: &[String]) -> Result<(), Setback> {
    let generation = engine.wake_generation();
    let woken = match choose(engine.world.orchestrator(), pushed).await {
        Ok(Choice::Wake(service)) => engine
            .world
            .orchestrator()
            .wake(&service.id)
            .await
            .map(|()| Some(service.name)),
        Ok(Choice::NobodyThere) => Ok(None),
        Ok(Choice::NobodyActive) => Err(OrchestratorError::Conflict(
            "no balancer is active, nor our own service".to_owned(),
        )),
        Err(error) => Err(error),
    };
    match woken {
        Ok(service) => {
            debug!("balancers told to read again");
            let cleared = engine.clear_wake(generation).await;
            engine.clear(&Subject::Wake).await;
            match (cleared, service) {
                (Err(error), _) => warn!(%error, "wake-up not noted, a restart repeats it"),
                (Ok(()), Some(service)) => info!(service, "balancers woken"),
                (Ok(()), None) => debug!("no balancer to wake"),
            }
            Ok(())
        }
        Err(error) => {
            let detail = format!("balancers not woken, they may serve older certificates: {error}");
            let wait = engine.fail_soon(Subject::Wake, &detail).await;
            Err(Setback::failure_until(wait.detail, wait.until))
        }
    }
}

enum Choice {
    Wake(Service),
    NobodyActive,
    NobodyThere,
}

async fn choose(
    orchestrator: &impl Orchestrator,
    pushed: &[String],
) -> Result<Choice, OrchestratorError> {
    match orchestrator.own_service().await {
        Ok(Some(own)) if own.is_active => return Ok(Choice::Wake(own)),
        Ok(_) => {}
        Err(error) => debug!(%error, "own service not found, a balancer is woken"),
    }
    let balancers = orchestrator.balancers().await?;
    if balancers.is_empty() {
        return Ok(Choice::NobodyThere);
    }
    let lists_pushed =
        |service: &Service| service.certificates.iter().any(|id| pushed.contains(id));
    let best = balancers
        .into_iter()
        .filter(|service| service.is_active)
        .max_by_key(lists_pushed);
    Ok(best.map_or(Choice::NobodyActive, Choice::Wake))
}
