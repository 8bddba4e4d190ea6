//! Runs seeds side by side and tells what they cost; one that breaks a promise is told with its history.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use clap::Parser;
use simulation::costs;
use simulation::passes;
use simulation::plan::LENGTH;
use simulation::run::Outcome;
use simulation::run::run;
use time::Duration;

/// Whoever waits for minutes sees how far it is.
const TOLD_EVERY: usize = 100;

/// Simulates years of the daemon.
#[derive(Parser)]
struct Arguments {
    /// One seed only, with everything that happens.
    #[arg(long)]
    seed: Option<u64>,
    /// How many days each takes.
    #[arg(long, default_value_t = LENGTH.whole_days())]
    days: i64,
    /// Tells what a name costs at the authority in a year, and nothing else.
    #[arg(long)]
    costs: bool,
    /// Tells how many passes an hour has while names are broken, and nothing else.
    #[arg(long)]
    passes: bool,
    /// Lets the daemon log too, as its setting LOG.
    #[arg(long)]
    log: Option<String>,
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(log) = &arguments.log {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(log))
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .init();
    }
    if arguments.costs {
        return exit(tell_costs());
    }
    if arguments.passes {
        tell_passes();
        return ExitCode::SUCCESS;
    }
    let length = Duration::days(arguments.days);
    let outcomes = match arguments.seed {
        Some(seed) => vec![run(seed, length, true)],
        None => run_all(arguments.first, arguments.seeds, length),
    };
    let mut is_good = true;
    for outcome in &outcomes {
        if outcome.violation.is_some() {
            is_good = false;
            tell_violation(outcome, true);
        }
    }
    tell(&outcomes);
    if arguments.seed.is_none() {
        is_good &= tell_costs();
    }
    exit(is_good)
}

fn exit(is_good: bool) -> ExitCode {
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What was broken, if anything; with what happened before, or at once without it.
fn tell_violation(outcome: &Outcome, is_whole: bool) {
    let Some(violation) = &outcome.violation else {
        return;
    };
    let (seed, promise) = (outcome.seed, violation.promise);
    eprintln!("\nseed {seed}: {promise:?}: {}", violation.text);
    if is_whole {
        for line in &violation.history {
            eprintln!("  {line}");
        }
        eprintln!("  again with: make simulate SEED={seed}");
    }
}

fn run_all(first: u64, seeds: u64, length: Duration) -> Vec<Outcome> {
    let next = AtomicU64::new(first);
    let outcomes = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if first + seeds <= seed {
                        return;
                    }
                    let outcome = run(seed, length, false);
                    tell_violation(&outcome, false);
                    let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                    outcomes.push(outcome);
                    if outcomes.len().is_multiple_of(TOLD_EVERY) {
                        eprintln!("{} of {seeds} seeds lived", outcomes.len());
                    }
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|outcome| outcome.seed);
    outcomes
}

#[expect(clippy::print_stdout, reason = "the answer of a command is for whoever called it")]
fn tell_passes() {
    print!("{}", passes::render());
}

#[expect(clippy::print_stdout, reason = "the answer of a command is for whoever called it")]
fn tell(outcomes: &[Outcome]) {
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let days: i64 = outcomes.iter().map(|it| it.time.whole_days()).sum();
    println!("seeds               {}", outcomes.len());
    println!("simulated years     {}", days / 365);
    println!("certificates        {}", sum(|it| it.certificates));
    println!("orders              {}", sum(|it| it.orders));
    println!("failed validations  {}", sum(|it| it.failed));
    println!("writes to Rancher   {}", sum(|it| it.uploads));
    println!("effects             {}", sum(|it| it.effects));
    println!("crashes             {}", sum(|it| it.crashes));
    println!("faults injected     {}", sum(|it| it.faults));
    println!("limits hit          {}", sum(|it| it.limits as u64));
    println!("looks at told risks {}", sum(|it| it.risks_heard));
    let mut oddities: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (what, times) in outcomes.iter().flat_map(|it| &it.oddities) {
        let (seeds, sum) = oddities.entry(what).or_default();
        (*seeds, *sum) = (*seeds + 1, *sum + times);
    }
    for (what, (seeds, times)) in oddities {
        println!("an authority {what}: {times} times, {seeds} seeds");
    }
    println!("promises broken     {}", outcomes.iter().filter(|it| it.violation.is_some()).count());
}

/// Answers whether they could be told.
#[expect(clippy::print_stdout, reason = "the answer of a command is for whoever called it")]
fn tell_costs() -> bool {
    match costs::render() {
        Ok(table) => {
            println!("\n{table}");
            true
        }
        Err(violation) => {
            eprintln!("\ncosts: {:?}: {}", violation.promise, violation.text);
            for line in &violation.history {
                eprintln!("  {line}");
            }
            false
        }
    }
}
