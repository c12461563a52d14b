//! Where secrets and ids come from, as a trait.
//!
//! Owns the contract. It stands below the other ports, because the ids that those name are made of it.

/// The platform gave no randomness: whatever needed it must fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the platform gave no randomness")]
pub struct NoRandomness;

/// Cryptographic randomness.
pub trait Random {
    /// Fills the buffer or fails; never leaves zeros behind an `Ok`.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness>;
}
