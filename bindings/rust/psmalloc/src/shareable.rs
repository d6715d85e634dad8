//! What may lie in a segment, and what any bytes are a value of.

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, offset_of};
use std::num;
use std::sync::atomic;

pub use psmalloc_derive::{Plain, Shareable};

use crate::fingerprint::Fingerprint;

/// Types whose values may lie in a segment and be used by every process.
///
/// Implement it by the derive macro, which checks that every field is shareable:
///
/// ```
/// use psmalloc::{HashMap, Mutex, Shareable, String};
/// use std::sync::atomic::AtomicU64;
///
/// #[derive(Shareable)]
/// struct Index<'s> {
///     served: AtomicU64,
///     words: Mutex<HashMap<'s, String<'s>, u64>>,
/// }
/// ```
///
/// A reference, a process's own pointer, a function or a `dyn` type is refused, because it means
/// nothing in another process:
///
/// ```compile_fail
/// #[derive(psmalloc::Shareable)]
/// struct Wrong {
///     name: &'static str, // use psmalloc::String
/// }
/// ```
///
/// ```compile_fail
/// #[derive(psmalloc::Shareable)]
/// struct Wrong {
///     callback: fn(u64) -> u64,
/// }
/// ```
///
/// ```compile_fail
/// #[derive(psmalloc::Shareable)]
/// struct Wrong {
///     next: *mut u64, // use AtomicPtr or Offset
/// }
/// ```
///
/// The hasher of a map must be the same everywhere, so one with keys of this process is refused:
///
/// ```compile_fail
/// fn shared<'s, T: psmalloc::Shareable<'s>>() {}
/// fn check<'s>() {
///     shared::<psmalloc::HashMap<'s, u64, u64, std::hash::RandomState>>();
/// }
/// ```
///
/// So is a bare `hashbrown` map: an empty one points to a constant of this program. The map of
/// this crate always has a table of its own.
///
/// ```compile_fail
/// fn shared<'s, T: psmalloc::Shareable<'s>>() {}
/// fn check<'s>() {
///     shared::<hashbrown::HashMap<u64, u64, psmalloc::Seeded, psmalloc::Alloc<'s>>>();
/// }
/// ```
///
/// `'s` is the scope of the segment whose blocks a value may point to; types without pointers are
/// shareable in any.
///
/// # Safety
///
/// A value must mean the same in every process that has mapped the segment at its address and
/// agrees on [`Fingerprint::of`] the type: all that it points to lies in the segment of `'s`, and
/// nothing in it (an address of code, a key of this process, a file descriptor) is this process's
/// own. [`Shareable::describe`] must tell apart any two layouts. A type that has further rules
/// for its bytes, which `unsafe` code relies on, must change its description with them; the
/// derive macro takes `#[shareable(version = 2)]` for it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` may not lie in a segment that processes share",
    note = "references, pointers of one process, functions, `dyn` types and their like are not shareable",
    note = "#[derive(psmalloc::Shareable)] makes a struct shareable whose fields all are"
)]
pub unsafe trait Shareable<'s>: Sized {
    /// Tells a fingerprint what decides how the type lies in memory.
    fn describe(of: &mut Fingerprint);
}

/// Types of which any bytes are a value, and that have no padding.
///
/// They can be copied while another process writes them, and they are sound after a process was
/// killed in the middle of a change (their meaning may not be). Implement it by the derive macro,
/// which checks `repr(C)`, every field, and that there is no padding.
///
/// ```compile_fail
/// #[derive(Clone, Copy, psmalloc::Shareable, psmalloc::Plain)]
/// #[repr(C)]
/// struct Wrong {
///     small: u32,
///     large: u64, // four bytes of padding before it
/// }
/// ```
///
/// # Safety
///
/// Every bit pattern is a valid value, no byte is padding, and there is no interior mutability.
#[diagnostic::on_unimplemented(
    message = "not every sequence of bytes is a `{Self}`",
    note = "#[derive(psmalloc::Plain)] works for a repr(C) struct of numbers, arrays and such structs"
)]
pub unsafe trait Plain: Copy + Send + Sync + 'static {}

macro_rules! primitives {
    ($($kind:ty),*) => {$(
        // SAFETY: it has no pointer, and its name says how it lies in memory.
        unsafe impl Shareable<'_> for $kind {
            fn describe(of: &mut Fingerprint) {
                of.text(stringify!($kind));
            }
        }
    )*};
}

primitives!(
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    bool,
    char,
    ()
);
primitives!(num::NonZeroU8, num::NonZeroU16, num::NonZeroU32, num::NonZeroU64, num::NonZeroUsize);
primitives!(num::NonZeroI8, num::NonZeroI16, num::NonZeroI32, num::NonZeroI64, num::NonZeroIsize);
primitives!(atomic::AtomicU8, atomic::AtomicU16, atomic::AtomicU32, atomic::AtomicU64);
primitives!(atomic::AtomicI8, atomic::AtomicI16, atomic::AtomicI32, atomic::AtomicI64);
primitives!(atomic::AtomicUsize, atomic::AtomicIsize, atomic::AtomicBool);

macro_rules! plain {
    ($($kind:ty),*) => {$(
        // SAFETY: any bits are one of these numbers, and it has no padding.
        unsafe impl Plain for $kind {}
    )*};
}

plain!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64, ());

// SAFETY: the pointer is followed by `unsafe` code only, which answers for where it leads.
unsafe impl<'s, T: Shareable<'s>> Shareable<'s> for atomic::AtomicPtr<T> {
    fn describe(of: &mut Fingerprint) {
        of.text("AtomicPtr").visit::<T>();
    }
}

// SAFETY: there is nothing in it.
unsafe impl<'s, T: Shareable<'s>> Shareable<'s> for PhantomData<T> {
    fn describe(of: &mut Fingerprint) {
        of.text("PhantomData").visit::<T>();
    }
}

// SAFETY: it is its elements, one after the other.
unsafe impl<'s, T: Shareable<'s>, const N: usize> Shareable<'s> for [T; N] {
    fn describe(of: &mut Fingerprint) {
        of.text("array").number(N).visit::<T>();
    }
}

// SAFETY: it is its elements, one after the other.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

// SAFETY: the niche, if there is one, is the compiler's choice, which is described.
unsafe impl<'s, T: Shareable<'s>> Shareable<'s> for Option<T> {
    fn describe(of: &mut Fingerprint) {
        of.compiler().text("Option").visit::<T>();
    }
}

// SAFETY: it is laid out as its content.
unsafe impl<'s, T: Shareable<'s>> Shareable<'s> for ManuallyDrop<T> {
    fn describe(of: &mut Fingerprint) {
        of.text("ManuallyDrop").visit::<T>();
    }
}

macro_rules! tuples {
    ($(($($kind:ident $index:tt),*))*) => {$(
        // SAFETY: the compiler's choice of the offsets is described.
        unsafe impl<'s, $($kind: Shareable<'s>),*> Shareable<'s> for ($($kind,)*) {
            fn describe(of: &mut Fingerprint) {
                of.compiler().text("tuple");
                $(
                    of.number(offset_of!(Self, $index));
                    of.visit::<$kind>();
                )*
            }
        }
    )*};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
}
