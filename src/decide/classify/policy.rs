//! What the settings say about deciding.

use time::Duration;

use crate::core::certificate::Leaf;

/// When a valid certificate that is not ours is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplaceForeign {
    /// When it is expired or about to.
    Due,
    /// Not even when it is expired.
    Never,
    /// At once.
    Always,
}

/// What the settings say about deciding.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What the destination is called.
    pub place: &'static str,
    /// Whether staging certificates are wanted.
    pub is_staging: bool,
    /// Directory URL for production.
    pub production_directory: String,
    /// Directory URL for staging.
    pub staging_directory: String,
    /// When to renew, if that is set.
    pub renew_before: Option<Duration>,
    /// What happens to certificates that are not ours.
    pub replace_foreign: ReplaceForeign,
}

impl Policy {
    /// The directory URL that is wanted.
    pub fn wanted_directory(&self) -> &str {
        if self.is_staging { &self.staging_directory } else { &self.production_directory }
    }

    /// Whether it is neither self-signed nor staging, given the directory URL it came from where that is known.
    pub fn is_production(&self, leaf: &Leaf, directory: Option<&str>) -> bool {
        !leaf.is_self_signed && !self.is_staging(leaf, directory)
    }

    /// By record or mark, else by the CA's own marks; what came from the wanted production directory never is.
    pub(super) fn is_staging(&self, leaf: &Leaf, directory: Option<&str>) -> bool {
        match directory {
            Some(directory) if !self.is_staging && directory == self.production_directory => false,
            Some(directory) if directory == self.staging_directory => true,
            Some(directory) if directory == self.production_directory => false,
            Some(_) | None => leaf.is_marked_staging,
        }
    }
}
