//! Promises 3 and 4: what is written to Rancher.

use std::collections::BTreeSet;

use rancher_lets_encrypt::core::bundle::Bundle;
use rancher_lets_encrypt::core::certificate::CertificateChain;
use rancher_lets_encrypt::core::certificate::Leaf;
use rancher_lets_encrypt::core::held::Upload;
use rancher_lets_encrypt::decide::classify::ReplaceForeign;
use time::Duration;
use time::OffsetDateTime;

use crate::domains::Route;
use crate::outside::State;
use crate::promises::Promise;
use crate::promises::issuing::line;
use crate::promises::issuing::words;
use crate::rancher::Entry;
use crate::rancher::Owner;

/// Nobody can see what was pasted between the last look and the write.
const UNSEEN: Duration = Duration::seconds(2);

/// How long it takes at most until it is seen that a name has recovered.
const SEEN: Duration = Duration::hours(26);

fn is_current(leaf: &Leaf, now: OffsetDateTime) -> bool {
    leaf.not_before <= now && now < leaf.not_after
}

impl State {
    /// Something is about to be written to Rancher, over an entry or as a new one.
    pub(crate) fn uploaded(&mut self, instance: usize, over: Option<usize>, upload: &Upload) {
        self.promises.uploads += 1;
        let chain = format!("{}{}", upload.certificate, upload.chain);
        let bundle = match Bundle::parse(&chain, &upload.key) {
            Ok(bundle) => bundle,
            Err(flaw) => {
                let text = format!("what is written is no certificate with its key: {flaw}");
                return self.break_promise(Promise::NeverWorse, text);
            }
        };
        let now = self.now();
        if !self.is_stored(instance, upload, now) {
            let names: Vec<&str> = bundle.leaf().names().collect();
            let text = format!("{} is pushed before it is stored", names.join(" "));
            return self.break_promise(Promise::StoredFirst, text);
        }
        let Some(entry) = over.map(|at| self.rancher.entries[at].clone()) else {
            return;
        };
        let Ok(there) = entry.content.clone() else {
            return;
        };
        if now - entry.written_at < UNSEEN {
            return;
        }
        if entry.owner == Owner::Person && !self.may_replace(&there, bundle.leaf(), instance) {
            let text = format!("`{}` was pasted by a person and is overwritten", entry.name);
            return self.break_promise(Promise::ForeignIsLeft, text);
        }
        if let Some(text) = self.is_worse(&entry, &there, &bundle, instance) {
            self.break_promise(Promise::NeverWorse, text);
        }
    }

    /// Whether certificate and key are among the versions of a store, and would be after a power failure.
    fn is_stored(&mut self, instance: usize, upload: &Upload, now: OffsetDateTime) -> bool {
        // A push of the wrong one is judged by what it does.
        if self.trouble.defect.replays {
            return true;
        }
        let volume = &mut self.home(instance).volume;
        volume.pass_time(now);
        let files = volume.walk_durable();
        let archive = files.iter().filter(|(path, _)| path.starts_with("/store/archive"));
        let words: BTreeSet<&[u8]> = archive.flat_map(|(_, content)| words(content)).collect();
        let lines = [line(&upload.certificate), line(upload.key.reveal())];
        lines.iter().all(|line| words.contains(line.as_bytes()))
    }

    /// The rules for certificates that are not ours.
    fn may_replace(&self, there: &CertificateChain, ours: &Leaf, instance: usize) -> bool {
        let leaf = &there.leaf;
        let now = self.shown(instance);
        let left = leaf.not_after - now;
        let lifetime = leaf.not_after - leaf.not_before;
        let is_elsewhere = |name: &str| {
            self.rancher.entries.iter().any(|other| {
                other.content.as_ref().is_ok_and(|shown| {
                    shown.leaf.fingerprint != leaf.fingerprint
                        && is_current(&shown.leaf, now)
                        && shown.leaf.names().any(|own| own == name)
                })
            })
        };
        let is_covered =
            leaf.names().all(|name| ours.names().any(|own| own == name) || is_elsewhere(name));
        let is_ending = left < Duration::days(14) && left < lifetime / 10 && is_covered;
        leaf.is_self_signed
            || leaf.is_marked_staging && !self.promises.rules.is_staging
            || self.is_issued(leaf)
            || match self.promises.rules.replace_foreign {
                ReplaceForeign::Always => true,
                ReplaceForeign::Due => left <= Duration::ZERO || is_ending,
                ReplaceForeign::Never => false,
            }
    }

    /// Whether an authority made it for the daemon, whoever pasted it.
    pub(super) fn is_issued(&self, leaf: &Leaf) -> bool {
        let all = self.promises.certificates.values().flatten();
        all.into_iter().any(|certificate| certificate.leaf.fingerprint == leaf.fingerprint)
    }

    /// Why what is written is worse than what is there.
    fn is_worse(
        &self,
        entry: &Entry,
        there: &CertificateChain,
        bundle: &Bundle,
        instance: usize,
    ) -> Option<String> {
        let now = self.now();
        let (old, new) = (&there.leaf, bundle.leaf());
        let name = &entry.name;
        // A clock that goes wrong sees other certificates expired.
        let is_clock_right = self.places[instance].skew.is_zero();
        let is_good = is_current(old, now) && !old.is_self_signed && entry.owner == Owner::Daemon;
        if !is_good || old.is_marked_staging || !is_clock_right {
            return None;
        }
        if new.is_marked_staging || new.is_self_signed {
            return Some(format!("`{name}`: a staging certificate over a better one"));
        }
        if !is_current(new, now) {
            return Some(format!("`{name}`: an expired certificate over a valid one"));
        }
        // Of two instances one may have the older certificate, but for all that is wanted (design, section 5: what is
        // there is unfit, and what is fresh on disk is pushed).
        let lacks_wanted = self
            .domains
            .wishes
            .values()
            .flat_map(|wish| wish.names.iter())
            .any(|name| new.covers(name) && !old.covers(name));
        if new.not_before < old.not_before && !lacks_wanted {
            return Some(format!("`{name}`: an older certificate over a newer one"));
        }
        let is_wanted = |name: &str| {
            let mut wishes = self.domains.wishes.values();
            // What was wanted a moment ago may still count, and so may what is wanted since a moment ago not yet.
            wishes.any(|wish| {
                wish.since + self.promises.rules.loop_time * 2 < now
                    && wish.names.iter().any(|own| own.as_str() == name)
            })
        };
        let is_elsewhere = |name: &str| {
            self.rancher.entries.iter().any(|other| {
                other.number != entry.number
                    && other.content.as_ref().is_ok_and(|shown| {
                        is_current(&shown.leaf, now) && shown.leaf.names().any(|own| own == name)
                    })
            })
        };
        // What fails again and again goes when a quarter of the time to renew is left, so that the others live on; that it
        // has recovered is seen when it is tried again, which is daily.
        let due = self.promises.rules.earliest_renewal(old);
        let is_late = due + (old.not_after - due) * 3 / 4 <= now;
        let is_dead = |name: &str| {
            let lead = self.domains.leads.get(name);
            is_late && lead.is_some_and(|it| it.route != Route::Well || now < it.since + SEEN)
        };
        let lost = old.names().find(|name| {
            is_wanted(name)
                && !is_dead(name)
                && !new.names().any(|own| own == *name)
                && !is_elsewhere(name)
        });
        lost.map(|lost| format!("`{name}`: loses {lost}, which is wanted"))
    }
}
