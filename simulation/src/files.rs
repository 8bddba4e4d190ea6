//! A file system in memory that forgets what was not synced.
//!
//! Every file has its content and what of it is on the disk, every folder its names and the changes of them that
//! are not on the disk yet. A power failure keeps, tears or loses each of these; a change of one name is atomic.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use time::OffsetDateTime;

pub mod loss;

#[derive(Debug, Clone)]
enum Node {
    File {
        content: Vec<u8>,
        synced: Vec<u8>,
    },
    Folder {
        names: BTreeMap<String, usize>,
        synced: BTreeMap<String, usize>,
        /// Changes of names that are not synced, in their order; each happens whole or not at all.
        unsynced: Vec<Change>,
    },
    Link(PathBuf),
}

/// A volume.
#[derive(Debug, Clone)]
pub struct Files {
    nodes: BTreeMap<usize, (Node, u64)>,
    next: usize,
    version: u64,
    /// What may not be on the disk.
    dirty: BTreeSet<usize>,
    /// How many nodes were left when those that no name leads to were forgotten the last time.
    swept: usize,
    /// Since when something may not be on the disk.
    dirty_since: Option<OffsetDateTime>,
}

const ROOT: usize = 0;

impl Default for Files {
    fn default() -> Self {
        let root =
            Node::Folder { names: BTreeMap::new(), synced: BTreeMap::new(), unsynced: Vec::new() };
        Self {
            nodes: BTreeMap::from([(ROOT, (root, 0))]),
            next: 1,
            version: 0,
            dirty: BTreeSet::new(),
            swept: 0,
            dirty_since: None,
        }
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn parts(path: &Path) -> Vec<&str> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(part) => part.to_str(),
            Component::ParentDir => Some(".."),
            Component::CurDir | Component::Prefix(_) | Component::RootDir => None,
        })
        .collect()
}

impl Files {
    /// The node that a path leads to; links in the last place are followed only if that is wanted.
    fn find(&self, path: &Path, follows: bool) -> io::Result<usize> {
        match self.find_straight(path, follows) {
            Some(found) => found,
            None => self.find_through_links(path, follows),
        }
    }

    /// The same for a path without links, as nearly all are; none if there is one.
    fn find_straight(&self, path: &Path, follows: bool) -> Option<io::Result<usize>> {
        let mut id = ROOT;
        let mut parts = path.to_str()?.split('/').filter(|part| !part.is_empty());
        let mut next = parts.next();
        while let Some(part) = next {
            next = parts.next();
            if part.starts_with('.') && part.trim_start_matches('.').is_empty() {
                return None;
            }
            let names = match self.names(id) {
                Ok(names) => names,
                Err(error) => return Some(Err(error)),
            };
            id = match names.get(part) {
                Some(id) => *id,
                None => return Some(Err(not_found())),
            };
            if matches!(self.nodes[&id].0, Node::Link(_)) && (follows || next.is_some()) {
                return None;
            }
        }
        Some(Ok(id))
    }

    fn find_through_links(&self, path: &Path, follows: bool) -> io::Result<usize> {
        let mut trail = vec![ROOT];
        let parts = parts(path);
        for (at, part) in parts.iter().enumerate() {
            if *part == ".." {
                trail.pop();
                continue;
            }
            let folder = *trail.last().ok_or_else(not_found)?;
            let id = *self.names(folder)?.get(*part).ok_or_else(not_found)?;
            match &self.nodes[&id].0 {
                Node::Link(target) if follows || at + 1 < parts.len() => {
                    let mut whole: PathBuf = PathBuf::from("/");
                    whole.extend(&parts[..at]);
                    let whole = whole.join(target);
                    let id = self.find(&whole, true)?;
                    trail.push(id);
                }
                Node::Link(_) | Node::File { .. } | Node::Folder { .. } => trail.push(id),
            }
        }
        trail.pop().ok_or_else(not_found)
    }

    fn names(&self, folder: usize) -> io::Result<&BTreeMap<String, usize>> {
        match self.nodes.get(&folder) {
            Some((Node::Folder { names, .. }, _)) => Ok(names),
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(not_found()),
        }
    }

    fn place(&self, path: &Path) -> io::Result<(usize, String)> {
        let folder = path.parent().unwrap_or_else(|| Path::new("/"));
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(not_found)?;
        Ok((self.find(folder, true)?, name.to_owned()))
    }

    fn change(&mut self, folder: usize, changes: Change) -> io::Result<()> {
        self.version += 1;
        let Some((node, version)) = self.nodes.get_mut(&folder) else {
            return Err(not_found());
        };
        let Node::Folder { names, unsynced, .. } = node else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        *version = self.version;
        apply(names, &changes);
        unsynced.push(changes);
        self.dirty.insert(folder);
        Ok(())
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        let (folder, name) = self.place(path)?;
        if self.names(folder)?.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = self.next;
        self.next += 1;
        self.version += 1;
        self.nodes.insert(id, (node, self.version));
        self.change(folder, vec![(name, Some(id))])?;
        Ok(id)
    }

