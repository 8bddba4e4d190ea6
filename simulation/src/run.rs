//! One seed, from its beginning to its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::Duration;

use crate::events::World;
use crate::events::patience;
use crate::outside::Outside;
use crate::outside::State;
use crate::plan::Plan;
use crate::process::Switch;
use crate::process::on_virtual_clock;
use crate::process::supervise;
use crate::promises::Promise;
use crate::promises::Violation;
use crate::rancher::Balancer;

/// What became of a seed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// Certificates issued.
    pub certificates: u64,
    /// Orders opened.
    pub orders: u64,
    /// Validations that failed.
    pub failed: u64,
    /// Writes to Rancher.
    pub uploads: u64,
    /// Changes that the daemon made outside.
    pub effects: u64,
    /// Crashes.
    pub crashes: u64,
    /// Faults injected.
    pub faults: u64,
    /// Limits of the authority that were hit.
    pub limits: usize,
    /// Looks at certificates whose risk people had heard of.
    pub risks_heard: u64,
    /// How often authorities did what Boulder does not.
    pub oddities: BTreeMap<&'static str, u64>,
    /// How much time passed.
    pub time: Duration,
    /// Tells one history from another.
    pub digest: (u64, u64),
}

/// After this everything that is wanted and possible must be there.
const LAST_PATIENCE: Duration = Duration::days(10);

/// Runs a seed for some time; loud, if every line is to be seen.
pub fn run(seed: u64, length: Duration, is_loud: bool) -> Outcome {
    let (plan, dice) = Plan::draw(seed);
    let plan = Plan { length: plan.length.min(length), ..plan };
    on_virtual_clock(async {
        let mut dice = dice;
        let outside = Outside::new(dice.fork(), 2);
        prepare(&outside, &plan, is_loud);
        let begun = outside.state().now();
        let switches: Vec<Arc<Switch>> = vec![Arc::default(), Arc::default()];
        for (instance, switch) in switches.iter().enumerate() {
            let lives = supervise(outside.clone(), instance, plan.habits, Arc::clone(switch));
            tokio::spawn(lives);
        }
        let mut world = World::new(outside.clone(), dice, plan, switches);
        world.switches[0].turn(true);
        world.go_on().await;
        if outside.state().promises.violation.is_none() {
            world.calm_down().await;
            in_the_end(&outside, &plan).await;
        }
        let state = outside.state();
        Outcome {
            seed: plan.seed,
            violation: state.promises.violation.clone(),
            certificates: state.promises.issued,
            orders: state.authority.all().iter().map(|it| it.opened).sum(),
            failed: state.promises.failed,
            uploads: state.promises.uploads,
            effects: state.effects,
            crashes: state.trouble.crashed,
            faults: state.trouble.faults,
            limits: state.authority.all().iter().map(|it| it.hits.len()).sum(),
            risks_heard: state.promises.risks_heard,
            oddities: oddities(&state),
            time: state.now() - begun,
            digest: state.history.digest(),
        }
    })
}

fn oddities(state: &State) -> BTreeMap<&'static str, u64> {
    let mut met = BTreeMap::new();
    let directories = state.authority.all().iter();
    for (what, times) in directories.flat_map(|directory| &directory.oddities.met) {
        *met.entry(*what).or_default() += times;
    }
    met
}

fn prepare(outside: &Outside, plan: &Plan, is_loud: bool) {
    let mut state = outside.state();
    state.history.is_loud = is_loud;
    state.note(format!("{plan:?}"));
    state.promises.rules = plan.rules;
    state.trouble.crashes = vec![None, None];
    for directory in state.authority.all_mut() {
        directory.lifetime = plan.lifetime;
    }
    state.rancher.gives_keys = plan.gives_keys;
    state.rancher.balancers = vec![Balancer { is_active: true, lists: Vec::new() }];
}

async fn in_the_end(outside: &Outside, plan: &Plan) {
    let until = outside.state().now() + LAST_PATIENCE;
    loop {
        tokio::time::sleep(Duration::hours(1).unsigned_abs()).await;
        let mut state = outside.state();
        let Some(missing) = state.missing(patience(plan)) else {
            return;
        };
        if state.promises.violation.is_some() {
            return;
        }
        if until < state.now() {
            return state.break_promise(Promise::FreshInTheEnd, missing);
        }
    }
}
