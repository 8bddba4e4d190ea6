use super::*;
use crate::core::certificate::tests::NOW;
use crate::core::certificate::tests::self_signed;
use crate::core::certificate::tests::shown;
use crate::core::certificate::tests::staging;
use crate::core::held::Ownership;
use crate::decide::filter::Allowed;
use crate::decide::filter::staging as staging_rule;

const PRODUCTION: &str = "https://ca.test/directory";
const STAGING: &str = "https://staging.ca.test/directory";
const NAME: &str = "a.example.com";

/// A situation, as a sentence of calls; everything not said is absent.
struct Case {
    names: Names,
    waiting: NameSet,
    disk: DiskCopy,
    remote: Option<Held>,
    unknown: Option<&'static str>,
    known: Known,
    policy: Policy,
    is_asked: bool,
}

fn case() -> Case {
    Case {
        names: names(NAME),
        waiting: NameSet::new(),
        disk: DiskCopy::Absent,
        remote: None,
        unknown: None,
        known: Known::new(),
        policy: Policy {
            place: "Rancher",
            is_staging: false,
            production_directory: PRODUCTION.to_owned(),
            staging_directory: STAGING.to_owned(),
            renew_before: None,
            replace_foreign: ReplaceForeign::Due,
        },
        is_asked: false,
    }
}

fn names(text: &str) -> Names {
    Names::new(text.split(' ').map(|name| name.parse().unwrap())).unwrap()
}

/// A 90-day certificate with this many days left.
fn with_left(names: &[&str], left: i64) -> CertificateChain {
    shown(names, Duration::days(left - 90), Duration::days(90))
}

fn fresh() -> CertificateChain {
    with_left(&[NAME], 80)
}

fn due() -> CertificateChain {
    with_left(&[NAME], 29)
}

impl Case {
    fn asked(mut self) -> Self {
        self.is_asked = true;
        self
    }

    fn staging_wanted(mut self) -> Self {
        self.policy.is_staging = true;
        self
    }

    fn replace_foreign(mut self, replace_foreign: ReplaceForeign) -> Self {
        self.policy.replace_foreign = replace_foreign;
        self
    }

    fn on_disk(mut self, shown: CertificateChain, directory: &str) -> Self {
        self.known.insert(shown.leaf.fingerprint, Some(directory.to_owned()));
        self.disk = DiskCopy::Whole(Stored {
            shown,
            directory: Some(directory.to_owned()),
            stored_at: None,
        });
        self
    }

    fn at_destination(mut self, shown: CertificateChain) -> Self {
        self.remote = Some(Held {
            id: "1c1".into(),
            name: NAME.to_owned(),
            occupies: NAME.to_owned(),
            owner: None,
            is_changing: false,
            content: Ok(shown),
            note: String::new(),
        });
        self
    }

    fn marked(mut self, directory: &str) -> Self {
        let held = self.remote.as_mut().unwrap();
        let leaf = held.content.as_ref().unwrap().leaf.fingerprint;
        held.owner = Some(Ownership { leaf, directory: directory.to_owned() });
        self
    }

    fn verdict(&self) -> Allowed {
        let remote = match (&self.unknown, &self.remote) {
            (Some(why), _) => RemoteCopy::Unknown(why),
            (None, Some(held)) => RemoteCopy::Held(held),
            (None, None) => RemoteCopy::Absent,
        };
        let facts = Facts {
            names: &self.names,
            waiting: &self.waiting,
            disk: &self.disk,
            remote,
            known: &self.known,
            policy: &self.policy,
            is_asked: self.is_asked,
        };
        staging_rule(&facts, judge(&facts, NOW), NOW)
    }

    #[track_caller]
    fn is(
        self,
        on_disk: OnDisk,
        at_destination: AtDestination,
        action: Action,
        reason: &str,
    ) -> Allowed {
        let verdict = self.verdict();
        let got = (verdict.on_disk, verdict.at_destination, verdict.action);
        assert_eq!(got, (on_disk, at_destination, action), "{}", verdict.why);
        assert!(verdict.why.contains(reason), "`{}` does not say `{reason}`", verdict.why);
        verdict
    }
}

use Action::Issue;
use Action::Keep;
use Action::Leave;
use Action::Push;
use Action::Renew;
use Action::Restore;
use Action::Wait;
use AtDestination::Foreign;
use AtDestination::Newer;
use AtDestination::Replaceable;
use AtDestination::Same;
use OnDisk::Due;
use OnDisk::Fresh;
use OnDisk::Missing;
use OnDisk::Unfit;

mod destination;

