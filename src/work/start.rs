//! What is done once, before the loop turns.

use std::sync::Arc;

use time::Duration;
use tracing::debug;
use tracing::warn;

use crate::decide::filter::EPHEMERAL;
use crate::ports::Authority;
use crate::ports::Clock;
use crate::ports::Solver;
use crate::ports::World;
use crate::store::Store;
use crate::work::check_token;
use crate::work::context::Context;
use crate::work::context::Settings;

/// How soon a store that cannot be read is tried again.
const TRY_AGAIN: Duration = Duration::seconds(1);
/// A disk may stay full for days, and each try syncs all folders.
const LONGEST_WAIT: Duration = Duration::seconds(15);

/// Reads the ledger; waits until that is possible, because without it every wait would be forgotten. Why not is told.
pub async fn open_context<W: World>(
    world: W,
    store: Arc<Store<W::Disk>>,
    settings: Settings,
    tell: &(dyn Fn(&str) + Sync),
) -> Context<W> {
    let mut world = world;
    let mut said = String::new();
    let mut wait = TRY_AGAIN;
    loop {
        match Context::open(world, Arc::clone(&store), settings.clone()).await {
            Ok(context) => return context,
            Err((back, error)) => {
                let error = error.to_string();
                tell(&error);
                if said != error {
                    warn!(error, "store not usable, tried again");
                    said = error;
                }
                world = back;
                world.clock().sleep(wait).await;
                wait = (wait * 2_i32).min(LONGEST_WAIT);
            }
        }
    }
}

/// Removes challenge files of ours that belong to no order, and those of checks: what a crash left behind. Files of
/// others stay, and so do those of checks that may still run.
pub async fn sweep_webroot<W: World>(context: &Context<W>) {
    let read = context.store.run(|store| {
        Ok::<_, crate::store::StoreError>((store.accounts()?, store.published_tokens()?))
    });
    let (accounts, in_use) = match read.await {
        Ok(read) => read,
        Err(error) => return warn!(%error, "webroot not swept"),
    };
    let thumbprints: Vec<String> = accounts
        .iter()
        .filter_map(|account| context.world.authority().thumbprint(&account.key))
        .collect();
    let published = match context.world.solver().presented().await {
        Ok(published) => published,
        Err(error) => return warn!(%error, "webroot not swept"),
    };
    let now = context.now();
    for (token, content) in published {
        let is_ours = thumbprints
            .iter()
            .any(|thumbprint| content == format!("{}.{thumbprint}", token.as_str()))
            || check_token::is_stray(&token, &content, now);
        if !is_ours || in_use.contains(&token) {
            continue;
        }
        match context.world.solver().clean_up(&token).await {
            Ok(()) => debug!("stray challenge file removed"),
            Err(error) => warn!(%error, "stray challenge file not removed"),
        }
    }
}

/// Says loudly that everything in the store will be lost with the container.
pub async fn warn_if_ephemeral<W: World>(context: &Context<W>) {
    if context.store.run(|store| store.is_ephemeral()).await {
        tracing::error!("{EPHEMERAL}");
    }
}
