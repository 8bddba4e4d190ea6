use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use tempfile::TempDir;
use time::Duration;
use time::OffsetDateTime;

use super::*;
use crate::core::budget::LETS_ENCRYPT;
use crate::core::budget::OrderCost;
use crate::core::bundle::Bundle;
use crate::core::bundle::Secret;
use crate::core::certificate::tests::NOW;
use crate::core::certificate::tests::params;
use crate::core::certificate::tests::pems;
use crate::core::names::NameSet;
use crate::core::names::Names;
use crate::core::resource::Order;
use crate::core::resource::OrderStatus;
use crate::decide::classify::DiskCopy;
use crate::decide::order::Pending;
use crate::decide::order::PendingOrder;
use crate::disk::RealDisk;
use crate::ports::Safe;
use crate::ports::Stamp;
use crate::store::ledger::Ledger;
use crate::store::ledger::Line;
use crate::store::ledger::Subject;
use crate::store::ledger::Wait;
use crate::store::lineage::Lineage;
use crate::store::publish::Origin;
use crate::store::record::Record;
use crate::store::record::Source;

const DIRECTORY: &str = "https://ca.test/directory";
const A: &str = "a.example.com";
const FILES: [&str; 4] = ["cert", "chain", "fullchain", "privkey"];

/// A real disk that can be told to fail.
#[derive(Debug, Default)]
struct Failing {
    /// How many changes succeed before the power goes.
    left: Mutex<Option<usize>>,
    /// What cannot be read.
    unreadable: Mutex<Option<PathBuf>>,
    /// Below this nothing can be changed.
    frozen: Mutex<Option<PathBuf>>,
    /// How often a caller was made to wait for the disk.
    syncs: Mutex<usize>,
    real: RealDisk,
}

impl Failing {
    fn dies_after(steps: usize) -> Self {
        Self { left: Mutex::new(Some(steps)), ..Self::default() }
    }

    fn is_dead(&self) -> bool {
        *self.left.lock().unwrap() == Some(0)
    }

    fn change(&self, path: &Path) -> io::Result<()> {
        let frozen = self.frozen.lock().unwrap();
        if frozen.as_ref().is_some_and(|root| path.starts_with(root)) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        match &mut *self.left.lock().unwrap() {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn waits(&self, syncs: usize, safe: Safe) {
        if safe == Safe::Now {
            *self.syncs.lock().unwrap() += syncs;
        }
    }

    fn look(&self, path: &Path) -> io::Result<()> {
        let unreadable = self.unreadable.lock().unwrap();
        if unreadable.as_deref() == Some(path) {
            return Err(io::Error::other("the disk does not answer"));
        }
        Ok(())
    }
}

impl Disk for Failing {
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        work(self)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.look(path)?;
        self.real.read(path)
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        self.real.stamp(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.real.exists(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.look(folder)?;
        self.real.list(folder)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.real.read_link(path)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        self.change(folder)?;
        self.waits(1, Safe::Now);
        self.real.make_folder(folder)
    }

    fn settle(&self, folder: &Path) -> io::Result<()> {
        self.change(folder)?;
        self.real.settle(folder)
    }

    fn write(&self, folder: &Path, files: &[(&str, &[u8])], safe: Safe) -> io::Result<()> {
        self.waits(files.len() + 1, safe);
        for file in files {
            let (name, content) = file;
            if let Err(error) = self.change(&folder.join(name)) {
                if self.is_dead() {
                    let torn = folder.join(format!(".{name}.tmp"));
                    fs::write(torn, &content[..content.len() / 2])?;
                }
                return Err(error);
            }
            self.real.write(folder, std::slice::from_ref(file), safe)?;
        }
        Ok(())
    }

    fn link(&self, folder: &Path, links: &[(&str, &Path)]) -> io::Result<()> {
        for link in links {
            self.change(&folder.join(link.0))?;
            self.real.link(folder, std::slice::from_ref(link))?;
        }
        Ok(())
    }

    fn append(&self, path: &Path, content: &[u8], safe: Safe) -> io::Result<()> {
        self.change(path)?;
        self.waits(1, safe);
        self.real.append(path, content, safe)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(from)?;
        self.waits(1, Safe::Now);
        self.real.rename(from, to)
    }

    fn remove(&self, path: &Path, safe: Safe) -> io::Result<()> {
        if self.real.exists(path)? {
            self.change(path)?;
            self.waits(1, safe);
        }
        self.real.remove(path, safe)
    }

    fn clear(&self, folder: &Path, files: &[&str]) -> io::Result<()> {
        self.change(folder)?;
        self.waits(1, Safe::Now);
        self.real.clear(folder, files)
    }

    fn is_ephemeral(&self, path: &Path) -> bool {
        self.real.is_ephemeral(path)
    }
}

/// A folder with a store in it.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(place.root()).unwrap();
        fs::set_permissions(place.root(), fs::Permissions::from_mode(0o700)).unwrap();
        place.store().prepare().unwrap();
        place
    }

    /// The store as a new process sees it.
    fn store(&self) -> Store<Failing> {
        self.store_on(Failing::default())
    }

    fn store_on(&self, disk: Failing) -> Store<Failing> {
        Store::new(Arc::new(disk), &self.root(), Path::new("/var/www"))
    }

    /// The store has neighbours.
    fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Makes a file impossible to read, for root as well. Answers what undoes it.
    fn block(&self, path: &str) -> impl FnOnce() + use<> {
        let (path, away) = (self.path(path), self.path("away"));
        fs::rename(&path, &away).unwrap();
        fs::create_dir(&path).unwrap();
        move || {
            fs::remove_dir(&path).unwrap();
            fs::rename(&away, &path).unwrap();
        }
    }

    fn names(&self, folder: &str) -> Vec<String> {
        RealDisk::default().list(&self.path(folder)).unwrap()
    }

    /// Number of the version that the live view shows; all four links agree.
    #[track_caller]
    fn shown(&self, lineage: &str) -> u32 {
        let numbers = FILES.map(|file| {
            let link = fs::read_link(self.path(&format!("live/{lineage}/{file}.pem"))).unwrap();
            let link = link.to_str().unwrap().to_owned();
            let start = format!("../../archive/{lineage}/{file}");
            let number = link.strip_prefix(&start).unwrap().strip_suffix(".pem");
            number.unwrap().parse::<u32>().unwrap()
        });
        assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
        numbers[0]
    }

    /// A lineage as certbot makes it, with its versions from 1 on.
    fn certbots(&self, lineage: &str, conf: &str, versions: &[(String, String)]) {
        for (number, (chain, key)) in (1..).zip(versions) {
            let leaf = chain.find("-----BEGIN").unwrap()..chain.rfind("-----BEGIN").unwrap();
            for (file, content) in FILES.iter().zip([
                &chain[leaf.clone()],
                &chain[leaf.end..],
                chain.as_str(),
                key.as_str(),
            ]) {
                self.write(&format!("archive/{lineage}/{file}{number}.pem"), content);
                let live = self.path(&format!("live/{lineage}/{file}.pem"));
                fs::create_dir_all(live.parent().unwrap()).unwrap();
                drop(fs::remove_file(&live));
                let target = format!("../../archive/{lineage}/{file}{number}.pem");
                std::os::unix::fs::symlink(target, live).unwrap();
            }
        }
        self.write(&format!("renewal/{lineage}.conf"), conf);
    }
}

fn names(text: &str) -> Names {
    Names::new(text.split(' ').map(|name| name.parse().unwrap())).unwrap()
}

fn asked(names: &NameSet) -> OrderCost<'_> {
    OrderCost {
        directory: DIRECTORY,
        account: "https://ca.test/account/1",
        names,
        is_renewal: false,
    }
}

