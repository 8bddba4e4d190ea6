//! Faults that the daemon had: each is put back from outside, by what its ports say or its records hold.
//!
//! By their number in the list of the work that has mended them: 1 to 10, and 14 to 18. Of some only one side can be put
//! back here. The answer of 4 that lacks `finalize` is read by the client behind the authority port, and so are the nonces
//! of 19: their tests are in `acme`. The places of orders in 5 are inside the daemon: what shows outside is that names which
//! say nothing are looked at one after the other, before a new name has its turn. The pace of passes in 8 is put back by the setting that says how soon they follow each other. Keys of the simulation are
//! all of one kind: of 9 there is a file that cannot be judged because it cannot be read.

use time::Duration;
use time::OffsetDateTime;

use crate::authority::STAGING;
use crate::authority::oddities::Failing;
use crate::authority::oddities::Oddities;
use crate::crash::LONG;
use crate::crash::PROMISED;
use crate::crash::while_missing;
use crate::crash::wish;
use crate::defects::Case;
use crate::defects::Trial;
use crate::defects::live_for;
use crate::domains::Route;
use crate::outside::Outside;
use crate::process::Habits;
use crate::process::live;
use crate::promises::Promise;
use crate::trouble::Defect;

/// What is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordeal {
    /// The authority never issues what it was asked for once.
    Stuck,
    /// The authority refuses to finalize for a moment.
    Refused,
    /// The authority ends each order that is finalized, for a moment.
    Ended,
    /// The authority does not hand the certificate over for hours.
    Lost,
    /// The authority answers 500 about a name, and another name is new.
    Senseless,
    /// Names that say nothing, and a good one behind them.
    SilentNames,
    /// A name of two is dead for as long as their certificate lives.
    DeadName,
    /// Names of one certificate recover one by one.
    Recoveries,
    /// Many names that are broken.
    BrokenNames,
    /// What lies in the store comes to expire.
    Expiry,
    /// The authority is gone that an order lies at which nobody wants any more.
    Gone,
    /// The authority leaves challenges that failed pending.
    PendingFailures,
    /// Many names of which the authority leaves the challenges pending, and a good one behind them.
    PendingCrowd,
    /// The authority forgets what it has issued, and the process is restarted again and again.
    Forgetful,
    /// The authority refuses accounts for a moment.
    NoAccounts,
}

const NONE: Defect = Defect::NONE;

const fn case(
    name: &'static str,
    defect: Defect,
    ordeal: Ordeal,
    breaks: Promise,
    says: &'static str,
) -> Case {
    Case { name, defect, trial: Trial::Ordeal(ordeal), breaks, says }
}

/// The faults, by their number.
pub(super) const CASES: [Case; 15] = [
    case(
        "1: an order that was finalized is waited for for ever",
        Defect { unread: &["finalized_at"], ..NONE },
        Ordeal::Stuck,
        Promise::FreshInTheEnd,
        "Rancher has nothing",
    ),
    case(
        "2: the floor counts requests, one that was refused too",
        Defect { mishears: true, ..NONE },
        Ordeal::Refused,
        Promise::FreshInTheEnd,
        "Rancher has nothing",
    ),
    case(
        "3: a certificate that is not handed over at once is given up",
        Defect { gives_up: true, ..NONE },
        Ordeal::Lost,
        Promise::NoExtraCertificate,
        "",
    ),
    case(
        "4: an answer about one order that makes no sense stops all others",
        Defect { blames_authority: true, ..NONE },
        Ordeal::Senseless,
        Promise::NobodyWaits,
        "www.example.com: Rancher has nothing",
    ),
    case(
        "5: looks at names that say nothing take the turns of orders",
        Defect { queues_looks: true, ..NONE },
        Ordeal::SilentNames,
        Promise::NobodyWaits,
        "www.example.com: Rancher has nothing",
    ),
    case(
        "6: a dead name is left out only when the certificate has expired",
        Defect { clings: true, ..NONE },
        Ordeal::DeadName,
        Promise::NobodyWaits,
        "has lost its certificate",
    ),
    case(
        "7: each name that recovers costs a certificate",
        Defect { unlisted: Some("\"change\""), ..NONE },
        Ordeal::Recoveries,
        Promise::NoExtraCertificate,
        "within a day",
    ),
    case(
        "8: passes follow each other each second",
        Defect { is_restless: true, ..NONE },
        Ordeal::BrokenNames,
        Promise::NobodyIsPestered,
        "Rancher was asked",
    ),
    case(
        "9: what cannot be judged is never renewed",
        Defect { unreadable: Some("/www.example.com"), ..NONE },
        Ordeal::Expiry,
        Promise::FreshInTheEnd,
        "not renewed",
    ),
    case(
        "10: an authority that is gone is asked at the same pace for ever",
        Defect { unread: &["rests", "look_after"], ..NONE },
        Ordeal::Gone,
        Promise::NobodyIsPestered,
        "is gone since",
    ),
    case(
        "14: the reason of a challenge that stays pending is not read",
        Defect { overlooks_reasons: true, ..NONE },
        Ordeal::PendingFailures,
        Promise::BrokenNameIsCheap,
        "on the first day",
    ),
    case(
        "15: a name that was never tried waits for those that were",
        Defect { overlooks_reasons: true, unread: &["challenges", "rests", "look_after"], ..NONE },
        Ordeal::PendingCrowd,
        Promise::NobodyWaits,
        "www.example.com: Rancher has nothing",
    ),
    case(
        "16: after a crash finalize is sent again at once",
        Defect { unread: &["finalized_at", "look_after"], unlisted: Some("finalizing"), ..NONE },
        Ordeal::Forgetful,
        Promise::FloorHolds,
        "",
    ),
    case(
        "17: an order that the authority has ended counts as a certificate",
        Defect { mishears: true, ..NONE },
        Ordeal::Ended,
        Promise::FreshInTheEnd,
        "Rancher has nothing",
    ),
    case(
        "18: what an authority says of accounts holds for a day",
        Defect { is_offended: true, ..NONE },
        Ordeal::NoAccounts,
        Promise::FreshInTheEnd,
        "Rancher has nothing",
    ),
];

