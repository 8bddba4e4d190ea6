//! Taking a certificate of ours and its key back from the destination.

use std::borrow::Cow;

use time::Duration;
use tracing::debug;
use tracing::info;

use crate::core::bundle::Bundle;
use crate::core::held::Held;
use crate::core::reaction::Failure;
use crate::core::reaction::FailureKind;
use crate::core::setback::Setback;
use crate::core::text::timestamp;
use crate::decide::classify::provenance;
use crate::ports::Destination;
use crate::ports::World;
use crate::store::ledger::Subject;
use crate::store::publish::Origin;
use crate::store::publish::folder_name;
use crate::store::record::Source;
use crate::work::context::Context;
use crate::work::context::claims::Claim;
use crate::work::deliver::Target;

/// How long to wait before a key is asked for again that was not given.
const ASK_AGAIN_AFTER: Duration = Duration::DAY;

/// Takes a certificate of ours and its key back from the destination into a lineage of the store.
pub async fn restore<W: World>(
    context: &Context<W>,
    target: &Target,
    held: &Held,
    lineage: Option<&str>,
) -> Result<Bundle, Setback> {
    // Two that store into one lineage would take each other's version for their own.
    let name = lineage.map_or_else(|| folder_name(target.names.primary()), Cow::from);
    let Some(_claimed) = context.claim(vec![Claim::lineage(&name)]) else {
        let until = context.now() + context.settings.loop_time;
        let reason = "an attempt is still at work on this certificate";
        return Err(Setback::later(reason, until));
    };
    let destination = context.world.destination();
    let place = destination.describe().name;
    let fail = async |what: Failure| {
        let text = format!("not restored from {place}: {}", what.text);
        let wait = context.fail(target.subject(), Failure { text, ..what }).await;
        Err(wait.into())
    };
    // Where no key comes back, it is not asked for.
    let retrieved = match destination.can().returns_keys {
        true => match destination.retrieve(&held.id).await {
            Ok(retrieved) => Some(retrieved),
            Err(error) => return fail(Failure::from(&error)).await,
        },
        false => None,
    };
    let has_key = retrieved.as_ref().is_some_and(|retrieved| retrieved.key.is_some());
    debug!(name = held.name, has_key, "certificate retrieved");
    let Ok(shown) = &held.content else {
        return fail("it does not parse".into()).await;
    };
    let subject = Subject::Key { leaf: shown.leaf.fingerprint };
    let until = context.now() + ASK_AGAIN_AFTER;
    let given = retrieved.and_then(|retrieved| Some((retrieved.chain, retrieved.key?)));
    let Some((chain, key)) = given else {
        let detail = format!(
            "{place} holds our certificate but does not give its key back: it stays as it is until it is due"
        );
        context.fail_until(subject, until, detail.as_str()).await;
        return Err(Setback::failure_until(detail.as_str(), until));
    };
    let bundle = match Bundle::parse(&chain, &key) {
        Ok(bundle) if bundle.shown() == shown => bundle,
        Ok(_) => return fail("it changed while it was asked for".into()).await,
        Err(flaw) => {
            let detail =
                format!("what {place} gives back for `{}` cannot be used: {flaw}", held.name);
            context.fail_until(subject, until, detail.as_str()).await;
            return Err(Setback::failure_until(detail, until));
        }
    };
    let directory = provenance(&target.view.known, held, shown).flatten().map(str::to_owned);
    let origin = Origin { directory, source: Source::Restored, at: context.now() };
    let (names, stored) = (target.names.clone(), bundle.clone());
    let lineage = lineage.map(str::to_owned);
    let stored = context.store.run(move |store| {
        let lineage = match lineage {
            Some(lineage) => lineage,
            None => store.free_name_for(names.primary(), &stored)?,
        };
        store.publish(&lineage, &names, &stored, &origin)
    });
    if let Err(error) = stored.await {
        return fail(Failure::of(FailureKind::Disk, error.to_string())).await;
    }
    context.clear(&target.subject()).await;
    context.clear(&subject).await;
    info!(names = %target.names, not_after = %timestamp(bundle.leaf().not_after), "certificate restored from {place}");
    Ok(bundle)
}
