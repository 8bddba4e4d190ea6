//! The ports of source and destination.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration as StdDuration;

use rancher_lets_encrypt::backends::rancher::mark;
use rancher_lets_encrypt::backends::rancher::waking;
use rancher_lets_encrypt::backends::rancher::waking::Choice;
use rancher_lets_encrypt::core::bundle::Secret;
use rancher_lets_encrypt::core::certificate::CertificateChain;
use rancher_lets_encrypt::core::held::Abilities;
use rancher_lets_encrypt::core::held::Activated;
use rancher_lets_encrypt::core::held::Announcement;
use rancher_lets_encrypt::core::held::CertificateId;
use rancher_lets_encrypt::core::held::Held;
use rancher_lets_encrypt::core::held::Ownership;
use rancher_lets_encrypt::core::held::Retrieved;
use rancher_lets_encrypt::core::held::Upload;
use rancher_lets_encrypt::core::held::User;
use rancher_lets_encrypt::core::held::UserId;
use rancher_lets_encrypt::core::held::Which;
use rancher_lets_encrypt::core::held::Words;
use rancher_lets_encrypt::core::names::DomainName;
use rancher_lets_encrypt::core::problem::DestinationError;
use rancher_lets_encrypt::core::problem::NoData;
use rancher_lets_encrypt::ports::Destination;
use rancher_lets_encrypt::ports::Source;
use time::Duration;
use time::OffsetDateTime;

use crate::life::Call;
use crate::life::LOST;
use crate::life::Life;
use crate::outside::State;
use crate::rancher::Entry;
use crate::rancher::Owner;
use crate::trouble::Events;
use crate::trouble::Port;

/// How soon metadata that cannot be read is asked again: years of outages must not take longer than the rest.
const UNREAD_PAUSE: StdDuration = StdDuration::from_secs(300);
/// The service of the daemon itself.
const OWN: &str = "1s-own";

fn fault(text: &str) -> DestinationError {
    DestinationError::Unavailable(text.to_owned())
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
    fn fault(self, text: &str) -> DestinationError {
        match self {
            _ if text == LOST => fault(text),
            Self::Silent => fault(text),
            Self::Busy => DestinationError::Conflict("409 Conflict".to_owned()),
            Self::Strict => DestinationError::Denied("403 Forbidden".to_owned()),
        }
    }
}

impl Life {
    /// Notes what it is asked for although it has said that it cannot.
    fn needs(&self, is_able: impl FnOnce(Abilities) -> bool, what: &'static str) {
        let rancher = &mut self.outside.state().rancher;
        if !is_able(rancher.can) {
            rancher.asked_in_vain.push(what);
        }
    }

    async fn ask_rancher<T>(
        &self,
        what: &'static str,
        on: &str,
        is_effect: bool,
        act: impl FnOnce(&mut State, OffsetDateTime) -> Result<T, DestinationError>,
    ) -> Result<T, DestinationError> {
        let call = Call { port: Port::Rancher, what, on, is_effect };
        let act = |state: &mut State| {
            let now = state.now();
            act(state, now)
        };
        let mood = self.outside.state().mood_of_rancher();
        self.call(call, act, |text| mood.fault(text)).await
    }
}

impl Source for Life {
    async fn announcements(&self) -> Result<Vec<Announcement>, NoData> {
        let call = Call { port: Port::Metadata, what: "reads", on: "labels", is_effect: false };
        let act = |state: &mut State| {
            let mut announcements = state.domains.announcements();
            if state.trouble.defect.curtails_labels {
                for announcement in &mut announcements {
                    if let Some((kept, _)) = announcement.label.rsplit_once(' ') {
                        announcement.label = kept.to_owned();
                    }
                }
            }
            Ok((state.domains.labels_version, announcements))
        };
        let (version, announcements) = self.call(call, act, |text| NoData(text.to_owned())).await?;
        self.labels_read.store(version, Ordering::Relaxed);
        Ok(announcements)
    }

    async fn changed(&self) -> Result<(), NoData> {
        loop {
            let changed = self.outside.labels.notified();
            let version = self.outside.state().domains.labels_version;
            if version != self.labels_read.load(Ordering::Relaxed) {
                // Metadata that cannot be read must not make anybody spin.
                tokio::time::sleep(UNREAD_PAUSE).await;
                return Ok(());
            }
            changed.await;
        }
    }
}