#[test]
fn every_cell_of_the_table_is_reached_from_facts() {
    case().is(Missing, Replaceable, Issue, "first certificate");
    case().at_destination(fresh()).marked(PRODUCTION).is(
        Missing,
        Newer,
        Restore,
        "better copy of ours",
    );
    case().at_destination(fresh()).is(Missing, Foreign, Leave, "not ours");
    let staged = || staging(&[NAME], -Duration::DAY, Duration::days(90));
    case().on_disk(staged(), STAGING).is(Unfit, Replaceable, Issue, "staging to production");
    let same = staged();
    case().on_disk(same.clone(), STAGING).at_destination(same).is(
        Unfit,
        Same,
        Issue,
        "staging to production",
    );
    case()
        .on_disk(staged(), STAGING)
        .at_destination(fresh())
        .marked(PRODUCTION)
        .is(Unfit, Newer, Restore, "");
    case().on_disk(staged(), STAGING).at_destination(fresh()).is(Unfit, Foreign, Leave, "");
    case().on_disk(due(), PRODUCTION).is(Due, Replaceable, Renew, "expiring");
    let same = due();
    case().on_disk(same.clone(), PRODUCTION).at_destination(same).is(Due, Same, Renew, "expiring");
    case()
        .on_disk(due(), PRODUCTION)
        .at_destination(fresh())
        .marked(PRODUCTION)
        .is(Due, Newer, Restore, "");
    case().on_disk(due(), PRODUCTION).at_destination(fresh()).is(Due, Foreign, Leave, "");
    case().on_disk(fresh(), PRODUCTION).is(Fresh, Replaceable, Push, "does not have it");
    let same = fresh();
    case().on_disk(same.clone(), PRODUCTION).at_destination(same).is(
        Fresh,
        Same,
        Keep,
        "fresh until 2027-02-10",
    );
    let newer = with_left(&[NAME], 85);
    case()
        .on_disk(fresh(), PRODUCTION)
        .at_destination(newer)
        .marked(PRODUCTION)
        .is(Fresh, Newer, Restore, "");
    case().on_disk(fresh(), PRODUCTION).at_destination(fresh()).is(Fresh, Foreign, Leave, "");
}

#[test]
fn what_cannot_be_told_waits_unless_half_of_the_renewal_window_is_over() {
    let mut unknown = case().on_disk(fresh(), PRODUCTION);
    unknown.unknown = Some("503");
    unknown.is(Fresh, AtDestination::Unknown, Wait, "Rancher cannot tell: 503");
    let mut early = case().on_disk(with_left(&[NAME], 20), PRODUCTION);
    early.unknown = Some("503");
    early.is(Due, AtDestination::Unknown, Wait, "Rancher cannot tell");
    let mut late = case().on_disk(with_left(&[NAME], 14), PRODUCTION);
    late.unknown = Some("503");
    let verdict =
        late.is(OnDisk::Overdue, AtDestination::Unknown, Renew, "pushed when Rancher can be read");
    assert!(!verdict.pushes_first);
    let mut missing = case();
    missing.unknown = Some("503");
    missing.is(Missing, AtDestination::Unknown, Wait, "");
    let mut unreadable = case();
    unreadable.disk = DiskCopy::Unknown("input/output error".to_owned().into());
    assert!(
        unreadable.is(OnDisk::Unknown, Replaceable, Wait, "input/output error").needs_attention
    );
}

/// On record, and the files are not there.
fn lost() -> Case {
    let mut case = case();
    case.disk = DiskCopy::Lost("fullchain1.pem is not there".to_owned().into());
    case
}

#[test]
fn what_the_store_has_lost_is_taken_back_and_asked_for_only_before_it_would_expire() {
    let has_lost = "the store has lost what is on record";
    lost().is(Missing, Replaceable, Issue, has_lost);
    let held = |left| lost().at_destination(with_left(&[NAME], left)).marked(PRODUCTION);
    held(80).is(OnDisk::Lost, Newer, Restore, has_lost);
    // The lost one may have been its renewal.
    let waits = held(29).is(OnDisk::Lost, Replaceable, Wait, has_lost);
    assert!(waits.needs_attention);
    held(10).is(Missing, Replaceable, Issue, "no copy of it that lasts");
    lost().at_destination(fresh()).is(Missing, Foreign, Leave, "is not ours");
}

#[test]
fn what_is_overdue_by_its_record_is_renewed_though_it_cannot_be_read() {
    let unread = |left| {
        let mut case = case();
        case.disk = DiskCopy::Unknown(Unread {
            why: "input/output error".to_owned(),
            life: Some((&with_left(&[NAME], left).leaf).into()),
        });
        case
    };
    unread(20).is(OnDisk::Unknown, Replaceable, Wait, "input/output error");
    unread(14).is(OnDisk::Overdue, Replaceable, Renew, "cannot be read: input/output error");
    let mut nowhere = unread(14);
    nowhere.unknown = Some("503");
    nowhere.is(OnDisk::Overdue, AtDestination::Unknown, Renew, "pushed when Rancher can be read");
    // A good copy of ours at the destination is taken back instead.
    unread(14).at_destination(fresh()).marked(PRODUCTION).is(OnDisk::Overdue, Newer, Restore, "");
    let gone = || {
        let mut case = unread(14);
        let DiskCopy::Unknown(unread) = case.disk.clone() else {
            panic!("it was put there");
        };
        case.disk = DiskCopy::Lost(unread);
        case
    };
    gone().is(OnDisk::Overdue, Replaceable, Renew, "");
    gone().at_destination(fresh()).marked(PRODUCTION).is(OnDisk::Lost, Newer, Restore, "");
}