    /// Reads a file.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match &self.nodes[&self.find(path, true)?].0 {
            Node::File { content, .. } => Ok(content.clone()),
            Node::Folder { .. } | Node::Link(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Number, length and version of a file.
    pub fn stamp(&self, path: &Path) -> io::Result<(u64, u64, u64)> {
        let id = self.find(path, true)?;
        let (node, version) = &self.nodes[&id];
        let length = match node {
            Node::File { content, .. } => content.len(),
            Node::Folder { .. } | Node::Link(_) => 0,
        };
        Ok((id as u64, length as u64, *version))
    }

    /// Whether a path leads to a folder; an error if it leads nowhere.
    pub fn is_folder(&self, path: &Path, follows: bool) -> io::Result<bool> {
        let id = self.find(path, follows)?;
        Ok(matches!(self.nodes[&id].0, Node::Folder { .. }))
    }

    /// The names in a folder.
    pub fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        Ok(self.names(self.find(folder, true)?)?.keys().cloned().collect())
    }

    /// Where a link leads.
    pub fn target(&self, path: &Path) -> io::Result<PathBuf> {
        match &self.nodes[&self.find(path, false)?].0 {
            Node::Link(target) => Ok(target.clone()),
            Node::File { .. } | Node::Folder { .. } => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Makes a folder.
    pub fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        let node =
            Node::Folder { names: BTreeMap::new(), synced: BTreeMap::new(), unsynced: Vec::new() };
        self.add(path, node).map(drop)
    }

    /// Makes a file and answers its number.
    pub fn create_file(&mut self, path: &Path) -> io::Result<usize> {
        let node = Node::File { content: Vec::new(), synced: Vec::new() };
        self.add(path, node)
    }

    /// The number of a file, which is made if it is not there.
    pub fn open(&mut self, path: &Path) -> io::Result<usize> {
        match self.find(path, true) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create_file(path),
            found => found,
        }
    }

    /// Makes a link.
    pub fn create_link(&mut self, target: &Path, path: &Path) -> io::Result<()> {
        self.add(path, Node::Link(target.to_owned())).map(drop)
    }

    /// Gives a name of one folder to what has another there.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ((folder, from), (other, to)) = (self.place(from)?, self.place(to)?);
        if folder != other {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let id = *self.names(folder)?.get(&from).ok_or_else(not_found)?;
        self.change(folder, vec![(from, None), (to, Some(id))])
    }

    /// Removes a file, link, or empty folder.
    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (folder, name) = self.place(path)?;
        let id = *self.names(folder)?.get(&name).ok_or_else(not_found)?;
        if self.names(id).is_ok_and(|names| !names.is_empty()) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.change(folder, vec![(name, None)])
    }

    /// Brings the names in a folder to the disk.
    pub fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        let id = self.find(folder, true)?;
        match self.nodes.get_mut(&id) {
            Some((Node::Folder { names, synced, unsynced }, _)) => {
                for change in unsynced.drain(..) {
                    apply(synced, &change);
                }
                debug_assert_eq!(names, synced);
                Ok(())
            }
            Some(_) | None => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&mut self, id: usize) -> io::Result<(&mut Vec<u8>, &mut Vec<u8>)> {
        self.version += 1;
        self.dirty.insert(id);
        match self.nodes.get_mut(&id) {
            Some((Node::File { content, synced }, version)) => {
                *version = self.version;
                Ok((content, synced))
            }
            Some(_) | None => Err(not_found()),
        }
    }

    /// Writes at the end of a file.
    pub fn write(&mut self, id: usize, more: &[u8]) -> io::Result<()> {
        self.file(id)?.0.extend_from_slice(more);
        Ok(())
    }

    /// Brings the content of a file to the disk.
    pub fn sync_file(&mut self, id: usize) -> io::Result<()> {
        let (content, synced) = self.file(id)?;
        synced.clone_from(content);
        Ok(())
    }

    /// How long a file is.
    pub fn length(&self, id: usize) -> io::Result<u64> {
        match self.nodes.get(&id) {
            Some((Node::File { content, .. }, _)) => Ok(content.len() as u64),
            Some(_) | None => Err(not_found()),
        }
    }

    /// Cuts a file.
    pub fn set_length(&mut self, id: usize, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.file(id)?.0.truncate(length);
        Ok(())
    }

    /// How many bytes its files take.
    pub fn size(&self) -> usize {
        let contents = self.walk().into_iter().map(|(_, content)| content.len());
        contents.sum()
    }

    /// Every file with its path, for those who look for something.
    pub fn walk(&self) -> Vec<(PathBuf, &[u8])> {
        self.walk_as(false)
    }

    /// The same of what is on the disk for certain.
    pub fn walk_durable(&self) -> Vec<(PathBuf, &[u8])> {
        self.walk_as(true)
    }

    fn walk_as(&self, is_durable: bool) -> Vec<(PathBuf, &[u8])> {
        let mut found = Vec::new();
        let mut open = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = open.pop() {
            match &self.nodes[&id].0 {
                Node::Folder { names, synced, .. } => {
                    let names = if is_durable { synced } else { names };
                    open.extend(names.iter().map(|(name, id)| (path.join(name), *id)));
                }
                Node::File { content, synced } => {
                    let content = if is_durable { synced } else { content };
                    found.push((path, content.as_slice()));
                }
                Node::Link(_) => {}
            }
        }
        found
    }
}

type Change = Vec<(String, Option<usize>)>;

fn apply(names: &mut BTreeMap<String, usize>, changes: &Change) {
    for (name, id) in changes {
        match id {
            Some(id) => drop(names.insert(name.clone(), *id)),
            None => drop(names.remove(name)),
        }
    }
}
