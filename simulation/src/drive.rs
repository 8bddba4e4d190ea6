//! The disk port: the daemon's own sequences of writes and syncs over the files in memory.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rancher_lets_encrypt::disk::sequence::FileSystem;
use rancher_lets_encrypt::disk::sequence::Kind;
use rancher_lets_encrypt::disk::sequence::OpenFile;
use rancher_lets_encrypt::ports::Stamp;
use serde_json::Value;

use crate::files::Files;
use crate::life::Call;
use crate::life::Drive;
use crate::outside::DiskState;
use crate::outside::State;
use crate::trouble::Port;

/// A file that is open for writing.
pub struct Opened {
    drive: Drive,
    path: PathBuf,
    id: usize,
}

fn fault(text: &str) -> io::Error {
    io::Error::other(text.to_owned())
}

/// Orders on record without some of their fields.
fn without(content: &[u8], fields: &[&str]) -> Vec<u8> {
    let strip = |order: &mut Value| {
        if let Some(order) = order.as_object_mut() {
            order.retain(|field, _| !fields.contains(&field.as_str()));
        }
    };
    let strip_all = |value: &mut Value| {
        if let Some(orders) = value.as_array_mut() {
            orders.iter_mut().for_each(strip);
        } else {
            strip(value);
        }
    };
    let mut kept = Vec::new();
    // One value, or one in each line.
    let parts = if serde_json::from_slice::<Value>(content).is_ok() {
        vec![content]
    } else {
        content.split_inclusive(|byte| *byte == b'\n').collect()
    };
    for part in parts {
        let Ok(mut value) = serde_json::from_slice::<Value>(part) else {
            kept.extend_from_slice(part);
            continue;
        };
        strip_all(&mut value);
        kept.extend_from_slice(value.to_string().as_bytes());
        kept.push(b'\n');
    }
    kept
}

impl Drive {
    fn look<T>(&self, path: &Path, read: impl FnOnce(&Files) -> io::Result<T>) -> io::Result<T> {
        let call = Call {
            port: Port::Disk,
            what: "reads",
            on: path.to_str().unwrap_or_default(),
            is_effect: false,
        };
        let act = |state: &mut State| read(&state.home(self.instance).volume);
        self.effect(&call, act, fault)
    }

    /// Changes something, given how much room there is.
    fn change<T>(
        &self,
        what: &'static str,
        path: &Path,
        takes_room: bool,
        change: impl FnOnce(&mut Files, usize) -> io::Result<T>,
    ) -> io::Result<T> {
        let call =
            Call { port: Port::Disk, what, on: path.to_str().unwrap_or_default(), is_effect: true };
        let act = |state: &mut State| {
            let now = state.now();
            let place = state.home(self.instance);
            place.volume.pass_time(now);
            let room = match place.disk {
                DiskState::ReadOnly => return Err(io::ErrorKind::ReadOnlyFilesystem.into()),
                DiskState::Full(size) => size.saturating_sub(place.volume.size()),
                DiskState::Well => usize::MAX,
            };
            if takes_room && room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            change(&mut place.volume, room)
        };
        self.effect(&call, act, fault)
    }

    /// Whether a sync of this path is one that a defect leaves out.
    fn is_unsynced(&self, path: &Path) -> bool {
        let state = self.outside.state();
        let part = state.trouble.defect.unsynced;
        part.is_some_and(|part| path.to_str().is_some_and(|path| path.contains(part)))
    }
}

impl OpenFile for Opened {
    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        let id = self.id;
        self.drive.change("writes", &self.path, true, |files, room| {
            files.write(id, &content[..content.len().min(room)])?;
            if room < content.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        if self.drive.is_unsynced(&self.path) {
            return Ok(());
        }
        let id = self.id;
        self.drive.change("syncs", &self.path, false, |files, _| files.sync_file(id))
    }

    fn sync_content(&self) -> io::Result<()> {
        self.sync()
    }

    fn length(&self) -> io::Result<u64> {
        let id = self.id;
        self.drive.look(&self.path, |files| files.length(id))
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let id = self.id;
        self.drive.change("cuts", &self.path, false, |files, _| files.set_length(id, length))
    }
}

impl FileSystem for Drive {
    type File = Opened;

