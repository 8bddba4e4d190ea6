//! The authority port.

use rancher_lets_encrypt::core::bundle::Secret;
use rancher_lets_encrypt::core::names::Names;
use rancher_lets_encrypt::core::problem::AuthorityError;
use rancher_lets_encrypt::core::problem::AuthorityErrorKind;
use rancher_lets_encrypt::core::problem::LimitScope;
use rancher_lets_encrypt::core::resource::Account;
use rancher_lets_encrypt::core::resource::Authorization;
use rancher_lets_encrypt::core::resource::AuthorizationStatus;
use rancher_lets_encrypt::core::resource::Order;
use rancher_lets_encrypt::core::schedule::LONGEST_LIMIT;
use rancher_lets_encrypt::core::schedule::LONGEST_OUTAGE;
use rancher_lets_encrypt::ports::Answered;
use rancher_lets_encrypt::ports::Authority;
use time::Duration;
use time::OffsetDateTime;

use crate::authority::Directory;
use crate::authority::MOST_NAMES;
use crate::authority::agenda::Validation;
use crate::authority::answers::Asker;
use crate::authority::answers::gone;
use crate::authority::answers::refused;
use crate::authority::answers::thumbprint;
use crate::authority::oddities::PATIENCE;
use crate::authority::oddities::failed;
use crate::dice::Dice;
use crate::life::Call;
use crate::life::LOST;
use crate::life::Life;
use crate::outside::State;
use crate::promises::Promise;
use crate::trouble::Events;
use crate::trouble::Port;

fn fault(text: &str) -> AuthorityError {
    AuthorityError::unavailable(text)
}

/// How an authority says that it does not do what it is asked.
#[derive(Clone, Copy)]
enum Mood {
    /// Not at all, or without a time.
    Silent,
    /// It says when to come back.
    Overloaded(OffsetDateTime),
    /// It says that too much was asked, and when to come back.
    Limiting(OffsetDateTime),
    /// It refuses.
    Refusing,
}

impl Mood {
    /// An answer that got lost says nothing, whatever it was.
    fn fault(self, text: &str) -> AuthorityError {
        match self {
            _ if text == LOST => fault(text),
            Self::Silent => fault(text),
            Self::Overloaded(until) => AuthorityError {
                not_before: Some(until),
                status: Some(503),
                ..fault("Service Unavailable")
            },
            Self::Limiting(until) => AuthorityError {
                not_before: Some(until),
                ..AuthorityError::new(
                    AuthorityErrorKind::RateLimited(LimitScope::Names),
                    "too many requests",
                )
            },
            Self::Refusing => refused("serverInternal", "it is not to be had today"),
        }
    }
}

impl State {
    fn mood_of_authority(&mut self) -> Mood {
        if self.trouble.events(Port::Authority) == Events::Fair {
            return Mood::Silent;
        }
        let now = self.now();
        let soon = self.dice.time(Duration::ZERO, Duration::minutes(10));
        let far = self.dice.time(Duration::hours(1), Duration::days(400));
        // What says that it holds for names is believed, so that it must not last longer than people wait.
        let later = self.dice.time(Duration::minutes(1), Duration::DAY);
        match self.dice.below(16) {
            0 => Mood::Overloaded(now + soon),
            1 => Mood::Overloaded(now + soon - Duration::minutes(5)),
            2 | 3 => Mood::Overloaded(now + far),
            4 | 5 => Mood::Limiting(now + later),
            6 => Mood::Refusing,
            _ => Mood::Silent,
        }
    }

    fn directory(&mut self, url: &str) -> Result<&mut Directory, AuthorityError> {
        self.catch_up(url);
        let now = self.now();
        let directory = self.authority.of(url);
        let directory = directory.ok_or_else(|| refused("malformed", "no such directory"))?;
        if directory.oddities.is_gone {
            directory.oddities.meet("is gone");
            let name = directory.name();
            self.promises.asked_in_vain.entry(name).or_default().push(now);
            return Err(fault("connection refused"));
        }
        self.authority.of(url).ok_or_else(|| refused("malformed", "no such directory"))
    }

    /// An order that a defect takes for one that the authority does not know.
    fn is_given_up(&self, order: &str) -> bool {
        self.trouble.given_up.contains(order)
    }

    /// Whether a certificate of ours covers a name that is not asked for any more, and goes on to.
    fn is_clung_to(&self, names: &[String]) -> bool {
        let now = self.now();
        let mut entries = self.rancher.entries.iter();
        self.trouble.defect.clings
            && entries.any(|entry| {
                let Ok(shown) = &entry.content else {
                    return false;
                };
                let has = |name: &String| shown.leaf.names().any(|own| own == name);
                let is_covered = |own: &str| names.iter().any(|name| name == own);
                now < shown.leaf.not_after
                    && names.iter().any(has)
                    && !shown.leaf.names().all(is_covered)
            })
    }
}

