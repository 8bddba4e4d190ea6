//! A few seeds of `make simulate`, for the edit-test loop: `make test` runs fifty with code that is optimized.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use simulation::run::run;
use time::Duration;

const SEEDS: u64 = 8;
const LENGTH: Duration = Duration::days(180);

#[test]
fn promises_hold_in_a_changing_world() {
    let next = AtomicU64::new(1);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if SEEDS < seed {
                return;
            }
            if let Some(violation) = run(seed, LENGTH, false).violation {
                panic!(
                    "seed {seed}: {:?}: {}\n{}\nagain with: make simulate SEED={seed} DAYS=180",
                    violation.promise,
                    violation.text,
                    violation.history.join("\n")
                );
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

#[test]
fn a_seed_happens_twice_in_the_same_way() {
    for seed in [3, 5] {
        assert_eq!(run(seed, LENGTH, false).digest, run(seed, LENGTH, false).digest, "{seed}");
    }
}
