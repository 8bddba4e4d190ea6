//! What the authority knows, without its server: on a clock and with the chance of the test.

use sandbox::authority::accounts::NewAccount;
use sandbox::authority::chance::Chance;
use sandbox::authority::jws::PublicKey;
use sandbox::authority::records::Account;
use sandbox::authority::records::ChallengeKind;
use sandbox::authority::records::Order;
use sandbox::authority::records::OrderStatus;
use sandbox::authority::settings::AuthoritySettings;
use sandbox::authority::state::State;
use time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-22 13:00 UTC);

fn counting() -> Chance {
    let mut count = 0_u8;
    Chance::new(move |bytes| {
        for byte in bytes {
            count = count.wrapping_add(1);
            *byte = count;
        }
    })
}

/// An account with a valid authorization since `NOW`, and the first order for it.
fn validated(settings: &AuthoritySettings) -> (State, Account, Order) {
    let mut state = State::new("https://ca.example".to_owned(), 1000, counting());
    let asked = NewAccount { terms_of_service_agreed: true, ..NewAccount::default() };
    let key = PublicKey::standing_for("a key");
    let made = state.new_account(key, &asked, "192.0.2.1", settings, NOW);
    let (_, account) = made.expect("nothing is limited");
    let order = open(&mut state, &account, settings, NOW);
    let part = state.owned(&order.authorizations[0]).expect("it is of this authority");
    let kind = ChallengeKind::Http01;
    assert_eq!(state.begin_validation(part, kind, settings, NOW), Ok(true));
    assert_eq!(state.note_validation(part, kind, 1, Ok(()), settings, NOW), None);
    (state, account, order)
}

fn open(
    state: &mut State,
    account: &Account,
    settings: &AuthoritySettings,
    now: OffsetDateTime,
) -> Order {
    let names = vec!["a.example".to_owned()];
    state.new_order(account, names, settings, now).expect("nothing is limited")
}

#[test]
fn all_follows_from_time_and_chance() {
    let settings = AuthoritySettings::production();
    let tokens = || {
        let (state, _, order) = validated(&settings);
        let tokens: Vec<_> = state.authorizations().map(|it| it.token.clone()).collect();
        (order.url, tokens)
    };
    assert_eq!(tokens(), tokens());
    let (state, _, order) = validated(&settings);
    let owned = state.owned(&order.url).expect("it is of this authority");
    let status = |at| state.order(owned, at).map(|order| order.status);
    assert_eq!(status(NOW), Ok(OrderStatus::Ready));
    assert!(status(NOW + Duration::days(7)).is_err());
}

#[test]
fn order_ends_with_the_first_of_its_authorizations() {
    let settings = AuthoritySettings::production();
    let (mut state, account, first) = validated(&settings);
    let second = open(&mut state, &account, &settings, NOW + Duration::days(25));
    assert_eq!(second.authorizations, first.authorizations);
    assert_eq!(second.expires, NOW + Duration::days(30));
    // So late it is not used again, else the order would be over at once.
    let (mut state, account, first) = validated(&settings);
    let late = NOW + Duration::days(30) - Duration::hours(1);
    let third = open(&mut state, &account, &settings, late);
    assert_ne!(third.authorizations, first.authorizations);
    assert_eq!(third.expires, late + Duration::days(7));
}
