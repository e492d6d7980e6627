use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// Where a tree of streams begins. Each thing that is made draws from a stream of its own, so that changing one changes
/// no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// The root of the tree.
    pub fn new(number: u64) -> Self {
        Self([0; 32]).child("seed", number)
    }

    /// A branch.
    pub fn child(&self, name: &str, number: u64) -> Self {
        let length = (name.len() as u64).to_be_bytes();
        let hasher = Sha256::new()
            .chain_update(self.0)
            .chain_update(length)
            .chain_update(name);
        Self(hasher.chain_update(number.to_be_bytes()).finalize().into())
    }

    /// One of 2^64 streams of this branch.
    pub fn stream(&self, number: u64) -> Stream {
        let mut generator = ChaCha8Rng::from_seed(self.0);
        generator.set_stream(number);
        Stream(generator)
    }
}

/// Numbers that are the same on every machine.
#[derive(Debug, Clone)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// Any 32 bits.
    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// From 0 to `end`, without `end`; 0 when `end` is 0. By multiplication, whose bias is below `end` / 2^32.
    pub fn below(&mut self, end: usize) -> usize {
        let end = end.min(u32::MAX as usize) as u64;
        ((u64::from(self.bits()) * end) >> 32) as usize
    }

    /// As [`Stream::below`], small numbers more often: half of them fall into the first quarter.
    pub fn low(&mut self, end: usize) -> usize {
        let bits = u64::from(self.bits());
        let square = (bits * bits) >> 32;
        ((square * end.min(u32::MAX as usize) as u64) >> 32) as usize
    }

    /// True this many times in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille as usize
    }

    /// Bytes that no coder makes smaller.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_and_streams_differ() {
        let seed = Seed::new(1);
        assert_ne!(seed.child("a", 1), seed.child("a", 2));
        assert_ne!(seed.child("a", 1), seed.child("b", 1));
        assert_ne!(Seed::new(2).stream(1).bits(), seed.stream(1).bits());
        assert_ne!(seed.stream(1).bits(), seed.stream(2).bits());
        assert_eq!(seed.stream(1).bits(), seed.stream(1).bits());
    }

    #[test]
    fn numbers_stay_in_range_and_low_is_low() {
        let mut stream = Seed::new(1).stream(0);
        assert_eq!(stream.below(0), 0);
        assert!((0..1000).all(|_| stream.below(7) < 7));
        let low = (0..1000).filter(|_| stream.low(100) < 25).count();
        assert!((450..550).contains(&low), "{low}");
        let chances = (0..1000).filter(|_| stream.chance(250)).count();
        assert!((200..300).contains(&chances), "{chances}");
    }
}
