//! The filter and the plan, rule by rule; then the promises over all small worlds.

use std::collections::BTreeMap;

use time::Duration;

use super::classify::DiskCopy;
use super::classify::Known;
use super::classify::Policy;
use super::classify::RemoteCopy;
use super::classify::Stored;
use super::filter::NameWait;
use super::*;
use crate::core::budget::UsedUp;
use crate::core::bundle::Secret;
use crate::core::certificate::CertificateChain;
use crate::core::certificate::tests::NOW;
use crate::core::certificate::tests::self_signed;
use crate::core::certificate::tests::shown;
use crate::core::fingerprint::Fingerprint;
use crate::core::held::Held;
use crate::core::names::DomainName;
use crate::core::names::NameSet;
use crate::core::names::Names;
use crate::core::resource::Order;
use crate::core::resource::OrderStatus;
use crate::decide::classify::ReplaceForeign;
use crate::decide::order::Pending;
use crate::decide::order::PendingOrder;

mod small_worlds;

const PRODUCTION: &str = "https://ca.test/directory";
const STAGING: &str = "https://staging.ca.test/directory";

fn names(text: &str) -> Names {
    Names::new(text.split(' ').map(|name| name.parse().unwrap())).unwrap()
}

/// A 90-day certificate with this many days left.
fn with_left(names: &[&str], left: i64) -> CertificateChain {
    shown(names, Duration::days(left - 90), Duration::days(90))
}

/// What is on record, said outright.
#[derive(Debug, Clone, Default)]
struct Record {
    names: BTreeMap<&'static str, (i64, u32)>,
    attempt: Option<i64>,
    push: Option<i64>,
    key: Option<i64>,
    authority: Option<i64>,
    opened: Option<i64>,
    floor: Option<i64>,
    doubt: Option<i64>,
    limits: Option<i64>,
    change: Option<i64>,
    is_overruled: bool,
}

fn hours(hours: i64) -> OffsetDateTime {
    NOW + Duration::hours(hours)
}

fn wait(what: &str, until: Option<i64>) -> Option<Setback> {
    until.map(|until| Setback::failure_until(what, hours(until)))
}

impl OnRecord for Record {
    fn name(&self, name: &DomainName) -> Option<NameWait> {
        let (until, _) = self.names.get(name.as_str()).filter(|(until, _)| *until > 0)?;
        Some(NameWait {
            setback: Setback::failure_until(format!("{name} failed"), hours(*until)),
            is_refused: true,
        })
    }

    fn failures(&self, name: &DomainName) -> u32 {
        self.names.get(name.as_str()).map_or(0, |(_, failures)| *failures)
    }

    fn attempt(&self) -> Option<Setback> {
        wait("attempt", self.attempt)
    }

    fn push(&self) -> Option<Setback> {
        wait("push", self.push)
    }

    fn key(&self, _leaf: &Fingerprint) -> Option<Setback> {
        wait("key", self.key)
    }

    fn authority(&self) -> Option<Setback> {
        wait("authority", self.authority)
    }

    fn authority_of_opened(&self, _directory: &str) -> Option<Setback> {
        wait("authority of opened", self.opened)
    }

    fn floor(&self, _names: &NameSet) -> Option<OffsetDateTime> {
        self.floor.map(hours)
    }

    fn doubt(&self) -> Option<OffsetDateTime> {
        self.doubt.map(hours)
    }

    fn limits(&self, _names: &NameSet, _is_renewal: bool) -> Option<UsedUp> {
        self.limits.map(|until| UsedUp { reason: "limit".to_owned(), opens: Some(hours(until)) })
    }

    fn next_change(&self) -> Option<OffsetDateTime> {
        self.change.map(hours)
    }

    fn is_overruled(&self) -> bool {
        self.is_overruled
    }
}

/// A world with one wanted certificate.
#[derive(Debug, Clone)]
struct World {
    names: Names,
    disk: DiskCopy,
    held: Vec<Held>,
    is_unknown: bool,
    known: Known,
    policy: Policy,
    pending: Pending,
    aside: Vec<PendingOrder>,
    is_ephemeral: bool,
    is_asked: bool,
    record: Record,
}

fn world(text: &str) -> World {
    World {
        names: names(text),
        disk: DiskCopy::Absent,
        held: Vec::new(),
        is_unknown: false,
        known: Known::new(),
        policy: Policy {
            place: "Rancher",
            is_staging: false,
            production_directory: PRODUCTION.to_owned(),
            staging_directory: STAGING.to_owned(),
            renew_before: None,
            replace_foreign: ReplaceForeign::Due,
        },
        pending: Pending::None,
        aside: Vec::new(),
        is_ephemeral: false,
        is_asked: false,
        record: Record::default(),
    }
}

impl World {
    fn on_disk(mut self, shown: CertificateChain) -> Self {
        let directory = Some(PRODUCTION.to_owned());
        self.known.insert(shown.leaf.fingerprint, directory.clone());
        self.disk = DiskCopy::Whole(Stored { shown, directory, stored_at: None });
        self
    }

