//! Faults on so many requests of a hundred, drawn by a seed.

use std::collections::BTreeMap;

use crate::faults::What;

/// Draws what goes wrong. The n-th request to an endpoint always meets the same fate under the same seed, whatever
/// is asked elsewhere in between.
#[derive(Debug, Clone)]
pub struct Chance {
    seed: u64,
    percent: u64,
    faults: Vec<What>,
    asked: BTreeMap<&'static str, u64>,
}

impl Chance {
    /// One of these faults on so many requests of a hundred.
    pub fn new(seed: u64, percent: u64, faults: Vec<What>) -> Self {
        Self { seed, percent, faults, asked: BTreeMap::new() }
    }

    /// What goes wrong with the next request to an endpoint.
    pub fn draw(&mut self, endpoint: &'static str) -> Option<What> {
        let asked = self.asked.entry(endpoint).or_default();
        *asked += 1;
        let name = endpoint
            .bytes()
            .fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let mut draw = Draw::new(self.seed ^ name ^ (*asked << 32));
        if draw.below(100) >= self.percent || self.faults.is_empty() {
            return None;
        }
        let count = u64::try_from(self.faults.len()).expect("a few faults");
        let at = usize::try_from(draw.below(count)).expect("a few faults");
        self.faults.get(at).cloned()
    }
}

/// Numbers that look random and follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, any of them.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(chance: &mut Chance, endpoint: &'static str) -> Vec<Option<&'static str>> {
        let names = || chance.draw(endpoint).as_ref().map(What::name);
        std::iter::repeat_with(names).take(1000).collect()
    }

    #[test]
    fn a_seed_draws_the_same_faults_whatever_else_is_asked() {
        let chance = Chance::new(7, 20, vec![What::Close, What::Stall]);
        let alone = drawn(&mut chance.clone(), "order");
        let mut beside = chance;
        assert_ne!(drawn(&mut beside, "finalize"), alone);
        assert_eq!(drawn(&mut beside, "order"), alone);
        let mut other = Chance::new(8, 20, vec![What::Close, What::Stall]);
        assert_ne!(drawn(&mut other, "order"), alone);
        let faults = alone.iter().flatten().count();
        assert!((150..250).contains(&faults), "{faults}");
        assert!(alone.contains(&Some("close")) && alone.contains(&Some("stall")));
    }
}
