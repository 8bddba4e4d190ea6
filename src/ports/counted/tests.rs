use time::Duration;
use time::macros::datetime;

use super::tally::Answers;
use super::*;
use crate::core::problem::LimitScope;
use crate::core::reaction::FailureKind;

const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

fn counts() -> Arc<Counts> {
    let directories =
        Directories { production: "https://ca/p".to_owned(), staging: "https://ca/s".to_owned() };
    Arc::new(Counts::new(directories, || NOW))
}

#[test]
fn every_answer_of_source_and_destination_has_its_kind() {
    let counts = counts();
    let counted = CountedDestination::new((), Arc::clone(&counts));
    use DestinationError as E;
    let text = || "so".to_owned();
    for error in
        [E::Unavailable(text()), E::Conflict(text()), E::Denied(text()), E::Refused(text())]
    {
        assert_eq!(counted.noted::<()>(Err(error.clone())), Err(error));
    }
    assert_eq!(counted.noted(Ok(1)), Ok(1));
    let counted = CountedSource::new((), Arc::clone(&counts));
    assert_eq!(counted.noted(Ok(1)), Ok(1));
    assert_eq!(counted.noted::<()>(Err(NoData(text()))), Err(NoData(text())));
    let tally = counts.tally();
    let once = DESTINATION_ANSWERS.map(|kind| (kind, 1));
    assert_eq!(tally.destination.by_kind, once.into());
    assert_eq!(tally.destination.ok_at, Some(NOW));
    assert_eq!(tally.source.by_kind, SOURCE_ANSWERS.map(|kind| (kind, 1)).into());
}

#[test]
fn every_answer_of_an_authority_has_its_kind_and_directory() {
    let counts = counts();
    let counted = CountedAuthority::new((), Arc::clone(&counts));
    use AuthorityErrorKind as K;
    for kind in [
        K::Unavailable,
        K::Failed,
        K::BadNonce,
        K::RateLimited(LimitScope::Names),
        K::Refused,
        K::AccountUnknown,
        K::Gone,
        K::NotReady,
        K::AlreadyResponded,
    ] {
        let error = AuthorityError::new(kind, "so");
        assert!(counted.noted::<()>("https://ca/p", Err(error)).is_err());
    }
    for url in ["https://ca/p", "https://ca/s", "https://old/1", "https://old/2"] {
        assert_eq!(counted.noted(url, Ok(1)), Ok(1));
    }
    let tally = counts.tally();
    let of = |directory| tally.authorities[&directory].by_kind.clone();
    let once = AUTHORITY_ANSWERS.map(|kind| (kind, 1));
    assert_eq!(of(Directory::Production), once.into());
    assert_eq!(of(Directory::Staging), [(OK, 1)].into());
    assert_eq!(of(Directory::Other), [(OK, 2)].into());
}

#[test]
fn who_cannot_be_read_is_known_from_the_first_answer_to_the_one_that_ends_it() {
    let counts = counts();
    let destination = CountedDestination::new((), Arc::clone(&counts));
    let away = || Err::<(), _>(DestinationError::Unavailable("away".to_owned()));
    assert!(destination.read(away()).is_err());
    // That something can be written says nothing, and neither does what one certificate is refused for.
    assert!(destination.noted(Ok(())).is_ok());
    let outage = counts.tally().destination.outage.unwrap();
    assert_eq!(outage.what, Failure::of(FailureKind::DestinationAway, "away"));
    assert_eq!(outage.since, NOW);
    assert!(destination.read(Ok(())).is_ok());
    let answers = counts.tally().destination;
    assert_eq!((answers.outage, answers.read_at), (None, Some(NOW)));

    let mut answers = Answers::default();
    for minutes in [0, 5, 3] {
        answers.read(Some(format!("{minutes} minutes").into()), NOW + Duration::minutes(minutes));
    }
    let outage = answers.outage.clone().unwrap();
    assert_eq!((outage.since, outage.at), (NOW, NOW + Duration::minutes(3)));
    assert_eq!(outage.what.text, "3 minutes");
    answers.read(Some("again".into()), NOW - Duration::HOUR);
    assert_eq!(answers.outage.unwrap().since, NOW - Duration::HOUR);
}

#[test]
fn a_fault_leaves_the_time_of_the_last_good_answer() {
    let mut answers = Answers::default();
    answers.note(OK, NOW);
    answers.note("unavailable", NOW + Duration::HOUR);
    assert_eq!(answers.ok_at, Some(NOW));
}