    fn at_destination(mut self, shown: CertificateChain) -> Self {
        self.held.push(Held {
            id: "1c1".into(),
            name: self.names.primary().to_string(),
            occupies: self.names.primary().to_string(),
            owner: None,
            is_changing: false,
            content: Ok(shown),
            note: String::new(),
        });
        self
    }

    /// The same certificate in both places.
    fn served(self, shown: CertificateChain) -> Self {
        self.on_disk(shown.clone()).at_destination(shown)
    }

    fn failing(mut self, name: &'static str, hours: i64, failures: u32) -> Self {
        self.record.names.insert(name, (hours, failures));
        self
    }

    fn verdict(&self) -> Verdict {
        self.verdict_at(NOW)
    }

    fn verdict_at(&self, now: OffsetDateTime) -> Verdict {
        let waiting: NameSet =
            self.names.iter().filter(|name| self.record.name(name).is_some()).cloned().collect();
        let remote = match self.held.first() {
            _ if self.is_unknown => RemoteCopy::Unknown("503"),
            Some(held) => RemoteCopy::Held(held),
            None => RemoteCopy::Absent,
        };
        let facts = Facts {
            names: &self.names,
            waiting: &waiting,
            disk: &self.disk,
            remote,
            known: &self.known,
            policy: &self.policy,
            is_asked: self.is_asked,
        };
        let wanted: NameSet = names("a.example.com b.example.com c.example.com").set();
        let around = Around {
            lineage: Some("a.example.com"),
            pending: &self.pending,
            aside: &self.aside,
            wanted: &wanted,
            held: &self.held,
            is_ephemeral: self.is_ephemeral,
        };
        decide(&facts, &around, &self.record, now)
    }

    /// What is ordered now.
    fn ordered(&self) -> Result<String, String> {
        let verdict = self.verdict();
        match (verdict.asks, verdict.held_back) {
            (Work::Obtain { plan, .. }, None) => Ok(plan.order.to_string()),
            (_, Some(setback)) => Err(setback.reason),
            (work, None) => Err(format!("{work:?}")),
        }
    }
}

fn order(text: &str, directory: &str) -> PendingOrder {
    let account = "https://ca.test/account/1".to_owned();
    let key = Secret::new("key");
    let mut order =
        PendingOrder::intend(names(text), directory.to_owned(), account, key, false, NOW);
    order.opened(&Order {
        url: "https://ca.test/order/1".to_owned(),
        status: OrderStatus::Pending,
        authorizations: Vec::new(),
        certificate: None,
        expires: None,
        error: None,
        not_before: None,
    });
    order
}

#[test]
fn names_that_wait_are_left_out_but_not_one_that_is_served() {
    let group = || world("a.example.com b.example.com");
    assert_eq!(group().ordered().unwrap(), "a.example.com b.example.com");
    assert_eq!(group().failing("b.example.com", 1, 1).ordered().unwrap(), "a.example.com");
    let both = group().failing("a.example.com", 1, 1).failing("b.example.com", 2, 1);
    assert_eq!(both.ordered().unwrap_err(), "b.example.com failed");
    let served = |left| group().served(with_left(&["a.example.com", "b.example.com"], left));
    let fails = served(29).failing("b.example.com", 1, 9);
    assert_eq!(fails.ordered().unwrap_err(), "b.example.com failed");
    let part = group().served(with_left(&["a.example.com"], 29)).failing("b.example.com", 1, 1);
    assert_eq!(part.ordered().unwrap(), "a.example.com");
    // Surplus names stay while somebody wants them, and go when they fail and another certificate of ours covers them.
    let surplus = with_left(&["a.example.com", "c.example.com", "gone.example.com"], 29);
    let surplus = group().served(surplus);
    assert_eq!(surplus.ordered().unwrap(), "a.example.com b.example.com c.example.com");
    let fails = surplus.failing("c.example.com", 1, 1);
    assert_eq!(fails.ordered().unwrap_err(), "c.example.com failed");
    let mut elsewhere = fails.at_destination(with_left(&["c.example.com"], 80));
    elsewhere.held[1].id = "1c2".into();
    let Ok(other) = &elsewhere.held[1].content else {
        panic!("it was put there");
    };
    elsewhere.known.insert(other.leaf.fingerprint, None);
    assert_eq!(elsewhere.ordered().unwrap(), "a.example.com b.example.com");
}

#[test]
fn a_dead_name_is_left_out_while_there_is_time_to_renew_the_others() {
    let group = |left, failures| {
        world("a.example.com b.example.com")
            .served(with_left(&["a.example.com", "b.example.com"], left))
            .failing("b.example.com", 2, failures)
    };
    // Thirty days to renew, less the jitter: the last quarter begins with 7.5 days left, or a little more.
    assert!(group(10, 3).ordered().is_err());
    assert!(group(7, 2).ordered().is_err());
    let verdict = group(7, 3).verdict();
    assert!(verdict.why.contains("without b.example.com"), "{}", verdict.why);
    assert_eq!(group(7, 3).ordered().unwrap(), "a.example.com");
    // It is told when that will be.
    let next = group(9, 3).failing("b.example.com", 24 * 8, 3).verdict().next.unwrap();
    assert!(next.at <= hours(40) && hours(1) < next.at, "{next:?}");
}

