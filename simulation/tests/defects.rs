//! Every promise bites: a deliberate defect breaks it, and without the defect it holds.

use simulation::defects::CASES;
use simulation::defects::attempt;
use simulation::trouble::Defect;

#[test]
fn each_defect_is_caught_by_its_promise() {
    for case in CASES {
        let violation = attempt(case.trial, case.defect);
        let broken = violation.as_ref().map(|violation| violation.promise);
        assert_eq!(
            broken,
            Some(case.breaks),
            "{}: {:?}",
            case.name,
            violation.map(|violation| violation.text)
        );
    }
}

#[test]
fn without_defects_the_same_trials_break_nothing() {
    for case in CASES {
        if matches!(case.trial, simulation::defects::Trial::Crash(_)) {
            // Shown by the tests of crashes.
            continue;
        }
        let violation = attempt(case.trial, Defect::default());
        assert!(violation.is_none(), "{}: {violation:?}", case.name);
    }
}
