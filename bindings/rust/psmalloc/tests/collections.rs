//! Collections in a segment: they work, they use the allocator as they should, they give it back.

use std::alloc::Layout;
use std::fmt::Write as _;
use std::ptr::NonNull;

use psmalloc::allocator_api2::alloc::Allocator;
use psmalloc::{Box, Error, HashMap, String, Vec};

mod common;
use common::{blocks, segment};

#[test]
fn all_memory_comes_back() {
    let segment = segment(4);
    segment.enter(|s| {
        let mut texts = Vec::new_in(s.alloc());
        for number in 0..1000 {
            let mut text = String::new_in(s.alloc());
            write!(text, "number {number}").unwrap();
            texts.push(text);
        }
        assert_eq!(blocks(&segment), 1001);
        assert_eq!(texts[999], "number 999");
        let mut map = HashMap::new_in(s.alloc()).unwrap();
        for text in texts {
            map.insert(Box::try_new_in(text.len(), s.alloc()).unwrap(), text).unwrap();
        }
        assert_eq!(map.len(), 3);
        assert_eq!(map.get(&8).unwrap().len(), 8);
    });
    assert_eq!(blocks(&segment), 0);
    segment.check().unwrap();
}

#[test]
fn a_forgotten_collection_stays_allocated() {
    let segment = segment(1);
    segment.enter(|s| {
        let mut bytes = Vec::with_capacity_in(100, s.alloc());
        bytes.push(1u8);
        std::mem::forget(bytes);
    });
    assert_eq!(blocks(&segment), 1);
}

#[test]
fn what_has_no_bytes_needs_no_block() {
    let segment = segment(1);
    segment.enter(|s| {
        let mut nothing = Vec::new_in(s.alloc());
        nothing.extend([(); 1000]);
        assert_eq!(nothing.len(), 1000);
        let empty: Vec<'_, u64> = Vec::new_in(s.alloc());
        let boxed = Box::try_new_in((), s.alloc()).unwrap();
        assert_eq!(blocks(&segment), 0);
        drop((empty, boxed));

        #[repr(align(4096))]
        struct Page;
        let page = Box::try_new_in(Page, s.alloc()).unwrap();
        assert!((&raw const *page).is_aligned());
        assert_eq!(blocks(&segment), 0);
    });
}

#[test]
fn alignment_survives_every_change_of_size() {
    let segment = segment(16);
    segment.enter(|s| {
        let alloc = s.alloc();
        for power in 0..=16 {
            let align = 1usize << power;
            let layout = |size: usize| Layout::from_size_align(size, align).unwrap();
            let mut old = layout(align.min(40));
            let mut block = alloc.allocate(old).unwrap().cast::<u8>();
            fill(block, old.size());
            for size in [3 * align, 100_000, align, 300_000, 17, 5 * align, 1] {
                let new = layout(size);
                // SAFETY: the block is of this allocator and layout, and is given up.
                block = unsafe {
                    match size >= old.size() {
                        true => alloc.grow(block, old, new),
                        false => alloc.shrink(block, old, new),
                    }
                }
                .unwrap()
                .cast();
                assert_eq!(block.addr().get() % align, 0, "{size} bytes at {align}");
                check(block, size.min(old.size()));
                fill(block, size);
                old = new;
            }
            // SAFETY: as above.
            unsafe { alloc.deallocate(block, old) };
        }
    });
    assert_eq!(blocks(&segment), 0);
}

fn fill(block: NonNull<u8>, size: usize) {
    for at in 0..size {
        // SAFETY: the block has as many bytes.
        unsafe { block.add(at).write((at % 251) as u8) };
    }
}

fn check(block: NonNull<u8>, size: usize) {
    for at in 0..size {
        // SAFETY: the block has as many bytes.
        assert_eq!(unsafe { block.add(at).read() }, (at % 251) as u8);
    }
}

