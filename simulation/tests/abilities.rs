//! Destinations that can do less than Rancher, and names that no solver takes: nobody asks for what cannot be had.

use rancher_lets_encrypt::core::held::Abilities;
use simulation::crash::LONG;
use simulation::crash::while_missing;
use simulation::crash::wish;
use simulation::dice::Dice;
use simulation::outside::Outside;
use simulation::process::Habits;
use simulation::process::live;
use simulation::process::on_virtual_clock;
use time::Duration;

const NAME: &str = "www.example.com";
const ALL: Abilities = Abilities { returns_keys: true, carries_mark: true, has_users: true };

/// A world in which the name has its certificate, at a destination that can do this.
async fn settled(can: Abilities) -> Outside {
    let outside = Outside::new(Dice::new(3), 1);
    outside.state().rancher.can = can;
    wish(&outside, NAME);
    if !can.has_users {
        // The model counts as served what was woken for; here nobody has to be.
        let mut state = outside.state();
        state.rancher.woken_at = Some(state.now() + Duration::days(3650));
    }
    while_missing(&outside, LONG).await;
    assert_well(&outside);
    outside
}

#[track_caller]
fn assert_well(outside: &Outside) {
    let state = outside.state();
    assert!(state.promises.violation.is_none(), "{:?}", state.promises.violation);
    assert_eq!(state.rancher.asked_in_vain, [""; 0]);
}

fn issued(outside: &Outside) -> u64 {
    outside.state().promises.issued
}

async fn lives_for(outside: &Outside, time: Duration) {
    let lived = live(outside, 0, Habits::default());
    let _ = tokio::time::timeout(time.unsigned_abs(), lived).await;
}

#[test]
fn where_no_mark_is_kept_the_store_knows_what_is_ours() {
    on_virtual_clock(async {
        let outside = settled(Abilities { carries_mark: false, ..ALL }).await;
        assert_eq!(
            outside.state().rancher.of(NAME).map(|entry| entry.description.clone()),
            Some(String::new())
        );
        lives_for(&outside, Duration::days(65)).await;
        while_missing(&outside, LONG).await;
        assert_well(&outside);
        assert_eq!(issued(&outside), 2);
    });
}

#[test]
fn where_no_key_comes_back_a_lost_store_costs_nothing_until_the_certificate_is_due() {
    on_virtual_clock(async {
        let outside = settled(Abilities { returns_keys: false, ..ALL }).await;
        {
            let mut state = outside.state();
            state.destroy("wiped", |state| state.places[0].volume = Default::default());
            state.promises.store_lost_at = Some(state.now());
        }
        lives_for(&outside, Duration::days(5)).await;
        assert_well(&outside);
        assert_eq!(issued(&outside), 1);
        lives_for(&outside, Duration::days(62)).await;
        assert_well(&outside);
        assert_eq!(issued(&outside), 2);
    });
}

#[test]
fn where_nobody_has_to_be_woken_nobody_is_looked_for() {
    on_virtual_clock(async {
        let outside = settled(Abilities { has_users: false, ..ALL }).await;
        lives_for(&outside, Duration::days(65)).await;
        assert_well(&outside);
        assert_eq!(issued(&outside), 2);
    });
}

#[test]
fn for_a_name_that_no_solver_takes_nothing_is_asked() {
    on_virtual_clock(async {
        let outside = Outside::new(Dice::new(3), 1);
        outside.state().domains.unsolved.insert(NAME.to_owned());
        wish(&outside, NAME);
        lives_for(&outside, Duration::HOUR).await;
        assert_well(&outside);
        assert_eq!(issued(&outside), 0);
        assert_eq!(outside.state().authority.all()[0].accounts(), 0);
        outside.state().domains.unsolved.clear();
        while_missing(&outside, LONG).await;
        assert_eq!(issued(&outside), 1);
    });
}
