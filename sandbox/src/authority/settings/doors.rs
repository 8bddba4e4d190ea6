//! What an authority answers whatever it is asked.

/// Whether it works at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// As usual.
    Open,
    /// 404 without a body for everything, as OpenBao with ACME switched off (seen; the empty body by its source).
    Off,
    /// 503 `{"errors":["Vault is sealed"]}` for everything, as OpenBao before it is unsealed (seen; no recording).
    Sealed,
    /// 404 for the directory only. Held against none.
    WithoutDirectory,
}
