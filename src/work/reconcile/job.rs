//! What is done about one certificate, from its verdict to the destination.

use time::OffsetDateTime;
use tracing::debug;
use tracing::info;

use crate::core::bundle::Bundle;
use crate::core::certificate::Leaf;
use crate::core::held::CertificateId;
use crate::core::held::Held;
use crate::core::held::Which;
use crate::core::names::Names;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::setback::Setback;
use crate::core::text::timestamp;
use crate::decide::plan::Work;
use crate::ports::Destination;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::work::context::Context;
use crate::work::context::slots::Slot;
use crate::work::context::slots::Workplaces;
use crate::work::deliver::Target;
use crate::work::deliver::push;
use crate::work::deliver::restore::restore;
use crate::work::issue::obtain;
use crate::work::issue::settle;

/// Something to be done about one certificate.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its primary name, by which it is known to be in hand.
    pub primary: String,
    /// What it is for, and what was at the destination.
    pub target: Target,
    /// Its lineage, and the number of the live version.
    pub live: Option<(String, u32)>,
    /// Its lineage, if it has one.
    pub lineage: Option<String>,
    /// What is done.
    pub work: Work,
    /// How urgent it is.
    pub urgency: Urgency,
}

/// Lowest first: what was never tried before what was, renewals by expiry, then what has no certificate yet, the oldest
/// wish first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Urgency {
    /// Whether it was tried before, and did not come to its end.
    pub was_looked_at: bool,
    /// Whether there is no certificate yet.
    pub has_no_certificate: bool,
    /// When the present one ends.
    pub expiry: Option<OffsetDateTime>,
    /// Since when it is wished for.
    pub wished: Option<OffsetDateTime>,
}

/// Every word for what a job does.
pub const WORDS: [&str; 4] = ["obtain", "push", "restore", "settle"];

/// What is done, in a word.
fn word(work: &Work) -> &'static str {
    match work {
        Work::Nothing => "nothing",
        Work::Push => "push",
        Work::Restore => "restore",
        Work::Settle(_) => "settle",
        Work::Obtain { .. } => "obtain",
    }
}

impl Job {
    /// A job for what is to be done, if anything is.
    pub fn of(work: Work, primary: String, target: Target) -> Option<Self> {
        if matches!(work, Work::Nothing) {
            return None;
        }
        Some(Self {
            primary,
            target,
            live: None,
            lineage: None,
            work,
            urgency: Urgency { has_no_certificate: true, ..Urgency::default() },
        })
    }

    /// What is done, in a word.
    pub fn word(&self) -> &'static str {
        word(&self.work)
    }

    /// Whether it opens or resumes an order.
    pub fn is_order(&self) -> bool {
        matches!(self.work, Work::Obtain { .. })
    }
}

/// What a job has brought where.
#[derive(Debug, Clone, Default)]
pub struct Brought {
    /// What is live in the store since.
    pub on_disk: Option<Leaf>,
    /// What the destination has since.
    pub at_destination: Option<Leaf>,
    /// Ids of certificates that were written at the destination.
    pub pushed: Vec<CertificateId>,
}

/// What became of a job.
#[derive(Debug)]
pub struct Done {
    /// The primary name of the certificate.
    pub primary: String,
    /// What it is for.
    pub names: Names,
    /// What was done, in a word.
    pub what: &'static str,
    /// What it has brought where, as far as it came.
    pub brought: Brought,
    /// Why it did not come to its end.
    pub setback: Option<Setback>,
    /// Whether the next pass may find something else to do for it.
    pub follow_up: bool,
    /// Whether it was tried for the first time.
    pub is_new: bool,
}

impl Done {
    /// What is told when the work itself broke down.
    pub fn after_panic(primary: String, names: Names, what: &'static str) -> Self {
        tracing::error!(domain = primary, "the work on a certificate panicked, please report it");
        let setback = Setback::failure("an error in this program");
        Self {
            primary,
            names,
            what,
            brought: Brought::default(),
            setback: Some(setback),
            follow_up: false,
            is_new: false,
        }
    }
}

impl Job {
    /// Does it. An order gives its place back when the authority has nothing more to do for it, and waits for one of
    /// `pushes` before it goes on to the destination; everything else has such a place from the start.
    pub async fn run<W: World>(self, context: &Context<W>, place: Slot, room: &Workplaces) -> Done {
        debug!(domain = self.primary, kind = self.word(), "job begun");
        let mut brought = Brought::default();
        let (follow_up, setback) = match self.steps(context, place, room, &mut brought).await {
            Ok(follow_up) => (follow_up, None),
            // What has no time of its own is seen to by the next planned pass.
            Err(setback) => (setback.until.is_some(), Some(setback)),
        };
        match &setback {
            // Told once by who knows what was told before.
            Some(setback) if setback.is_failure => {
                debug!(names = %self.target.names, error = setback.sentence(), "job not done")
            }
            Some(setback) => {
                debug!(domain = self.primary, reason = setback.reason, "more to do later")
            }
            None => debug!(domain = self.primary, "job done"),
        }
        Done {
            primary: self.primary,
            names: self.target.names,
            what: word(&self.work),
            is_new: word(&self.work) == "obtain"
                && self.urgency.has_no_certificate
                && !self.urgency.was_looked_at,
            brought,
            setback,
            follow_up,
        }
    }

