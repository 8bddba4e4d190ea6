//! The live view of a lineage, as certbot and balancers see it: made from the record, and made good from it.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::PoisonError;

use time::OffsetDateTime;
use tracing::debug;

use crate::core::bundle::KeyType;
use crate::core::names::Names;
use crate::ports::Disk;
use crate::ports::Safe;
use crate::store::LINK;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::While;
use crate::store::is_torn;
use crate::store::publish::FILES;
use crate::store::record::Record;
use crate::store::renewal;

impl<D: Disk> Store<D> {
    /// Brings the live view of every lineage in line with its record.
    pub fn repair_live(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        for lineage in self.lineages(now)? {
            if let Some(record) = &lineage.record {
                if let Err(error) = self.mend_parts(&lineage.name, record.live) {
                    tracing::warn!(lineage = lineage.name, %error, "files of the live version not made good");
                }
                self.show_or_remember(&lineage.name, record);
            }
        }
        Ok(())
    }

    /// Tries the live views again that could not be brought in line.
    pub fn repair_stale(&self) {
        let stale: Vec<String> = self.with_stale(|stale| stale.keys().cloned().collect());
        for lineage in stale {
            let shown = self.alone(&lineage, || match self.record(&lineage)? {
                Some(record) => self.show(&lineage, &record),
                None => Ok(()),
            });
            if shown.is_ok() {
                self.with_stale(|stale| stale.remove(&lineage));
            }
        }
    }

    /// Why the live view of a lineage is not in line with its record, if there is one.
    pub fn view_fault(&self) -> Option<String> {
        self.with_stale(|stale| {
            let (lineage, why) = stale.first_key_value()?;
            Some(format!("live/{lineage} does not show what is stored: {why}"))
        })
    }

    /// One folder that cannot be brought in line says nothing about the others.
    pub(super) fn show_or_remember(&self, lineage: &str, record: &Record) {
        if let Err(error) = self.show(lineage, record)
            && self
                .with_stale(|stale| stale.insert(lineage.to_owned(), error.to_string()))
                .is_none()
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
        let links: Vec<(&str, &Path)> =
            links.iter().map(|(name, target)| (name.as_str(), target.as_path())).collect();
        self.disk.link(&live, &links).during(LINK, &live)?;
        debug!(lineage, "live view linked");
        Ok(())
    }

    /// Follows the record, so that certbot would ask the authority that issued what is live; but what an operator or
    /// certbot changed in it stays.
    fn write_renewal(&self, lineage: &str, record: &Record) -> Result<(), StoreError> {
        let path = self.renewal(lineage);
        let render = |key_type: KeyType, server: &str, names: &Names| {
            renewal::render(&self.root, &self.webroot, lineage, key_type, server, names)
        };
        let server = record.live_version().and_then(|version| version.directory.as_deref());
        let text = render(self.key_type, server.unwrap_or(""), &record.names);
        match self.read(&path) {
            // A power failure has torn it: it is not waited for until it is safe.
            Ok(present) if is_torn(&present, text.as_bytes()) => {}
            Ok(present) => {
                let present = String::from_utf8_lossy(&present);
                let is_ours = renewal::contents(&present).is_some_and(|(server, names)| {
                    KeyType::ALL.iter().any(|kind| render(*kind, server, &names) == present)
                });
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
            .write(&folder, &[(&name, text.as_bytes())], Safe::Later)
            .during("write", &path)?;
        debug!(lineage, "renewal file written");
        Ok(())
    }

    fn with_stale<T>(&self, work: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> T {
        work(&mut self.stale.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
