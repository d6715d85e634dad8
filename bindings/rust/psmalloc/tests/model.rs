//! Random changes, applied to a collection in a segment and to its twin in private memory.

use std::alloc::Layout;
use std::collections::HashMap as Model;
use std::ptr::NonNull;

use proptest::collection::vec;
use proptest::prelude::*;
use psmalloc::allocator_api2::alloc::Allocator;
use psmalloc::{Alloc, HashMap, String, Vec};

mod common;
use common::{blocks, segment};

#[derive(Clone, Debug)]
enum MapChange {
    Insert(u16, std::string::String),
    Remove(u16),
    Add(u16, char),
    Retain(u16),
    Clear,
    Shrink,
    Reserve(usize),
}

fn map_change() -> impl Strategy<Value = MapChange> {
    prop_oneof![
        8 => (0u16..200, ".{0,40}").prop_map(|(key, text)| MapChange::Insert(key, text)),
        4 => (0u16..200).prop_map(MapChange::Remove),
        4 => (0u16..200, any::<char>()).prop_map(|(key, letter)| MapChange::Add(key, letter)),
        1 => (1u16..9).prop_map(MapChange::Retain),
        1 => Just(MapChange::Clear),
        1 => Just(MapChange::Shrink),
        1 => (0usize..500).prop_map(MapChange::Reserve),
    ]
}

#[derive(Clone, Debug)]
enum VecChange {
    Push(u32),
    Pop,
    Insert(usize, u32),
    Remove(usize),
    Truncate(usize),
    Extend(std::vec::Vec<u32>),
    Drain(usize, usize),
    Shrink,
}

fn vec_change() -> impl Strategy<Value = VecChange> {
    prop_oneof![
        6 => any::<u32>().prop_map(VecChange::Push),
        3 => Just(VecChange::Pop),
        2 => (any::<usize>(), any::<u32>()).prop_map(|(at, value)| VecChange::Insert(at, value)),
        2 => any::<usize>().prop_map(VecChange::Remove),
        1 => any::<usize>().prop_map(VecChange::Truncate),
        2 => vec(any::<u32>(), 0..300).prop_map(VecChange::Extend),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(from, to)| VecChange::Drain(from, to)),
        1 => Just(VecChange::Shrink),
    ]
}

/// Blocks of any size and alignment: allocate, or resize or free one of those that are there.
type BlockChange = (usize, usize, u32);

fn change_block(
    blocks: &mut std::vec::Vec<(NonNull<u8>, Layout)>,
    alloc: Alloc<'_>,
    change: &BlockChange,
) {
    let (pick, size, power) = *change;
    let layout = Layout::from_size_align(size, 1 << power).unwrap();
    if pick % 3 == 0 || blocks.is_empty() {
        let block = alloc.allocate(layout).unwrap().cast();
        mark(block, layout);
        blocks.push((block, layout));
        return;
    }
    let index = pick % blocks.len();
    let (block, old) = blocks.swap_remove(index);
    assert_marked(block, old, old.size());
    // SAFETY: the block is of this allocator and layout, and is given up.
    unsafe {
        if pick % 3 == 1 {
            alloc.deallocate(block, old);
            return;
        }
        let new = if size >= old.size() {
            alloc.grow(block, old, layout)
        } else {
            alloc.shrink(block, old, layout)
        };
        let new = new.unwrap().cast();
        assert_marked(new, old, size.min(old.size()));
        mark(new, layout);
        blocks.push((new, layout));
    }
}

/// The content of a block follows from its layout.
fn byte(layout: Layout, at: usize) -> u8 {
    (layout.size().wrapping_mul(31) ^ at.wrapping_mul(7)) as u8
}

fn mark(block: NonNull<u8>, layout: Layout) {
    assert_eq!(block.addr().get() % layout.align(), 0);
    for at in 0..layout.size() {
        // SAFETY: the block has as many bytes.
        unsafe { block.add(at).write(byte(layout, at)) };
    }
}

