//! Typed sharing within one process: roots, fingerprints, slots, cells, offsets, locks.

use std::mem::align_of;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use psmalloc::{
    Error, Fingerprint, HashMap, Lock, LockError, Mutex, Offset, Plain, Segment, Shareable,
    SharedCell, Slot, String, Vec,
};

mod common;
use common::{blocks, name, segment};

#[derive(Shareable)]
struct Root<'s> {
    count: AtomicU64,
    names: Mutex<Vec<'s, String<'s>>>,
    late: Slot<'s, HashMap<'s, u64, u64>>,
}

impl Root<'_> {
    fn make(s: psmalloc::Scope<'_>) -> Root<'_> {
        let names = Mutex::new(Vec::new_in(s.alloc()));
        Root { count: AtomicU64::new(0), names, late: Slot::new() }
    }
}

#[test]
fn all_who_ask_get_one_root() {
    let segment = segment(1);
    let again = Segment::options().open(segment.name()).unwrap();
    segment.enter(|s| {
        assert!(s.root::<Root>().unwrap().is_none());
        let root = s.root_or_init(|| Root::make(s)).unwrap();
        root.count.fetch_add(1, Ordering::Relaxed);
        let name = String::from_str_in("first", s.alloc()).unwrap();
        root.names.lock(s).unwrap().push(name);
        again.enter(|t| {
            let same = t.root_or_init::<Root>(|| unreachable!("there is a root")).unwrap();
            assert_eq!((&raw const *same).addr(), (&raw const *root).addr());
            assert_eq!(same.count.load(Ordering::Relaxed), 1);
            assert_eq!(same.names.lock(t).unwrap()[0], "first");
        });
    });
}

#[test]
fn a_root_that_could_not_be_made_is_made_by_the_next() {
    let segment = segment(1);
    segment.enter(|s| {
        let refused =
            s.root_or_try_init::<Root, Error>(|| Err(Error::NoMemory("for a test".into())));
        assert_eq!(refused.err(), Some(Error::NoMemory("for a test".into())));
        let panics =
            std::panic::AssertUnwindSafe(|| s.root_or_init::<Root>(|| panic!("for a test")));
        assert!(std::panic::catch_unwind(panics).is_err());
        assert!(s.root::<Root>().unwrap().is_none());
        s.root_or_init(|| Root::make(s)).unwrap();
    });
    assert_eq!(blocks(&segment), 2, "the header and the root");
}

#[test]
fn threads_that_race_for_the_root_find_one() {
    for _ in 0..50 {
        let segment = segment(1);
        segment.enter(|s| {
            let places: std::vec::Vec<usize> = std::thread::scope(|threads| {
                let racers: std::vec::Vec<_> = (0..4)
                    .map(|_| {
                        threads.spawn(move || {
                            (&raw const *s.root_or_init(|| Root::make(s)).unwrap()).addr()
                        })
                    })
                    .collect();
                racers.into_iter().map(|racer| racer.join().unwrap()).collect()
            });
            assert!(places.iter().all(|place| *place == places[0]));
        });
        assert_eq!(blocks(&segment), 2);
    }
}

#[test]
fn a_root_of_another_layout_is_refused() {
    #[derive(Shareable)]
    #[repr(C)]
    struct Pair {
        one: AtomicU64,
        two: AtomicU64,
    }
    mod other {
        #[derive(psmalloc::Shareable)]
        #[repr(C)]
        pub(crate) struct Pair {
            pub(crate) two: super::AtomicU64,
            pub(crate) one: super::AtomicU64,
        }
    }
    let segment = segment(1);
    segment.enter(|s| {
        s.root_or_init(|| Pair { one: 1.into(), two: 2.into() }).unwrap();
        let error = s.root::<other::Pair>().err().unwrap();
        assert!(matches!(&error, Error::Layout(_)));
        assert!(error.sentence().contains("Pair") && error.code().is_none(), "{error}");
        let error = s.root_or_init(|| other::Pair { two: 2.into(), one: 1.into() }).err().unwrap();
        assert!(matches!(error, Error::Layout(_)));
        assert_eq!(s.root::<Pair>().unwrap().unwrap().two.load(Ordering::Relaxed), 2);
    });
    assert_eq!(blocks(&segment), 2);
}

