//! What happens in the soak, one event after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use sandbox::faults::Faults;
use sandbox::faults::Seen;
use sandbox::faults::chance::Draw;
use sandbox::rancher::service::ServiceSpec;

use crate::real::soak::Tally;
use crate::real::soak::of_destination;
use crate::real::soak::of_the_authority;
use crate::real::soak::one_of;
use crate::real::soak::place::Disk;
use crate::real::soak::place::Place;
use crate::support::Daemon;
use crate::support::LABEL;

/// How many services come and go.
const SERVICES: u64 = 24;
/// How long a kill waits for the moment that it is meant for; no assertion hangs on it.
const PATIENCE: Duration = Duration::from_secs(3);
/// All waits that there are end within a day.
const A_DAY_AND_MORE: time::Duration = time::Duration::hours(30);

#[derive(Debug, Clone, Copy)]
enum Event {
    Label,
    Kill,
    Restart,
    Second,
    Disk,
    Faults,
    RancherGone,
}

pub(super) struct Weather {
    pub(super) place: Place,
    draw: Draw,
    pub(super) daemons: Vec<Daemon>,
    /// Label of each service that is there, with what Rancher calls it.
    pub(super) services: BTreeMap<u64, (String, String)>,
    pub(super) tally: Tally,
    seed: u64,
}

impl Weather {
    pub(super) async fn start(seed: u64) -> Self {
        let mut weather = Self {
            place: Place::start().await,
            draw: Draw::new(seed),
            daemons: Vec::new(),
            services: BTreeMap::new(),
            tally: Tally::default(),
            seed,
        };
        for number in 0..SERVICES / 3 {
            weather.label(number);
        }
        weather.faults(12);
        weather.begin();
        weather
    }

    /// One event, and some requests until the next one.
    pub(super) async fn turn(&mut self) {
        const EVENTS: [(u64, Event); 7] = [
            (40, Event::Label),
            (15, Event::Kill),
            (8, Event::Restart),
            (10, Event::Second),
            (10, Event::Disk),
            (10, Event::Faults),
            (5, Event::RancherGone),
        ];
        match one_of(&mut self.draw, &EVENTS) {
            Event::Label => {
                let number = self.draw.below(SERVICES);
                self.label(number);
            }
            Event::Kill => self.kill().await,
            Event::Restart => self.restart().await,
            Event::Second => self.second().await,
            Event::Disk => self.disk().await,
            Event::Faults => {
                let percent = one_of(&mut self.draw, &[(2, 0), (4, 8), (3, 15), (1, 40)]);
                self.faults(percent);
            }
            Event::RancherGone => self.rancher_gone().await,
        }
        let requests = self.draw.below(40);
        self.let_pass(requests).await;
    }

    /// A service comes, goes, or has other names.
    fn label(&mut self, number: u64) {
        let rancher = &self.place.scene.rancher;
        if let Some((_, name)) = self.services.remove(&number) {
            self.tally.add("services gone");
            rancher.remove_service(&name);
            if self.draw.below(2) == 0 {
                return;
            }
        }
        self.tally.add("services come");
        let name = format!("s{number}.example.com");
        let label = match self.draw.below(3) {
            0 => format!("{name} www.{name}"),
            _ => name,
        };
        let spec = ServiceSpec::new("shop", &format!("web{number}")).label(LABEL, &label);
        self.services.insert(number, (label, rancher.add_service(spec)));
    }

    fn begin(&mut self) {
        self.daemons.push(self.place.settings().start());
    }

    /// As a power cut; the others, if there are any, take over.
    async fn kill(&mut self) {
        self.tally.add("kills");
        if self.draw.below(2) == 0 {
            self.let_finalize().await;
        }
        for daemon in self.daemons.drain(..) {
            drop(daemon.kill().await);
        }
        if self.place.disk() == Disk::Good && self.draw.below(2) == 0 {
            let minutes = 1 << self.draw.below(9);
            self.place.age(time::Duration::minutes(minutes));
        }
        self.begin();
    }

