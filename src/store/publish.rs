//! New versions of a lineage: its files, then its record.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use time::OffsetDateTime;
use tracing::debug;

use crate::core::bundle::Bundle;
use crate::core::fingerprint::Fingerprint;
use crate::core::names::DomainName;
use crate::core::names::Names;
use crate::decide::classify::Policy;
use crate::ports::Disk;
use crate::ports::Safe;
use crate::store::ACCOUNTS;
use crate::store::CERTIFICATES;
use crate::store::PENDING;
use crate::store::STUCK;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::WAKE_OWED;
use crate::store::While;
use crate::store::file_name;
use crate::store::is_torn;
use crate::store::record::Record;
use crate::store::record::Source;
use crate::store::record::Version;

/// How many versions are kept.
const KEPT: usize = 10;

/// The files of one version; the key last, so that whoever reads in between finds the older pair for longest.
pub(super) const FILES: [&str; 4] = ["cert", "chain", "fullchain", "privkey"];

/// So many of them, the first ones, say nothing that the others do not: they are made good from those at the start.
const PARTS: usize = 2;

/// What stands in them.
fn contents(bundle: &Bundle) -> [String; 4] {
    [
        bundle.certificate_pem(),
        bundle.chain_pem(),
        bundle.fullchain_pem(),
        bundle.key_pem().reveal().to_owned(),
    ]
}

/// The longest name of a folder that is taken as it is: with what is put around it, the names of its files stay below
/// the 255 bytes of every file system.
const LONGEST_FOLDER: usize = 230;
const CUT_TO: usize = 200;

/// The name of a certificate's folder: its primary name, cut where files could not be named after it.
pub fn folder_name(primary: &DomainName) -> Cow<'_, str> {
    let name = primary.as_str();
    // A domain name is ASCII.
    let Some(begins) = name.get(..CUT_TO).filter(|_| LONGEST_FOLDER < name.len()) else {
        return name.into();
    };
    let begins = begins.trim_end_matches(['.', '-']);
    format!("{begins}-{:.16}", Fingerprint::of(&[name]).to_string()).into()
}

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

/// A bundle that comes late, or that nobody wants any more.
#[derive(Debug)]
pub struct Late<'a> {
    /// The names that are wanted.
    pub names: &'a Names,
    /// The bundle.
    pub bundle: &'a Bundle,
    /// Directory URL of the authority that it came from.
    pub directory: Option<&'a str>,
    /// What the settings say.
    pub policy: &'a Policy,
    /// When it came.
    pub now: OffsetDateTime,
}

impl<D: Disk> Store<D> {
    /// A folder name for a new lineage: the primary name, or the next free `-0001` where that is taken by something
    /// that is not ours, as certbot does it.
    pub fn free_name(&self, primary: &DomainName) -> Result<String, StoreError> {
        let base = folder_name(primary);
        let mut name = base.to_string();
        for number in 1.. {
            let Some(taken) = self.taken_by(&name)? else {
                break;
            };
            let path = taken.display();
            tracing::info!(%path, "left alone, it is not ours; the next free name is used");
            name = format!("{base}-{number:04}");
        }
        Ok(name)
    }

    /// The same for a bundle that comes from elsewhere. What a crash left when the same bundle was being stored is
    /// nobody else's.
    pub fn free_name_for(
        &self,
        primary: &DomainName,
        bundle: &Bundle,
    ) -> Result<String, StoreError> {
        let name = folder_name(primary).into_owned();
        if self.is_left_of(&name, bundle)? {
            return Ok(name);
        }
        self.free_name(primary)
    }