#[test]
fn fingerprints_differ_where_layouts_do() {
    #[derive(Shareable)]
    #[repr(C)]
    struct Item {
        key: u32,
        value: u32,
    }
    mod variants {
        use psmalloc::Shareable;
        pub(crate) mod wider {
            #[derive(super::Shareable)]
            #[repr(C)]
            pub(crate) struct Item {
                pub(crate) key: u32,
                pub(crate) value: u64,
            }
        }
        pub(crate) mod renamed {
            #[derive(super::Shareable)]
            #[repr(C)]
            pub(crate) struct Item {
                pub(crate) key: u32,
                pub(crate) number: u32,
            }
        }
        pub(crate) mod signed {
            #[derive(super::Shareable)]
            #[repr(C)]
            pub(crate) struct Item {
                pub(crate) key: u32,
                pub(crate) value: i32,
            }
        }
        pub(crate) mod ours {
            #[derive(super::Shareable)]
            pub(crate) struct Item {
                pub(crate) key: u32,
                pub(crate) value: u32,
            }
        }
        pub(crate) mod newer {
            #[derive(super::Shareable)]
            #[shareable(version = 2)]
            #[repr(C)]
            pub(crate) struct Item {
                pub(crate) key: u32,
                pub(crate) value: u32,
            }
        }
        pub(crate) mod same {
            #[derive(super::Shareable)]
            #[repr(C)]
            pub(crate) struct Item {
                pub(crate) key: u32,
                pub(crate) value: u32,
            }
        }
    }
    use variants::{newer, ours, renamed, same, signed, wider};
    let item = Fingerprint::of::<Item>();
    assert_eq!(item, Fingerprint::of::<same::Item>());
    let others = [
        Fingerprint::of::<wider::Item>(),
        Fingerprint::of::<renamed::Item>(),
        Fingerprint::of::<signed::Item>(),
        Fingerprint::of::<ours::Item>(),
        Fingerprint::of::<newer::Item>(),
        Fingerprint::of::<[Item; 1]>(),
        Fingerprint::of::<(Item,)>(),
        Fingerprint::of::<Option<Item>>(),
        Fingerprint::of::<Vec<'_, Item>>(),
        Fingerprint::of::<Mutex<Item>>(),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_ne!(item, *other, "number {index}");
        assert!(!others[..index].contains(other), "number {index}");
    }
}

#[test]
fn a_type_may_lead_to_itself() {
    #[derive(Shareable)]
    #[repr(C)]
    struct Node {
        next: AtomicPtr<Node>,
        back: Offset<Node>,
        value: u64,
    }
    assert_eq!(Fingerprint::of::<Node>(), Fingerprint::of::<Node>());
    assert_ne!(Fingerprint::of::<Node>(), Fingerprint::of::<AtomicPtr<Node>>());
}

#[test]
fn a_user_word_of_another_program_is_left_alone() {
    let segment = segment(1);
    segment.enter(|s| {
        // SAFETY: nobody else uses this segment.
        let word = unsafe { s.user_word::<u8>() };
        s.alloc_to(1000, word).unwrap();
        let block = word.load(Ordering::Relaxed);
        // SAFETY: the block is ours and has 1000 bytes.
        unsafe { block.write_bytes(7, 1000) };
        assert!(matches!(s.root::<Root>(), Err(Error::Foreign(_))));
        assert!(matches!(s.root_or_init(|| Root::make(s)), Err(Error::Foreign(_))));
        word.store(s.base().cast(), Ordering::Relaxed);
        assert!(matches!(s.root::<Root>(), Err(Error::Foreign(_))));
        word.store(block, Ordering::Relaxed);
        // SAFETY: as above.
        assert!(unsafe { std::slice::from_raw_parts(block, 1000) }.iter().all(|byte| *byte == 7));
        // SAFETY: nobody uses the block.
        unsafe { s.free_from(word) }.unwrap();
    });
    assert_eq!(blocks(&segment), 0);
}

#[test]
fn a_value_that_wants_more_alignment_gets_it() {
    #[derive(Shareable)]
    #[repr(C, align(256))]
    struct Wide {
        value: u64,
    }
    let segment = segment(1);
    segment.enter(|s| {
        let root: &Slots<'_, Wide> =
            s.root_or_init(|| Slots(std::array::from_fn(|_| Slot::new()))).unwrap();
        for (index, slot) in root.0.iter().enumerate() {
            let wide = slot.get_or_init(s, || Wide { value: index as u64 }).unwrap();
            assert_eq!((&raw const *wide).addr() % align_of::<Wide>(), 0);
            assert_eq!(slot.get().unwrap().value, index as u64);
        }
    });
}

