//! The raw calls do what the header says; `no_std` code may make them.

use std::ffi::{CStr, CString, c_void};
use std::ptr;

use psm_sys::*;

fn name(of: &str) -> CString {
    CString::new(format!("shm:psm-sys-{of}-{}", std::process::id())).unwrap()
}

#[test]
fn allocate_publish_and_leave() {
    let name = name("publish");
    // SAFETY: the pointers are valid for the calls, and the handle is used before PSMdeinit only.
    unsafe {
        let mut segment: PSMHandle = ptr::null_mut();
        PSMinit(name.as_ptr(), 1 << 20, ptr::null_mut(), &mut segment);
        assert!(!segment.is_null());
        let root = PSMgetUser(segment).cast::<*mut c_void>();
        assert!((*root).is_null());
        assert_eq!(PSMallocTo(segment, 100, root), PSM_OK);
        assert_eq!(PSMsegmentOf(*root), segment);
        assert_eq!(PSMaddress(segment, PSMoffset(segment, *root)), *root);
        assert!(PSMusableSize(segment, *root) >= 100);
        assert_eq!(PSMfreeFrom(segment, root), PSM_OK);
        let mut stat = PSMStat::default();
        assert_eq!(PSMstat(segment, &mut stat), PSM_OK);
        assert_eq!((stat.size, stat.blocks, stat.members), (1 << 20, 0, 1));
        PSMdeinit(segment);
    }
}

#[test]
fn errors_have_a_code_and_a_sentence() {
    let name = name("absent");
    let options = PSMOptions { flags: PSM_OPEN_JOIN, ..PSMOptions::default() };
    let mut segment: PSMHandle = ptr::null_mut();
    // SAFETY: the pointers are valid for the calls; the sentence lives until the next failure.
    unsafe {
        assert_eq!(PSMopen(name.as_ptr(), &options, &mut segment), PSM_E_NOT_FOUND);
        assert_eq!(PSMlastError(), PSM_E_NOT_FOUND);
        let sentence = CStr::from_ptr(PSMerrorString(PSM_E_NOT_FOUND)).to_str().unwrap();
        assert!(sentence.contains("psm-sys-absent"), "{sentence}");
    }
    assert!(segment.is_null());
}

#[test]
fn the_library_is_of_the_version_of_this_package() {
    // SAFETY: the string is a constant of the library.
    let version = unsafe { CStr::from_ptr(PSMversion()) };
    assert_eq!(version.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
}
