//! The distance of a value from the base of its segment.

use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;

use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::scope::Scope;
use crate::shareable::{Plain, Shareable};

/// Where a `T` lies in a segment, counted in bytes from its base; 0 is nowhere.
///
/// Inside a segment an ordinary pointer says the same and is quicker. An offset is for what
/// leaves it: a message to another process, a file, a language without pointers.
#[repr(transparent)]
pub struct Offset<T> {
    bytes: u64,
    kind: PhantomData<fn() -> T>,
}

impl<T> Offset<T> {
    /// Nowhere.
    pub const NULL: Offset<T> = Offset::new(0);

    /// So many bytes from the base.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Offset { bytes, kind: PhantomData }
    }

    /// The offset of an address.
    ///
    /// # Errors
    ///
    /// [`Error::Pointer`]: it is not in the segment.
    pub fn of(scope: Scope<'_>, address: *const T) -> Result<Self> {
        // SAFETY: the segment of a scope is open; the address is not followed.
        match unsafe { psm_sys::PSMoffset(scope.handle(), address.cast()) } {
            0 if !address.is_null() => Err(Error::last()),
            bytes => Ok(Offset::new(bytes)),
        }
    }

    /// The bytes from the base.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.bytes
    }

    /// The address, for a `T` that lies wholly in the segment and is aligned; NULL for nowhere.
    ///
    /// What is there, and whether it is a `T` at all, `unsafe` code must know.
    ///
    /// # Errors
    ///
    /// [`Error::Pointer`] if it is not in the segment, [`Error::Invalid`] if it is not aligned.
    pub fn address(self, scope: Scope<'_>) -> Result<*mut T> {
        if self.bytes == 0 {
            return Ok(std::ptr::null_mut());
        }
        let at = |bytes: u64| -> Result<*mut c_void> {
            // SAFETY: the segment of a scope is open.
            let address = unsafe { psm_sys::PSMaddress(scope.handle(), bytes) };
            if address.is_null() { Err(Error::last()) } else { Ok(address) }
        };
        let address = at(self.bytes)?.cast::<T>();
        let last = (size_of::<T>() as u64).saturating_sub(1);
        at(self.bytes.saturating_add(last))?;
        if !address.is_aligned() {
            return Err(Error::invalid(format!(
                "offset {} is no multiple of {}, the alignment of {}",
                self.bytes,
                align_of::<T>(),
                std::any::type_name::<T>()
            )));
        }
        Ok(address)
    }
}

impl<T> Clone for Offset<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Offset<T> {}

impl<T> PartialEq for Offset<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for Offset<T> {}

impl<T> fmt::Debug for Offset<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offset({})", self.bytes)
    }
}

// SAFETY: it is a number.
unsafe impl<'s, T: Shareable<'s>> Shareable<'s> for Offset<T> {
    fn describe(of: &mut Fingerprint) {
        of.text("Offset").visit::<T>();
    }
}

// SAFETY: it is a number, which is looked at before it becomes an address.
unsafe impl<T: 'static> Plain for Offset<T> {}
