//! Compiles the C core, or finds the installed library; tells dependents where the header is.
//!
//! `PSM_SYS_SYSTEM=1` links the installed library and `PSM_SYS_SYSTEM=0` compiles the core,
//! whatever the feature `system` says.

use std::env;
use std::path::{Path, PathBuf};

#[cfg(feature = "bindgen")]
#[path = "generate.rs"]
mod generate;

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    println!("cargo:rerun-if-env-changed=PSM_SYS_SYSTEM");
    println!("cargo:rerun-if-changed=include/psm.h");
    println!("cargo:rerun-if-changed=bindings/rust/psm-sys/build.rs");
    #[cfg(feature = "bindgen")]
    {
        println!("cargo:rerun-if-changed=bindings/rust/psm-sys/generate.rs");
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
        generate::generate(&root.join("include/psm.h"), &out.join("bindings.rs"));
    }
    // The documentation is built on machines that cannot run it.
    if env::var_os("DOCS_RS").is_some() {
        return;
    }
    if system_wanted() {
        link_system();
    } else {
        compile_core(&root);
    }
}

fn system_wanted() -> bool {
    match env::var("PSM_SYS_SYSTEM").as_deref() {
        Ok("1") => true,
        Ok("0") => false,
        Ok("") | Err(_) => env::var_os("CARGO_FEATURE_SYSTEM").is_some(),
        Ok(other) => panic!(
            "PSM_SYS_SYSTEM is {other:?}: say 1 for the installed library, 0 for the one in this crate"
        ),
    }
}

/// While the major version is 0, each minor version is an interface of its own.
fn link_system() {
    let part = |name: &str| -> u32 {
        let text = env::var(format!("CARGO_PKG_VERSION_{name}")).expect("cargo sets it");
        text.parse().expect("a number")
    };
    let (major, minor) = (part("MAJOR"), part("MINOR"));
    let next = if major == 0 { format!("0.{}.0", minor + 1) } else { format!("{}.0.0", major + 1) };
    let from = format!("{major}.{minor}.0");
    match pkg_config::Config::new().range_version(from.as_str()..next.as_str()).probe("psm") {
        Ok(library) => {
            for path in &library.include_paths {
                println!("cargo:include={}", path.display());
            }
            println!("cargo:version={}", library.version);
            println!("cargo:source=system");
        }
        Err(error) => panic!(
            "the installed libpsm was asked for (feature `system` or PSM_SYS_SYSTEM=1): {error}\n\
             Install it (`cmake --install`), point PKG_CONFIG_PATH at its psm.pc, \
             or set PSM_SYS_SYSTEM=0 to compile the core instead."
        ),
    }
}

/// `core/psm.c` includes all other sources: one translation unit.
fn compile_core(root: &Path) {
    println!("cargo:rerun-if-changed=core");
    cc::Build::new()
        .file(root.join("core/psm.c"))
        .include(root.join("include"))
        .include(root.join("core"))
        .std("c11")
        .opt_level(2) // a debug build of a Rust program wants no slow allocator
        .define("NDEBUG", None)
        .flag_if_supported("-fvisibility=hidden")
        .compile("psm");
    println!("cargo:rustc-link-lib=pthread");
    println!("cargo:include={}", root.join("include").display());
    println!("cargo:version={}", env!("CARGO_PKG_VERSION"));
    println!("cargo:source=bundled");
}
