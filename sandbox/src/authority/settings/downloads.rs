//! Certificates that cannot be downloaded.

use crate::authority::problem::Problem;

/// What a download gets; the order stays valid and its `certificate` the same. Held against no recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Download {
    /// This problem, such as 404, 410, 403 or 500.
    Refuse(Problem),
    /// 200 with this text in place of the chain.
    Text(String),
}