impl Life {
    async fn create(
        &self,
        name: &str,
        upload: &Upload,
        description: String,
    ) -> Result<Held, DestinationError> {
        let act = |state: &mut State, now: OffsetDateTime| {
            if state.rancher.of(name).is_some() {
                return Err(DestinationError::Conflict("NotUnique name".to_owned()));
            }
            state.uploaded(self.instance, None, upload);
            state.rancher.made += 1;
            let entry = Entry {
                number: state.rancher.made,
                name: name.to_owned(),
                description: description.clone(),
                certificate: upload.certificate.clone(),
                chain: upload.chain.clone(),
                key: upload.key.clone(),
                content: CertificateChain::parse(&upload.certificate, &upload.chain),
                owner: Owner::Daemon,
                written_at: now,
                changes_until: state.changes_until(now),
            };
            let held = entry.held(now);
            state.rancher.first.insert(entry.number, (upload.clone(), description));
            state.rancher.entries.push(entry);
            state.rancher.written_at = Some(now);
            Ok(held)
        };
        self.ask_rancher("creates", name, true, act).await
    }

    async fn replace(
        &self,
        id: &CertificateId,
        upload: &Upload,
        description: String,
    ) -> Result<Held, DestinationError> {
        let act = |state: &mut State, now: OffsetDateTime| {
            let gone = || DestinationError::Refused("it was removed".to_owned());
            let at = state.numbered(id).ok_or_else(gone)?;
            if now < state.rancher.entries[at].changes_until {
                return Err(DestinationError::Conflict("409 Conflict".to_owned()));
            }
            let number = state.rancher.entries[at].number;
            let meant = (upload.clone(), description);
            let first = state.rancher.first.entry(number).or_insert_with(|| meant.clone()).clone();
            let (upload, description) = if state.trouble.defect.replays { first } else { meant };
            state.uploaded(self.instance, Some(at), &upload);
            let changes_until = state.changes_until(now);
            let entry = &mut state.rancher.entries[at];
            entry.description = description;
            entry.content = CertificateChain::parse(&upload.certificate, &upload.chain);
            entry.certificate = upload.certificate;
            entry.chain = upload.chain;
            entry.key = upload.key;
            entry.owner = Owner::Daemon;
            entry.written_at = now;
            entry.changes_until = changes_until;
            let held = entry.held(now);
            state.rancher.written_at = Some(now);
            Ok(held)
        };
        self.ask_rancher("replaces", id.as_str(), true, act).await
    }

    /// As the real one does it, by three requests.
    async fn choose(&self, changed: &[CertificateId]) -> Result<Choice, DestinationError> {
        let act = |state: &mut State, _| Ok(state.rancher.own_is_active);
        if let Ok(true) = self.ask_rancher("looks for", "own service", false, act).await {
            return Ok(Choice::Wake(User {
                id: OWN.into(),
                name: "letsencrypt".to_owned(),
                certificates: Vec::new(),
                folder: None,
            }));
        }
        let act = |state: &mut State, _| Ok(state.rancher.services());
        let balancers = self.ask_rancher("lists", "balancers", false, act).await?;
        Ok(waking::choose(balancers, changed))
    }

    async fn wake(&self, id: &UserId) -> Result<(), DestinationError> {
        let id = id.as_str();
        let act = |state: &mut State, now| {
            let number = id.strip_prefix("1s").and_then(|number| number.parse().ok());
            let balancer = number.and_then(|number: usize| state.rancher.balancers.get(number));
            let is_active = match balancer {
                Some(balancer) => balancer.is_active,
                None => id == OWN && state.rancher.own_is_active,
            };
            if !is_active {
                return Err(DestinationError::Conflict("it is not active".to_owned()));
            }
            state.rancher.woken_at = Some(now);
            Ok(())
        };
        self.ask_rancher("wakes", id, true, act).await
    }
}

impl Destination for Life {
    fn describe(&self) -> Words {
        Words { name: "Rancher", users: "balancers" }
    }

