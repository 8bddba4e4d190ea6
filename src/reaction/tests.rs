use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::ports::Problem;
use crate::ports::RetryAfter;

const THEN: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

fn problem(kind: &str) -> AuthorityError {
    AuthorityError::Refused(Problem {
        kind: kind.to_owned(),
        detail: "so it is".to_owned(),
        names: Vec::new(),
    })
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

/// Every row: what makes it, what is done about it, and the first four waits in minutes.
fn cases() -> Vec<(Vec<Trouble>, Trouble, Reaction, [i64; 4])> {
    use Reaction as R;
    use Trouble as T;
    let told = Some(RetryAfter::At(THEN));
    let text = str::to_owned;
    let validation = |kinds: &[&str]| kinds.iter().map(|kind| T::of_validation(kind)).collect();
    let refusal = |kinds: &[&str]| kinds.iter().map(|kind| T::of(&problem(kind))).collect();
    let one = |error: AuthorityError| vec![T::of(&error)];
    let rancher = |error: OrchestratorError| vec![T::of_rancher(&error)];
    let (silence, refusals, daily) = ([1, 2, 4, 8], [1, 10, 100, 1440], [1440; 4]);
    let (setback, once) = ([5, 10, 15, 15], [0; 4]);
    vec![
        (one(unavailable(None)), T::NoAnswer, R::Retry, silence),
        (one(unavailable(told)), T::Overloaded, R::Wait, refusals),
        (
            one(limited(
                "too many certificates (5) already issued for this exact set",
                told,
            )),
            T::Limited,
            R::Wait,
            refusals,
        ),
        (
            [
                "too many new orders (300) from this account",
                "too many new registrations (10) from this IP address",
            ]
            .map(|detail| T::of(&limited(detail, told)))
            .into(),
            T::AccountLimited,
            R::Wait,
            refusals,
        ),
        (
            one(limited("Please visit: https://x.test", None)),
            T::Paused,
            R::Person,
            daily,
        ),
        (
            one(AuthorityError::AccountUnknown(text("?"))),
            T::AccountUnknown,
            R::Retry,
            once,
        ),
        (
            refusal(&["unauthorized"]),
            T::AccountRefused,
            R::Person,
            refusals,
        ),
        (
            refusal(&["externalAccountRequired", "userActionRequired"]),
            T::ActionRequired,
            R::Person,
            daily,
        ),
        (
            refusal(&["rejectedIdentifier", "unsupportedIdentifier"]),
            T::NameRefused,
            R::Change,
            daily,
        ),
        (
            refusal(&["badCSR", "badPublicKey", "badSignatureAlgorithm"]),
            T::KeyRefused,
            R::Change,
            refusals,
        ),
        (
            refusal(&["malformed", "", "invalidProfile", "new"]),
            T::Refused,
            R::Change,
            refusals,
        ),
        (
            one(AuthorityError::Gone(text("404"))),
            T::OrderGone,
            R::Retry,
            once,
        ),
        (
            one(AuthorityError::NotReady(text("ready"))),
            T::NotReady,
            R::Retry,
            once,
        ),
        (
            one(AuthorityError::AlreadyTold(text("409"))),
            T::BeingValidated,
            R::Retry,
            once,
        ),
        (
            validation(&["connection", "tls"]),
            T::Unreachable,
            R::Change,
            refusals,
        ),
        (validation(&["dns"]), T::NoAddress, R::Change, refusals),
        (
            [validation(&["caa"]), refusal(&["caa"])].concat(),
            T::Caa,
            R::Change,
            daily,
        ),
        (
            validation(&["unauthorized", "incorrectResponse"]),
            T::WrongAnswer,
            R::Change,
            refusals,
        ),
        (
            validation(&["serverInternal", "", "new"]),
            T::Invalid,
            R::Change,
            refusals,
        ),
        (vec![T::SelfCheck], T::SelfCheck, R::Change, setback),
        (
            vec![T::WrongCertificate],
            T::WrongCertificate,
            R::Change,
            daily,
        ),
        (
            rancher(OrchestratorError::Unavailable(text("502"))),
            T::RancherAway,
            R::Retry,
            setback,
        ),
        (
            rancher(OrchestratorError::Conflict(text("409"))),
            T::RancherBusy,
            R::Retry,
            setback,
        ),
        (
            rancher(OrchestratorError::NotUnique(text("422"))),
            T::RancherTaken,
            R::Retry,
            once,
        ),
        (
            rancher(OrchestratorError::Denied(text("401"))),
            T::RancherDenied,
            R::Person,
            setback,
        ),
        (
            rancher(OrchestratorError::Refused(text("422"))),
            T::RancherRefused,
            R::Change,
            setback,
        ),
        (vec![T::Disk], T::Disk, R::Change, setback),
    ]
}

#[test]
fn every_kind_of_failure_has_one_row_with_its_reaction_and_its_clock() {
    let cases = cases();
    assert_eq!(cases.len(), TABLE.len());
    for ((made, trouble, reaction, waits), row) in cases.into_iter().zip(TABLE) {
        assert_eq!(row.trouble, trouble, "the order of the table");
        assert!(
            !made.is_empty() && made.iter().all(|made| *made == trouble),
            "{made:?}"
        );
        assert_eq!(*trouble.row(), row);
        assert_eq!(row.reaction, reaction, "{trouble:?}");
        let minutes = [1, 2, 3, 4].map(|failures| {
            row.clock
                .after(failures, Duration::minutes(5))
                .whole_minutes()
        });
        assert_eq!(minutes, waits, "{trouble:?}");
        assert!(!row.advice.is_empty() && !row.seen.is_empty());
    }
}
