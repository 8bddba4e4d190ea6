//! New versions of a lineage, and the view of the live one.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::PoisonError;

use time::OffsetDateTime;
use tracing::debug;

use crate::bundle::Bundle;
use crate::fingerprint::Fingerprint;
use crate::names::DomainName;
use crate::names::Names;
use crate::ports::Disk;
use crate::store::ACCOUNTS;
use crate::store::CERTIFICATES;
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
                Ok(file.starts_with(kind)
                    && version_number(&file).is_some()
                    && self.read(&archive.join(&file))? == content.as_bytes())
            };
            let found: Vec<bool> = own.iter().map(is_own).collect::<Result<_, StoreError>>()?;
            if !file.starts_with('.') && !found.contains(&true) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn taken_by(&self, name: &str) -> Result<Option<PathBuf>, StoreError> {
        let paths = [
            self.record_path(name),
            self.order_path(name),
            self.live(name),
            self.renewal(name),
        ];
        for path in paths {
            if self.disk.exists(&path).during("look for", &path)? {
                return Ok(Some(path));
            }
        }
        // A write that failed leaves a folder with nothing in it.
        let archive = self.archive(name);
        let archived = self.list_or_nothing(&archive)?;
        Ok(archived
            .iter()
            .any(|name| !name.starts_with('.'))
            .then_some(archive))
    }

    /// Stores a bundle as the newest version of a lineage: the files, then the record, then the live view.
    pub fn publish(
        &self,
        lineage: &str,
        names: &Names,
        bundle: &Bundle,
        origin: &Origin,
    ) -> Result<Record, StoreError> {
        let before = self.record(lineage)?;
        let archive = self.archive(lineage);
        let number = self.archive_next(lineage, before.as_ref(), bundle)?;
        let mut versions = before.map_or_else(Vec::new, |record| record.versions);
        versions.push(Version {
            number,
            leaf: Some(bundle.leaf().fingerprint),
            directory: origin.directory.clone(),
            source: origin.source,
            stored_at: origin.at,
        });
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
        // It is published. What else goes wrong is made good later: an error here would have it stored once more.
        self.show_or_remember(lineage, &record);
        if let Err(error) = self.prune(&archive, &pruned) {
            tracing::warn!(lineage, %error, "old version not removed");
        }
        Ok(record)
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

    /// Removes what a crash left of files that were being written, private keys among them. Only for who holds the
    /// lock.
    pub fn sweep_unfinished(&self) -> Result<(), StoreError> {
        let archive = self.root.join("archive");
        let versions = self.list_or_nothing(&archive)?;
        let versions = versions.iter().map(|lineage| archive.join(lineage));
        for folder in versions {
            self.sweep(&folder, |file| version_number(file).is_some())?;
        }
        for folder in [CERTIFICATES, ACCOUNTS, ""].map(|name| self.own(name)) {
            self.sweep(&folder, |file| file.ends_with(".json"))?;
        }
        self.sweep(&self.root.join("renewal"), |file| file.ends_with(".conf"))
    }

    fn sweep(&self, folder: &Path, is_ours: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        // Whatever is no folder is not ours.
        for name in self.disk.list(folder).unwrap_or_default() {
            let file = name
                .strip_prefix('.')
                .and_then(|name| name.strip_suffix(".tmp"));
            if file.is_some_and(&is_ours) {
                let path = folder.join(&name);
                self.disk.remove(&path).during("remove", &path)?;
            }
        }
        Ok(())
    }

    /// Brings the live view of every lineage in line with its record.
    pub fn repair_live(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        for lineage in self.lineages(now)? {
            if let Some(record) = &lineage.record {
                self.show_or_remember(&lineage.name, record);
            }
        }
        Ok(())
    }

    /// Tries the live views again that could not be brought in line.
    pub fn repair_stale(&self) {
        let stale = self.with_stale(|stale| stale.clone());
        for lineage in stale {
            let shown = self
                .record(&lineage)
                .and_then(|record| record.map_or(Ok(()), |record| self.show(&lineage, &record)));
            if shown.is_ok() {
                self.with_stale(|stale| stale.remove(&lineage));
            }
        }
    }

    /// One folder that cannot be brought in line says nothing about the others.
    fn show_or_remember(&self, lineage: &str, record: &Record) {
        if let Err(error) = self.show(lineage, record)
            && self.with_stale(|stale| stale.insert(lineage.to_owned()))
        {
            tracing::warn!(lineage, %error, "live view not in line with the record, tried again");
        }
    }

    /// What certbot and the balancer's folder mode see of a lineage. Nothing is shown of what is not there.
    fn show(&self, lineage: &str, record: &Record) -> Result<(), StoreError> {
        for file in FILES {
            let path = self.archived_file(lineage, file, record.live);
            if !self.disk.exists(&path).during("look for", &path)? {
                return Ok(());
            }
        }
        self.show_live(lineage, record)?;
        self.write_renewal(lineage, record)
    }

    fn prune(&self, archive: &Path, versions: &[Version]) -> Result<(), StoreError> {
        for version in versions {
            for file in FILES {
                let path = archive.join(format!("{file}{}.pem", version.number));
                self.disk.remove(&path).during("remove", &path)?;
            }
        }
        Ok(())
    }

    pub(super) fn archived_file(&self, lineage: &str, file: &str, number: u32) -> PathBuf {
        self.archive(lineage).join(format!("{file}{number}.pem"))
    }

    fn with_stale<T>(&self, work: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        work(&mut self.stale.lock().unwrap_or_else(PoisonError::into_inner))
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
        self.disk
            .write(archive, &files)
            .during("write into", archive)
    }

    /// A real folder, as the balancer's folder mode wants it, with links into the archive.
    fn show_live(&self, lineage: &str, record: &Record) -> Result<(), StoreError> {
        let live = self.live(lineage);
        let mut links: Vec<(String, PathBuf)> = Vec::new();
        for file in FILES {
            let name = format!("{file}.pem");
            let target =
                PathBuf::from(format!("../../archive/{lineage}/{file}{}.pem", record.live));
            let path = live.join(&name);
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
        self.disk.link(&live, &links).during("link in", &live)?;
        debug!(lineage, "live view linked");
        Ok(())
    }

    /// Follows the record, so that certbot would ask the authority that issued what is live; but what an operator or
    /// certbot changed in it stays.
    fn write_renewal(&self, lineage: &str, record: &Record) -> Result<(), StoreError> {
        let path = self.renewal(lineage);
        let render = |server: &str, names: &Names| {
            renewal::render(&self.root, &self.webroot, lineage, server, names)
        };
        let server = record
            .live_version()
            .and_then(|version| version.directory.as_deref());
        let text = render(server.unwrap_or(""), &record.names);
        match self.read(&path) {
            Ok(present) => {
                let present = String::from_utf8_lossy(&present);
                let is_ours = renewal::contents(&present)
                    .is_some_and(|(server, names)| render(server, &names) == present);
                if !is_ours || present == text {
                    return Ok(());
                }
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        let folder = self.root.join("renewal");
        let name = format!("{lineage}.conf");
        self.disk
            .write(&folder, &[(&name, text.as_bytes())])
            .during("write", &path)?;
        debug!(lineage, "renewal file written");
        Ok(())
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

/// The number in the name of a file in the archive; none that has no successor.
pub(super) fn version_number(name: &str) -> Option<u32> {
    let stem = name.strip_suffix(".pem")?;
    let number: u32 = FILES
        .iter()
        .find_map(|file| stem.strip_prefix(file)?.parse().ok())?;
    (number < u32::MAX).then_some(number)
}