    /// Answers whether the next pass may find something else to do.
    async fn steps<W: World>(
        &self,
        context: &Context<W>,
        place: Slot,
        room: &Workplaces,
        brought: &mut Brought,
    ) -> Result<bool, Setback> {
        match &self.work {
            Work::Nothing => {}
            Work::Push => self.push_stored(context, brought).await?,
            Work::Restore => {
                if let Some(held) = &self.target.remote {
                    restore(context, &self.target, held, self.lineage.as_deref()).await?;
                    let leaf = held.content.as_ref().ok().map(|shown| shown.leaf.clone());
                    brought.on_disk = leaf;
                }
            }
            Work::Settle(plan) => {
                settle(context, plan).await?;
                return Ok(true);
            }
            Work::Obtain { plan, pushes_first } => {
                if !plan.is_resumed && self.is_changed_at_destination(context).await? {
                    let place = context.settings.policy.place;
                    debug!(
                        domain = self.primary,
                        "changed at {place} since the pass, nothing is ordered"
                    );
                    return Ok(true);
                }
                if *pushes_first && let Err(setback) = self.push_stored(context, brought).await {
                    // A new one is needed all the same, and is pushed with its own luck.
                    debug!(names = %self.target.names, error = setback.reason, "copy in the store not pushed first");
                }
                let obtained = obtain(context, plan, place, room.of_orders()).await?;
                brought.on_disk = Some(obtained.bundle.leaf().clone());
                // Another order may have come to its end than the one that is wanted: the next pass decides.
                if !obtained.bundle.leaf().names_equal(&plan.order.set()) {
                    return Ok(true);
                }
                // Where it goes is not known: a pass that can read the destination decides.
                if !self.target.view.is_whole {
                    return Ok(true);
                }
                let _place = room.pushes.wait().await;
                self.push(context, &obtained.bundle, Some(&obtained.directory), brought).await?;
            }
        }
        Ok(false)
    }

    /// Looks once more before an order is opened: another instance, on a volume of its own, may have been quicker.
    async fn is_changed_at_destination<W: World>(
        &self,
        context: &Context<W>,
    ) -> Result<bool, Setback> {
        if !self.target.view.is_whole {
            // The destination could not be read, and the certificate cannot wait for that.
            return Ok(false);
        }
        let destination = context.world.destination();
        let which = match &self.target.remote {
            Some(held) => Which::Id(&held.id),
            None => Which::Named(self.primary.as_str()),
        };
        match destination.look(which).await {
            Ok(present) => {
                let content = |held: &Held| held.content.clone();
                let before = self.target.remote.as_ref().map(content);
                Ok(present.as_ref().map(content) != before)
            }
            Err(error) => {
                let certificate = self.primary.clone();
                let place = destination.describe().name;
                let text = format!("{place} could not be asked before an order: {error}");
                let what = Failure::of(FailureKind::of_destination(&error), text);
                let wait = context.fail(Subject::Attempt { certificate }, what).await;
                Err(wait.into())
            }
        }
    }

    async fn push_stored<W: World>(
        &self,
        context: &Context<W>,
        brought: &mut Brought,
    ) -> Result<(), Setback> {
        let Some((lineage, live)) = self.live.clone() else {
            return Ok(());
        };
        let read = context.store.run(move |store| {
            let record = store.record(&lineage)?;
            Ok::<_, crate::store::StoreError>((store.read_bundle(&lineage, live)?, record))
        });
        let (bundle, record) = match read.await {
            Ok((Ok(bundle), record)) => (bundle, record),
            Ok((Err(flaw), _)) => return Err(Setback::failure(flaw.to_string())),
            Err(error) => {
                let what = Failure::of(FailureKind::Disk, error.to_string());
                return Err(Setback::failure(what));
            }
        };
        let version = record
            .as_ref()
            .and_then(|record| record.versions.iter().find(|version| version.number == live));
        let directory = version.and_then(|version| version.directory.as_deref());
        self.push(context, &bundle, directory, brought).await
    }

    async fn push<W: World>(
        &self,
        context: &Context<W>,
        bundle: &Bundle,
        directory: Option<&str>,
        brought: &mut Brought,
    ) -> Result<(), Setback> {
        let id = push(context, &self.target, bundle, directory).await?;
        let place = context.settings.policy.place;
        info!(names = %self.target.names, not_after = %timestamp(bundle.leaf().not_after), %id, "certificate at {place}");
        brought.at_destination = Some(bundle.leaf().clone());
        brought.pushed.push(id);
        Ok(())
    }
}