    fn can(&self) -> Abilities {
        self.outside.state().rancher.can
    }

    async fn list(&self) -> Result<Vec<Held>, DestinationError> {
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

    async fn look(&self, which: Which<'_>) -> Result<Option<Held>, DestinationError> {
        let (what, on) = match which {
            Which::Id(id) => ("looks at", id.as_str()),
            Which::Named(name) => ("looks for", name),
        };
        let act = |state: &mut State, now| {
            let found = match which {
                Which::Id(id) => state.numbered(id).map(|at| &state.rancher.entries[at]),
                Which::Named(_) if state.trouble.defect.overlooks => None,
                Which::Named(name) => state.rancher.of(name),
            };
            Ok(found.map(|entry| entry.held(now)))
        };
        self.ask_rancher(what, on, false, act).await
    }

    async fn put(
        &self,
        name: &str,
        replaces: Option<&Held>,
        upload: &Upload,
        ownership: Option<&Ownership>,
    ) -> Result<Held, DestinationError> {
        self.needs(|can| can.carries_mark || ownership.is_none(), "a mark");
        let own = replaces.map_or("", |held| held.note.as_str());
        let description = match ownership {
            Some(ownership) => mark::write(ownership, own).0,
            None => own.to_owned(),
        };
        match replaces {
            Some(held) => self.replace(&held.id, upload, description).await,
            None => self.create(name, upload, description).await,
        }
    }

    async fn retrieve(&self, id: &CertificateId) -> Result<Retrieved, DestinationError> {
        self.needs(|can| can.returns_keys, "a key");
        let act = |state: &mut State, now: OffsetDateTime| {
            let gone = || DestinationError::Refused("it was removed".to_owned());
            let at = state.numbered(id).ok_or_else(gone)?;
            let changes_until = state.changes_until(now);
            let gives_keys = state.rancher.gives_keys;
            let entry = &mut state.rancher.entries[at];
            if now < entry.changes_until {
                return Err(DestinationError::Conflict("ActionNotAvailable".to_owned()));
            }
            entry.changes_until = changes_until;
            Ok(Retrieved {
                chain: format!("{}{}", entry.certificate, entry.chain),
                key: gives_keys.then(|| Secret::new(entry.key.reveal())),
            })
        };
        self.ask_rancher("retrieves", id.as_str(), true, act).await
    }

    async fn users(&self) -> Result<Vec<User>, DestinationError> {
        self.needs(|can| can.has_users, "its users");
        let act = |state: &mut State, _| Ok(state.rancher.services());
        let services = self.ask_rancher("lists", "balancers", false, act).await?;
        Ok(services.into_iter().map(|service| service.user).collect())
    }

    async fn activate(&self, changed: &[CertificateId]) -> Result<Activated, DestinationError> {
        self.needs(|can| can.has_users, "to wake somebody");
        match self.choose(changed).await? {
            Choice::Wake(service) => {
                self.wake(&service.id).await?;
                Ok(Activated::By(service.name))
            }
            Choice::NobodyThere => Ok(Activated::NobodyThere),
            Choice::NobodyActive => {
                Err(DestinationError::Conflict(waking::NOBODY_ACTIVE.to_owned()))
            }
        }
    }

    async fn served(
        &self,
        _user: &UserId,
        _name: &DomainName,
    ) -> Result<Vec<SocketAddr>, DestinationError> {
        Ok(Vec::new())
    }
}

impl State {
    fn mood_of_rancher(&mut self) -> Mood {
        if self.trouble.events(Port::Rancher) == Events::Fair {
            return Mood::Silent;
        }
        match self.dice.below(8) {
            0 => Mood::Busy,
            1 => Mood::Strict,
            _ => Mood::Silent,
        }
    }

    fn numbered(&self, id: &CertificateId) -> Option<usize> {
        let number: u64 = id.as_str().strip_prefix("1c")?.parse().ok()?;
        self.rancher.entries.iter().position(|entry| entry.number == number)
    }

    fn changes_until(&mut self, now: OffsetDateTime) -> OffsetDateTime {
        now + self.dice.time(Duration::ZERO, self.rancher.slowness)
    }
}
