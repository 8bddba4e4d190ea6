use time::OffsetDateTime;
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

fn problem(kind: &str) -> Problem {
    Problem {
        kind: kind.to_owned(),
        detail: "so it is".to_owned(),
        instance: None,
        names: Vec::new(),
    }
}

fn refused(kind: &str) -> AuthorityError {
    AuthorityError::Refused(problem(kind))
}

fn limited(detail: &str, retry_after: Option<RetryAfter>) -> AuthorityError {
    AuthorityError::RateLimited {
        retry_after,
        detail: detail.to_owned(),
    }
}

fn unavailable(retry_after: Option<RetryAfter>) -> AuthorityError {
    AuthorityError::Unavailable {
        retry_after,
        detail: "down".to_owned(),
    }
}

/// What makes each kind of failure; `tests/it/reactions.rs` shows what each of them leads to.
#[test]
fn each_answer_has_the_kind_of_its_meaning() {
    use OrchestratorError as O;
    use Trouble as T;
    let hour = Some(RetryAfter::In(Duration::HOUR));
    let (now, past) = (RetryAfter::In(Duration::ZERO), NOW - Duration::DAY);
    let (now, past) = (Some(now), Some(RetryAfter::At(past)));
    let text = || "so".to_owned();
    let answers = [
        (unavailable(None), T::NoAnswer),
        (unavailable(now), T::NoAnswer),
        (unavailable(past), T::NoAnswer),
        (unavailable(hour), T::Overloaded),
        (limited("too many certificates", hour), T::Limited),
        (limited("too many certificates", past), T::Limited),
        (
            limited("too many new orders (300)", hour),
            T::AccountLimited,
        ),
        (
            limited("too many new registrations", hour),
            T::AccountLimited,
        ),
        (limited("Please visit: https://ca.test", None), T::Paused),
        (limited("too many certificates", None), T::Limited),
        (
            limited("too many new orders: see https://ca.test", None),
            T::AccountLimited,
        ),
        (AuthorityError::AccountUnknown(text()), T::AccountUnknown),
        (AuthorityError::Gone(text()), T::OrderGone),
        (AuthorityError::NotReady(text()), T::NotReady),
        (AuthorityError::AlreadyTold(text()), T::BeingValidated),
    ];
    for (answer, kind) in answers {
        assert_eq!(T::of(&answer, NOW), kind, "{answer:?}");
    }
    let refusals = [
        ("unauthorized", T::AccountRefused),
        ("externalAccountRequired", T::ActionRequired),
        ("userActionRequired", T::ActionRequired),
        ("invalidContact", T::ContactRefused),
        ("unsupportedContact", T::ContactRefused),
        ("rejectedIdentifier", T::NameRefused),
        ("unsupportedIdentifier", T::NameRefused),
        ("badCSR", T::KeyRefused),
        ("badPublicKey", T::KeyRefused),
        ("badSignatureAlgorithm", T::KeyRefused),
        ("caa", T::Caa),
        ("malformed", T::Misunderstood),
        ("invalidProfile", T::Misunderstood),
        ("conflict", T::Refused),
        ("new", T::Refused),
        ("", T::Refused),
    ];
    for (kind, trouble) in refusals {
        assert_eq!(T::of(&refused(kind), NOW), trouble, "{kind}");
        let is_of_account = trouble == T::AccountRefused;
        let of_order = if is_of_account { T::Refused } else { trouble };
        assert_eq!(T::of_order(&problem(kind)), of_order, "{kind}");
    }
    let mut singled = problem("malformed");
    let name = "a.example.com".parse().unwrap();
    singled.names.push((name, "too many labels".to_owned()));
    assert_eq!(T::of_refusal(&singled), T::NameRefused);
    let validations = [
        ("connection", T::Unreachable),
        ("tls", T::Unreachable),
        ("dns", T::NoAddress),
        ("caa", T::Caa),
        ("unauthorized", T::WrongAnswer),
        ("incorrectResponse", T::WrongAnswer),
        ("serverInternal", T::Invalid),
        ("", T::Invalid),
    ];
    for (kind, trouble) in validations {
        assert_eq!(T::of_validation(kind), trouble, "{kind}");
    }
    let rancher = [
        (O::Unavailable(text()), T::RancherAway),
        (O::Conflict(text()), T::RancherBusy),
        (O::NotUnique(text()), T::RancherTaken),
        (O::Denied(text()), T::RancherDenied),
        (O::Refused(text()), T::RancherRefused),
    ];
    for (answer, trouble) in rancher {
        assert_eq!(T::of_rancher(&answer), trouble, "{answer:?}");
    }
}

#[test]
fn only_a_time_that_lies_ahead_is_told_and_an_outage_ends_within_a_day() {
    let at = |time| Some(RetryAfter::At(time));
    let (hour, week) = (Some(NOW + Duration::HOUR), Some(NOW + Duration::WEEK));
    for retry_after in [None, at(NOW), at(NOW - Duration::DAY)] {
        assert_eq!(told(&unavailable(retry_after), NOW), None);
        assert_eq!(told(&limited("", retry_after), NOW), None);
    }
    let in_an_hour = at(NOW + Duration::HOUR);
    assert_eq!(told(&unavailable(in_an_hour), NOW), hour);
    assert_eq!(told(&limited("", in_an_hour), NOW), hour);
    let in_a_week = at(NOW + Duration::WEEK);
    assert_eq!(
        told(&unavailable(in_a_week), NOW),
        Some(NOW + Duration::DAY)
    );
    assert_eq!(told(&limited("", in_a_week), NOW), week);
    assert_eq!(told(&refused("malformed"), NOW), None);
}

#[test]
fn clocks_run_as_they_are_named() {
    let minutes = |clock: Clock| {
        let after = |failures| clock.after(failures, Duration::minutes(5));
        [1, 2, 3, 4, 9].map(|failures| after(failures).whole_minutes())
    };
    let (refusals, silence) = ([1, 10, 100, 1440, 1440], [1, 2, 4, 8, 60]);
    for clock in [Clock::AtOnce, Clock::Limit, Clock::Refusal] {
        assert_eq!(minutes(clock), refusals, "{clock:?}");
    }
    for clock in [Clock::Silence, Clock::Told] {
        assert_eq!(minutes(clock), silence, "{clock:?}");
    }
    assert_eq!(minutes(Clock::Daily), [1440; 5]);
    assert_eq!(minutes(Clock::Setback), [5, 10, 15, 15, 15]);
}

#[test]
fn every_kind_has_its_row_in_the_order_of_the_kinds() {
    for (place, row) in TABLE.iter().enumerate() {
        assert_eq!(row.trouble as usize, place, "{:?}", row.trouble);
        assert_eq!(row.trouble.row(), row);
        assert!(!row.advice.is_empty() && !row.seen.is_empty());
    }
    assert_eq!(TABLE.len(), Trouble::Disk as usize + 1);
}
