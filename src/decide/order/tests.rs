use super::table::ANSWERS;
use super::table::stages;
use super::*;
use crate::core::certificate::tests::NOW;

const WANTED: Wanted = Wanted { is_wanted: true, is_first: false };

fn order() -> PendingOrder {
    let names = crate::core::names::parse_list("a.example.com").0.remove(0);
    let (directory, account) = ("https://ca.test/dir", "https://ca.test/account/1");
    let key = Secret::new("key");
    PendingOrder::intend(names, directory.to_owned(), account.to_owned(), key, false, NOW)
}

fn state(status: OrderStatus, certificate: Option<&str>) -> Order {
    Order {
        url: "https://ca.test/order/1".to_owned(),
        status,
        authorizations: Vec::new(),
        error: None,
        not_before: None,
        certificate: certificate.map(str::to_owned),
        expires: None,
    }
}

fn opened() -> PendingOrder {
    let mut order = order();
    order.opened(&state(OrderStatus::Pending, None));
    order
}

fn finalized(times: i32) -> PendingOrder {
    let mut order = opened();
    (0..times).for_each(|time| order.finalizing(NOW + Duration::minutes(1) * time));
    order
}

fn lapsed(may_be_issued: bool) -> Stage {
    Stage::Lapsed { may_be_issued, is_long_ago: false }
}

#[test]
fn what_may_have_been_issued_is_looked_at_before_the_clock_alone_ends_it() {
    let mut order = finalized(1);
    let late = NOW + Duration::days(9);
    let next = |order: &PendingOrder, shown| step(order.stage(late), shown, WANTED, late);
    assert_eq!(next(&order, Shown::Nothing), Step::Look);
    assert_eq!(next(&order, Shown::Silence), Step::Rest);
    let valid = state(OrderStatus::Valid, Some("https://ca.test/cert/1"));
    assert_eq!(next(&order, Shown::Order(OrderStatus::Processing)), Step::End(End::Lapsed));
    order.observe(&valid, late);
    assert_eq!(next(&order, Shown::Order(OrderStatus::Valid)), Step::Download);
    let later = late + Duration::days(30);
    let long_ago = step(order.stage(later), Shown::Silence, WANTED, later);
    assert_eq!(long_ago, Step::End(End::Lapsed));
    assert_eq!(step(lapsed(false), Shown::Nothing, WANTED, late), Step::End(End::Lapsed));
}

#[test]
fn nothing_more_is_asked_for_an_order_that_nobody_wants() {
    let unwanted = Wanted::default();
    let (last, now) = (NOW - Duration::DAY, NOW);
    for status in [OrderStatus::Ready, OrderStatus::Pending] {
        let stage = Stage::Finalized { times: 1, last };
        assert_eq!(step(stage, Shown::Order(status), unwanted, now), Step::Rest);
    }
}

#[test]
fn every_stage_has_a_step_for_every_answer() {
    for (name, stage) in stages(NOW) {
        for (answer, shown) in ANSWERS {
            for is_wanted in [true, false] {
                let wanted = Wanted { is_wanted, is_first: false };
                let step = step(stage, shown, wanted, NOW);
                let may_be_issued =
                    !matches!(stage, Stage::Intended | Stage::Opened | Stage::Lapsed { .. });
                // What may have been issued ends only by the authority's own words, or with its life.
                if let (true, Step::End(end)) = (may_be_issued, step) {
                    assert!(end.gives_back() || end == End::Gone, "{name} {answer}");
                }
                // A certificate that exists is given up by nothing but `invalid`.
                if matches!(stage, Stage::Issued) {
                    let is_given_up = matches!(step, Step::End(_));
                    assert_eq!(is_given_up, answer == "invalid", "{name} {answer}");
                }
                // Finalize is sent for what is ready only, and never right behind the last time.
                if step == Step::Finalize {
                    assert_eq!((name, answer), ("Opened", "ready"));
                }
                // Nothing new is asked for what nobody wants.
                if !is_wanted {
                    assert!(!matches!(step, Step::Open | Step::Authorize | Step::Finalize));
                }
                // Two looks in a row need an answer in between: no stage looks again at what it was just shown.
                if let Shown::Order(_) | Shown::Gone | Shown::Silence = shown {
                    assert_ne!(step, Step::Look, "{name} {answer}");
                }
            }
        }
    }
}

fn stuck(is_aside: bool) -> Stage {
    Stage::Stuck { is_aside, is_spent: false }
}

#[test]
fn the_stage_is_what_is_on_record() {
    assert_eq!(order().stage(NOW), Stage::Intended);
    assert_eq!(opened().stage(NOW), Stage::Opened);
    assert_eq!(opened().stage(NOW + LIFE), lapsed(false));
    let mut order = finalized(2);
    let last = NOW + Duration::minutes(1);
    assert_eq!(order.stage(last), Stage::Finalized { times: 2, last });
    assert_eq!(order.stage(last + Duration::DAY), stuck(false));
    // Seen valid later, it has a day from then on.
    let seen = NOW + Duration::hours(20);
    let valid = state(OrderStatus::Valid, Some("https://ca.test/cert/1"));
    assert_eq!(order.observe(&valid, seen), Shown::Nothing);
    assert_eq!(order.stage(NOW + Duration::DAY), Stage::Issued);
    assert_eq!(order.stage(seen + Duration::DAY), stuck(false));
    order.put_aside();
    assert_eq!(order.stage(seen + Duration::DAY), stuck(true));
    assert_eq!(order.stage(NOW + LIFE), lapsed(true));
    order.receive("chain".to_owned(), seen);
    assert_eq!(order.stage(NOW + LIFE), Stage::Received);
}