#[derive(Shareable)]
struct Slots<'s, T: Shareable<'s>>([Slot<'s, T>; 20]);

#[test]
fn a_slot_outside_of_the_segment_is_refused() {
    let segment = segment(1);
    segment.enter(|s| {
        let slot = Slot::<u64>::new();
        assert!(matches!(slot.get_or_init(s, || 1), Err(Error::Invalid(_))));
        let mutex = Mutex::new(1u64);
        assert!(matches!(mutex.lock(s), Err(LockError::Failed(Error::Invalid(_)))));
        assert!(Lock::new().lock(s).is_err());
        assert!(matches!(Lock::new().try_lock(s), Err(Error::Invalid(_))));
        assert!(s.alloc_to(8, &AtomicPtr::<u8>::default()).is_err());
    });
    assert_eq!(blocks(&segment), 0);
}

#[derive(Clone, Copy, Debug, PartialEq, Shareable, Plain)]
#[repr(C)]
struct Triple {
    letter: [u8; 8],
    nothing: (),
    position: [f32; 2],
    count: u64,
}

#[test]
fn cells_are_copied_and_read_only_members_copy_the_root() {
    let name = name();
    let segment = Segment::options().size(1 << 20).open(&name).unwrap();
    let first = Triple { letter: *b"abcdefgh", nothing: (), position: [1.5, -2.5], count: 7 };
    segment.enter(|s| {
        let cell = s.root_or_init(|| SharedCell::new(first)).unwrap();
        assert_eq!(cell.get(), first);
        cell.set(Triple { count: 8, ..first });
        assert_eq!(cell.get().count, 8);
        // SAFETY: the cell's own bytes, which are only touched by cells.
        assert_eq!(unsafe { SharedCell::from_ptr(cell.as_ptr()) }.get(), cell.get());
    });
    let small = [SharedCell::new(1u8), SharedCell::new(2u8)];
    small[0].set(9);
    assert_eq!((small[0].get(), small[1].get()), (9, 2));
    assert_eq!(SharedCell::new([1u16, 2, 3]).get(), [1, 2, 3]);
}

#[test]
fn large_pages_come_whole() {
    let committed = [false, true].map(|large| {
        let segment = Segment::options().size(128 << 20).large_pages(large).open(&name()).unwrap();
        segment.enter(|s| assert_eq!(s.root_or_init(|| SharedCell::new(1u8)).unwrap().get(), 1));
        segment.stat().unwrap().committed
    });
    assert!(committed[1] >= committed[0] + (1 << 19), "{committed:?}");
}

#[test]
fn a_plain_segment_opened_twice_is_one_segment() {
    let segment = segment(1);
    let again = Segment::options().join(true).open(segment.name()).unwrap();
    assert_eq!(segment.base(), again.base());
    assert_eq!(segment.id().unwrap(), again.id().unwrap());
    assert!(matches!(
        Segment::options().exclusive(true).size(1 << 20).open(segment.name()),
        Err(Error::Exists(_))
    ));
    assert!(matches!(Segment::options().join(true).open(&name()), Err(Error::NotFound(_))));
    assert!(matches!(Segment::options().open("a\0b"), Err(Error::Name(_))));
    assert!(matches!(Segment::options().size(2 << 20).open(segment.name()), Err(Error::Size(_))));
}

#[test]
fn the_last_clone_leaves() {
    let segment = segment(1);
    let file = format!("/dev/shm/{}", segment.name().strip_prefix("shm:").unwrap());
    let clone = segment.clone();
    drop(segment);
    assert!(std::fs::exists(&file).unwrap());
    clone.enter(|s| drop(String::from_str_in("still here", s.alloc()).unwrap()));
    drop(clone);
    assert!(!std::fs::exists(&file).unwrap());
}

#[test]
fn a_kept_segment_keeps_its_root() {
    let name = name();
    let options = || Segment::options().size(1 << 20).keep(true);
    options().open(&name).unwrap().enter(|s| {
        let root = s.root_or_init(|| Root::make(s)).unwrap();
        let map = root.late.get_or_try_init(s, || HashMap::new_in(s.alloc())).unwrap();
        assert!(map.is_empty());
        root.names.lock(s).unwrap().push(String::from_str_in("kept", s.alloc()).unwrap());
    });
    options().open(&name).unwrap().enter(|s| {
        let root = s.root::<Root>().unwrap().unwrap();
        assert_eq!(root.names.lock(s).unwrap()[0], "kept");
        assert_eq!(root.late.get().unwrap().get(&1), None);
    });
    std::fs::remove_file(format!("/dev/shm/{}", &name[4..])).unwrap();
}

#[test]
fn offsets_are_looked_at_before_they_are_addresses() {
    let segment = segment(1);
    segment.enter(|s| {
        let value = psmalloc::Box::try_new_in(7u64, s.alloc()).unwrap();
        let offset = Offset::of(s, &raw const *value).unwrap();
        assert_eq!(offset.address(s).unwrap().addr(), s.base().addr() + offset.bytes() as usize);
        assert_eq!(offset.address(s).unwrap().addr(), (&raw const *value).addr());
        assert!(Offset::<u64>::NULL.address(s).unwrap().is_null());
        assert!(Offset::of(s, std::ptr::null::<u64>()).unwrap() == Offset::NULL);
        let root = s.root_or_init(|| AtomicU64::new(0)).unwrap();
        assert!(Offset::of(s, &raw const *root).unwrap() != Offset::NULL);
        let outside = 1u64;
        assert!(matches!(Offset::of(s, &raw const outside), Err(Error::Pointer(_))));
        assert!(matches!(Offset::<u64>::new(1 << 20).address(s), Err(Error::Pointer(_))));
        assert!(matches!(Offset::<u64>::new((1 << 20) - 4).address(s), Err(Error::Pointer(_))));
        assert!(matches!(Offset::<u64>::new(u64::MAX - 3).address(s), Err(Error::Pointer(_))));
        let crooked = Offset::<u64>::new(offset.bytes() + 4).address(s);
        assert!(matches!(crooked, Err(Error::Invalid(_))));
    });
}

#[test]
fn a_mutex_excludes_threads_and_a_panic_within_it_is_seen() {
    let segment = segment(1);
    segment.enter(|s| {
        let mutex = s.root_or_init(|| Mutex::new([0u64; 2])).unwrap();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(move || {
                    for _ in 0..5000 {
                        let mut pair = mutex.lock(s).unwrap();
                        pair[0] += 1;
                        assert_eq!(pair[0], pair[1] + 1);
                        pair[1] += 1;
                    }
                });
            }
        });
        let guard = mutex.try_lock(s).unwrap();
        assert_eq!(*guard, [20_000; 2]);
        let held = mutex.try_lock(s).unwrap_err();
        assert!(matches!(held, LockError::Failed(Error::State(_))), "{held}");
        drop(guard);

        let panics = std::panic::AssertUnwindSafe(|| {
            let mut pair = mutex.lock(s).unwrap();
            pair[0] = 1;
            panic!("for a test");
        });
        assert!(std::panic::catch_unwind(panics).is_err());
        for _ in 0..2 {
            // Who does not repair it leaves it as it is.
            let error = Error::from(mutex.lock(s).unwrap_err());
            assert!(matches!(&error, Error::OwnerDied(_)), "{error}");
        }
        let Err(LockError::OwnerDied(orphan)) = mutex.lock(s) else { panic!("it was repaired") };
        let panics = std::panic::AssertUnwindSafe(|| drop(orphan.repair(|_| panic!("for a test"))));
        assert!(std::panic::catch_unwind(panics).is_err());
        let Err(LockError::OwnerDied(orphan)) = mutex.try_lock(s) else {
            panic!("it was repaired")
        };
        let guard = orphan.repair(|pair| pair[1] = pair[0]);
        assert_eq!(*guard, [1, 1]);
        drop(guard);
        assert_eq!(*mutex.lock(s).unwrap(), [1, 1]);
    });
}

#[test]
fn figures_and_upkeep() {
    let segment = segment(8);
    segment.enter(|s| drop(Vec::<u8>::with_capacity_in(4 << 20, s.alloc())));
    assert!(segment.trim().unwrap() >= 4 << 20);
    assert_eq!(segment.reap().unwrap(), 0);
    let members = segment.members().unwrap();
    assert_eq!((members.len(), members[0].pid), (1, std::process::id()));
    assert_eq!(members[0].id, segment.id().unwrap());
    assert!(segment.is_alive(members[0].id).unwrap() && !segment.is_alive(12345).unwrap());
    assert!(segment.deaths(&mut 0).unwrap().is_empty());
    assert!(matches!(segment.deaths(&mut 99), Err(Error::Invalid(_))));
    assert!(format!("{segment:?}").contains("psmalloc-test"));
}

#[test]
fn what_must_go_to_threads_can() {
    fn both<T: Send + Sync>() {}
    both::<Segment>();
    both::<psmalloc::Scope>();
    both::<psmalloc::Alloc>();
    both::<Error>();
    both::<HashMap<String, Vec<u64>>>();
    both::<Mutex<std::cell::Cell<u64>>>();
}
