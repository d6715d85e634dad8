//! A number for how a type lies in memory, to be compared between processes.

use std::any::type_name;

use crate::Shareable;

/// The compiler that lays out what is not `repr(C)`.
const COMPILER: &str = env!("PSMALLOC_RUSTC");

/// Collects what decides how a type lies in memory: names, offsets, sizes, and the compiler where
/// it chooses. FNV-1a of 128 bits.
#[derive(Debug)]
pub struct Fingerprint {
    hash: u128,
    /// The types that were described, so that a list node is described once.
    seen: Vec<(&'static str, usize, usize)>,
}

impl Fingerprint {
    /// The fingerprint of a type. Equal ones mean that processes may share values of the type.
    #[must_use]
    pub fn of<'s, T: Shareable<'s>>() -> [u64; 2] {
        let hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        let mut fingerprint = Fingerprint { hash, seen: Vec::new() };
        fingerprint.visit::<T>();
        [(fingerprint.hash >> 64) as u64, fingerprint.hash as u64]
    }

    /// Adds a type, with its size and alignment.
    pub fn visit<'s, T: Shareable<'s>>(&mut self) {
        let this = (type_name::<T>(), size_of::<T>(), align_of::<T>());
        if let Some(index) = self.seen.iter().position(|seen| *seen == this) {
            self.text("again").number(index);
            return;
        }
        self.seen.push(this);
        T::describe(self);
        self.number(this.1).number(this.2);
    }

    /// Adds a text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.number(text.len()).bytes(text.as_bytes())
    }

    /// Adds a number.
    pub fn number(&mut self, number: usize) -> &mut Self {
        self.bytes(&(number as u64).to_le_bytes())
    }

    /// Adds the version of the compiler, because it chose the layout.
    pub fn compiler(&mut self) -> &mut Self {
        self.text(COMPILER)
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in bytes {
            self.hash ^= u128::from(*byte);
            self.hash = self.hash.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        self
    }
}
