use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);
const DIRECTORY: &str = "https://ca.test/directory";
const ACCOUNT: &str = "https://ca.test/account/1";

fn set(names: &str) -> NameSet {
    names.split_whitespace().map(|name| name.parse().unwrap()).collect()
}

fn asked(names: &NameSet, is_renewal: bool) -> OrderCost<'_> {
    OrderCost { directory: DIRECTORY, account: ACCOUNT, names, is_renewal }
}

/// An order and its certificate.
fn spend(levels: &mut Levels, asked: &OrderCost<'_>, now: OffsetDateTime) -> Vec<Level> {
    let mut spent = levels.spend_order(asked, &LETS_ENCRYPT, now);
    spent.extend(levels.spend_certificate(asked, &LETS_ENCRYPT, now));
    spent
}

#[test]
fn an_order_that_is_open_takes_no_certificate() {
    let mut levels = Levels::default();
    for names in under("example.com").take(60) {
        let asked = asked(&names, false);
        assert_eq!(levels.check(&asked, &LETS_ENCRYPT, NOW), Ok(()));
        levels.spend_order(&asked, &LETS_ENCRYPT, NOW);
    }
    for names in under("example.com").take(60) {
        levels.spend_certificate(&asked(&names, false), &LETS_ENCRYPT, NOW);
    }
    let more = set("more.example.com");
    assert!(levels.check(&asked(&more, false), &LETS_ENCRYPT, NOW).is_err());
}

#[test]
fn orders_at_work_keep_their_places_until_they_are_given_back() {
    let mut levels = Levels::default();
    let all: Vec<NameSet> = under("example.com").take(48).collect();
    let reserved: Vec<_> = all.iter().map(|it| levels.reserve(&asked(it, false))).collect();
    let names = set("one.example.com more.example.com");
    let asked = asked(&names, false);
    assert_eq!(levels.check(&asked, &LETS_ENCRYPT, NOW), Ok(()));
    let last = levels.reserve(&asked);
    let used_up = levels.check(&asked, &LETS_ENCRYPT, NOW).unwrap_err();
    let (refill, text) = (LETS_ENCRYPT.certificates_per_domain.refill, "49 of 50 new certificates");
    assert!(used_up.reason.starts_with(text), "{used_up:?}");
    assert_eq!(used_up.opens, Some(NOW + slack(refill)));
    levels.release(last);
    assert_eq!(levels.check(&asked, &LETS_ENCRYPT, NOW), Ok(()));
    reserved.into_iter().for_each(|it| levels.release(it));
    assert!(levels.reserved.is_empty());
}

#[test]
fn an_order_that_was_not_asked_for_costs_nothing() {
    let mut levels = Levels::default();
    let names = set("a.example.com");
    levels.spend_order(&asked(&names, false), &LETS_ENCRYPT, NOW);
    levels.give_back_order(&asked(&names, false), &LETS_ENCRYPT, NOW);
    assert_eq!(levels.iter(NOW).count(), 0);
}

/// Orders until a limit is used up; answers how many went through, and what was said then.
fn until_used_up(
    levels: &mut Levels,
    orders: impl Iterator<Item = NameSet>,
    is_renewal: bool,
    now: OffsetDateTime,
) -> (usize, Option<UsedUp>) {
    for (count, names) in orders.enumerate() {
        let asked = asked(&names, is_renewal);
        if let Err(used_up) = levels.check(&asked, &LETS_ENCRYPT, now) {
            return (count, Some(used_up));
        }
        spend(levels, &asked, now);
    }
    (usize::MAX, None)
}

fn under(domain: &'static str) -> impl Iterator<Item = NameSet> {
    (0..400).map(move |number| set(&format!("n{number}.{domain}")))
}

#[test]
fn each_limit_is_kept_and_opens_with_one_refill() {
    let cases: [(&str, Vec<NameSet>, bool, usize, i64); 4] = [
        ("50 new certificates for example.com", under("example.com").collect(), false, 49, 12_096),
        (
            "50 new certificates for example.co.uk",
            under("example.co.uk").collect(),
            false,
            49,
            12_096,
        ),
        (
            "5 certificates for exactly a.example.com",
            vec![set("a.example.com"); 9],
            true,
            4,
            120_960,
        ),
        (
            "300 new orders of this account",
            (0..400).map(|number| set(&format!("n{number}.com"))).collect(),
            false,
            299,
            36,
        ),
    ];
    for (limit, orders, is_renewal, count, refill) in cases {
        let mut levels = Levels::default();
        let (went_through, used_up) =
            until_used_up(&mut levels, orders.clone().into_iter(), is_renewal, NOW);
        let used_up = used_up.unwrap();
        // The last token of a burst is left alone for a moment.
        assert_eq!(went_through, count, "{limit}: {used_up:?}");
        assert!(used_up.reason.contains(limit), "{used_up:?}");
        let slack = slack(Duration::seconds(refill));
        assert_eq!(used_up.opens, Some(NOW + slack), "{limit}");
        let mut now = NOW + slack;
        for _ in 0..3 {
            let last = orders[count..].iter().cloned();
            let (more, used_up) = until_used_up(&mut levels, last, is_renewal, now);
            assert_eq!(more, 1, "{limit}");
            now = used_up.unwrap().opens.unwrap();
        }
        assert_eq!(now - NOW, slack + Duration::seconds(3 * refill), "{limit}");
    }
}

