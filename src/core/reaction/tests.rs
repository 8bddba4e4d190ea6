use time::macros::datetime;

use super::*;
use crate::core::problem::AuthorityError;
use crate::core::problem::AuthorityErrorKind;
use crate::core::problem::LimitScope;
use crate::core::problem::Subproblem;

fn problem(kind: &str) -> Problem {
    Problem::new(kind, "so it is")
}

/// What makes each kind of failure; `tests/it/reactions.rs` shows what each of them leads to.
#[test]
fn each_answer_has_the_kind_of_its_meaning() {
    use AuthorityErrorKind as K;
    use DestinationError as O;
    use FailureKind as T;
    let answers = [
        (K::Unavailable, T::NoAnswer, T::Overloaded),
        (K::Failed, T::Failed, T::Overloaded),
        (K::BadNonce, T::BadNonce, T::BadNonce),
        (K::RateLimited(LimitScope::Names), T::Limited, T::Limited),
        (K::RateLimited(LimitScope::Account), T::AccountLimited, T::AccountLimited),
        (K::RateLimited(LimitScope::Paused), T::Paused, T::Paused),
        (K::AccountUnknown, T::AccountUnknown, T::AccountUnknown),
        (K::Gone, T::OrderGone, T::OrderGone),
        (K::NotReady, T::NotReady, T::NotReady),
        (K::AlreadyResponded, T::BeingValidated, T::BeingValidated),
    ];
    for (kind, at_once, with_a_time) in answers {
        let error = AuthorityError::new(kind, problem("unauthorized"));
        assert_eq!(T::of(&error), at_once, "{kind:?}");
        let later = AuthorityError { not_before: Some(datetime!(2026-11-22 12:00 UTC)), ..error };
        assert_eq!(T::of(&later), at_once, "{kind:?}, of our own");
        let later = AuthorityError { status: Some(503), ..later };
        assert_eq!(T::of(&later), with_a_time, "{kind:?}");
    }
    let no_directory = AuthorityError::unavailable(problem(Problem::NO_DIRECTORY));
    assert_eq!(T::of(&no_directory), T::NoDirectory);
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
    for (kind, expected) in refusals {
        assert_eq!(T::of(&AuthorityError::refused(problem(kind))), expected, "{kind}");
        let is_of_order = matches!(
            expected,
            T::NameRefused | T::KeyRefused | T::Misunderstood | T::Refused | T::Caa
        );
        let of_new_account = if is_of_order { T::AccountNotMade } else { expected };
        let refused = AuthorityError::refused(problem(kind));
        assert_eq!(T::of_new_account(&refused), of_new_account, "{kind}");
        let is_of_account = expected == T::AccountRefused;
        let of_order = if is_of_account { T::Refused } else { expected };
        assert_eq!(T::of_order(&problem(kind)), of_order, "{kind}");
    }
    let mut singled = problem("malformed");
    let name = "a.example.com".parse().unwrap();
    singled.names.push((name, Subproblem::default()));
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
    for (kind, expected) in validations {
        assert_eq!(T::of_validation(&problem(kind)), expected, "{kind}");
    }
    let text = || "so".to_owned();
    let destination = [
        (O::Unavailable(text()), T::DestinationAway),
        (O::Conflict(text()), T::DestinationBusy),
        (O::Denied(text()), T::DestinationDenied),
        (O::Refused(text()), T::DestinationRefused),
    ];
    for (answer, expected) in destination {
        assert_eq!(T::of_destination(&answer), expected, "{answer:?}");
    }
}

/// They stand in ledgers of before.
#[test]
fn words_from_when_rancher_was_the_only_destination_are_still_read() {
    use FailureKind as T;
    for (of_before, expected) in [
        ("rancher-away", T::DestinationAway),
        ("rancher-busy", T::DestinationBusy),
        ("rancher-taken", T::DestinationBusy),
        ("rancher-denied", T::DestinationDenied),
        ("rancher-refused", T::DestinationRefused),
    ] {
        assert_eq!(serde_json::from_value::<FailureKind>(of_before.into()).unwrap(), expected);
        assert_eq!(
            serde_json::from_value::<FailureKind>(word(Some(expected)).into()).unwrap(),
            expected
        );
    }
}

