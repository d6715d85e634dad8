//! One error type: a kind, and the sentence of the C library.

use std::ffi::{CStr, c_int};
use std::fmt;

/// The result of the calls of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! errors {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:ident,)*) => {
        /// What went wrong, with a sentence that says what was wrong and what to do.
        ///
        /// Each variant holds the sentence of the C library for this failure, which names the file,
        /// address or size in question. [`Error::Layout`], [`Error::Foreign`] and
        /// [`Error::OwnerDied`] are of this crate.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Error {
            $($(#[doc = $doc])+ $variant(Box<str>),)*
            /// The root was made as another type, or by a build that lays it out differently.
            Layout(Box<str>),
            /// The user word of the segment does not lead to a root of this crate.
            Foreign(Box<str>),
            /// The owner of a lock died within it, and nobody has repaired what it guards.
            OwnerDied(Box<str>),
        }

        impl Error {
            /// The sentence.
            #[must_use]
            pub fn sentence(&self) -> &str {
                match self {
                    $(Error::$variant(sentence) => sentence,)*
                    Error::Layout(sentence) | Error::Foreign(sentence) | Error::OwnerDied(sentence) => sentence,
                }
            }

            /// The `PSM_E_` code; `None` for the errors of this crate.
            #[must_use]
            pub fn code(&self) -> Option<c_int> {
                match self {
                    $(Error::$variant(_) => Some(psm_sys::$code),)*
                    Error::Layout(_) | Error::Foreign(_) | Error::OwnerDied(_) => None,
                }
            }

            /// The error of a negative result; its sentence is that of this thread's last error.
            pub(crate) fn from_code(code: c_int) -> Error {
                // SAFETY: the string is never NULL, and stays until the next failure of this thread.
                let sentence = unsafe { CStr::from_ptr(psm_sys::PSMerrorString(code)) };
                let sentence = sentence.to_string_lossy().into();
                match code {
                    $(psm_sys::$code => Error::$variant(sentence),)*
                    _ => Error::System(sentence),
                }
            }
        }
    };
}

errors! {
    /// An argument is out of its range.
    Invalid = PSM_E_INVALID,
    /// No open segment of this process.
    Handle = PSM_E_HANDLE,
    /// The name is empty, too long, or leads nowhere.
    Name = PSM_E_NAME,
    /// The size is too small, too large, or not the segment's.
    Size = PSM_E_SIZE,
    /// The address range is not to be had.
    Address = PSM_E_ADDRESS,
    /// All 1024 seats are taken.
    Members = PSM_E_MEMBERS,
    /// The segment is full.
    NoMemory = PSM_E_NOMEM,
    /// The file system is full.
    NoSpace = PSM_E_NOSPACE,
    /// The file's permissions forbid it.
    Access = PSM_E_ACCESS,
    /// The name is that of a directory, a pipe or a device.
    FileType = PSM_E_FILETYPE,
    /// The file is not a segment.
    Format = PSM_E_FORMAT,
    /// A segment of another format version.
    Version = PSM_E_VERSION,
    /// A segment of another word size or byte order.
    Platform = PSM_E_PLATFORM,
    /// A segment that was cut or has grown.
    Truncated = PSM_E_TRUNCATED,
    /// The metadata contradicts itself.
    Corrupt = PSM_E_CORRUPT,
    /// No block begins at this address, or it is not in the segment.
    Pointer = PSM_E_POINTER,
    /// The block is free already.
    DoubleFree = PSM_E_DOUBLE_FREE,
    /// Exclusive creation, and it exists.
    Exists = PSM_E_EXISTS,
    /// To join only, and there is none.
    NotFound = PSM_E_NOT_FOUND,
    /// The segment was opened read-only.
    ReadOnly = PSM_E_READONLY,
    /// Not now: a lock that is held, or not by this process; deaths that were missed.
    State = PSM_E_STATE,
    /// The operating system refused.
    System = PSM_E_SYSTEM,
}

impl Error {
    /// The calling thread's last error in the C library.
    pub(crate) fn last() -> Error {
        // SAFETY: it reads a variable of this thread.
        Error::from_code(unsafe { psm_sys::PSMlastError() })
    }

    pub(crate) fn invalid(sentence: impl Into<Box<str>>) -> Error {
        Error::Invalid(sentence.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for Error {}

/// The result of a C call: negative is an error.
pub(crate) fn check(result: c_int) -> Result<c_int> {
    if result < 0 { Err(Error::from_code(result)) } else { Ok(result) }
}