    /// Whether nothing is there of a lineage but files of this bundle in its archive.
    fn is_left_of(&self, name: &str, bundle: &Bundle) -> Result<bool, StoreError> {
        let archive = self.archive(name);
        if self.taken_by(name)?.is_none_or(|taken| taken != archive) {
            return Ok(false);
        }
        let own: Vec<_> = FILES.into_iter().zip(contents(bundle)).collect();
        for file in self.list_or_nothing(&archive)? {
            let is_own = |(kind, content): &(&str, String)| {
                if !file.starts_with(kind) || version_number(&file).is_none() {
                    return Ok(false);
                }
                let present = self.read(&archive.join(&file))?;
                Ok(present == content.as_bytes() || is_torn(&present, content.as_bytes()))
            };
            let found: Vec<bool> = own.iter().map(is_own).collect::<Result<_, StoreError>>()?;
            if !file.starts_with('.') && !found.contains(&true) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn taken_by(&self, name: &str) -> Result<Option<PathBuf>, StoreError> {
        let paths =
            [self.record_path(name), self.order_path(name), self.live(name), self.renewal(name)];
        for path in paths {
            if self.disk.exists(&path).during("look for", &path)? {
                return Ok(Some(path));
            }
        }
        // A write that failed leaves a folder with nothing in it.
        let archive = self.archive(name);
        let archived = self.list_or_nothing(&archive)?;
        Ok(archived.iter().any(|name| !name.starts_with('.')).then_some(archive))
    }

    /// Stores a bundle as the newest version of a lineage: the files, then the record, then the live view.
    pub fn publish(
        &self,
        lineage: &str,
        names: &Names,
        bundle: &Bundle,
        origin: &Origin,
    ) -> Result<Record, StoreError> {
        self.alone(lineage, || self.publish_alone(lineage, names, bundle, origin))
    }

    fn publish_alone(
        &self,
        lineage: &str,
        names: &Names,
        bundle: &Bundle,
        origin: &Origin,
    ) -> Result<Record, StoreError> {
        let before = self.record(lineage)?;
        let archive = self.archive(lineage);
        let number = self.archive_next(lineage, before.as_ref(), bundle)?;
        let version = Version {
            number,
            leaf: Some(bundle.leaf().fingerprint),
            directory: origin.directory.clone(),
            source: origin.source,
            stored_at: origin.at,
            valid: Some(bundle.leaf().into()),
        };
        let mut versions = before.map_or_else(Vec::new, |record| record.versions);
        versions.push(version.clone());
        let old = versions.len().saturating_sub(KEPT);
        let pruned: Vec<Version> = versions.drain(..old).collect();
        let record = Record { names: names.clone(), live: number, versions, is_told_gone: false };
        if let Err(error) = self.save_record(lineage, &record) {
            self.drop_unrecorded(lineage, version);
            return Err(error);
        }
        debug!(lineage, "record written");
        // It is published. What else goes wrong is made good later: an error here would have it stored once more.
        self.show_or_remember(lineage, &record);
        if let Err(error) = self.prune(&archive, &pruned) {
            tracing::warn!(lineage, %error, "old version not removed");
        }
        Ok(record)
    }

    /// Whether the live version serves these names at least as well as a bundle that nobody waits for.
    pub fn has_better(&self, lineage: &str, late: &Late<'_>) -> Result<bool, StoreError> {
        let Some(record) = self.record(lineage)? else {
            return Ok(false);
        };
        let live = match self.read_bundle(lineage, record.live) {
            Ok(Ok(live)) => live,
            Ok(Err(_)) => return Ok(false),
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error),
        };
        if !live.leaf().is_current(late.now) {
            return Ok(false);
        }
        let directory = record.live_version().and_then(|version| version.directory.as_deref());
        let worth = |bundle: &Bundle, directory: Option<&str>| {
            let leaf = bundle.leaf();
            (
                late.policy.is_production(leaf, directory),
                late.names.iter().all(|name| leaf.covers(name)),
                leaf.not_after,
            )
        };
        Ok(worth(late.bundle, late.directory) <= worth(&live, directory))
    }

    /// Stores a bundle as a version of a lineage beside the live one, which stays as it is.
    pub fn keep(&self, lineage: &str, bundle: &Bundle, origin: &Origin) -> Result<(), StoreError> {
        self.alone(lineage, || {
            let Some(mut record) = self.record(lineage)? else {
                let path = self.record_path(lineage);
                return Err(StoreError::new("find", &path, std::io::ErrorKind::NotFound.into()));
            };
            let number = self.archive_next(lineage, Some(&record), bundle)?;
            record.versions.insert(
                record.versions.len().saturating_sub(1),
                Version {
                    number,
                    leaf: Some(bundle.leaf().fingerprint),
                    directory: origin.directory.clone(),
                    source: origin.source,
                    stored_at: origin.at,
                    valid: Some(bundle.leaf().into()),
                },
            );
            self.save_record(lineage, &record)
        })
    }

    /// Removes the files of a version that did not come on record: each try would leave another. A record that failed
    /// late may name it all the same, and what cannot be told stays.
    fn drop_unrecorded(&self, lineage: &str, version: Version) {
        let is_recorded = match self.read_json::<Record>(&self.record_path(lineage)) {
            Ok(None) => false,
            Ok(Some(Ok(record))) => record.versions.contains(&version),
            Ok(Some(Err(_))) | Err(_) => true,
        };
        if is_recorded {
            return;
        }
        if let Err(error) = self.prune(&self.archive(lineage), &[version]) {
            debug!(lineage, %error, "version that is not on record not removed");
        }
    }

    /// Notes that it was said of a lineage that nobody wants it any more, unless its record is another than `seen` by
    /// now. Answers whether it was noted.
    pub fn note_gone(&self, lineage: &str, seen: &Record) -> Result<bool, StoreError> {
        self.alone(lineage, || {
            let Some(mut record) = self.record(lineage)?.filter(|record| record == seen) else {
                return Ok(false);
            };
            record.is_told_gone = true;
            self.save_record(lineage, &record)?;
            Ok(true)
        })
    }

    /// Writes the files of a bundle under the next free number.
    pub(super) fn archive_next(
        &self,
        lineage: &str,
        before: Option<&Record>,
        bundle: &Bundle,
    ) -> Result<u32, StoreError> {
        let archive = self.archive(lineage);
        self.disk.make_folder(&archive).during("make the folder", &archive)?;
        let number = 1 + self.newest_number(lineage)?.max(before.map_or(0, |record| record.live));
        self.write_version(&archive, number, bundle)?;
        debug!(lineage, number, "files archived");
        Ok(number)
    }

    /// Removes what a crash left of files that were being written, private keys among them. Only for who holds the
    /// lock.
    pub fn sweep_unfinished(&self) -> Result<(), StoreError> {
        let archive = self.root.join("archive");
        let versions = self.list_or_nothing(&archive)?;
        let versions = versions.iter().map(|lineage| archive.join(lineage));
        for folder in versions {
            self.sweep(&folder, |file| version_number(file).is_some())?;
        }
        for folder in [CERTIFICATES, PENDING, STUCK, ACCOUNTS, ""].map(|name| self.own(name)) {
            let is_ours = |file: &str| {
                let ends = [".json", ".jsonl", ".over"];
                file == WAKE_OWED || ends.iter().any(|end| file.ends_with(end))
            };
            self.sweep(&folder, is_ours)?;
        }
        self.sweep(&self.root.join("renewal"), |file| file.ends_with(".conf"))
    }

    fn sweep(&self, folder: &Path, is_ours: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        // Whatever is no folder is not ours.
        for name in self.disk.list(folder).unwrap_or_default() {
            let file = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
            if file.is_some_and(&is_ours) {
                let path = folder.join(&name);
                self.disk.remove(&path, Safe::Later).during("remove", &path)?;
            }
        }
        Ok(())
    }

    fn prune(&self, archive: &Path, versions: &[Version]) -> Result<(), StoreError> {
        if versions.is_empty() {
            return Ok(());
        }
        let files = versions
            .iter()
            .flat_map(|version| FILES.map(|file| format!("{file}{}.pem", version.number)));
        let mut files: BTreeSet<String> = files.collect();
        self.spare_linked(archive, &mut files)?;
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        self.disk.clear(archive, &files).during("remove from", archive)
    }

    /// Takes out what a file that stays is a link to: of certbot's versions with one key (`--reuse-key`) only the first
    /// has it as a file.
    fn spare_linked(
        &self,
        archive: &Path,
        doomed: &mut BTreeSet<String>,
    ) -> Result<(), StoreError> {
        let present = self.list_or_nothing(archive)?;
        let mut kept: Vec<&String> =
            present.iter().filter(|name| !doomed.contains(*name)).collect();
        while let Some(name) = kept.pop() {
            let Ok(target) = self.disk.read_link(&archive.join(name)) else {
                continue;
            };
            // Where in the archive the link leads is no matter: what has such a name may be needed.
            let needed = present.iter().find(|name| **name == file_name(&target));
            if let Some(needed) = needed.filter(|needed| doomed.remove(*needed)) {
                // It may be a link itself.
                kept.push(needed);
            }
        }
        Ok(())
    }

    pub(super) fn archived_file(&self, lineage: &str, file: &str, number: u32) -> PathBuf {
        self.archive(lineage).join(format!("{file}{number}.pem"))
    }

    fn write_version(
        &self,
        archive: &Path,
        number: u32,
        bundle: &Bundle,
    ) -> Result<(), StoreError> {
        let names = FILES.map(|file| format!("{file}{number}.pem"));
        let contents = contents(bundle);
        let files: Vec<(&str, &[u8])> = names
            .iter()
            .zip(&contents)
            .map(|(name, content)| (name.as_str(), content.as_bytes()))
            .collect();
        let (parts, whole) = files.split_at(PARTS);
        self.disk
            .write(archive, parts, Safe::Later)
            // One sync of the folder, for the names of all four.
            .and_then(|()| self.disk.write(archive, whole, Safe::Now))
            .during("write into", archive)
    }

    /// Writes what a power failure has taken of the parts of a version: nothing, or the beginning of what should stand
    /// there. What somebody else has written stays.
    pub(super) fn mend_parts(&self, lineage: &str, number: u32) -> Result<(), StoreError> {
        let archive = self.archive(lineage);
        let read = |file| match self.read(&self.archived_file(lineage, file, number)) {
            Ok(content) => Ok(content),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let [certificate, chain, whole, _] = FILES;
        let (certificate, chain, whole) = (read(certificate)?, read(chain)?, read(whole)?);
        if [certificate.as_slice(), &chain].concat() == whole {
            return Ok(());
        }
        let Ok(Ok(bundle)) = self.read_bundle(lineage, number) else {
            return Ok(());
        };
        let [own_certificate, own_chain, ..] = contents(&bundle);
        for (file, present, own) in
            [(FILES[0], certificate, own_certificate), (FILES[1], chain, own_chain)]
        {
            if is_torn(&present, own.as_bytes()) {
                let name = format!("{file}{number}.pem");
                self.disk
                    .write(&archive, &[(&name, own.as_bytes())], Safe::Now)
                    .during("write into", &archive)?;
                debug!(lineage, name, "torn file made good");
            }
        }
        Ok(())
    }

    /// The highest number that is used in the archive of a lineage, even by a half-written version.
    fn newest_number(&self, lineage: &str) -> Result<u32, StoreError> {
        let names = self.list_or_nothing(&self.archive(lineage))?;
        Ok(names.iter().filter_map(|name| version_number(name)).max().unwrap_or(0))
    }
}

/// The number in the name of a file in the archive; none that has no successor.
pub(super) fn version_number(name: &str) -> Option<u32> {
    let stem = name.strip_suffix(".pem")?;
    let number: u32 = FILES.iter().find_map(|file| stem.strip_prefix(file)?.parse().ok())?;
    (number < u32::MAX).then_some(number)
}