#[test]
fn an_order_is_put_aside_only_after_a_look() {
    let stuck = finalized(1).stage(NOW + Duration::DAY);
    let next = |shown| step(stuck, shown, WANTED, NOW + Duration::DAY);
    assert_eq!(next(Shown::Nothing), Step::Look);
    assert_eq!(next(Shown::Order(OrderStatus::Valid)), Step::Download);
    // What was noted may never have been sent.
    assert_eq!(next(Shown::Order(OrderStatus::Ready)), Step::Finalize);
    let spent = finalized(3).stage(NOW + Duration::days(2));
    let ready = Shown::Order(OrderStatus::Ready);
    assert_eq!(step(spent, ready, WANTED, NOW), Step::PutAside);
    let invalid = next(Shown::Order(OrderStatus::Invalid));
    assert_eq!(invalid, Step::End(End::Invalid));
    assert_eq!(next(Shown::Gone), Step::End(End::Gone));
    for shown in
        [Shown::Order(OrderStatus::Processing), Shown::Silence, Shown::NoChain, Shown::NotReady]
    {
        assert_eq!(next(shown), Step::PutAside, "{shown:?}");
    }
}

#[test]
fn a_life_that_the_authority_names_ends_an_order() {
    let mut order = order();
    let short =
        Order { expires: Some(NOW + Duration::hours(8)), ..state(OrderStatus::Pending, None) };
    order.opened(&short);
    assert_eq!(order.stage(NOW + Duration::hours(7)), Stage::Opened);
    assert_eq!(order.stage(NOW + Duration::hours(8)), lapsed(false));
    // Finalized, it is looked at once more at least after it got stuck.
    order.finalizing(NOW);
    assert_eq!(order.stage(NOW + Duration::hours(30)), stuck(false));
    assert_eq!(order.stage(NOW + Duration::days(2)), lapsed(true));
}

#[test]
fn finalize_is_sent_again_after_a_minute_then_rarer_and_three_times_at_most() {
    let ready = Shown::Order(OrderStatus::Ready);
    let next = |order: &PendingOrder, now| step(order.stage(now), ready, WANTED, now);
    let mut order = finalized(1);
    let minute = NOW + Duration::minutes(1);
    assert_eq!(next(&order, NOW), Step::RestUntil(minute));
    assert_eq!(next(&order, minute), Step::Finalize);
    order.finalizing(minute);
    let hour = minute + Duration::HOUR;
    assert_eq!(next(&order, minute), Step::RestUntil(hour));
    assert_eq!(next(&order, hour), Step::Finalize);
    order.finalizing(hour);
    assert_eq!(next(&order, hour + Duration::hours(9)), Step::Rest);
}

#[test]
fn a_limit_at_finalize_takes_the_note_back() {
    let mut order = finalized(1);
    assert_eq!(step(order.stage(NOW), Shown::Limited, WANTED, NOW), Step::TakeBack);
    order.not_finalized();
    assert_eq!(order.stage(NOW), Stage::Opened);
}

#[test]
fn a_valid_order_that_names_no_certificate_is_waited_for() {
    let mut order = finalized(1);
    let bare = state(OrderStatus::Valid, None);
    let shown = order.observe(&bare, NOW);
    assert_eq!(shown, Shown::Order(OrderStatus::Processing));
    assert_eq!(step(order.stage(NOW), shown, WANTED, NOW), Step::Rest);
}

#[test]
fn what_somebody_else_finalized_counts_as_finalized() {
    let mut order = opened();
    order.observe(&state(OrderStatus::Processing, None), NOW);
    assert_eq!(order.stage(NOW), Stage::Finalized { times: 1, last: NOW });
}

#[test]
fn rests_grow_and_heed_the_authority_for_an_hour_at_most() {
    let pause = Pause { not_before: None, is_wanted: true, is_first: false, is_stuck: false };
    let rests = |pause: Pause, count: usize| -> Vec<i64> {
        let mut order = finalized(1);
        let rest = |_| (order.rest(pause, NOW) - NOW).whole_seconds();
        (0..count).map(rest).collect()
    };
    assert_eq!(rests(pause, 9), [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    let asked = |time| Pause { not_before: Some(NOW + time), ..pause };
    assert_eq!(rests(asked(Duration::minutes(10)), 1), [600]);
    assert_eq!(rests(asked(Duration::hours(7)), 1), [3600]);
    // While a person could be waiting it is looked at in between.
    let first = Pause { is_first: true, ..asked(Duration::minutes(10)) };
    assert_eq!(rests(first, 3), [120, 120, 120]);
    let unwanted = Pause { is_wanted: false, ..pause };
    assert_eq!(rests(unwanted, 13).last(), Some(&86_400));
    let stuck = Pause { is_stuck: true, ..pause };
    assert_eq!(rests(stuck, 2), [86_400, 86_400]);
}

#[test]
fn what_a_clock_that_was_ahead_wrote_holds_nothing_up() {
    let mut order = opened();
    order.finalizing(NOW + Duration::days(40));
    assert!(matches!(order.stage(NOW), Stage::Finalized { .. }));
    order.rest_until(NOW + Duration::days(40), "so it is");
    assert_eq!(order.rests_until(NOW), None);
}
