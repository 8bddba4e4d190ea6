//! A crash at every point of a certificate's life, that of one name and that of a group.

use simulation::crash::PROMISED;
use simulation::crash::Scenario;
use simulation::crash::every_effect;
use simulation::trouble::Defect;

#[track_caller]
fn check(scenario: Scenario) {
    match every_effect(scenario, Defect::default(), PROMISED) {
        Ok(crashes) => eprintln!("{scenario:?}: {crashes} crashes"),
        Err((crash, violation)) => panic!(
            "{scenario:?}, {crash:?}: {:?}: {}\n{}",
            violation.promise,
            violation.text,
            violation.history.join("\n")
        ),
    }
}

#[test]
fn a_first_issue_survives_a_crash_at_every_point() {
    check(Scenario::FirstIssue);
}

#[test]
fn a_renewal_survives_a_crash_at_every_point() {
    check(Scenario::Renewal);
}

#[test]
fn an_upgrade_from_staging_survives_a_crash_at_every_point() {
    check(Scenario::Upgrade);
}

#[test]
fn a_restore_survives_a_crash_at_every_point() {
    check(Scenario::Restore);
}

#[test]
fn a_push_survives_a_crash_at_every_point() {
    check(Scenario::Push);
}