#[test]
fn grow_and_shrink_change_a_block_in_place_where_realloc_does() {
    let segment = segment(4);
    segment.enter(|s| {
        let mut numbers = Vec::with_capacity_in(10, s.alloc());
        numbers.extend(0..5u8);
        let place = numbers.as_ptr();
        numbers.reserve_exact(11); // the block has 16 bytes
        assert_eq!((numbers.as_ptr(), numbers.capacity()), (place, 16));

        let mut large = Vec::with_capacity_in(1 << 20, s.alloc());
        large.push(1u8);
        let place = large.as_ptr();
        large.shrink_to(1 << 19);
        large.reserve_exact(1 << 20);
        assert_eq!(large.as_ptr(), place, "a large block shrinks and grows where it is");
    });
}

#[test]
fn zeroed_memory_is_zero() {
    let segment = segment(1);
    segment.enter(|s| {
        let alloc = s.alloc();
        for align in [8, 64] {
            let small = Layout::from_size_align(100, align).unwrap();
            let large = Layout::from_size_align(5000, align).unwrap();
            for layout in [small, large] {
                let dirty = alloc.allocate(layout).unwrap().cast();
                fill(dirty, layout.size());
                // SAFETY: the block is of this layout, and is given up.
                unsafe { alloc.deallocate(dirty, layout) };
            }
            let block = alloc.allocate_zeroed(small).unwrap();
            // SAFETY: the block is of this layout, and has as many bytes after.
            unsafe {
                assert_eq!(block.as_ref(), [0; 100]);
                let block = alloc.grow_zeroed(block.cast(), small, large).unwrap();
                assert_eq!(block.as_ref(), [0; 5000]);
                alloc.deallocate(block.cast(), large);
            }
        }
    });
}

#[test]
fn a_full_segment_is_an_error() {
    let segment = segment(1);
    segment.enter(|s| {
        let mut map = HashMap::new_in(s.alloc()).unwrap();
        let error = (0u64..).find_map(|number| map.insert(number, [0u64; 16]).err()).unwrap();
        assert!(matches!(&error, Error::NoMemory(_)), "{error}");
        assert_eq!(error.code(), Some(psmalloc::psm_sys::PSM_E_NOMEM));
        assert!(!error.sentence().is_empty());
        let entries = map.len() as u64;
        assert!(entries > 1000 && (0..entries).all(|number| map.contains_key(&number)));
        let mut text = String::from_str_in("short", s.alloc()).unwrap();
        assert!(matches!(text.push_str(&"x".repeat(1 << 20)), Err(Error::NoMemory(_))));
        assert_eq!(text, "short");
        let mut numbers: Vec<'_, u64> = Vec::new_in(s.alloc());
        assert!(numbers.try_reserve(1 << 20).is_err());
    });
    assert_eq!(blocks(&segment), 0);
}

#[test]
fn a_text_is_cut_between_characters_only() {
    let segment = segment(1);
    segment.enter(|s| {
        let mut text = String::from_str_in("a\u{e4}b", s.alloc()).unwrap();
        text.truncate(100);
        text.truncate(3);
        assert_eq!(text, "a\u{e4}");
        let cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| text.truncate(2)));
        assert!(cut.is_err());
        text.clear();
        assert!(text.is_empty() && text.capacity() >= 3);
    });
}

#[test]
fn any_thread_allocates_and_frees() {
    let segment = segment(16);
    segment.enter(|s| {
        let boxes = std::thread::scope(|threads| {
            let makers: std::vec::Vec<_> = (0..4u64)
                .map(|maker| {
                    threads.spawn(move || {
                        let mut made = Vec::new_in(s.alloc());
                        made.extend((0..1000).map(|i| Box::new_in(maker * 1000 + i, s.alloc())));
                        made
                    })
                })
                .collect();
            makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect::<std::vec::Vec<_>>()
        });
        assert_eq!(boxes.iter().map(|number| **number).sum::<u64>(), (0..4000).sum());
        std::thread::scope(|threads| {
            threads.spawn(move || drop(boxes));
        });
    });
    assert_eq!(blocks(&segment), 0);
    segment.check().unwrap();
}
