//! Where the random values of an authority come from: its tokens and the serial numbers of its certificates.

use std::fmt;

use rcgen::SerialNumber;
use ring::rand::SecureRandom;
use ring::rand::SystemRandom;

use super::jws::encoded;
use crate::certs;

type Fill = dyn FnMut(&mut [u8]) + Send + Sync;

/// Fills bytes: with what the system draws, or with what follows from a seed.
pub struct Chance(Box<Fill>);

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chance").finish_non_exhaustive()
    }
}

impl Chance {
    /// What nobody can foresee.
    pub fn of_system() -> Self {
        Self::new(|bytes| SystemRandom::new().fill(bytes).expect("the system has random bytes"))
    }

    /// What something else draws.
    pub fn new(fill: impl FnMut(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Box::new(fill))
    }

    /// 256 bits that fit into a URL.
    pub(super) fn token(&mut self) -> String {
        let mut bytes = [0; 32];
        (self.0)(&mut bytes);
        encoded(bytes)
    }

    pub(super) fn serial(&mut self) -> SerialNumber {
        certs::serial(|bytes| (self.0)(bytes))
    }
}
