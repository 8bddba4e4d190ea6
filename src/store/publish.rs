//! New versions of a lineage, and the view of the live one.

use std::path::Path;
use std::path::PathBuf;

use time::OffsetDateTime;
use tracing::debug;

use crate::bundle::Bundle;
use crate::names::DomainName;
use crate::names::Names;
use crate::ports::Disk;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::While;
use crate::store::record::Record;
use crate::store::record::Source;
use crate::store::record::Version;
use crate::store::renewal;

/// How many versions are kept.
const KEPT: usize = 10;

/// The files of one version; the key last, so that whoever reads in between finds the older pair for longest.
const FILES: [&str; 4] = ["cert", "chain", "fullchain", "privkey"];

/// Where a bundle came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Directory URL of the authority, where that is known.
    pub directory: Option<String>,
    /// How it came here.
    pub source: Source,
    /// When it came here.
    pub at: OffsetDateTime,
}

impl<D: Disk> Store<D> {
    /// A folder name for a new lineage: the primary name, or the next free `-0001` where that is taken by something
    /// that is not ours, as certbot does it.
    pub fn free_name(&self, primary: &DomainName) -> Result<String, StoreError> {
        let mut name = primary.to_string();
        for number in 1.. {
            let mut is_free = true;
            // What was set aside there is in nobody's way.
            let own = self.order_path(&name);
            for path in [
                self.record_path(&name),
                own,
                self.archive(&name),
                self.live(&name),
                self.renewal(&name),
            ] {
                is_free &= !self.disk.exists(&path).during("look for", &path)?;
            }
            if is_free {
                break;
            }
            name = format!("{primary}-{number:04}");
        }
        Ok(name)
    }

    /// Stores a bundle as the newest version of a lineage: the files, then the record, then the live view. What is
    /// the live version already is not stored twice, but the rest of it is done.
    pub fn publish(
        &self,
        lineage: &str,
        names: &Names,
        bundle: &Bundle,
        origin: &Origin,
    ) -> Result<Record, StoreError> {
        let before = self.record(lineage)?;
        let archive = self.archive(lineage);
        let live = before
            .as_ref()
            .filter(|record| self.holds(lineage, record.live, bundle));
        let (number, mut versions) = match live {
            Some(record) => (record.live, record.versions.clone()),
            None => {
                let number = self.archive_next(lineage, before.as_ref(), bundle)?;
                let mut versions = before.map_or_else(Vec::new, |record| record.versions);
                versions.push(Version {
                    number,
                    leaf: Some(bundle.leaf().fingerprint),
                    directory: origin.directory.clone(),
                    source: origin.source,
                    stored_at: origin.at,
                });
                (number, versions)
            }
        };
        let old = versions.len().saturating_sub(KEPT);
        let pruned: Vec<Version> = versions.drain(..old).collect();
        let record = Record {
            names: names.clone(),
            live: number,
            versions,
            is_told_gone: false,
        };
        self.save_record(lineage, &record)?;
        debug!(lineage, "record written");
        self.show_live(lineage, &record)?;
        debug!(lineage, "live view linked");
        self.write_renewal(lineage, &record, origin)?;
        debug!(lineage, "renewal file written");
        for version in pruned {
            for file in FILES {
                let path = archive.join(format!("{file}{}.pem", version.number));
                self.disk.remove(&path).during("remove", &path)?;
            }
        }
        Ok(record)
    }

    /// Whether a version is this bundle; what cannot be read is not.
    fn holds(&self, lineage: &str, number: u32, bundle: &Bundle) -> bool {
        self.read_bundle(lineage, number)
            .is_ok_and(|read| read.is_ok_and(|read| read.shown() == bundle.shown()))
    }

    /// Writes the files of a bundle under the next free number.
    fn archive_next(
        &self,
        lineage: &str,
        before: Option<&Record>,
        bundle: &Bundle,
    ) -> Result<u32, StoreError> {
        let archive = self.archive(lineage);
        self.disk
            .make_folder(&archive)
            .during("make the folder", &archive)?;
        let number = 1 + self
            .newest_number(lineage)?
            .max(before.map_or(0, |record| record.live));
        self.write_version(&archive, number, bundle)?;
        debug!(lineage, number, "files archived");
        Ok(number)
    }

