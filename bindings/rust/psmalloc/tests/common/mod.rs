//! A segment with a name of its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use psmalloc::Segment;

/// An unused name.
pub fn name() -> String {
    static SERIAL: AtomicUsize = AtomicUsize::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    format!("shm:psmalloc-test-{}-{serial}", std::process::id())
}

/// A new segment of so many MiB.
pub fn segment(mebibytes: usize) -> Segment {
    Segment::options().size(mebibytes << 20).exclusive(true).open(&name()).unwrap()
}

/// How many blocks are allocated.
pub fn blocks(segment: &Segment) -> u64 {
    segment.stat().unwrap().blocks
}
