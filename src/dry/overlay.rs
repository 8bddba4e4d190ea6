//! A file system over the real one that keeps every change in memory: what would be done is seen, and nothing is.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::disk::RealDisk;
use crate::disk::sequence::FileSystem;
use crate::disk::sequence::Kind;
use crate::disk::sequence::OpenFile;
use crate::ports::Stamp;

/// What a path leads to since it was changed.
#[derive(Debug, Clone)]
enum Node {
    File(Arc<Mutex<Vec<u8>>>),
    Link(PathBuf),
    Folder,
    Gone,
}

/// The real file system as it would be.
#[derive(Debug, Default)]
pub struct Overlay {
    real: RealDisk,
    changed: Mutex<BTreeMap<PathBuf, Node>>,
}

/// Links that lead to links beyond this lead nowhere, as for the kernel.
const MOST_LINKS: usize = 40;

fn gone() -> io::Error {
    io::ErrorKind::NotFound.into()
}

/// Without `..`: links of ours lead to other folders of the store.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}

impl Overlay {
    fn changed(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Node>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was changed about a path: itself, or a folder above it that is gone.
    fn node(&self, path: &Path) -> Option<Node> {
        let changed = self.changed();
        if let Some(node) = changed.get(path) {
            return Some(node.clone());
        }
        let mut above = path.ancestors().skip(1).filter_map(|above| changed.get(above));
        matches!(above.next(), Some(Node::Gone)).then_some(Node::Gone)
    }

    fn set(&self, path: &Path, node: Node) {
        self.changed().insert(path.to_owned(), node);
    }

    fn is_there(&self, path: &Path) -> bool {
        self.kind(path).is_ok()
    }

    fn must_be_free(&self, path: &Path) -> io::Result<()> {
        if self.is_there(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match path.parent() {
            Some(folder) if !self.is_folder(folder) => Err(gone()),
            Some(_) | None => Ok(()),
        }
    }

    /// Follows links as far as they were changed or lead to what was. None: the real path stands for itself.
    fn follow(&self, path: &Path) -> io::Result<(PathBuf, Option<Node>)> {
        let mut path = plain(path);
        for _ in 0..MOST_LINKS {
            let target = match self.node(&path) {
                Some(Node::Link(target)) => target,
                Some(node) => return Ok((path, Some(node))),
                None => match self.real.target_of(&path) {
                    Ok(target) => target,
                    Err(_) => return Ok((path, None)),
                },
            };
            let folder = path.parent().unwrap_or_else(|| Path::new("/"));
            path = plain(&folder.join(target));
        }
        Err(io::Error::other("too many links"))
    }

    /// Everything below a folder, and the folder itself, comes along.
    fn carry(&self, from: &Path, to: &Path) -> io::Result<()> {
        let node = match self.node(from) {
            Some(Node::Gone) => return Err(gone()),
            Some(node) => node,
            None if self.kind(from)? == Kind::Folder => Node::Folder,
            None => match self.real.target_of(from) {
                Ok(target) => Node::Link(target),
                Err(_) => Node::File(Arc::new(Mutex::new(self.real.read_file(from)?))),
            },
        };
        let is_folder = matches!(node, Node::Folder);
        self.set(to, node);
        if is_folder {
            for name in self.names_in(from)? {
                self.carry(&from.join(&name), &to.join(&name))?;
            }
        }
        self.set(from, Node::Gone);
        Ok(())
    }
}

/// A file in memory.
#[derive(Debug)]
pub struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn content(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenFile for Memory {
    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.content().extend_from_slice(content);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_content(&self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.content().len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.content().resize(length, 0);
        Ok(())
    }
}

impl FileSystem for Overlay {
    type File = Memory;

    fn side_by_side<T: Sync>(
        &self,
        works: &[T],
        work: impl Fn(&T) -> io::Result<()> + Sync,
    ) -> io::Result<()> {
        works.iter().map(work).fold(Ok(()), Result::and)
    }

    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.follow(path)? {
            (_, Some(Node::File(content))) => Ok(Memory(content).content().clone()),
            (_, Some(Node::Gone)) => Err(gone()),
            (_, Some(Node::Folder | Node::Link(_))) => Err(io::ErrorKind::IsADirectory.into()),
            (path, None) => self.real.read_file(&path),
        }
    }

    fn stamp_of(&self, path: &Path) -> io::Result<Stamp> {
        match self.follow(path)? {
            (_, Some(Node::File(content))) => {
                let place = Arc::as_ptr(&content) as u64;
                Ok((0, place, Memory(content).length()?, 0, 0))
            }
            (_, Some(Node::Gone)) => Err(gone()),
            (_, Some(Node::Folder | Node::Link(_))) => Ok((0, 0, 0, 0, 0)),
            (path, None) => self.real.stamp_of(&path),
        }
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        match self.node(path) {
            Some(Node::Folder) => Ok(Kind::Folder),
            Some(Node::File(_) | Node::Link(_)) => Ok(Kind::Other),
            Some(Node::Gone) => Err(gone()),
            None => self.real.kind(path),
        }
    }

    fn is_folder(&self, path: &Path) -> bool {
        match self.follow(path) {
            Ok((_, Some(node))) => matches!(node, Node::Folder),
            Ok((path, None)) => self.real.is_folder(&path),
            Err(_) => false,
        }
    }

    fn names_in(&self, folder: &Path) -> io::Result<Vec<String>> {
        let (folder, node) = self.follow(folder)?;
        let mut names: BTreeSet<String> = match node {
            Some(Node::Folder) => BTreeSet::new(),
            Some(Node::Gone) => return Err(gone()),
            Some(Node::File(_) | Node::Link(_)) => {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            None => self.real.names_in(&folder)?.into_iter().collect(),
        };
        let changed = self.changed();
        let inside = changed.range(folder.clone()..);
        let inside = inside.take_while(|(path, _)| path.starts_with(&folder));
        for (path, node) in inside.filter(|(path, _)| path.parent() == Some(&folder)) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if matches!(node, Node::Gone) {
                names.remove(name);
            } else {
                names.insert(name.to_owned());
            }
        }
        Ok(names.into_iter().collect())
    }

    fn target_of(&self, path: &Path) -> io::Result<PathBuf> {
        match self.node(path) {
            Some(Node::Link(target)) => Ok(target),
            Some(Node::Gone) => Err(gone()),
            Some(Node::File(_) | Node::Folder) => Err(io::ErrorKind::InvalidInput.into()),
            None => self.real.target_of(path),
        }
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.must_be_free(folder)?;
        self.set(folder, Node::Folder);
        Ok(())
    }

    fn create_file(&self, path: &Path) -> io::Result<Memory> {
        self.must_be_free(path)?;
        let content = Arc::default();
        self.set(path, Node::File(Arc::clone(&content)));
        Ok(Memory(content))
    }

    fn open_end(&self, path: &Path) -> io::Result<Memory> {
        if !self.is_there(path) {
            return self.create_file(path);
        }
        if let Some(Node::File(content)) = self.node(path) {
            return Ok(Memory(content));
        }
        let content = Arc::new(Mutex::new(self.real.read_file(path)?));
        self.set(path, Node::File(Arc::clone(&content)));
        Ok(Memory(content))
    }

    fn create_link(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.must_be_free(path)?;
        self.set(path, Node::Link(target.to_owned()));
        Ok(())
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.carry(from, to)
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        match self.kind(path)? {
            Kind::Folder => Err(io::ErrorKind::IsADirectory.into()),
            Kind::Other => {
                self.set(path, Node::Gone);
                Ok(())
            }
        }
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        if !self.names_in(folder)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.set(folder, Node::Gone);
        Ok(())
    }

    fn is_lost_with_container(&self, path: &Path) -> bool {
        self.real.is_lost_with_container(path)
    }
}

#[cfg(test)]
mod tests;