fn assert_marked(block: NonNull<u8>, layout: Layout, bytes: usize) {
    for at in 0..bytes {
        // SAFETY: the block has as many bytes.
        assert_eq!(unsafe { block.add(at).read() }, byte(layout, at));
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn map(changes in vec(map_change(), 0..400)) {
        let segment = segment(8);
        segment.enter(|s| {
            let mut map = HashMap::new_in(s.alloc()).unwrap();
            let mut model = Model::new();
            for change in changes {
                match change {
                    MapChange::Insert(key, text) => {
                        let value = String::from_str_in(&text, s.alloc()).unwrap();
                        let old = map.insert(key, value).unwrap();
                        let expected = model.insert(key, text);
                        prop_assert_eq!(old.as_deref(), expected.as_deref());
                    }
                    MapChange::Remove(key) => {
                        let (old, expected) = (map.remove(&key), model.remove(&key));
                        prop_assert_eq!(old.as_deref(), expected.as_deref());
                    }
                    MapChange::Add(key, letter) => {
                        let text = map.entry(key).unwrap().or_insert_with(|| String::new_in(s.alloc()));
                        text.push_str(letter.encode_utf8(&mut [0; 4])).unwrap();
                        model.entry(key).or_default().push(letter);
                    }
                    MapChange::Retain(divisor) => {
                        map.retain(|key, _| key % divisor == 0);
                        model.retain(|key, _| key % divisor == 0);
                    }
                    MapChange::Clear => {
                        map.clear();
                        model.clear();
                    }
                    MapChange::Shrink => map.shrink_to_fit(),
                    MapChange::Reserve(more) => map.reserve(more).unwrap(),
                }
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.capacity() > 0, "the table is the map's own");
            }
            for (key, text) in &model {
                prop_assert_eq!(map.get(key).map(String::as_str), Some(text.as_str()));
            }
            prop_assert_eq!(map.iter().count(), model.len());
            Ok(())
        })?;
        prop_assert_eq!(blocks(&segment), 0);
        prop_assert!(segment.check().is_ok());
    }

    #[test]
    fn vector(changes in vec(vec_change(), 0..300)) {
        let segment = segment(8);
        segment.enter(|s| {
            let mut numbers = Vec::new_in(s.alloc());
            let mut model = std::vec::Vec::new();
            for change in changes {
                let length = model.len();
                match change {
                    VecChange::Push(value) => { numbers.push(value); model.push(value); }
                    VecChange::Pop => prop_assert_eq!(numbers.pop(), model.pop()),
                    VecChange::Insert(at, value) => {
                        numbers.insert(at % (length + 1), value);
                        model.insert(at % (length + 1), value);
                    }
                    VecChange::Remove(at) if length > 0 => {
                        prop_assert_eq!(numbers.remove(at % length), model.remove(at % length));
                    }
                    VecChange::Remove(_) => {}
                    VecChange::Truncate(to) => {
                        numbers.truncate(to % (length + 1));
                        model.truncate(to % (length + 1));
                    }
                    VecChange::Extend(more) => {
                        numbers.extend_from_slice(&more);
                        model.extend_from_slice(&more);
                    }
                    VecChange::Drain(from, to) => {
                        let to = to % (length + 1);
                        let from = from % (to + 1);
                        let drained: std::vec::Vec<u32> = numbers.drain(from..to).collect();
                        prop_assert_eq!(drained, model.drain(from..to).collect::<std::vec::Vec<_>>());
                    }
                    VecChange::Shrink => numbers.shrink_to_fit(),
                }
                prop_assert_eq!(&numbers[..], &model[..]);
            }
            Ok(())
        })?;
        prop_assert_eq!(blocks(&segment), 0);
    }

    #[test]
    fn allocator(changes in vec((any::<usize>(), 0usize..20_000, 0u32..13), 1..200)) {
        let segment = segment(16);
        segment.enter(|s| {
            let mut live = std::vec::Vec::new();
            for change in &changes {
                change_block(&mut live, s.alloc(), change);
            }
            let with_bytes = live.iter().filter(|(_, layout)| layout.size() > 0).count();
            prop_assert_eq!(blocks(&segment), with_bytes as u64);
            for (block, layout) in live {
                assert_marked(block, layout, layout.size());
                // SAFETY: the block is of this allocator and layout, and is given up.
                unsafe { s.alloc().deallocate(block, layout) };
            }
            Ok(())
        })?;
        prop_assert_eq!(blocks(&segment), 0);
        prop_assert!(segment.check().is_ok());
    }
}
