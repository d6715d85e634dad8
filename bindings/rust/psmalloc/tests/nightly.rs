//! Collections of the standard library in a segment. Needs a nightly compiler.
#![feature(allocator_api, btreemap_alloc)]

use std::collections::BTreeMap;

mod common;
use common::{blocks, segment};

#[test]
fn collections_of_std_live_in_a_segment() {
    let segment = segment(4);
    segment.enter(|s| {
        let mut map = BTreeMap::new_in(s.alloc());
        for number in 0..1000u64 {
            let mut texts = Vec::new_in(s.alloc());
            texts.push(Box::new_in(number, s.alloc()));
            map.insert(number, texts);
        }
        assert!(blocks(&segment) > 2000);
        assert_eq!(map.values().map(|texts| *texts[0]).sum::<u64>(), 499_500);
    });
    assert_eq!(blocks(&segment), 0);
}
