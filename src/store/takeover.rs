//! Certbot's lineages become ours: from the first start on an existing tree nothing is issued that is still fresh.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use time::OffsetDateTime;

use crate::core::bundle::Bundle;
use crate::core::bundle::Secret;
use crate::core::certificate::CertificateChain;
use crate::core::names::DomainName;
use crate::core::names::Names;
use crate::ports::Disk;
use crate::ports::Safe;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::While;
use crate::store::publish::version_number;
use crate::store::record::Record;
use crate::store::record::Source;
use crate::store::record::Version;
use crate::store::renewal::Renewal;
use crate::store::renewal::turned_off;

/// What became of certbot's lineages.
#[derive(Debug, Default)]
pub struct Takeover {
    /// Taken over now.
    pub taken: Vec<String>,
    /// Left alone, and why.
    pub left: BTreeMap<String, String>,
    /// Could not be read, and why: nothing is issued in their place.
    pub unreadable: BTreeMap<String, String>,
}

/// What was found in a lineage without a record.
pub(super) struct Found {
    /// What would be its record.
    pub(super) record: Record,
    /// Its renewal file, if certbot would still renew it.
    renewed_by_certbot: Option<String>,
    /// What `live/` shows, if that is in no archive of ours: it becomes the newest version.
    shown_elsewhere: Option<(Version, Box<Bundle>)>,
}

/// A version in the archive: what is recorded of it, its text, and what that shows.
type Archived = (Version, String, Option<CertificateChain>);

impl<D: Disk> Store<D> {
    /// Takes over every lineage that has a `renewal/*.conf` which names an ACME server, and no record of ours.
    pub fn take_over(&self, now: OffsetDateTime) -> Result<Takeover, StoreError> {
        let mut takeover = Takeover::default();
        let folder = self.root.join("renewal");
        for name in self.list_or_nothing(&folder)? {
            let Some(lineage) =
                name.strip_suffix(".conf").filter(|lineage| !lineage.starts_with('.'))
            else {
                continue;
            };
            let record = self.record_path(lineage);
            if self.disk.exists(&record).during("look for", &record)? {
                continue;
            }
            match self.take_over_one(lineage, now) {
                Ok(Ok(())) => takeover.taken.push(lineage.to_owned()),
                Ok(Err(why)) => {
                    takeover.left.insert(lineage.to_owned(), why);
                }
                Err(error) => {
                    takeover.unreadable.insert(lineage.to_owned(), error.to_string());
                }
            }
        }
        Ok(takeover)
    }