impl Life {
    async fn ask<T>(
        &self,
        what: &'static str,
        on: &str,
        is_effect: bool,
        act: impl FnOnce(&mut State, Asker) -> Result<T, AuthorityError>,
    ) -> Result<T, AuthorityError> {
        let call = Call { port: Port::Authority, what, on, is_effect };
        let instance = self.instance;
        let is_silent = {
            let mut state = self.outside.state();
            let mut directories = state.authority.all_mut().iter_mut();
            let silent = directories.find(|directory| directory.is_silent(on));
            silent.is_some_and(|directory| {
                directory.oddities.meet("is silent about a name");
                true
            })
        };
        if is_silent {
            tokio::time::sleep(PATIENCE.unsigned_abs()).await;
            return Err(fault("no answer"));
        }
        let act = |state: &mut State| {
            let now = state.now();
            let mut directories = state.authority.all().iter();
            if directories.any(|directory| directory.is_senseless(on)) {
                return Err(failed("500: that order again"));
            }
            act(state, Asker { instance, now })
        };
        let mood = self.outside.state().mood_of_authority();
        let result = self.call(call, act, |text| mood.fault(text)).await;
        let defect = self.outside.state().trouble.defect;
        result.map_err(|error| {
            let kind = if defect.blames_authority && error.kind == AuthorityErrorKind::Failed {
                AuthorityErrorKind::Unavailable
            } else {
                error.kind
            };
            let error = AuthorityError { kind, ..error };
            let longest = if matches!(error.kind, AuthorityErrorKind::RateLimited(_)) {
                LONGEST_LIMIT
            } else {
                LONGEST_OUTAGE
            };
            AuthorityError { not_before: self.told(error.not_before, longest), ..error }
        })
    }

    /// When to ask again by the clock of the machine: what lies in the past says nothing.
    fn told(&self, at: Option<OffsetDateTime>, longest: Duration) -> Option<OffsetDateTime> {
        let state = self.outside.state();
        let clock = state.shown(self.instance);
        let at = at? + state.places[self.instance].skew;
        (clock < at).then(|| at.min(clock + longest))
    }

    fn shown(&self, order: Order) -> Order {
        Order { not_before: self.told(order.not_before, LONGEST_OUTAGE), ..order }
    }
}

impl Authority for Life {
    async fn register(
        &self,
        directory: &str,
        key: &Secret,
        _: Option<&str>,
    ) -> Result<String, AuthorityError> {
        let act = |state: &mut State, asker: Asker| {
            let is_offended = state.trouble.defect.is_offended;
            let directory = state.directory(directory)?;
            if directory.oddities.refuses_accounts {
                directory.oddities.meet("refuses accounts");
                let kind = "externalAccountRequired";
                return Err(AuthorityError {
                    not_before: is_offended.then(|| asker.now + Duration::DAY),
                    ..refused(kind, "it wants more than a key")
                });
            }
            directory.register(key.reveal(), asker)
        };
        self.ask("registers at", directory, true, act).await
    }

    async fn time(
        &self,
        directory: &str,
        _: Answered,
    ) -> Result<Option<OffsetDateTime>, AuthorityError> {
        let act = |state: &mut State, asker: Asker| {
            state.directory(directory)?;
            Ok(Some(asker.now))
        };
        self.ask("asks the time of", directory, false, act).await
    }

    async fn open(&self, account: &Account, names: &Names) -> Result<Order, AuthorityError> {
        let mut sorted: Vec<String> = names.iter().map(ToString::to_string).collect();
        sorted.sort();
        let unanswered = self.outside.state().trouble.defect.unanswered;
        if unanswered.is_some_and(|part| sorted.iter().any(|name| name.contains(part))) {
            return std::future::pending().await;
        }
        let _turn = self.turn().await;
        let act = |state: &mut State, asker| {
            if state.is_clung_to(&sorted) {
                return Err(failed("what fails is not left out"));
            }
            if MOST_NAMES < sorted.len() {
                let text = format!("an order for {} names was opened", sorted.len());
                state.break_promise(Promise::LimitsAreKnown, text);
            }
            let directory = state.directory(&account.directory)?;
            directory.open(&account.url, sorted, asker)
        };
        let opened = self.ask("opens order for", &names.to_string(), true, act).await?;
        Ok(self.shown(opened))
    }

