//! Text in a segment.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use crate::alloc::Alloc;
use crate::collections::Vec;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::shareable::Shareable;

/// A `String` in a segment. It is a `str` for all that only reads, also as the key of a map.
pub struct String<'s> {
    /// Always UTF-8.
    bytes: Vec<'s, u8>,
}

impl<'s> String<'s> {
    /// An empty text, without a block.
    #[must_use]
    pub fn new_in(alloc: Alloc<'s>) -> Self {
        String { bytes: Vec::new_in(alloc) }
    }

    /// A copy of a text.
    ///
    /// # Errors
    ///
    /// [`Error::NoMemory`], [`Error::NoSpace`], [`Error::ReadOnly`].
    pub fn from_str_in(text: &str, alloc: Alloc<'s>) -> Result<Self> {
        let mut string = String::new_in(alloc);
        string.bytes.try_reserve_exact(text.len()).map_err(|_| Error::last())?;
        string.bytes.extend_from_slice(text.as_bytes());
        Ok(string)
    }

    /// Adds a text at the end.
    ///
    /// # Errors
    ///
    /// As [`String::from_str_in`]; the text is then as it was.
    pub fn push_str(&mut self, text: &str) -> Result<()> {
        self.bytes.try_reserve(text.len()).map_err(|_| Error::last())?;
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Cuts it to its first `length` bytes; a greater length does nothing.
    ///
    /// # Panics
    ///
    /// If that is within a character.
    pub fn truncate(&mut self, length: usize) {
        if length < self.len() {
            assert!(self.is_char_boundary(length), "{length} is within a character");
            self.bytes.truncate(length);
        }
    }

    /// Makes it empty, and keeps its block.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// How many bytes it can have in its block.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The text.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        // SAFETY: all that is ever added is text, and it is cut between characters.
        unsafe { std::str::from_utf8_unchecked(&self.bytes) }
    }
}

impl Deref for String<'_> {
    type Target = str;
    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for String<'_> {
    #[inline]
    fn borrow(&self) -> &str {
        self
    }
}

impl AsRef<str> for String<'_> {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Hash for String<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialEq for String<'_> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for String<'_> {}

impl PartialEq<str> for String<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for String<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for String<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for String<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other)
    }
}

impl fmt::Debug for String<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for String<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Write for String<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text).map_err(|_| fmt::Error)
    }
}

// SAFETY: it is a vector of bytes.
unsafe impl<'s> Shareable<'s> for String<'s> {
    fn describe(of: &mut Fingerprint) {
        of.compiler().text("String").visit::<Vec<'s, u8>>();
    }
}
