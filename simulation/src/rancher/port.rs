//! The orchestrator port.

use std::sync::atomic::Ordering;
use std::time::Duration as StdDuration;

use rancher_lets_encrypt::core::bundle::Secret;
use rancher_lets_encrypt::core::certificate::CertificateChain;
use rancher_lets_encrypt::core::held::Announcement;
use rancher_lets_encrypt::core::held::Held;
use rancher_lets_encrypt::core::held::Revealed;
use rancher_lets_encrypt::core::held::Service;
use rancher_lets_encrypt::core::held::Upload;
use rancher_lets_encrypt::core::problem::OrchestratorError;
use rancher_lets_encrypt::ports::Orchestrator;
use time::Duration;
use time::OffsetDateTime;

use crate::life::Call;
use crate::life::LOST;
use crate::life::Life;
use crate::outside::State;
use crate::rancher::Entry;
use crate::rancher::Owner;
use crate::trouble::Port;
use crate::trouble::Weather;

/// How soon metadata that cannot be read is asked again: years of outages must not take longer than the rest.
const UNREAD_PAUSE: StdDuration = StdDuration::from_secs(300);
/// The service of the daemon itself.
const OWN: &str = "1s-own";

fn fault(text: &str) -> OrchestratorError {
    OrchestratorError::Unavailable(text.to_owned())
}

/// How Rancher says that it does not do what it is asked.
#[derive(Clone, Copy)]
enum Mood {
    Silent,
    Busy,
    Strict,
}

impl Mood {
    /// An answer that got lost says nothing, whatever it was.
    fn fault(self, text: &str) -> OrchestratorError {
        match self {
            _ if text == LOST => fault(text),
            Self::Silent => fault(text),
            Self::Busy => OrchestratorError::Conflict("409 Conflict".to_owned()),
            Self::Strict => OrchestratorError::Denied("403 Forbidden".to_owned()),
        }
    }
}

impl Life {
    async fn ask_rancher<T>(
        &self,
        what: &'static str,
        on: &str,
        is_effect: bool,
        act: impl FnOnce(&mut State, OffsetDateTime) -> Result<T, OrchestratorError>,
    ) -> Result<T, OrchestratorError> {
        let call = Call { port: Port::Rancher, what, on, is_effect };
        let act = |state: &mut State| {
            let now = state.now();
            act(state, now)
        };
        let mood = self.outside.state().mood_of_rancher();
        self.call(call, act, |text| mood.fault(text)).await
    }
}

impl Orchestrator for Life {
    async fn announcements(&self) -> Result<Vec<Announcement>, OrchestratorError> {
        let call = Call { port: Port::Metadata, what: "reads", on: "labels", is_effect: false };
        let act = |state: &mut State| {
            let mut announcements = state.town.announcements();
            if state.trouble.defect.curtails_labels {
                for announcement in &mut announcements {
                    if let Some((kept, _)) = announcement.label.rsplit_once(' ') {
                        announcement.label = kept.to_owned();
                    }
                }
            }
            Ok((state.town.labels_version, announcements))
        };
        let (version, announcements) = self.call(call, act, fault).await?;
        self.labels_read.store(version, Ordering::Relaxed);
        Ok(announcements)
    }

    async fn changed(&self) {
        loop {
            let changed = self.outside.labels.notified();
            let version = self.outside.state().town.labels_version;
            if version != self.labels_read.load(Ordering::Relaxed) {
                // Metadata that cannot be read must not make anybody spin.
                return tokio::time::sleep(UNREAD_PAUSE).await;
            }
            changed.await;
        }
    }

    async fn certificates(&self) -> Result<Vec<Held>, OrchestratorError> {
        let act = |state: &mut State, now: OffsetDateTime| {
            state.rancher.lists += 1;
            state.promises.listed.push(now);
            if state.trouble.defect.overlooks {
                return Ok(Vec::new());
            }
            let entries = state.rancher.entries.iter();
            Ok(entries.map(|entry| entry.held(now)).collect())
        };
        self.ask_rancher("lists", "certificates", false, act).await
    }

    async fn look(&self, id: &str) -> Result<Option<Held>, OrchestratorError> {
        let act = |state: &mut State, now| {
            let number = state.numbered(id);
            Ok(number.map(|at| state.rancher.entries[at].held(now)))
        };
        self.ask_rancher("looks at", id, false, act).await
    }

    async fn find(&self, name: &str) -> Result<Vec<Held>, OrchestratorError> {
        let act = |state: &mut State, now| {
            let overlooks = state.trouble.defect.overlooks;
            let found = state.rancher.of(name).filter(|_| !overlooks);
            Ok(found.map(|entry| entry.held(now)).into_iter().collect())
        };
        self.ask_rancher("looks for", name, false, act).await
    }

