//! What the programs hello and queue share: blocks by their addresses, which other languages made
//! or will free, and errors.

use std::error::Error;
use std::ffi::CStr;
use std::process::ExitCode;
use std::sync::atomic::AtomicPtr;

use psmalloc::Scope;
use psmalloc::psm_sys::{
    PSM_OK, PSMclearError, PSMerrorString, PSMfree, PSMlastError, PSMusableSize,
};

pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// It takes 8 bytes, whatever the size of a pointer.
#[repr(C, align(8))]
pub struct Address<T>(pub AtomicPtr<T>);

pub fn check(what: &str, holds: bool) -> Outcome {
    if holds { Ok(()) } else { Err(format!("wrong: {what}").into()) }
}

/// The sentence of this thread's last error.
pub fn why() -> String {
    // SAFETY: the string is never NULL, and stays until the next failure of this thread.
    unsafe { CStr::from_ptr(PSMerrorString(PSMlastError())) }.to_string_lossy().into()
}

/// A vector without elements, in a block of its own.
pub fn allocate<'s, T>(s: Scope<'s>, capacity: usize) -> Outcome<psmalloc::Vec<'s, T>> {
    let mut block = psmalloc::Vec::new_in(s.alloc());
    block.try_reserve_exact(capacity).map_err(|_| why())?;
    Ok(block)
}

/// Bytes of the block that begins at an address; 0 if none does.
pub fn room<T>(s: Scope<'_>, block: *const T) -> usize {
    // SAFETY: the segment of a scope is open; the address is not followed.
    unsafe { PSMusableSize(s.base().cast(), block.cast()) }
}

/// # Safety
///
/// Nobody, in any process, uses the block any more.
pub unsafe fn free<T>(s: Scope<'_>, block: *mut T) -> Outcome {
    // SAFETY: the segment of a scope is open; PSM refuses what is no block.
    let result = unsafe {
        PSMclearError();
        PSMfree(s.base().cast(), block.cast());
        PSMlastError()
    };
    if result == PSM_OK { Ok(()) } else { Err(why().into()) }
}

/// Calls `play` with the arguments of the program, and tells how it ended.
pub fn run(program: &str, play: impl FnOnce(&[&str]) -> Outcome) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match play(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{program}: {why}");
            ExitCode::FAILURE
        }
    }
}