    async fn detach<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        // Others get their turn where real work would leave the thread.
        tokio::task::yield_now().await;
        if self.is_over() {
            return std::future::pending().await;
        }
        let done = work(self);
        if self.is_over() {
            return std::future::pending().await;
        }
        done
    }

    fn side_by_side<T: Sync>(
        &self,
        works: &[T],
        work: impl Fn(&T) -> io::Result<()> + Sync,
    ) -> io::Result<()> {
        let mut order: Vec<&T> = works.iter().collect();
        if order.len() > 1 {
            let start = self.outside.state().dice.index(order.len());
            order.rotate_left(start);
        }
        order.into_iter().map(work).fold(Ok(()), Result::and)
    }

    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let defect = self.outside.state().trouble.defect;
        let text = path.to_str().unwrap_or_default();
        if defect.unreadable.is_some_and(|part| text.contains(part)) {
            return Err(fault("it cannot be read"));
        }
        let content = self.look(path, |files| files.read(path))?;
        if let Some(part) = defect.unlisted.filter(|_| text.ends_with("ledger.jsonl")) {
            let lines = content.split_inclusive(|byte| *byte == b'\n');
            let is_listed = |line: &&[u8]| !String::from_utf8_lossy(line).contains(part);
            return Ok(lines.filter(is_listed).flatten().copied().collect());
        }
        let is_order = text.contains("/pending/") || text.contains("/stuck/");
        if defect.unread.is_empty() || !is_order {
            return Ok(content);
        }
        Ok(without(&content, defect.unread))
    }

    fn stamp_of(&self, path: &Path) -> io::Result<Stamp> {
        let (id, length, version) = self.look(path, |files| files.stamp(path))?;
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        Ok((1, id, length, version, version))
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        let is_folder = self.look(path, |files| files.is_folder(path, false))?;
        Ok(if is_folder { Kind::Folder } else { Kind::Other })
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.look(path, |files| files.is_folder(path, true)).unwrap_or(false)
    }

    fn names_in(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.look(folder, |files| files.list(folder))
    }

    fn target_of(&self, path: &Path) -> io::Result<PathBuf> {
        self.look(path, |files| files.target(path))
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.change("makes folder", folder, true, |files, _| files.create_folder(folder))
    }

    fn create_file(&self, path: &Path) -> io::Result<Opened> {
        let id = self.change("makes", path, true, |files, _| files.create_file(path))?;
        Ok(self.opened(path, id))
    }

    fn open_end(&self, path: &Path) -> io::Result<Opened> {
        let id = self.change("opens", path, false, |files, _| files.open(path))?;
        Ok(self.opened(path, id))
    }

    fn create_link(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.change("links", path, true, |files, _| files.create_link(target, path))
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        let unwritten = self.outside.state().trouble.defect.unwritten;
        self.change("renames to", to, false, |files, _| {
            files.rename(from, to)?;
            let is_unwritten = |part| to.to_str().is_some_and(|path| path.contains(part));
            if unwritten.is_some_and(is_unwritten) {
                files.remove(to)?;
            }
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if self.is_unsynced(folder) {
            return Ok(());
        }
        self.change("syncs folder", folder, false, |files, _| files.sync_folder(folder))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        // Most often there is nothing.
        self.look(path, |files| files.is_folder(path, false))?;
        self.change("removes", path, false, |files, _| files.remove(path))
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.look(folder, |files| files.is_folder(folder, false))?;
        self.change("removes folder", folder, false, |files, _| files.remove(folder))
    }

    fn is_lost_with_container(&self, _: &Path) -> bool {
        false
    }
}

impl Drive {
    fn opened(&self, path: &Path, id: usize) -> Opened {
        Opened { drive: self.clone(), path: path.to_owned(), id }
    }
}