const FIXED: &str = "www.example.com";
const ALWAYS: u64 = 1000;

/// Lets the daemon go through it; what was broken is on record then.
pub(super) async fn attempt(ordeal: Ordeal, defect: Defect, outside: &Outside) {
    let put_back = || outside.state().trouble.defect = defect;
    match ordeal {
        Ordeal::Stuck => {
            put_back();
            let turn = |odd: &mut Oddities| {
                odd.sticks = ALWAYS;
                odd.sticks_for_ever = ALWAYS;
            };
            odd_for(outside, Duration::HOUR, turn).await;
            while_missing(outside, LONG).await;
            // Until the life of the order that is stuck is over.
            for _ in 0..20 {
                live_for(outside, Duration::hours(12)).await;
                outside.state().check_pestered();
            }
        }
        Ordeal::Refused => {
            put_back();
            odd_for(outside, Duration::seconds(40), |odd| odd.refuses = ALWAYS).await;
            while_missing(outside, PROMISED).await;
        }
        Ordeal::Ended => {
            put_back();
            odd_for(outside, Duration::seconds(40), |odd| odd.fails = ALWAYS).await;
            while_missing(outside, PROMISED).await;
        }
        Ordeal::NoAccounts => {
            put_back();
            let turn = |odd: &mut Oddities| odd.refuses_accounts = true;
            odd_for(outside, Duration::minutes(5), turn).await;
            while_missing(outside, PROMISED).await;
        }
        Ordeal::Lost => {
            put_back();
            wish(outside, FIXED);
            turn_odd(outside, |odd| {
                odd.loses = ALWAYS;
                odd.loses_for = Duration::hours(9);
            });
            while_missing(outside, LONG).await;
        }
        Ordeal::Senseless => {
            put_back();
            let bad = "bad.example.com";
            turn_odd(outside, |odd| {
                odd.senseless.insert(bad.to_owned());
            });
            {
                let mut state = outside.state();
                let now = state.now();
                state.domains.lead(bad, Route::Broken, now);
            }
            wish(outside, bad);
            // By then an authority that fails is asked each hour, and was asked a moment ago.
            live_for(outside, Duration::minutes(24 * 60 + 10)).await;
            wish(outside, &format!("{bad}, {FIXED}"));
            await_within(outside, Duration::minutes(20)).await;
        }
        Ordeal::SilentNames => {
            put_back();
            crowd(outside, 24, Route::Silent);
            await_within(outside, Duration::minutes(5)).await;
        }
        Ordeal::PendingCrowd => {
            put_back();
            turn_odd(outside, |odd| odd.failing = Failing::StaysPending);
            crowd(outside, 24, Route::BrokenOutside);
            await_within(outside, Duration::minutes(4)).await;
        }
        Ordeal::DeadName => die(outside, defect).await,
        Ordeal::Recoveries => recover(outside, defect).await,
        Ordeal::BrokenNames => {
            put_back();
            crowd(outside, 50, Route::Broken);
            live_for(outside, Duration::hours(2)).await;
            outside.state().check_pestered();
        }
        Ordeal::Expiry => {
            wish(outside, FIXED);
            while_missing(outside, LONG).await;
            put_back();
            live_for(outside, Duration::days(95)).await;
            while_missing(outside, PROMISED).await;
        }
        Ordeal::Gone => be_gone(outside, defect).await,
        Ordeal::PendingFailures => {
            put_back();
            turn_odd(outside, |odd| odd.failing = Failing::StaysPending);
            let now = outside.state().now();
            outside.state().domains.lead(FIXED, Route::BrokenOutside, now);
            wish(outside, FIXED);
            live_for(outside, Duration::days(3)).await;
        }
        Ordeal::Forgetful => {
            put_back();
            turn_odd(outside, |odd| {
                odd.forgets = true;
                odd.tears = ALWAYS;
            });
            wish(outside, FIXED);
            for _ in 0..100 {
                live_for(outside, Duration::minutes(10)).await;
            }
        }
    }
}

