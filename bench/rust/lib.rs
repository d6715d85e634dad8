//! What the benchmark looks things up in, and its clock.

use std::collections::HashMap;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
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

/// The time that this thread has had the processor, so that other work on the machine counts less.
pub struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is valid for the call.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, time: &Duration) -> f64 {
        time.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
