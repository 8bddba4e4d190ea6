//! Private keys, made by chance: EC keys by ring, RSA keys by a library of their own with ring's random numbers.

use ring::rand::SecureRandom;
use ring::rand::SystemRandom;
use rsa::pkcs8::EncodePrivateKey;
use rsa::rand_core::TryCryptoRng;
use rsa::rand_core::TryRng;
use thiserror::Error;

use crate::core::bundle::KeyType;
use crate::core::bundle::Secret;

/// Makes a key, PKCS#8 PEM. An RSA key takes a core for a good part of a second.
pub fn new_key(kind: KeyType) -> Result<Secret, String> {
    match kind {
        KeyType::Ec256 => {
            let key = rcgen::KeyPair::generate().map_err(|error| error.to_string())?;
            Ok(Secret::new(key.serialize_pem()))
        }
        KeyType::Rsa2048 => {
            let mut random = Random(SystemRandom::new());
            let key = rsa::PrivateKey::new(&mut random, 2048).map_err(|error| error.to_string())?;
            let der = key.to_pkcs8_der().map_err(|error| error.to_string())?;
            let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
            let block = pem::Pem::new("PRIVATE KEY", der.as_bytes());
            Ok(Secret::new(pem::encode_config(&block, config)))
        }
    }
}

/// The system's random numbers.
struct Random(SystemRandom);

/// The system gives no random numbers.
#[derive(Debug, Clone, Copy, Error)]
#[error("the system gives no random numbers")]
struct NoChance;

impl TryRng for Random {
    type Error = NoChance;

    fn try_next_u32(&mut self) -> Result<u32, NoChance> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, NoChance> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), NoChance> {
        self.0.fill(bytes).map_err(|_| NoChance)
    }
}

impl TryCryptoRng for Random {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_makes_keys_of_its_own_that_sign() {
        let mut made = BTreeSet::new();
        for (kind, algorithm) in [
            (KeyType::Ec256, &rcgen::PKCS_ECDSA_P256_SHA256),
            (KeyType::Rsa2048, &rcgen::PKCS_RSA_SHA256),
        ] {
            for _ in 0..2 {
                let key = new_key(kind).unwrap();
                let pair = rcgen::KeyPair::from_pem(key.reveal()).unwrap();
                assert!(pair.is_compatible(algorithm), "{kind:?}");
                assert!(rcgen::CertificateParams::default().self_signed(&pair).is_ok());
                assert!(made.insert(key.reveal().to_owned()), "{kind:?}: the same again");
            }
        }
    }
}
