//! What a power failure leaves, and what is safe from it by itself.

use std::collections::BTreeMap;

use time::Duration;
use time::OffsetDateTime;

use crate::dice::Dice;
use crate::files::Files;
use crate::files::Node;
use crate::files::ROOT;
use crate::files::apply;

/// By itself a kernel writes back what is older than this.
const WRITTEN_BACK: Duration = Duration::minutes(1);

/// What becomes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Only the process ended: nothing is lost.
    Nothing,
    /// The power failed: everything is lost.
    Everything,
    /// The power failed: each part is kept, torn or lost.
    Some,
}

impl Files {
    /// Something may change at a time; what changed long before is on the disk by then.
    pub fn pass_time(&mut self, now: OffsetDateTime) {
        let since = *self.dirty_since.get_or_insert(now);
        if now - since < WRITTEN_BACK {
            return;
        }
        self.dirty_since = Some(now);
        for id in std::mem::take(&mut self.dirty) {
            let Some((node, _)) = self.nodes.get_mut(&id) else {
                continue;
            };
            match node {
                Node::File { content, synced } if content != synced => synced.clone_from(content),
                Node::Folder { names, synced, unsynced } if !unsynced.is_empty() => {
                    unsynced.clear();
                    synced.clone_from(names);
                }
                Node::File { .. } | Node::Folder { .. } | Node::Link(_) => {}
            }
        }
        if self.nodes.len() > 2 * self.swept + 100 {
            self.sweep();
        }
    }

    /// What is left after a crash.
    pub fn crash(&mut self, loss: Loss, dice: &mut Dice) {
        if loss == Loss::Nothing {
            return;
        }
        for id in std::mem::take(&mut self.dirty) {
            let Some((node, _)) = self.nodes.get_mut(&id) else {
                continue;
            };
            match node {
                Node::File { content, synced } if content != synced => {
                    *content = torn(content, synced, loss, dice);
                    synced.clone_from(content);
                }
                Node::Folder { names, synced, unsynced } if !unsynced.is_empty() => {
                    for change in unsynced.drain(..) {
                        if loss == Loss::Some && dice.chance(500) {
                            apply(synced, &change);
                        }
                    }
                    names.clone_from(synced);
                }
                Node::File { .. } | Node::Folder { .. } | Node::Link(_) => {}
            }
        }
        self.sweep();
    }

    /// Forgets what no name leads to.
    fn sweep(&mut self) {
        let mut reached = BTreeMap::new();
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            if let Some(node) = self.nodes.remove(&id) {
                if let Node::Folder { names, .. } = &node.0 {
                    open.extend(names.values());
                }
                reached.insert(id, node);
            }
        }
        self.swept = reached.len();
        self.nodes = reached;
    }
}

/// A file of which nobody knows how much came to the disk.
fn torn(content: &[u8], synced: &[u8], loss: Loss, dice: &mut Dice) -> Vec<u8> {
    if loss == Loss::Everything {
        return synced.to_vec();
    }
    match dice.below(3) {
        0 => synced.to_vec(),
        1 => content.to_vec(),
        _ if content.starts_with(synced) => {
            let more = dice.index(content.len() - synced.len());
            content[..synced.len() + more].to_vec()
        }
        _ => content[..dice.index(content.len())].to_vec(),
    }
}
