//! A record that any language reads, and frees: see ../README.md.
//!
//!     hello write NAME   allocate a record and a text, and wait for the end of the standard input
//!     hello read NAME    check them, free both
//!     hello churn NAME   allocate and free until the standard input ends

mod story;

use std::collections::VecDeque;
use std::io;
use std::process::ExitCode;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use psmalloc::{Offset, Scope, Segment};
use story::{Address, Outcome, allocate, check, free, room, run, why};

const MAGIC: u64 = 0x5053_4d2d_4845_4c4f; // PSM-HELO
const TEXT: &str = "hello from rust";
const KEPT: usize = 32;

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
    check("text", (1..=room(s, text) as u64).contains(&hello.length))?;
    // SAFETY: the block has as many bytes, and who wrote them does not change them any more.
    let text = unsafe { std::slice::from_raw_parts(text, hello.length as usize) };
    Ok(std::str::from_utf8(text)?.to_owned())
}

fn read(segment: &Segment, s: Scope<'_>) -> Outcome {
    let hello = user(s).load(Ordering::Acquire);
    check("no record", room(s, hello) >= size_of::<Hello>())?;
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
    run("hello", play)
}