    async fn look(&self, account: &Account, order: &str) -> Result<Order, AuthorityError> {
        let act = |state: &mut State, asker: Asker| {
            let is_given_up = state.is_given_up(order);
            let mishears = state.trouble.defect.mishears;
            let directory = state.directory(&account.directory)?;
            let shown = directory.order(&account.url, order, asker.now)?;
            if is_given_up || mishears && shown.error.is_some() {
                return Err(gone());
            }
            Ok(shown)
        };
        let shown = self.ask("looks at", order, false, act).await?;
        Ok(self.shown(shown))
    }

    async fn look_at(
        &self,
        account: &Account,
        _: &str,
        authorization: &str,
    ) -> Result<Authorization, AuthorityError> {
        let act = |state: &mut State, asker: Asker| {
            let overlooks = state.trouble.defect.overlooks_reasons;
            let directory = state.directory(&account.directory)?;
            let shown = directory.authorization(&account.url, authorization, asker.now)?;
            let is_overlooked = overlooks && shown.status == AuthorizationStatus::Pending;
            Ok(Authorization { error: shown.error.filter(|_| !is_overlooked), ..shown })
        };
        self.ask("looks at", authorization, false, act).await
    }

    async fn respond(
        &self,
        account: &Account,
        _: &str,
        authorization: &str,
    ) -> Result<(), AuthorityError> {
        let act = |state: &mut State, asker: Asker| {
            let directory = state.directory(&account.directory)?;
            let responded = directory.responded(&account.url, authorization, asker.now)?;
            if let Some(validation) = responded {
                state.validate(&account.directory, &validation)?;
            }
            Ok(())
        };
        self.ask("tells", authorization, true, act).await
    }

    async fn deactivate(
        &self,
        account: &Account,
        _: &str,
        authorization: &str,
    ) -> Result<(), AuthorityError> {
        let act = |state: &mut State, asker: Asker| {
            let directory = state.directory(&account.directory)?;
            directory.deactivate(&account.url, authorization, asker.now)
        };
        self.ask("deactivates", authorization, true, act).await
    }

    async fn finalize(
        &self,
        account: &Account,
        order: &str,
        request: &[u8],
    ) -> Result<Order, AuthorityError> {
        let act = |state: &mut State, asker: Asker| {
            let mut dice = state.dice.fork();
            let mishears = state.trouble.defect.mishears;
            let directory = state.directory(&account.directory)?;
            let (answer, issued) =
                directory.finalize(&account.url, order, request, asker.now, &mut dice);
            let is_torn = directory.tears(&mut dice);
            if is_torn {
                directory.has_torn(order);
            }
            if let Some(issued) = issued {
                state.issued(&account.directory, &issued, asker.instance);
            }
            if is_torn {
                return Err(fault(LOST));
            }
            let is_refusal =
                |error: &AuthorityError| error.kind == AuthorityErrorKind::Refused && mishears;
            answer.map_err(|error| if is_refusal(&error) { gone() } else { error })
        };
        let answer = self.ask("finalizes", order, true, act).await;
        let mut state = self.outside.state();
        let now = state.now();
        if let Some(directory) = state.authority.of(&account.directory) {
            match &answer {
                Ok(_) => directory.has_answered(order, now),
                Err(_) => directory.has_not_heard(order, now),
            }
        }
        drop(state);
        Ok(self.shown(answer?))
    }

    async fn download(
        &self,
        account: &Account,
        order: &str,
        _: &str,
    ) -> Result<String, AuthorityError> {
        let act = |state: &mut State, asker: Asker| {
            let is_odd = 0 < state.directory(&account.directory)?.oddities.loses;
            let mut dice = if is_odd { state.dice.fork() } else { Dice::new(0) };
            let is_given_up = state.is_given_up(order);
            let directory = state.directory(&account.directory)?;
            if is_given_up {
                return Err(gone());
            }
            let chain = directory.chain(&account.url, order, asker.now, &mut dice);
            if chain.is_err() && state.trouble.defect.gives_up {
                state.trouble.given_up.insert(order.to_owned());
            }
            chain
        };
        self.ask("downloads", order, false, act).await
    }

    fn thumbprint(&self, key: &Secret) -> Option<String> {
        Some(thumbprint(key.reveal()))
    }
}

impl State {
    fn validate(&mut self, directory: &str, validation: &Validation) -> Result<(), AuthorityError> {
        let (now, mut dice) = (self.now(), self.dice.fork());
        let Validation { account, name, .. } = validation;
        let is_good = self.serves(name, &validation.challenge, false);
        let has_failed = self.directory(directory)?.decide(validation, is_good, now, &mut dice);
        self.note(format!("authority validates {name}: {}", if is_good { "good" } else { "bad" }));
        if has_failed {
            self.failed_validation(account, name);
        } else if is_good {
            self.promises.good_validation(account, name);
        }
        Ok(())
    }
}