    fn take_over_one(
        &self,
        lineage: &str,
        now: OffsetDateTime,
    ) -> Result<Result<(), String>, StoreError> {
        let found = match self.found(lineage, now)? {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        // Certbot first: between the two steps nobody renews it, and the next start goes on here.
        if let Some(text) = &found.renewed_by_certbot {
            let (folder, name) = (self.root.join("renewal"), format!("{lineage}.conf"));
            self.disk
                .write(&folder, &[(&name, turned_off(text).as_bytes())], Safe::Now)
                .during("write", &self.renewal(lineage))?;
        }
        let record = self.archived_record(lineage, found)?;
        self.save_record(lineage, &record)?;
        Ok(Ok(()))
    }

    /// The record of what was found. What is shown from elsewhere is written into the archive first.
    pub(super) fn archived_record(
        &self,
        lineage: &str,
        found: Found,
    ) -> Result<Record, StoreError> {
        let mut record = found.record;
        if let Some((version, bundle)) = found.shown_elsewhere {
            record.live = self.archive_next(lineage, None, &bundle)?;
            record.versions.push(Version { number: record.live, ..version });
        }
        Ok(record)
    }

    /// Reads what is there of a lineage, or says why it is not one that we may take.
    pub(super) fn found(
        &self,
        lineage: &str,
        now: OffsetDateTime,
    ) -> Result<Result<Found, String>, StoreError> {
        let conf = match self.read(&self.renewal(lineage)) {
            Err(error) if error.is_not_found() => {
                return Ok(Err("it has no renewal file".to_owned()));
            }
            conf => conf?,
        };
        // Certbot itself reads it as UTF-8.
        let Ok(text) = String::from_utf8(conf) else {
            return Ok(Err("its renewal file is not UTF-8".to_owned()));
        };
        let Some(renewal) = Renewal::parse(&text) else {
            return Ok(Err("its renewal file names no ACME server".to_owned()));
        };
        let mut versions = self.archived(lineage, &renewal, now)?;
        let linked = self.live_number(lineage)?;
        let live = linked.or_else(|| versions.keys().next_back().copied());
        let present = live.and_then(|live| versions.remove_entry(&live));
        let shown = match self.shown(lineage) {
            // What is in the archive can be had all the same.
            Err(error) if present.is_some() => {
                tracing::warn!(lineage, %error, "live view not readable, the archive is taken as it is");
                None
            }
            shown => shown?,
        };
        let shown_elsewhere = match shown {
            Some(text) if present.as_ref().is_none_or(|(_, (_, own, _))| *own != text) => {
                match self.elsewhere(lineage, &text, &renewal, now)? {
                    Ok(shown) => Some(shown),
                    // What is in the archive is certbot's, whatever somebody has put in its place.
                    Err(_) if present.is_some() => None,
                    Err(why) => return Ok(Err(why)),
                }
            }
            _ => None,
        };
        let Some(live) = live.or_else(|| shown_elsewhere.as_ref().map(|_| 0)) else {
            return Ok(Err("it has no version in the archive".to_owned()));
        };
        if present.is_none() && shown_elsewhere.is_none() {
            if self.is_archive_gone(lineage)? {
                return Ok(Err(self.nothing_left(lineage, "its links lead nowhere")));
            }
            // The live link leads nowhere: that is no proof that there is no certificate.
            let path = self.archive(lineage).join(format!("fullchain{live}.pem"));
            self.read(&path)?;
        }
        versions.extend(present);
        let own = versions.get(&live).and_then(|(_, _, shown)| shown.as_ref());
        let shown = shown_elsewhere.as_ref().map(|(_, bundle)| bundle.shown()).or(own);
        let Some(shown) = shown else {
            return Ok(Err("its live certificate does not parse".to_owned()));
        };
        let names = match names(lineage, shown) {
            Ok(names) => names,
            Err(why) => return Ok(Err(why)),
        };
        let record = Record {
            names,
            live,
            versions: versions.into_values().map(|(version, ..)| version).collect(),
            is_told_gone: false,
        };
        let renewed_by_certbot = (!renewal.is_off).then_some(text);
        Ok(Ok(Found { record, renewed_by_certbot, shown_elsewhere }))
    }

    /// What `live/` shows, by whatever links; none if it shows nothing.
    fn shown(&self, lineage: &str) -> Result<Option<String>, StoreError> {
        match self.read(&self.live(lineage).join("fullchain.pem")) {
            Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What `live/` shows and the archive does not have: `archive_dir` is elsewhere, or somebody removed the archive and
    /// left plain files. It is used if it is whole.
    fn elsewhere(
        &self,
        lineage: &str,
        chain: &str,
        renewal: &Renewal,
        now: OffsetDateTime,
    ) -> Result<Result<(Version, Box<Bundle>), String>, StoreError> {
        let key = match self.read(&self.live(lineage).join("privkey.pem")) {
            Err(error) if error.is_not_found() => {
                return Ok(Err(self.nothing_left(lineage, "there is no privkey.pem in it")));
            }
            key => Secret::new(String::from_utf8_lossy(&key?)),
        };
        let bundle = match Bundle::parse(chain, &key) {
            Ok(bundle) => bundle,
            Err(flaw) => return Ok(Err(self.nothing_left(lineage, &flaw.to_string()))),
        };
        let version = Version {
            number: 0,
            leaf: Some(bundle.leaf().fingerprint),
            directory: Some(renewal.server.clone()),
            source: Source::TakenOver,
            stored_at: now,
            valid: Some(bundle.leaf().into()),
        };
        Ok(Ok((version, Box::new(bundle))))
    }

    /// Whether there is no folder for the archive of a lineage, where there is one for those of all.
    fn is_archive_gone(&self, lineage: &str) -> Result<bool, StoreError> {
        let all = self.root.join("archive");
        let names = self.disk.list(&all).during("list", &all)?;
        let leads_there = |target: PathBuf| {
            let own = Path::new("archive").join(lineage);
            target.parent().is_some_and(|parent| parent.ends_with(own))
        };
        let link = self.disk.read_link(&self.live(lineage).join("fullchain.pem"));
        Ok(!names.iter().any(|name| name == lineage) && link.is_ok_and(leads_there))
    }

    fn nothing_left(&self, lineage: &str, why: &str) -> String {
        format!(
            "its archive does not have what {} shows, and that is not whole: {why}; bring the archive back, or remove \
             that folder and {}",
            self.live(lineage).display(),
            self.renewal(lineage).display()
        )
    }

    /// The versions in the archive: what is recorded of each, its text, and what that shows. A link that leads nowhere
    /// is no version.
    fn archived(
        &self,
        lineage: &str,
        renewal: &Renewal,
        now: OffsetDateTime,
    ) -> Result<BTreeMap<u32, Archived>, StoreError> {
        let archive = self.archive(lineage);
        let mut versions = BTreeMap::new();
        for name in self.list_or_nothing(&archive)? {
            let Some(number) = version_number(&name).filter(|_| name.starts_with("fullchain"))
            else {
                continue;
            };
            let content = match self.read(&archive.join(&name)) {
                Err(error) if error.is_not_found() => continue,
                content => content?,
            };
            let text = String::from_utf8_lossy(&content).into_owned();
            let shown = CertificateChain::parse(&text, "").ok();
            let version = Version {
                number,
                leaf: shown.as_ref().map(|shown| shown.leaf.fingerprint),
                directory: Some(renewal.server.clone()),
                source: Source::TakenOver,
                stored_at: now,
                valid: shown.as_ref().map(|shown| (&shown.leaf).into()),
            };
            versions.insert(number, (version, text, shown));
        }
        Ok(versions)
    }

    fn live_number(&self, lineage: &str) -> Result<Option<u32>, StoreError> {
        let path = self.live(lineage).join("fullchain.pem");
        match self.disk.read_link(&path) {
            Ok(target) => Ok(target.file_name().and_then(|name| version_number(name.to_str()?))),
            // A plain file, or nothing.
            Err(_) if self.disk.exists(&path).is_ok() => Ok(None),
            Err(error) => Err(error).during("read", &path),
        }
    }
}

/// The names of a certificate of certbot's; its folder's name first, if it is one of them.
fn names(lineage: &str, shown: &CertificateChain) -> Result<Names, String> {
    let mut names = Vec::new();
    for name in shown.leaf.names() {
        names.push(name.parse::<DomainName>().map_err(|bad| format!("it covers {bad}"))?);
    }
    let base = lineage.rsplit_once('-').filter(|(_, number)| {
        number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    let base = base.map_or(lineage, |(base, _)| base);
    names.sort_by_key(|name| name.as_str() != base);
    Names::new(names).ok_or_else(|| "it covers no name".to_owned())
}
