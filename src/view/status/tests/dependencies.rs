//! How authorities, destination, balancers and labels stand.

use super::*;
use crate::view::status::LASTING;

#[test]
fn balancers_are_told_by_name_but_for_those_that_read_a_folder() {
    let service = |name: &str, folder: Option<&str>, lists: &[&str]| User {
        id: name.into(),
        name: name.to_owned(),
        certificates: lists.iter().map(|id| (*id).into()).collect(),
        folder: folder.map(str::to_owned),
    };
    let well = row("a.test", 80, verdict(Action::Keep));
    let with = |balancers: Option<Result<Arc<[User]>, Failure>>| {
        let report = Report { balancers, ..report(vec![well.clone()]) };
        gathered(report, &Ledger::default())
    };
    let listed = with(Some(Ok(Arc::new([
        service("front", None, &["1c1", "1c1"]),
        service("other", None, &["1c2"]),
        service("folder", Some("/certs"), &["1c1"]),
    ]))));
    assert_eq!(listed.certificates[0].balancers, Some(vec!["front".to_owned()]));
    let part = listed.dependencies.iter().find(|part| part.name == "balancers").unwrap();
    assert!(part.detail.contains("folder reads the folder /certs"), "{part:?}");
    assert_eq!(with(Some(Ok(Arc::new([])))).certificates[0].balancers, Some(vec![]));
    assert_eq!(with(None).certificates[0].balancers, None);
    let failed = with(Some(Err("refused".into())));
    assert_eq!(failed.health, Health::Attention);
}

#[test]
fn what_is_left_of_limits_and_what_waits_is_told_by_authority() {
    let mut ledger = Ledger::default();
    let set = names("a.test b.test").set();
    let asked = OrderCost {
        directory: DIRECTORY,
        account: "https://ca.test/acct/1",
        names: &set,
        is_renewal: false,
    };
    for _ in 0..2 {
        ledger.ordering(&asked, Some(&LETS_ENCRYPT), NOW);
        ledger.finalizing(&asked, Some(&LETS_ENCRYPT), NOW);
    }
    let wait = |failures, minutes| Wait {
        failures,
        until: NOW + Duration::minutes(minutes),
        detail: "it failed".to_owned(),
        failure_kind: Some(FailureKind::NoAnswer),
        failed_at: Some(NOW),
        address: None,
        asked_with: None,
    };
    let breaker = || Subject::Authority { directory: DIRECTORY.to_owned() };
    ledger.fail(breaker(), wait(1, 1), NOW);
    let first = row("a.test", 80, verdict(Action::Keep));
    let closed = gathered(report(vec![first.clone()]), &ledger);
    let authority = &closed.authorities[0];
    assert!(authority.is_wanted && authority.keeps_limits);
    assert!(authority.waits.is_empty(), "a breaker that is closed holds nothing up");
    let budget = authority.budgets.first().unwrap();
    assert_eq!(budget.kind, "certificates-per-set");
    assert_eq!((budget.used, budget.limit, budget.left()), (2, 5, 3));
    assert_eq!(budget.window_seconds, 7 * 86_400);
    assert!(NOW < budget.refills_at && budget.refills_at < budget.full_at);
    assert_eq!(closed.health, Health::Ok);

    ledger.fail(breaker(), wait(3, 4), NOW);
    let open = gathered(report(vec![first]), &ledger);
    assert_eq!(open.authorities[0].waits.len(), 1);
    assert_eq!(open.health, Health::Attention);
    assert!(open.sentence.ends_with("Trouble with: CA."), "{}", open.sentence);
}

#[test]
fn metadata_is_well_only_once_labels_are_known() {
    let lasts = |time: Duration| Some(("away", NOW - time));
    for (are_known, fault, health) in [
        (true, None, Health::Ok),
        (true, lasts(Duration::ZERO), Health::Waiting),
        (true, lasts(LASTING - Duration::SECOND), Health::Waiting),
        // Names that are new are missed.
        (true, lasts(LASTING), Health::Attention),
        (false, None, Health::Waiting),
        (false, lasts(Duration::ZERO), Health::Attention),
    ] {
        let mut report = report(Vec::new());
        report.labels.are_known = are_known;
        report.labels.fault = fault.map(|(fault, _)| fault.to_owned());
        report.labels.fault_since = fault.map(|(_, since)| since);
        let status = gathered(report, &Ledger::default());
        let mut parts = status.dependencies.iter();
        let metadata = parts.find(|part| part.name == "source").unwrap();
        assert_eq!(metadata.health, health, "{metadata:?}");
    }
}