/// Texts of Boulder's, as they stand in logs and reports.
#[test]
fn caa_records_that_could_not_be_looked_up_forbid_nothing() {
    let check = |kind: &str, detail: &str, sub: Option<&str>, expected: FailureKind| {
        let name = || "a.example.com".parse().unwrap();
        let sub =
            sub.map(|detail| Subproblem { kind: "caa".to_owned(), detail: detail.to_owned() });
        let problem = Problem {
            names: sub.into_iter().map(|sub| (name(), sub)).collect(),
            ..Problem::new(kind, detail)
        };
        assert_eq!(FailureKind::of_validation(&problem), expected, "{detail}");
        if kind == "caa" {
            assert_eq!(FailureKind::of_refusal(&problem), expected, "{detail}");
        }
    };
    for (kind, detail) in [
        (
            "dns",
            "DNS problem: SERVFAIL looking up CAA for example.com - the domain's nameservers may be malfunctioning",
        ),
        (
            "dns",
            "While processing CAA for a.example.com: DNS problem: query timed out looking up CAA for a.example.com",
        ),
        (
            "caa",
            "Error finalizing order :: While processing CAA for a.example.com: DNS problem: SERVFAIL looking up CAA for \
             example.com - the domain's nameservers may be malfunctioning",
        ),
        (
            "caa",
            "Error finalizing order :: rechecking caa: During secondary validation: While processing CAA for \
             a.example.com: DNS problem: networking error looking up CAA for a.example.com",
        ),
        (
            "caa",
            "DNS problem: looking up CAA for a.example.com: DNSSEC: Bogus: validation failure <a.example.com. CAA IN>",
        ),
        ("caa", "CAA lookup failed for a.example.com: i/o timeout"),
    ] {
        check(kind, detail, None, FailureKind::CaaLookup);
    }
    let several = "Error finalizing order :: Rechecking CAA for \"a.example.com\" and 1 more identifiers failed. \
                   Refer to sub-problems for more information";
    let lost = "While processing CAA for a.example.com: DNS problem: query timed out looking up CAA for example.com";
    check("caa", several, Some(lost), FailureKind::CaaLookup);
    let forbids = "CAA record for example.com prevents issuance";
    check("caa", several, Some(forbids), FailureKind::Caa);
    check("caa", forbids, None, FailureKind::Caa);
    check(
        "caa",
        "While processing CAA for a.example.com: CAA record for example.com prevents issuance",
        None,
        FailureKind::Caa,
    );
    check(
        "dns",
        "DNS problem: SERVFAIL looking up A for a.example.com - the domain's nameservers may be malfunctioning",
        None,
        FailureKind::NoAddress,
    );
}

#[test]
fn clocks_run_as_they_are_named() {
    let minutes = |backoff: Backoff| {
        let after = |failures| backoff.after(failures, Duration::minutes(5));
        [1, 2, 3, 4, 9].map(|failures| after(failures).whole_minutes())
    };
    let (refusals, silence) = ([1, 10, 100, 1440, 1440], [1, 2, 4, 8, 60]);
    for backoff in [Backoff::AtOnce, Backoff::Limit, Backoff::Refusal] {
        assert_eq!(minutes(backoff), refusals, "{backoff:?}");
    }
    for backoff in [Backoff::Silence, Backoff::Told] {
        assert_eq!(minutes(backoff), silence, "{backoff:?}");
    }
    assert_eq!(minutes(Backoff::Daily), [1440; 5]);
    assert_eq!(minutes(Backoff::Setback), [5, 10, 15, 15, 15]);
}

#[test]
fn every_kind_has_its_row_in_the_order_of_the_kinds() {
    for (place, row) in TABLE.iter().enumerate() {
        assert_eq!(row.kind as usize, place, "{:?}", row.kind);
        assert_eq!(row.kind.row(), row);
        assert!(!row.advice.is_empty() && !row.seen.is_empty());
    }
    assert_eq!(TABLE.len(), FailureKind::Disk as usize + 1);
}
