//! A record that any language reads, and frees: see ../README.md.
//!
//!     hello write NAME   allocate a record and a text, and wait for the end of the standard input
//!     hello read NAME    check them, free both
//!     hello churn NAME   allocate and free until the standard input ends

use std::collections::VecDeque;
use std::error::Error;
use std::ffi::CStr;
use std::io;
use std::process::ExitCode;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use psmalloc::psm_sys::{
    PSM_OK, PSMclearError, PSMerrorString, PSMfree, PSMlastError, PSMusableSize,
};
use psmalloc::{Offset, Scope, Segment};

const MAGIC: u64 = 0x5053_4d2d_4845_4c4f; // PSM-HELO
const TEXT: &str = "hello from rust";
const KEPT: usize = 32;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// It takes 8 bytes, whatever the size of a pointer.
#[repr(C, align(8))]
struct Address<T>(AtomicPtr<T>);

#[repr(C)]
struct Hello {
    magic: u64,
    text: Address<u8>,
    length: u64,
    own: Address<Hello>,
    number: i64,
    real: f64,
    zeros: [u64; 2],
}

const _: () = assert!(size_of::<Hello>() == 64, "the record is the same in every language");

fn check(what: &str, holds: bool) -> Outcome {
    if holds { Ok(()) } else { Err(format!("wrong: {what}").into()) }
}

/// The sentence of this thread's last error.
fn why() -> String {
    // SAFETY: the string is never NULL, and stays until the next failure of this thread.
    unsafe { CStr::from_ptr(PSMerrorString(PSMlastError())) }.to_string_lossy().into()
}

/// A vector without elements, in a block of its own.
fn allocate<'s, T>(s: Scope<'s>, capacity: usize) -> Outcome<psmalloc::Vec<'s, T>> {
    let mut block = psmalloc::Vec::new_in(s.alloc());
    block.try_reserve_exact(capacity).map_err(|_| why())?;
    Ok(block)
}

/// Bytes of the block that begins at an address; 0 if none does.
fn room<T>(s: Scope<'_>, block: *const T) -> u64 {
    // SAFETY: the segment of a scope is open; the address is not followed.
    unsafe { PSMusableSize(s.base().cast(), block.cast()) as u64 }
}

/// # Safety
///
/// Nobody, in any process, uses the block any more.
unsafe fn free<T>(s: Scope<'_>, block: *mut T) -> Outcome {
    // SAFETY: the segment of a scope is open; PSM refuses what is no block.
    let result = unsafe {
        PSMclearError();
        PSMfree(s.base().cast(), block.cast());
        PSMlastError()
    };
    if result == PSM_OK { Ok(()) } else { Err(why().into()) }
}

fn user<'s>(s: Scope<'s>) -> &'s AtomicPtr<Hello> {
    // SAFETY: these programs, in every language, keep the address of a record in it.
    unsafe { s.user_word() }
}

fn write(s: Scope<'_>) -> Outcome {
    let mut text = allocate(s, TEXT.len())?;
    text.extend_from_slice(TEXT.as_bytes());
    let hello = Hello {
        magic: MAGIC,
        text: Address(AtomicPtr::new(text.leak().as_mut_ptr())),
        length: TEXT.len() as u64,
        own: Address(AtomicPtr::default()),
        number: -42,
        real: 2.5,
        zeros: [0; 2],
    };
    let hello = psmalloc::Box::try_new_in(hello, s.alloc()).map_err(|_| why())?;
    let hello = &*psmalloc::Box::leak(hello);
    let address = ptr::from_ref(hello).cast_mut();
    hello.own.0.store(address, Ordering::Relaxed);
    user(s).store(address, Ordering::Release); // last: now others find it
    println!("wrote {}", address.addr());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// Checks every field, and gives a copy of the text.
fn check_fields(s: Scope<'_>, hello: &Hello) -> Outcome<String> {
    let (own, text) = (hello.own.0.load(Ordering::Relaxed), hello.text.0.load(Ordering::Relaxed));
    check("magic", hello.magic == MAGIC)?;
    check("its own address", ptr::eq(own, hello))?;
    check("integer", hello.number == -42)?;
    check("double", hello.real == 2.5)?;
    check("zeros", hello.zeros == [0; 2])?;
    check("offset of the record", Offset::of(s, hello)?.address(s)? == own)?;
    check("offset of the text", Offset::of(s, text)?.address(s)? == text)?;
    check("text", (1..=room(s, text)).contains(&hello.length))?;
    // SAFETY: the block has as many bytes, and who wrote them does not change them any more.
    let text = unsafe { std::slice::from_raw_parts(text, hello.length as usize) };
    Ok(std::str::from_utf8(text)?.to_owned())
}

fn read(segment: &Segment, s: Scope<'_>) -> Outcome {
    let hello = user(s).load(Ordering::Acquire);
    check("no record", room(s, hello) >= size_of::<Hello>() as u64)?;
    // SAFETY: the block has room for a record, which was complete before its address was there.
    let (text, block) =
        unsafe { (check_fields(s, &*hello)?, (*hello).text.0.load(Ordering::Relaxed)) };
    // SAFETY: the writer only waits, and no more is read here.
    unsafe {
        free(s, block)?;
        free(s, hello)?;
    }
    user(s).store(ptr::null_mut(), Ordering::Release);
    segment.check()?;
    check("a block is left", segment.stat()?.blocks == 0)?;
    println!("read {} {text}", hello.addr());
    Ok(())
}

/// The bytes of a block's own address, with which each begins.
fn own_address(block: &psmalloc::Vec<'_, u8>) -> [u8; 8] {
    (block.as_ptr().addr() as u64).to_ne_bytes()
}

fn give_back(s: Scope<'_>, block: psmalloc::Vec<'_, u8>) -> Outcome {
    check("a block", block[..] == own_address(&block))?;
    // SAFETY: nobody else knows the block. To drop it would not say whether it was freed.
    unsafe { free(s, block.leak().as_mut_ptr()) }
}

fn churn(s: Scope<'_>) -> Outcome {
    let input = std::thread::spawn(|| io::copy(&mut io::stdin(), &mut io::sink()));
    let mut kept = VecDeque::new();
    let mut turn = 0;
    while turn % 1000 != 0 || !input.is_finished() {
        turn += 1;
        let mut block = allocate(s, 16 + turn * 101 % 497)?; // every size from 16 to 512
        block.extend_from_slice(&own_address(&block));
        kept.push_back(block);
        if kept.len() > KEPT {
            kept.pop_front().map_or(Ok(()), |oldest| give_back(s, oldest))?;
        }
        if turn % 1000 == 0 {
            println!("turn {turn}");
        }
    }
    kept.into_iter().try_for_each(|block| give_back(s, block))
}

fn play(arguments: &[&str]) -> Outcome {
    let here = |name| Segment::options().size(4 << 20).open(name);
    match *arguments {
        ["write", name] => here(name)?.enter(write),
        ["read", name] => {
            let segment = Segment::options().join(true).open(name)?;
            segment.enter(|s| read(&segment, s))
        }
        ["churn", name] => here(name)?.enter(churn),
        _ => Err("usage: hello write|read|churn NAME".into()),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match play(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("hello: {why}");
            ExitCode::FAILURE
        }
    }
}