    async fn create(&self, name: &str, upload: &Upload) -> Result<Held, OrchestratorError> {
        let act = |state: &mut State, now: OffsetDateTime| {
            if state.rancher.of(name).is_some() {
                return Err(OrchestratorError::NotUnique("NotUnique name".to_owned()));
            }
            state.uploaded(self.instance, None, upload);
            state.rancher.made += 1;
            let entry = Entry {
                number: state.rancher.made,
                name: name.to_owned(),
                description: upload.description.clone(),
                certificate: upload.certificate.clone(),
                chain: upload.chain.clone(),
                key: upload.key.clone(),
                content: CertificateChain::parse(&upload.certificate, &upload.chain),
                owner: Owner::Daemon,
                written_at: now,
                changes_until: state.changes_until(now),
            };
            let held = entry.held(now);
            state.rancher.first.insert(entry.number, upload.clone());
            state.rancher.entries.push(entry);
            state.rancher.written_at = Some(now);
            Ok(held)
        };
        self.ask_rancher("creates", name, true, act).await
    }

    async fn replace(&self, id: &str, upload: &Upload) -> Result<Held, OrchestratorError> {
        let act = |state: &mut State, now: OffsetDateTime| {
            let gone = || OrchestratorError::Refused("it was removed".to_owned());
            let at = state.numbered(id).ok_or_else(gone)?;
            if now < state.rancher.entries[at].changes_until {
                return Err(OrchestratorError::Conflict("409 Conflict".to_owned()));
            }
            let number = state.rancher.entries[at].number;
            let first = state.rancher.first.entry(number);
            let first = first.or_insert_with(|| upload.clone()).clone();
            let upload = if state.trouble.defect.replays { &first } else { upload };
            state.uploaded(self.instance, Some(at), upload);
            let changes_until = state.changes_until(now);
            let entry = &mut state.rancher.entries[at];
            entry.description.clone_from(&upload.description);
            entry.certificate.clone_from(&upload.certificate);
            entry.chain.clone_from(&upload.chain);
            entry.key = upload.key.clone();
            entry.content = CertificateChain::parse(&upload.certificate, &upload.chain);
            entry.owner = Owner::Daemon;
            entry.written_at = now;
            entry.changes_until = changes_until;
            let held = entry.held(now);
            state.rancher.written_at = Some(now);
            Ok(held)
        };
        self.ask_rancher("replaces", id, true, act).await
    }

    async fn reveal(&self, id: &str) -> Result<Revealed, OrchestratorError> {
        let act = |state: &mut State, now: OffsetDateTime| {
            let gone = || OrchestratorError::Refused("it was removed".to_owned());
            let at = state.numbered(id).ok_or_else(gone)?;
            let changes_until = state.changes_until(now);
            let gives_keys = state.rancher.gives_keys;
            let entry = &mut state.rancher.entries[at];
            if now < entry.changes_until {
                return Err(OrchestratorError::Conflict("ActionNotAvailable".to_owned()));
            }
            entry.changes_until = changes_until;
            Ok(Revealed {
                chain: format!("{}{}", entry.certificate, entry.chain),
                key: gives_keys.then(|| Secret::new(entry.key.reveal())),
            })
        };
        self.ask_rancher("reveals", id, true, act).await
    }

    async fn balancers(&self) -> Result<Vec<Service>, OrchestratorError> {
        let act = |state: &mut State, _| Ok(state.rancher.services());
        self.ask_rancher("lists", "balancers", false, act).await
    }

    async fn own_service(&self) -> Result<Option<Service>, OrchestratorError> {
        let act = |state: &mut State, _| {
            Ok(Some(Service {
                id: OWN.to_owned(),
                name: "letsencrypt".to_owned(),
                is_active: state.rancher.own_is_active,
                certificates: Vec::new(),
                folder: None,
            }))
        };
        self.ask_rancher("looks for", "own service", false, act).await
    }

    async fn wake(&self, id: &str) -> Result<(), OrchestratorError> {
        let act = |state: &mut State, now| {
            let number = id.strip_prefix("1s").and_then(|number| number.parse().ok());
            let balancer = number.and_then(|number: usize| state.rancher.balancers.get(number));
            let is_active = match balancer {
                Some(balancer) => balancer.is_active,
                None => id == OWN && state.rancher.own_is_active,
            };
            if !is_active {
                return Err(OrchestratorError::Conflict("it is not active".to_owned()));
            }
            state.rancher.woken_at = Some(now);
            Ok(())
        };
        self.ask_rancher("wakes", id, true, act).await
    }
}

impl State {
    fn mood_of_rancher(&mut self) -> Mood {
        if self.trouble.weather(Port::Rancher) == Weather::Fair {
            return Mood::Silent;
        }
        match self.dice.below(8) {
            0 => Mood::Busy,
            1 => Mood::Strict,
            _ => Mood::Silent,
        }
    }

    fn numbered(&self, id: &str) -> Option<usize> {
        let number: u64 = id.strip_prefix("1c")?.parse().ok()?;
        self.rancher.entries.iter().position(|entry| entry.number == number)
    }

    fn changes_until(&mut self, now: OffsetDateTime) -> OffsetDateTime {
        now + self.dice.time(Duration::ZERO, self.rancher.slowness)
    }
}
