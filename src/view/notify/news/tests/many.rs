//! Many at once are one notice, and a digest comes once a day.

use super::*;

#[test]
fn a_digest_comes_once_a_day_while_anything_is_wrong() {
    let mut teller = Teller::new();
    let sick = [failing(A, FailureKind::Unreachable)];
    teller.tells(&sick, &[Kind::Failing]);
    teller.later(DIGEST - Duration::SECOND).tells(&[certificate(A, Health::Working)], &[]);
    let notified = teller.later(Duration::SECOND).sees(&sick);
    assert_eq!(notified[0].kind, Kind::Digest);
    assert_eq!(notified[0].title, "1 thing is still wrong");
    assert_eq!(notified[0].text, "a.example.com: it broke (since 2026-01-01T12:00:00Z)");
    teller.later(DIGEST - Duration::SECOND).tells(&sick, &[]);
    teller.later(Duration::SECOND).tells(&sick, &[Kind::Digest]);
    teller.tells(&[certificate(A, Health::Ok)], &[Kind::Recovered]);
    teller.later(DIGEST).tells(&[certificate(A, Health::Ok)], &[]);
    // The next trouble begins a day of its own.
    teller.tells(&sick, &[Kind::Failing]);
    teller.later(Duration::HOUR).tells(&sick, &[]);
}

#[test]
fn a_digest_has_the_worst_first_and_says_how_many_more_there_are() {
    let mut teller = Teller::new();
    let mut sick: Vec<Certificate> = (100..130)
        .map(|number| failing(&format!("n{number}.example.com"), FailureKind::Unreachable))
        .collect();
    sick[29].health = Health::AtRisk;
    teller.sees(&sick);
    let notified = teller.later(DIGEST).sees(&sick).remove(0);
    assert_eq!((notified.kind, notified.severity), (Kind::Digest, Severity::Critical));
    assert_eq!(notified.title, "30 things are still wrong");
    let lines: Vec<&str> = notified.text.lines().collect();
    assert_eq!(lines.len(), 21);
    assert!(lines[0].starts_with("n129.example.com: "), "{}", notified.text);
    assert!(lines[1].starts_with("n100.example.com: "), "{}", notified.text);
    assert_eq!(lines[20], "and 10 more");
}

#[test]
fn three_hundred_failures_are_one_notice_and_so_is_their_end() {
    let mut teller = Teller::new();
    let names: Vec<String> = (0..300).map(|number| format!("n{number}.test")).collect();
    let sick: Vec<Certificate> =
        names.iter().map(|name| failing(name, FailureKind::Paused)).collect();
    let notified = teller.sees(&sick);
    assert_eq!(notified.len(), 1);
    assert_eq!(notified[0].kind, Kind::Paused);
    assert_eq!(notified[0].title, "300 certificates are paused by the CA");
    assert!(notified[0].text.ends_with("and 280 more"), "{}", notified[0].text);
    teller.later(Duration::MINUTE).tells(&sick, &[]);
    let well: Vec<Certificate> = names.iter().map(|name| certificate(name, Health::Ok)).collect();
    // One after the other, and not before the round is over.
    teller.tells(&well, &[]);
    let notified = teller.later(ROUND).sees(&well);
    assert_eq!(notified.len(), 1);
    assert_eq!(notified[0].title, "300 certificates have recovered");
    teller.tells(&well, &[]);
}

#[test]
fn failures_that_come_one_by_one_are_summed_up_after_the_first() {
    let mut teller = Teller::new();
    let all: Vec<Certificate> = (100..400)
        .map(|number| failing(&format!("n{number}.test"), FailureKind::Unreachable))
        .collect();
    let mut titles = Vec::new();
    for count in 1..=all.len() {
        let notified = teller.later(Duration::SECOND).sees(&all[..count]);
        titles.extend(notified.into_iter().map(|notice| notice.title));
    }
    let notified = teller.later(ROUND).sees(&all);
    titles.extend(notified.into_iter().map(|notice| notice.title));
    assert_eq!(titles.len(), SINGLES + 2, "{titles:?}");
    assert_eq!(titles[SINGLES], "n105.test fails");
    assert_eq!(titles[SINGLES + 1], "294 certificates fail");
}

#[test]
fn a_round_with_several_kinds_has_one_notice_for_each() {
    let mut teller = Teller::new();
    let mut all: Vec<Certificate> = (0..4)
        .map(|number| failing(&format!("n{number}.test"), FailureKind::Unreachable))
        .collect();
    all.push(failing("paused.test", FailureKind::Paused));
    all.push(Certificate {
        health: Health::AtRisk,
        ..failing("risk.test", FailureKind::Unreachable)
    });
    let notified = teller.sees(&all);
    let titles: Vec<&str> = notified.iter().map(|notice| notice.title.as_str()).collect();
    assert_eq!(
        titles,
        ["risk.test is at risk", "paused.test is paused by the CA", "4 certificates fail"]
    );
}