#[test]
fn names_of_a_certificate_that_is_served_change_all_at_once_and_rarer_each_time() {
    let mut grows = world("a.example.com b.example.com").served(with_left(&["a.example.com"], 80));
    assert_eq!(grows.ordered().unwrap(), "a.example.com b.example.com");
    grows.record.change = Some(6);
    let verdict = grows.verdict();
    assert_eq!(verdict.until(), Some(hours(6)));
    assert!(!verdict.held_back.unwrap().is_failure);
    // What is due, or asked for, waits for none of that.
    grows.is_asked = true;
    grows.ordered().unwrap();
    let mut due = world("a.example.com").served(with_left(&["a.example.com"], 20));
    due.record.change = Some(6);
    due.ordered().unwrap();
    // Nor a first certificate.
    let mut first = world("a.example.com");
    first.record.change = Some(6);
    first.ordered().unwrap();
}

#[test]
fn each_brake_holds_a_new_order_back_and_none_but_the_authority_one_that_is_opened() {
    let set: [fn(&mut Record); 6] = [
        |record| record.attempt = Some(1),
        |record| record.authority = Some(1),
        |record| record.floor = Some(1),
        |record| record.doubt = Some(1),
        |record| record.limits = Some(1),
        |record| record.opened = Some(1),
    ];
    for (position, set) in set.into_iter().enumerate() {
        let mut new = world("a.example.com");
        set(&mut new.record);
        assert_eq!(new.ordered().is_err(), position != 5, "{position}");
        let mut resumed = new.clone();
        resumed.pending = Pending::Order(Box::new(order("a.example.com", PRODUCTION)));
        let is_held = matches!(position, 0 | 5);
        assert_eq!(resumed.ordered().is_err(), is_held, "{position}");
        // An order for something else is none that is resumed.
        let mut other = new;
        other.pending = Pending::Order(Box::new(order("b.example.com", PRODUCTION)));
        assert_eq!(other.ordered().is_err(), position != 5, "{position}");
    }
    let mut lost = world("a.example.com");
    lost.is_ephemeral = true;
    assert!(lost.ordered().unwrap_err().contains("not on a volume"));
    lost.policy.is_staging = true;
    lost.ordered().unwrap();
}

#[test]
fn limits_are_advice_once_a_day_when_a_certificate_is_overdue() {
    let mut overdue = world("a.example.com").served(with_left(&["a.example.com"], 10));
    overdue.record.limits = Some(50);
    overdue.ordered().unwrap();
    overdue.record.floor = Some(2);
    assert!(overdue.ordered().unwrap_err().contains("asked for less than a day ago"));
    overdue.record.floor = None;
    overdue.record.is_overruled = true;
    assert_eq!(overdue.ordered().unwrap_err(), "limit");
}

#[test]
fn an_order_that_rests_or_is_stuck_holds_back_what_can_wait() {
    let mut resting = order("a.example.com", PRODUCTION);
    resting.rest_until(hours(1), "so it is");
    let mut waits = world("a.example.com");
    waits.pending = Pending::Order(Box::new(resting.clone()));
    let verdict = waits.verdict();
    assert_eq!(verdict.until(), Some(hours(1)));
    assert_eq!(verdict.next.unwrap().at, hours(1));
    let mut stuck = order("a.example.com", PRODUCTION);
    stuck.finalizing(hours(-30));
    stuck.put_aside();
    let with = |world: World| World { aside: vec![stuck.clone()], ..world };
    // What is not there, or overdue, is ordered all the same.
    with(world("a.example.com")).ordered().unwrap();
    let served = |left| with(world("a.example.com").served(with_left(&["a.example.com"], left)));
    let Work::Obtain { .. } = served(10).verdict().asks else {
        panic!("it is overdue");
    };
    // What is only due waits for it; meanwhile it is looked at.
    assert!(matches!(served(29).verdict().asks, Work::Settle(_)));
    let mut rested = stuck.clone();
    rested.rest_until(hours(20), "so it is");
    let due = World { aside: vec![rested], ..served(29) };
    let verdict = due.verdict();
    let setback = verdict.held_back.unwrap();
    assert!(setback.is_failure && setback.reason.contains("https://ca.test/order/1"));
    assert_eq!(verdict.next.unwrap().at, hours(20));
}

#[test]
fn the_earliest_of_all_that_will_happen_is_told() {
    let keeps = world("a.example.com b.example.com")
        .served(with_left(&["a.example.com"], 80))
        .failing("b.example.com", 1, 1);
    let verdict = keeps.verdict();
    assert_eq!(verdict.action, Action::Keep);
    let next = verdict.next.unwrap();
    assert_eq!((next.at, &*next.what), (hours(1), "b.example.com is tried again"));
    let alone = world("a.example.com").served(with_left(&["a.example.com"], 80)).verdict();
    assert_eq!(alone.next.unwrap().what, "renewal");
}