fn turn_odd(outside: &Outside, turn: impl Fn(&mut Oddities)) {
    let mut state = outside.state();
    for directory in state.authority.all_mut() {
        turn(&mut directory.oddities);
    }
}

/// Wishes for a certificate while authorities are odd.
async fn odd_for(outside: &Outside, time: Duration, turn: impl Fn(&mut Oddities)) {
    turn_odd(outside, turn);
    wish(outside, FIXED);
    live_for(outside, time).await;
    turn_odd(outside, Oddities::end);
}

/// Wishes for many names that lead nowhere, and for a good one behind them.
fn crowd(outside: &Outside, count: usize, route: Route) {
    let names = (0..count).map(|it| format!("w{it}.example{it}.com"));
    let mut names: Vec<String> = names.collect();
    {
        let mut state = outside.state();
        let now = state.now();
        for name in &names {
            state.domains.lead(name, route, now);
        }
    }
    names.push(FIXED.to_owned());
    wish(outside, &names.join(", "));
}

/// Lives for so long; by then who is well has what he wants.
async fn await_within(outside: &Outside, patience: Duration) {
    let begun = outside.state().now();
    live_for(outside, patience + Duration::SECOND).await;
    let mut state = outside.state();
    state.promises.calm_since = Some(begun);
    state.check_waiting(patience);
}

/// One name of two breaks once they have their certificate, until that has expired.
async fn die(outside: &Outside, defect: Defect) {
    let dead = "dead.example.com";
    wish(outside, &format!("{FIXED} {dead}"));
    while_missing(outside, LONG).await;
    let since = {
        let mut state = outside.state();
        let now = state.now();
        state.domains.lead(dead, Route::BrokenOutside, now);
        state.trouble.defect = defect;
        now
    };
    let looks = async {
        while outside.state().now() < since + Duration::days(95) {
            tokio::time::sleep(Duration::minutes(10).unsigned_abs()).await;
            let mut state = outside.state();
            state.promises.calm_since = Some(since);
            state.check_groups(Duration::days(2));
        }
    };
    tokio::select! {
        biased;
        () = live(outside, 0, Habits::default()) => {}
        () = looks => {}
    }
}

/// Of nine names eight are broken at first, and recover one each hour; the process is restarted all the time.
async fn recover(outside: &Outside, defect: Defect) {
    let names: Vec<String> = (0..8).map(|it| format!("w{it}.example.com")).collect();
    {
        let mut state = outside.state();
        let now = state.now();
        for name in &names {
            state.domains.lead(name, Route::Broken, now);
        }
        state.trouble.defect = defect;
        state.promises.rules.loop_time = Duration::minutes(5);
    }
    wish(outside, &format!("{FIXED} {}", names.join(" ")));
    // What was wanted a moment ago may be ordered in part.
    live_for(outside, Duration::hours(25)).await;
    for name in &names {
        {
            let mut state = outside.state();
            let now = state.now();
            state.domains.lead(name, Route::Well, now);
        }
        for _ in 0..4 {
            live_for(outside, Duration::minutes(15)).await;
        }
    }
}

/// An order was finalized at a staging authority that is gone when production is wanted.
async fn be_gone(outside: &Outside, defect: Defect) {
    outside.state().promises.rules.is_staging = true;
    let turn = |odd: &mut Oddities| {
        odd.sticks = ALWAYS;
        odd.sticks_for_ever = ALWAYS;
    };
    odd_for(outside, Duration::HOUR, turn).await;
    let (name, since): (_, OffsetDateTime) = {
        let mut state = outside.state();
        state.promises.rules.is_staging = false;
        state.trouble.defect = defect;
        let now = state.now();
        let Some(directory) = state.authority.of(STAGING) else {
            return;
        };
        directory.oddities.is_gone = true;
        (directory.name(), now)
    };
    for _ in 0..20 {
        live_for(outside, Duration::DAY).await;
        outside.state().check_spared(name, since, 1);
    }
}