    /// Lets a service come, and waits until its certificate is asked for, if it comes to that in this weather: what
    /// is lost from here on is lost after it was paid.
    async fn let_finalize(&mut self) {
        let Some(number) = (0..SERVICES).find(|number| !self.services.contains_key(number)) else {
            return;
        };
        let finalized = |seen: &[Seen]| {
            let finalized = seen.iter().filter(|seen| seen.endpoint == "finalize");
            finalized.count()
        };
        let [faults, ..] = self.ways();
        let before = finalized(&faults.seen());
        self.label(number);
        let asked = faults.until(|seen| before < finalized(seen));
        if tokio::time::timeout(PATIENCE, asked).await.is_ok() {
            self.tally.add("of them after a certificate was asked for");
        }
    }

    async fn restart(&mut self) {
        self.tally.add("restarts");
        let daemon = self.daemons.remove(0);
        let (status, text) = daemon.stop().await;
        // It may not even have begun.
        let is_good = status.success() || text.is_empty();
        assert!(is_good, "SEED={}: {status}\n{text}", self.seed);
        if self.daemons.is_empty() {
            self.begin();
        }
    }

    /// A second instance on the same store comes, or one of the two goes.
    async fn second(&mut self) {
        if self.daemons.len() == 1 {
            self.tally.add("second instances");
            return self.begin();
        }
        let at = self.draw.below(2);
        let daemon = self.daemons.remove(usize::try_from(at).unwrap());
        drop(daemon.kill().await);
    }

    async fn disk(&mut self) {
        let is = match self.place.disk() {
            Disk::Good if self.draw.below(2) == 0 => Disk::Full,
            Disk::Good => Disk::ReadOnly,
            Disk::Full | Disk::ReadOnly => Disk::Good,
        };
        match is {
            Disk::Good => {}
            Disk::Full => self.tally.add("full disks"),
            Disk::ReadOnly => self.tally.add("read-only disks"),
        }
        self.place.disk_is(is).await;
    }

    fn faults(&mut self, percent: u64) {
        let [authority, api, metadata] = self.ways();
        authority.draw(of_the_authority(self.seed, percent));
        api.draw(of_destination(self.seed + 1, percent));
        metadata.draw(of_destination(self.seed + 2, percent));
    }

    async fn rancher_gone(&mut self) {
        self.tally.add("outages of Rancher");
        self.place.scene.rancher.close_api().await;
        let requests = self.draw.below(10);
        self.let_pass(requests).await;
        self.place.scene.rancher.open_api().await.unwrap();
    }

    pub(super) fn ways(&self) -> [Faults; 3] {
        let between = &self.place.between;
        [&between.authority, &between.api, &between.metadata].map(|proxy| proxy.faults().clone())
    }

    /// Waits for so many requests. There may be none: nobody works on a store that cannot be written.
    async fn let_pass(&self, requests: u64) {
        let [authority, api, metadata] = self.ways();
        let requests = usize::try_from(requests).unwrap();
        let enough = |faults: Faults| async move {
            let until = faults.seen().len() + requests;
            faults.until(|seen| seen.len() >= until).await;
        };
        let any = async {
            tokio::select! {
                () = enough(authority) => {}
                () = enough(api) => {}
                () = enough(metadata) => {}
            }
        };
        // A moment for those who do nothing; no assertion hangs on it.
        drop(tokio::time::timeout(Duration::from_millis(1500), any).await);
    }

    /// Nothing goes wrong any more, and time passes. Then everything that is wanted comes.
    pub(super) async fn clear_up(&mut self) {
        self.ways().iter().for_each(Faults::clear);
        self.place.disk_is(Disk::Good).await;
        for daemon in self.daemons.drain(..) {
            drop(daemon.kill().await);
        }
        self.place.age(A_DAY_AND_MORE);
        self.begin();
    }
}
