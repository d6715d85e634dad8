//! The same collections in a segment and in private memory, and look-ups beside rkyv's.
//!
//! Maps of both kinds have one hasher, so that only the place differs. Look-ups go through all
//! keys in an order of their own, 1,000 at a time. Each round has all peers one after the other, so
//! that ratios within a round are of the same minutes.

use std::hint::black_box;
use std::time::Duration;

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use psm_bench::{CpuTime, archived_numbers, archived_texts, keys, segment, text};
use psmalloc::{HashMap, Seeded, String, Vec};
use rkyv::collections::swiss_table::ArchivedHashMap;
use rkyv::rend::u64_le;
use rkyv::string::ArchivedString;

type Private<K, V> = hashbrown::HashMap<K, V, Seeded>;

const BATCH: usize = 1000;
const ROUNDS: usize = 9;

/// One benchmark: the next 1,000 keys are looked up, round and round.
fn look_ups<K>(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    name: &str,
    round: usize,
    keys: &[K],
    mut get: impl FnMut(&K) -> u64,
) {
    let mut batches = keys.chunks_exact(BATCH).cycle();
    group.bench_function(BenchmarkId::new(name, round), |bencher| {
        bencher.iter(|| {
            let batch = batches.next().expect("it goes round");
            batch.iter().fold(0u64, |sum, key| sum.wrapping_add(get(black_box(key))))
        });
    });
}

/// The keys in another order than that of insertion.
fn shuffled(count: u64) -> std::vec::Vec<u64> {
    let mut keys = keys(count);
    let mut state = 1u64;
    for at in (1..keys.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        keys.swap(at, (state >> 33) as usize % (at + 1));
    }
    keys
}

fn numbers(criterion: &mut Criterion<CpuTime>, count: u64) {
    let (segment, asked) = (segment(), shuffled(count));
    segment.enter(|s| {
        let mut shared = HashMap::with_hasher_in(1, Seeded::new(1), s.alloc()).unwrap();
        let mut private = Private::with_hasher(Seeded::new(1));
        for key in keys(count) {
            shared.insert(key, !key).unwrap();
            private.insert(key, !key);
        }
        let bytes = archived_numbers(&keys(count));
        // SAFETY: the bytes are those of such a map.
        let archived = unsafe { rkyv::access_unchecked::<ArchivedHashMap<u64_le, u64_le>>(&bytes) };
        let mut group = criterion.benchmark_group(format!("look up u64 of {count}"));
        group.throughput(Throughput::Elements(BATCH as u64));
        for round in 1..=ROUNDS {
            look_ups(&mut group, "segment", round, &asked, |key| shared[key]);
            look_ups(&mut group, "private", round, &asked, |key| private[key]);
            look_ups(&mut group, "rkyv", round, &asked, |key| {
                archived[&u64_le::from_native(*key)].into()
            });
        }
    });
}

fn texts(criterion: &mut Criterion<CpuTime>, count: u64) {
    let segment = segment();
    let asked: std::vec::Vec<_> = shuffled(count).into_iter().map(text).collect();
    segment.enter(|s| {
        let mut shared = HashMap::with_hasher_in(1, Seeded::new(1), s.alloc()).unwrap();
        let mut private = Private::with_hasher(Seeded::new(1));
        for key in keys(count) {
            shared.insert(String::from_str_in(&text(key), s.alloc()).unwrap(), !key).unwrap();
            private.insert(text(key), !key);
        }
        let bytes = archived_texts(&keys(count));
        // SAFETY: the bytes are those of such a map.
        let archived =
            unsafe { rkyv::access_unchecked::<ArchivedHashMap<ArchivedString, u64_le>>(&bytes) };
        let mut group = criterion.benchmark_group(format!("look up text of {count}"));
        group.throughput(Throughput::Elements(BATCH as u64));
        for round in 1..=ROUNDS {
            look_ups(&mut group, "segment", round, &asked, |key| shared[key.as_str()]);
            look_ups(&mut group, "private", round, &asked, |key| private[key.as_str()]);
            look_ups(&mut group, "rkyv", round, &asked, |key| archived[key.as_str()].into());
        }
    });
}

fn lookups(criterion: &mut Criterion<CpuTime>) {
    numbers(criterion, 10_000);
    numbers(criterion, 1_000_000);
    texts(criterion, 100_000);
}

fn changes(criterion: &mut Criterion<CpuTime>) {
    const COUNT: u64 = 10_000;
    let (segment, keys) = (segment(), keys(COUNT));
    segment.enter(|s| {
        let mut group = criterion.benchmark_group("insert u64");
        group.throughput(Throughput::Elements(COUNT));
        for round in 1..=ROUNDS {
            timed(&mut group, "segment", round, || {
                let mut map = HashMap::with_hasher_in(1, Seeded::new(1), s.alloc()).unwrap();
                for key in &keys {
                    map.insert(*key, 1u64).unwrap();
                }
                map.len()
            });
            timed(&mut group, "private", round, || {
                let mut map = Private::with_capacity_and_hasher(1, Seeded::new(1));
                for key in &keys {
                    map.insert(*key, 1u64);
                }
                map.len()
            });
        }
        group.finish();
        let mut group = criterion.benchmark_group("push u64");
        group.throughput(Throughput::Elements(COUNT));
        for round in 1..=ROUNDS {
            timed(&mut group, "segment", round, || {
                let mut numbers = Vec::new_in(s.alloc());
                for key in &keys {
                    numbers.push(*key);
                }
                numbers.len()
            });
            timed(&mut group, "private", round, || {
                let mut numbers = psmalloc::allocator_api2::vec::Vec::new();
                for key in &keys {
                    numbers.push(*key);
                }
                numbers.len()
            });
        }
    });
}

fn timed(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    name: &str,
    round: usize,
    mut work: impl FnMut() -> usize,
) {
    group.bench_function(BenchmarkId::new(name, round), |bencher| bencher.iter(&mut work));
}

fn config() -> Criterion<CpuTime> {
    let times = (Duration::from_millis(100), Duration::from_millis(400));
    let config = Criterion::default().with_measurement(CpuTime);
    config.sample_size(20).warm_up_time(times.0).measurement_time(times.1)
}

criterion_group! {
    name = benches;
    config = config();
    targets = lookups, changes
}
criterion_main!(benches);
