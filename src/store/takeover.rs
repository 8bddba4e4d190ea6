//! Certbot's lineages become ours: from the first start on an existing tree nothing is issued that is still fresh.

use std::collections::BTreeMap;

use time::OffsetDateTime;

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
}

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
        if let Some(text) = found.renewed_by_certbot {
            let (folder, name) = (self.root.join("renewal"), format!("{lineage}.conf"));
            self.disk
                .write(&folder, &[(&name, turned_off(&text).as_bytes())], Safe::Now)
                .during("write", &self.renewal(lineage))?;
        }
        self.save_record(lineage, &found.record)?;
        Ok(Ok(()))
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
        let versions = self.archived(lineage, &renewal, now)?;
        let Some(live) =
            self.live_number(lineage)?.or_else(|| versions.keys().next_back().copied())
        else {
            return Ok(Err("it has no version in the archive".to_owned()));
        };
        if !versions.contains_key(&live) {
            // The live link leads nowhere: that is no proof that there is no certificate.
            let path = self.archive(lineage).join(format!("fullchain{live}.pem"));
            self.read(&path)?;
        }
        let Some((_, Some(shown))) = versions.get(&live) else {
            return Ok(Err("its live certificate does not parse".to_owned()));
        };
        let names = match names(lineage, shown) {
            Ok(names) => names,
            Err(why) => return Ok(Err(why)),
        };
        let record = Record {
            names,
            live,
            versions: versions.into_values().map(|(version, _)| version).collect(),
            is_told_gone: false,
        };
        Ok(Ok(Found { record, renewed_by_certbot: (!renewal.is_off).then_some(text) }))
    }

    fn archived(
        &self,
        lineage: &str,
        renewal: &Renewal,
        now: OffsetDateTime,
    ) -> Result<BTreeMap<u32, (Version, Option<CertificateChain>)>, StoreError> {
        let archive = self.archive(lineage);
        let mut versions = BTreeMap::new();
        for name in self.list_or_nothing(&archive)? {
            let Some(number) = version_number(&name).filter(|_| name.starts_with("fullchain"))
            else {
                continue;
            };
            let text = String::from_utf8_lossy(&self.read(&archive.join(&name))?).into_owned();
            let shown = CertificateChain::parse(&text, "").ok();
            let version = Version {
                number,
                leaf: shown.as_ref().map(|shown| shown.leaf.fingerprint),
                directory: Some(renewal.server.clone()),
                source: Source::TakenOver,
                stored_at: now,
                valid: shown.as_ref().map(|shown| (&shown.leaf).into()),
            };
            versions.insert(number, (version, shown));
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
