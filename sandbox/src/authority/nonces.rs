//! Nonces: each is good for one request.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use ring::rand::SecureRandom;
use ring::rand::SystemRandom;

use super::jws::encoded;

/// The nonces that were given out and not yet used.
#[derive(Debug, Default)]
pub(super) struct Nonces(Mutex<BTreeSet<String>>);

impl Nonces {
    pub(super) fn fresh(&self) -> String {
        let nonce = random_token();
        self.unused().insert(nonce.clone());
        nonce
    }

    /// Whether the nonce was there; it is not any more.
    pub(super) fn take(&self, nonce: &str) -> bool {
        self.unused().remove(nonce)
    }

    /// None of those that were given out is good any more.
    pub(super) fn forget(&self) {
        self.unused().clear();
    }

    fn unused(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 256 random bits that fit into a URL.
pub(super) fn random_token() -> String {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).expect("the system has random bytes");
    encoded(bytes)
}
