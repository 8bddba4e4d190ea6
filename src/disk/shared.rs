//! One sync of a folder for all who want it at the same moment.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// Syncs under way, by folder.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<BTreeMap<PathBuf, Arc<Folder>>>);

/// Counts who wants a folder synced, and up to whom a sync has served them.
#[derive(Debug, Default)]
struct Folder {
    asked: Mutex<u64>,
    served: Mutex<u64>,
}

impl Shared {
    /// Comes back when a sync of the folder that began after this call has succeeded. Whoever comes first syncs for all
    /// who come until it begins; one that fails serves nobody but who made it.
    pub(super) fn sync(
        &self,
        path: &Path,
        sync: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let folder = Arc::clone(lock(&self.0).entry(path.to_owned()).or_default());
        let ticket = {
            let mut asked = lock(&folder.asked);
            *asked += 1;
            *asked
        };
        let mut served = lock(&folder.served);
        let done = if ticket <= *served {
            Ok(())
        } else {
            let all = *lock(&folder.asked);
            let done = sync();
            if done.is_ok() {
                *served = all;
            }
            done
        };
        drop(served);
        let mut folders = lock(&self.0);
        // Ours and that of the map: nobody else is at it.
        if Arc::strong_count(&folder) == 2 {
            folders.remove(path);
        }
        done
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;

    use super::*;

    /// Waits until so many want the folder synced.
    fn until_asked(shared: &Shared, path: &Path, count: u64) {
        while lock(&shared.0).get(path).is_none_or(|folder| *lock(&folder.asked) < count) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn all_who_come_while_one_syncs_are_served_by_the_next_sync() {
        let (shared, path, syncs) = (Shared::default(), Path::new("/a"), AtomicUsize::new(0));
        let count = || {
            syncs.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let (release, held) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let shared = &shared;
            scope.spawn(move || {
                shared
                    .sync(path, || {
                        held.recv().unwrap();
                        Ok(())
                    })
                    .unwrap();
            });
            until_asked(shared, path, 1);
            for _ in 0..5 {
                scope.spawn(|| shared.sync(path, count).unwrap());
            }
            until_asked(shared, path, 6);
            release.send(()).unwrap();
        });
        assert_eq!(syncs.into_inner(), 1);
        assert!(lock(&shared.0).is_empty());
    }

    #[test]
    fn a_sync_that_fails_is_made_again_by_the_next() {
        let (shared, path) = (Shared::default(), Path::new("/a"));
        let failed = shared.sync(path, || Err(io::ErrorKind::StorageFull.into()));
        assert!(failed.is_err());
        shared.sync(path, || Ok(())).unwrap();
        assert!(lock(&shared.0).is_empty());
    }
}
