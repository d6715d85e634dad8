#![doc = include_str!("../README.md")]
#![no_std]

#[allow(
    non_camel_case_types,
    non_upper_case_globals,
    clippy::undocumented_unsafe_blocks,
    clippy::useless_transmute,
    missing_docs, // the tag behind PSMHandle, and the type of the constants
    rustdoc::broken_intra_doc_links
)]
mod bindings {
    #[cfg(feature = "bindgen")]
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
    #[cfg(not(feature = "bindgen"))]
    include!("bindings.rs");
}

pub use bindings::*;

/// The bindings that the feature `bindgen` made in this build, for the test that compares them
/// with the committed ones.
#[cfg(feature = "bindgen")]
#[doc(hidden)]
pub const GENERATED: &str = include_str!(concat!(env!("OUT_DIR"), "/bindings.rs"));
