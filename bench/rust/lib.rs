//! What the benchmark looks things up in.

use std::collections::HashMap;

use psmalloc::Segment;
use rkyv::util::AlignedVec;

/// A segment that is large enough.
pub fn segment() -> Segment {
    let name = format!("shm:psm-bench-rust-{}", std::process::id());
    Segment::options().size(512 << 20).open(&name).expect("a segment")
}

/// Numbers in an order that no cache foresees, each of them once.
pub fn keys(count: u64) -> Vec<u64> {
    (0..count).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
}

/// A text of 16 letters for a number.
pub fn text(key: u64) -> String {
    format!("{key:016x}")
}

/// A map of numbers as rkyv lays it out: found by offsets, read in place.
pub fn archived_numbers(keys: &[u64]) -> AlignedVec {
    let map: HashMap<u64, u64> = keys.iter().map(|key| (*key, !*key)).collect();
    rkyv::to_bytes::<rkyv::rancor::Error>(&map).expect("it can be laid out")
}

/// A map of texts as rkyv lays it out.
pub fn archived_texts(keys: &[u64]) -> AlignedVec {
    let map: HashMap<String, u64> = keys.iter().map(|key| (text(*key), !*key)).collect();
    rkyv::to_bytes::<rkyv::rancor::Error>(&map).expect("it can be laid out")
}
