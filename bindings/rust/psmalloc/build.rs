//! Names the compiler, which decides how types without `repr(C)` are laid out.

use std::process::Command;

fn main() {
    let compiler = std::env::var_os("RUSTC").expect("cargo sets it");
    let output = Command::new(compiler).arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8(output.stdout).expect("rustc prints text");
    let facts: Vec<&str> = ["release: ", "commit-hash: ", "LLVM version: "]
        .iter()
        .filter_map(|fact| text.lines().find_map(|line| line.strip_prefix(fact)))
        .collect();
    println!("cargo:rustc-env=PSMALLOC_RUSTC={}", facts.join(" "));
    println!("cargo:rerun-if-changed=build.rs");
}