    /// Brings the live view of every lineage in line with its record.
    pub fn repair_live(&self) -> Result<(), StoreError> {
        for lineage in self.lineages()? {
            if let Some(record) = &lineage.record {
                // One folder that cannot be repaired says nothing about the others.
                if let Err(error) = self.show_live(&lineage.name, record) {
                    tracing::warn!(lineage = lineage.name, %error, "live view not repaired");
                }
            }
        }
        Ok(())
    }

    fn write_version(
        &self,
        archive: &Path,
        number: u32,
        bundle: &Bundle,
    ) -> Result<(), StoreError> {
        let names = FILES.map(|file| format!("{file}{number}.pem"));
        let contents = [
            bundle.certificate_pem(),
            bundle.chain_pem(),
            bundle.fullchain_pem(),
            bundle.key_pem().reveal().to_owned(),
        ];
        let files: Vec<(&str, &[u8])> = names
            .iter()
            .zip(&contents)
            .map(|(name, content)| (name.as_str(), content.as_bytes()))
            .collect();
        self.disk
            .write(archive, &files)
            .during("write into", archive)
    }

    /// A real folder, as the balancer's folder mode wants it, with links into the archive.
    fn show_live(&self, lineage: &str, record: &Record) -> Result<(), StoreError> {
        let live = self.live(lineage);
        let archive = self.archive(lineage);
        let mut links: Vec<(String, PathBuf)> = Vec::new();
        for file in FILES {
            let name = format!("{file}.pem");
            let target =
                PathBuf::from(format!("../../archive/{lineage}/{file}{}.pem", record.live));
            let path = live.join(&name);
            let there = archive.join(format!("{file}{}.pem", record.live));
            if !self.disk.exists(&there).during("look for", &there)? {
                return Ok(());
            }
            match self.disk.read_link(&path) {
                Ok(present) if present == target => continue,
                Ok(_) => {}
                Err(_) if self.disk.exists(&path).during("look for", &path)? => {
                    self.set_aside(&path, "it is no link")?;
                }
                Err(_) => {}
            }
            links.push((name, target));
        }
        if links.is_empty() {
            return Ok(());
        }
        self.disk
            .make_folder(&live)
            .during("make the folder", &live)?;
        let links: Vec<(&str, &Path)> = links
            .iter()
            .map(|(name, target)| (name.as_str(), target.as_path()))
            .collect();
        self.disk.link(&live, &links).during("link in", &live)
    }

    /// Written once: what an operator or certbot changes in it later stays.
    fn write_renewal(
        &self,
        lineage: &str,
        record: &Record,
        origin: &Origin,
    ) -> Result<(), StoreError> {
        let path = self.renewal(lineage);
        if self.disk.exists(&path).during("look for", &path)? {
            return Ok(());
        }
        let server = origin.directory.as_deref().unwrap_or("");
        let text = renewal::render(&self.root, &self.webroot, lineage, server, &record.names);
        let folder = self.root.join("renewal");
        let name = format!("{lineage}.conf");
        self.disk
            .write(&folder, &[(&name, text.as_bytes())])
            .during("write", &path)
    }

    /// The highest number that is used in the archive of a lineage, even by a half-written version.
    fn newest_number(&self, lineage: &str) -> Result<u32, StoreError> {
        let names = self.list_or_nothing(&self.archive(lineage))?;
        Ok(names
            .iter()
            .filter_map(|name| version_number(name))
            .max()
            .unwrap_or(0))
    }
}

/// The number in the name of a file in the archive.
pub(super) fn version_number(name: &str) -> Option<u32> {
    let stem = name.strip_suffix(".pem")?;
    FILES
        .iter()
        .find_map(|file| stem.strip_prefix(file)?.parse().ok())
}
