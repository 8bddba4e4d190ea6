//! Order objects that lack fields.

/// What an order object lacks. Held against no recording: RFC 8555, 7.1.3 requires all of these, and clients that
/// already have a certificate to fetch are to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderShape {
    /// When valid: all but `status` and `certificate`.
    OnlyCertificate,
    /// When valid: `finalize`.
    WithoutFinalize,
    /// In every state: `status`.
    WithoutStatus,
}