fn finalizing(ledger: &mut Ledger, names: &NameSet, at: OffsetDateTime) -> Line {
    ledger.finalizing(&asked(names), Some(&LETS_ENCRYPT), at)
}

fn pair(text: &str) -> (String, String) {
    let names: Vec<&str> = text.split(' ').collect();
    pems(&params(&names, Duration::ZERO, Duration::days(90)))
}

fn bundle(text: &str) -> Bundle {
    let (chain, key) = pair(text);
    Bundle::parse(&chain, &Secret::new(key)).unwrap()
}

fn origin() -> Origin {
    Origin { directory: Some(DIRECTORY.to_owned()), source: Source::Issued, at: NOW }
}

fn publish(store: &Store<Failing>, lineage: &str, bundle: &Bundle) -> Record {
    store.publish(lineage, &names(A), bundle, &origin()).unwrap()
}

fn intended(text: &str) -> PendingOrder {
    PendingOrder::intend(
        names(text),
        DIRECTORY.to_owned(),
        "https://ca.test/acct/1".to_owned(),
        Secret::new("key"),
        false,
        NOW,
    )
}

fn order(text: &str) -> PendingOrder {
    let mut order = intended(text);
    order.opened(&Order {
        url: "https://ca.test/order/1".to_owned(),
        status: OrderStatus::Pending,
        authorizations: Vec::new(),
        certificate: None,
        expires: None,
        error: None,
        not_before: None,
    });
    order
}

#[track_caller]
fn only(store: &Store<Failing>) -> Arc<Lineage> {
    let mut lineages = store.lineages(NOW).unwrap();
    assert_eq!(lineages.len(), 1, "{lineages:?}");
    lineages.remove(0)
}

#[track_caller]
fn leaf(lineage: &Lineage) -> crate::core::fingerprint::Fingerprint {
    let DiskCopy::Whole(stored) = &lineage.copy else {
        panic!("not whole: {:?}", lineage.copy);
    };
    stored.shown.leaf.fingerprint
}

fn is_unknown(lineage: &Lineage) -> bool {
    matches!(lineage.copy, DiskCopy::Unknown(_))
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

const CONF: &str = "# renew_before_expiry = 30 days\nversion = 2.1.0\narchive_dir = /etc/letsencrypt/archive/a.example.com\n\
    cert = /etc/letsencrypt/live/a.example.com/cert.pem\nprivkey = /etc/letsencrypt/live/a.example.com/privkey.pem\n\n\
    # Options used in the renewal process\n[renewalparams]\naccount = 0123456789abcdef0123456789abcdef\nauthenticator = webroot\n\
    webroot_path = /var/www,\nserver = https://ca.test/directory\nkey_type = ecdsa\n[[webroot_map]]\na.example.com = /var/www\n";

mod foreign;
mod layout;
mod ledger;
mod parsers;
mod steps;
mod takeover;
mod torn;
mod unreadable;