#[test]
fn renewals_of_the_same_names_cost_no_orders_and_nothing_of_the_domain() {
    let mut levels = Levels::default();
    let (_, used_up) = until_used_up(&mut levels, under("example.com"), false, NOW);
    assert!(used_up.is_some());
    let (count, used_up) = until_used_up(&mut levels, under("example.com"), true, NOW);
    assert_eq!((count, used_up), (usize::MAX, None));
}

#[test]
fn a_name_that_keeps_failing_is_not_asked_for_and_stands_in_no_other_way() {
    let mut levels = Levels::default();
    let broken = set("broken.example.com");
    let name = broken.first().unwrap();
    for _ in 0..5 {
        levels.fail(DIRECTORY, ACCOUNT, name, &LETS_ENCRYPT, NOW);
    }
    let used_up = levels.check(&asked(&broken, true), &LETS_ENCRYPT, NOW).unwrap_err();
    assert!(
        used_up.reason.starts_with("5 of 5 failed validations of broken.example.com in 1 hours"),
        "{used_up:?}"
    );
    assert_eq!(used_up.opens, Some(NOW + Duration::minutes(12) + slack(Duration::minutes(12))));
    assert_eq!(levels.check(&asked(&set("a.example.com"), false), &LETS_ENCRYPT, NOW), Ok(()));
}

#[test]
fn a_success_ends_the_row_of_failures_that_would_pause_a_name() {
    let names = set("broken.example.com");
    let name = names.first().unwrap();
    let mut levels = Levels::default();
    let mut now = NOW;
    // Fifteen a day: after 82 days the authority would pause it.
    while levels.check(&asked(&names, true), &LETS_ENCRYPT, now).is_ok() {
        levels.fail(DIRECTORY, ACCOUNT, name, &LETS_ENCRYPT, now);
        now += Duration::minutes(96);
    }
    let days = (now - NOW).whole_days();
    assert!((80..=84).contains(&days), "{days}");
    let used_up = levels.check(&asked(&names, true), &LETS_ENCRYPT, now).unwrap_err();
    assert!(used_up.reason.contains("in a row"), "{used_up:?}");
    levels.succeed(DIRECTORY, ACCOUNT, name);
    assert_eq!(levels.check(&asked(&names, true), &LETS_ENCRYPT, now), Ok(()));
}

#[test]
fn an_order_that_came_to_nothing_gives_its_certificate_back() {
    let mut levels = Levels::default();
    for names in under("example.com") {
        let asked = asked(&names, false);
        let spent = spend(&mut levels, &asked, NOW);
        let back = levels.give_back(&asked, &LETS_ENCRYPT, NOW);
        assert_eq!((spent.len(), back.len()), (3, 2));
    }
    let used: Vec<_> = levels.iter(NOW).map(|level| level.bucket).collect();
    assert!(matches!(used.as_slice(), [Bucket::Orders { .. }]), "{used:?}");
}

#[test]
fn too_many_names_are_refused_for_good() {
    let names: NameSet = under("example.com").take(101).flatten().collect();
    let used_up = Levels::default().check(&asked(&names, true), &LETS_ENCRYPT, NOW).unwrap_err();
    assert!(used_up.reason.starts_with("101 names in one certificate"), "{used_up:?}");
    assert_eq!(used_up.opens, None);
}

#[test]
fn accounts_are_limited_too() {
    let mut levels = Levels::default();
    let mut made = 0;
    while levels.check_account(DIRECTORY, &LETS_ENCRYPT, NOW).is_ok() {
        levels.spend_account(DIRECTORY, &LETS_ENCRYPT, NOW);
        made += 1;
    }
    assert_eq!(made, 9);
    let later = NOW + Duration::hours(3);
    assert_eq!(levels.check_account(DIRECTORY, &LETS_ENCRYPT, later), Ok(()));
    assert_eq!(levels.iter(later).count(), 0);
}

#[test]
fn what_a_clock_wrote_that_was_ahead_is_cut() {
    let names = set("a.example.com");
    let mut levels = Levels::default();
    for _ in 0..9 {
        let ahead = NOW + Duration::days(3650);
        spend(&mut levels, &asked(&names, true), ahead);
    }
    levels.clamp_future(NOW);
    let opens = levels.check(&asked(&names, true), &LETS_ENCRYPT, NOW).unwrap_err().opens;
    assert!(opens.unwrap() <= NOW + Duration::hours(35), "{opens:?}");
}

#[test]
fn a_level_is_one_flat_object_on_record() {
    let mut levels = Levels::default();
    let names = set("a.example.com");
    for level in spend(&mut levels, &asked(&names, false), NOW) {
        let text = serde_json::to_string(&level).unwrap();
        assert!(text.contains(r#""bucket":""#) && text.contains(r#""full_at":"2026"#), "{text}");
        assert_eq!(serde_json::from_str::<Level>(&text).unwrap(), level);
    }
}
