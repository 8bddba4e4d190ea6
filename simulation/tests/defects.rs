//! Every promise bites: a deliberate defect breaks it, and without the defect it holds.

use simulation::defects::Trial;
use simulation::defects::attempt;
use simulation::defects::cases;
use simulation::promises::Promise;
use simulation::promises::Violation;
use simulation::trouble::Defect;

#[test]
fn each_defect_is_caught_by_its_promise() {
    let mut missed = Vec::new();
    for case in cases() {
        let violation = attempt(case.trial, case.defect);
        let is_it = |it: &Violation| it.promise == case.breaks && it.text.contains(case.says);
        if !violation.as_ref().is_some_and(is_it) {
            let found = violation.map(|violation| (violation.promise, violation.text));
            missed.push(format!("{}: {:?}, not {found:?}", case.name, case.breaks));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn no_promise_is_without_a_defect_that_breaks_it() {
    let bites = |promise: &Promise| cases().any(|case| case.breaks == *promise);
    let toothless: Vec<Promise> = Promise::ALL.into_iter().filter(|it| !bites(it)).collect();
    assert!(toothless.is_empty(), "{toothless:?}");
}

#[test]
fn without_defects_the_same_trials_break_nothing() {
    for case in cases() {
        // Those by crashes have tests of their own.
        if !matches!(case.trial, Trial::Crash(_)) {
            let violation = attempt(case.trial, Defect::default());
            assert!(violation.is_none(), "{}: {violation:?}", case.name);
        }
    }
}
