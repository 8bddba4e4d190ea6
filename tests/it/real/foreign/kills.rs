//! The daemon is killed behind each line of its log, and before each: one certificate for each name all the same.

use std::io::Write;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;

use crate::real::foreign::site::Foreign;
use crate::real::foreign::site::Home;
use crate::real::foreign::site::Site;
use crate::support::Settings;
use crate::support::guarded;
use crate::support::stepped::Stepped;

/// Where between two lines the kill lands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Right behind the line, in the middle of what comes next or before it.
    Behind,
    /// When what comes next is done and not told yet.
    BeforeNext,
}

/// How many daemons there are at once; mostly they wait.
const AT_ONCE: usize = 8;

/// From a name to balancers that were woken a daemon has less to say than this.
const MOST_LINES: usize = 100;

/// Kills a daemon after so many lines about its work. Answers whether it was through before.
fn kill_after(settings: &Settings, lines: usize, moment: Moment) -> bool {
    let daemon = Stepped::start(settings);
    let mut left = None;
    while let Some(line) = daemon.line() {
        match (line["message"].as_str(), &mut left) {
            (Some("balancers woken"), _) => return true,
            (_, Some(0)) => {
                if moment == Moment::BeforeNext {
                    daemon.wait_until_stuck();
                }
                daemon.kill();
                return false;
            }
            (_, Some(left)) => *left -= 1,
            (Some("job begun"), None) => left = Some(lines),
            _ => {}
        }
        daemon.next();
    }
    panic!("the daemon ended by itself");
}

/// Kills one at one place and lets another finish. Answers whether the place was there.
async fn kill_once(home: &Home, name: &str, lines: usize, moment: Moment) -> bool {
    let settings = home.settings(name);
    let killed = settings.clone();
    let run = tokio::task::spawn_blocking(move || kill_after(&killed, lines, moment));
    let was_through = guarded("a daemon to be killed", run).await.unwrap();
    home.let_pass(time::Duration::minutes(3));
    let wanted = [name];
    let mut daemon = settings.clone().start();
    // OpenBao forgets a challenge that it was told about by a connection that closed meanwhile, and shows it as
    // `processing` for good: an hour later it is given up, and there is another order.
    let is_forgotten = |line: &Value| line["reason"] == "the authority is still validating";
    let forgotten = tokio::select! {
        () = home.pushed(&daemon, &wanted) => false,
        () = daemon.has(is_forgotten) => true,
    };
    if forgotten {
        drop(daemon.stop().await);
        home.let_pass(time::Duration::minutes(61));
        daemon = settings.start();
        home.pushed(&daemon, &wanted).await;
    }
    daemon.settles().await;
    let what = format!("killed {moment:?} line {lines}:\n{}", daemon.text());
    assert_eq!(home.rancher.certificates().len(), 1, "{what}");
    assert_eq!(home.pending(), 0, "{what}");
    !was_through
}

/// Kills everywhere, each time for a name and a store of its own. `spare` certificates may be issued that nobody learns
/// of.
pub(crate) async fn at_every_step<Authority: Foreign>(who: &str, spare: usize) {
    let site = Site::<Authority>::start().await;
    let last = AtomicUsize::new(MOST_LINES);
    let (site_ref, last_ref) = (&site, &last);
    let places = (0..MOST_LINES)
        .flat_map(|lines| [Moment::Behind, Moment::BeforeNext].map(|moment| (lines, moment)));
    let trials = places.map(async |(lines, moment)| {
        if lines > last_ref.load(Ordering::Relaxed) {
            return None;
        }
        let name = format!("k{lines}-{moment:?}.example.com").to_lowercase();
        let home = site_ref.home(&name).await;
        let is_hit = kill_once(&home, &name, lines, moment).await;
        if !is_hit {
            last_ref.fetch_min(lines, Ordering::Relaxed);
        }
        Some(is_hit)
    });
    let trials: Vec<Option<bool>> = stream::iter(trials).buffer_unordered(AT_ONCE).collect().await;
    let names = trials.iter().flatten().count();
    let kills = trials.iter().flatten().filter(|is_hit| **is_hit).count();
    let issued = site.authority.issued().await;
    // Past the capture of tests that pass: it is to be seen how often was killed.
    let line = format!("{kills} kills at {who}: {issued} certificates for {names} names\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(last.load(Ordering::Relaxed) < MOST_LINES, "no daemon was through");
    assert!(kills > 30, "{kills} kills");
    assert!((names..=names + spare).contains(&issued));
    assert_eq!(site.tokens(), 0);
}