#[test]
fn broken_copies_count_as_missing_and_their_reason_is_told() {
    let mut broken = case();
    broken.disk = DiskCopy::Broken("the private key belongs to another certificate".to_owned());
    broken.is(Missing, Replaceable, Issue, "belongs to another");
}

#[test]
fn names_make_unfit_only_when_they_lack_and_do_not_wait() {
    let mut grouped =
        case().on_disk(fresh(), PRODUCTION).at_destination(fresh()).marked(PRODUCTION);
    grouped.names = names("a.example.com b.example.com");
    let waiting = ["b.example.com".parse().unwrap()].into();
    assert_eq!(grouped.verdict().on_disk, Unfit);
    assert!(grouped.verdict().why.contains("lacks b.example.com"));
    grouped.waiting = waiting;
    assert_eq!(grouped.verdict().on_disk, Fresh);
    let surplus = with_left(&[NAME, "old.example.com"], 80);
    case().on_disk(surplus.clone(), PRODUCTION).at_destination(surplus).is(Fresh, Same, Keep, "");
}

#[test]
fn a_change_of_production_directories_makes_nothing_unfit() {
    let same = fresh();
    case()
        .on_disk(same.clone(), "https://old.test/dir")
        .at_destination(same)
        .is(Fresh, Same, Keep, "");
}

#[test]
fn staging_is_told_by_record_then_mark_then_the_cas_own_marks() {
    let unmarked = fresh();
    case().on_disk(unmarked.clone(), STAGING).is(
        Unfit,
        Replaceable,
        Issue,
        "staging to production",
    );
    case().at_destination(unmarked).marked(STAGING).is(
        Missing,
        Replaceable,
        Issue,
        "a staging copy of ours",
    );
    let theirs = staging(&[NAME], -Duration::DAY, Duration::days(90));
    case().at_destination(theirs.clone()).is(Missing, Replaceable, Issue, "staging to production");
    // What came from the wanted production directory never is, whatever its issuer is called.
    let same = theirs.clone();
    case().on_disk(theirs, PRODUCTION).at_destination(same).is(Fresh, Same, Keep, "");
}

#[test]
fn a_valid_better_copy_is_pushed_before_a_new_one_is_obtained() {
    let first = |case: Case| case.verdict().pushes_first;
    assert!(first(case().on_disk(due(), PRODUCTION)));
    assert!(first(case().on_disk(due(), PRODUCTION).at_destination(self_signed(
        &[NAME],
        -Duration::DAY,
        Duration::days(3650)
    ))));
    let older = with_left(&[NAME], 5);
    assert!(first(case().on_disk(due(), PRODUCTION).at_destination(older).marked(PRODUCTION)));
    let same = due();
    assert!(!first(case().on_disk(same.clone(), PRODUCTION).at_destination(same)));
    assert!(!first(case().on_disk(with_left(&[NAME], -1), PRODUCTION)));
    let staged = || staging(&[NAME], -Duration::DAY, Duration::days(60));
    assert!(first(case().on_disk(staged(), STAGING)));
    assert!(!first(case().on_disk(staged(), STAGING).at_destination(due()).marked(PRODUCTION)));
}

#[test]
fn a_day_setting_makes_no_short_lived_certificate_due() {
    let six_days = shown(&[NAME], -Duration::HOUR, Duration::hours(160));
    let mut short = case().on_disk(six_days.clone(), PRODUCTION).at_destination(six_days);
    short.policy.renew_before = Some(Duration::days(14));
    short.is(Fresh, Same, Keep, "");
}

#[test]
fn what_a_person_asks_for_is_renewed_like_what_is_due() {
    let stored = fresh();
    let same = || case().on_disk(stored.clone(), PRODUCTION).at_destination(stored.clone());
    same().is(Fresh, Same, Keep, "fresh until");
    same().asked().is(Due, Same, Renew, "renewal asked for by a person");
    // An older copy at the destination is no reason to give up the one in the store.
    let newer = with_left(&[NAME], 90);
    let pushed = case().on_disk(newer, PRODUCTION).at_destination(fresh());
    pushed.marked(PRODUCTION).asked().is(Due, Replaceable, Renew, "renewal asked for by a person");
    // What is not ours stays, whoever asks.
    let foreign = case().on_disk(stored.clone(), PRODUCTION).at_destination(fresh());
    foreign.asked().is(Due, Foreign, Leave, "is not ours");
    case().asked().is(Missing, Replaceable, Issue, "first certificate");
}
