#![doc = include_str!("../README.md")]
#![cfg_attr(feature = "nightly", feature(allocator_api))]

// What the derive macros write names this crate.
extern crate self as psmalloc;

mod alloc;
mod cell;
mod collections;
mod error;
mod fingerprint;
mod lock;
mod map;
#[cfg(feature = "nightly")]
mod nightly;
mod offset;
mod root;
mod scope;
mod segment;
mod shareable;
mod string;

pub use alloc::Alloc;
pub use cell::SharedCell;
pub use collections::{Box, Vec};
pub use error::{Error, Result};
pub use fingerprint::Fingerprint;
pub use lock::{Lock, LockError, LockGuard, Mutex, MutexGuard, Orphan};
pub use map::{HashMap, Seeded};
pub use offset::Offset;
pub use root::Slot;
pub use scope::Scope;
pub use segment::{Member, Options, Segment, Stat};
pub use shareable::{Plain, Shareable};
pub use string::String;

pub use {allocator_api2, hashbrown, psm_sys};
