//! The bindings against the C compiler: every signature, constant, size and offset.
//!
//! The test reads `bindings.rs`, writes a C file that asserts what the bindings say, and has
//! the compiler check it against `psm.h`. Sizes and offsets are those of the compiled Rust types.

use std::fmt::Write as _;
use std::io::Write as _;
use std::mem::{align_of, offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use syn::{ForeignItem, Item, ReturnType, Type};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bindings/rust/psm-sys")
}

fn header() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("include/psm.h")).unwrap()
}

fn bindings() -> Vec<Item> {
    let text = std::fs::read_to_string(folder().join("src/bindings.rs")).unwrap();
    syn::parse_file(&text).unwrap().items
}

/// The C spelling of a type of the bindings; only types that `psm.h` uses are known.
fn c_type(kind: &Type) -> String {
    match kind {
        Type::Ptr(pointer) => {
            let to = c_type(&pointer.elem);
            if pointer.const_token.is_some() { format!("const {to} *") } else { format!("{to} *") }
        }
        Type::Path(path) => {
            let name = path.path.segments.last().unwrap().ident.to_string();
            match name.as_str() {
                "c_int" => "int".to_owned(),
                "c_char" => "char".to_owned(),
                "c_void" => "void".to_owned(),
                "usize" => "size_t".to_owned(),
                "u32" => "uint32_t".to_owned(),
                "u64" => "uint64_t".to_owned(),
                name if name.starts_with("PSM") => name.to_owned(),
                other => panic!("the bindings use the type {other}"),
            }
        }
        _ => panic!("the bindings use a type that is neither a path nor a pointer"),
    }
}

fn signature_assertions(items: &[Item], out: &mut String) -> Vec<String> {
    let mut names = Vec::new();
    for item in items {
        let Item::ForeignMod(block) = item else { continue };
        for item in &block.items {
            let ForeignItem::Fn(function) = item else { panic!("only functions are foreign") };
            let name = function.sig.ident.to_string();
            let inputs: Vec<String> = function
                .sig
                .inputs
                .iter()
                .map(|input| match input {
                    syn::FnArg::Typed(typed) => c_type(&typed.ty),
                    syn::FnArg::Receiver(_) => unreachable!(),
                })
                .collect();
            let inputs = if inputs.is_empty() { "void".to_owned() } else { inputs.join(", ") };
            let output = match &function.sig.output {
                ReturnType::Default => "void".to_owned(),
                ReturnType::Type(_, kind) => c_type(kind),
            };
            writeln!(
                out,
                "_Static_assert(_Generic(&{name}, {output} (*)({inputs}): 1, default: 0), \"{name}\");"
            )
            .unwrap();
            names.push(name);
        }
    }
    names
}

fn constant_assertions(items: &[Item], out: &mut String) -> usize {
    let mut count = 0;
    for item in items {
        let Item::Const(constant) = item else { continue };
        let name = constant.ident.to_string();
        if name == "_" {
            continue;
        }
        let value = match &*constant.expr {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(value), .. }) => value.to_string(),
            syn::Expr::Unary(syn::ExprUnary { op: syn::UnOp::Neg(_), expr, .. }) => match &**expr {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(value), .. }) => {
                    format!("-{value}")
                }
                _ => panic!("{name} is no number"),
            },
            _ => panic!("{name} is no number"),
        };
        writeln!(out, "_Static_assert({name} == {value}, \"{name}\");").unwrap();
        count += 1;
    }
    count
}

/// Asserts size, alignment and offsets of a struct. Without `..` the pattern names every field.
macro_rules! layout {
    ($out:ident, $name:ident { $($field:ident),* }) => {{
        let psm_sys::$name { $($field: _),* } = psm_sys::$name::default();
        let name = stringify!($name);
        let (size, align) = (size_of::<psm_sys::$name>(), align_of::<psm_sys::$name>());
        writeln!($out, "_Static_assert(sizeof({name}) == {size}, \"{name}\");").unwrap();
        writeln!($out, "_Static_assert(_Alignof({name}) == {align}, \"{name}\");").unwrap();
        $(
            let (field, at) = (stringify!($field), offset_of!(psm_sys::$name, $field));
            writeln!($out, "_Static_assert(offsetof({name}, {field}) == {at}, \"{field}\");").unwrap();
        )*
        name
    }};
}

fn layout_assertions(out: &mut String) -> Vec<&'static str> {
    vec![
        layout!(out, PSMOptions { size, address, mode, flags }),
        layout!(
            out,
            PSMStat {
                size,
                metadata,
                used,
                cached,
                free,
                largest,
                committed,
                blocks,
                members,
                caches,
                unit,
                small_max
            }
        ),
        layout!(out, PSMBlock { address, size }),
        layout!(out, PSMMember { id, pid, seat, start, alive }),
    ]
}

fn compiles(source: &str) -> Result<(), String> {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut words = compiler.split(' ');
    let mut compiler = Command::new(words.next().unwrap())
        .args(words)
        .args(["-std=c11", "-fsyntax-only", "-Werror", "-x", "c", "-", "-I"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is a C compiler");
    compiler.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    let output = compiler.wait_with_output().unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into())
    }
}

#[test]
fn every_declaration_is_that_of_the_header() {
    let items = bindings();
    let mut source = "#include <psm.h>\n".to_owned();
    let functions = signature_assertions(&items, &mut source);
    let constants = constant_assertions(&items, &mut source);
    let structs = layout_assertions(&mut source);
    compiles(&source).unwrap_or_else(|errors| panic!("{errors}"));

    // Nothing was left out: the header declares no more than was asserted.
    let header = header();
    let declared: Vec<&str> = header
        .lines()
        .filter(|line| line.ends_with(");") && !line.starts_with([' ', '#', '/']))
        .map(|line| line.split('(').next().unwrap().rsplit([' ', '*']).next().unwrap())
        .collect();
    assert_eq!(functions, declared);
    let numbers = header.lines().filter(|line| line.starts_with("  PSM_")).count();
    assert_eq!(constants, numbers);
    let typedefs =
        header.lines().filter(|line| line.starts_with("typedef struct") && line.ends_with('{'));
    assert_eq!(structs.len(), typedefs.count());
}

#[test]
fn a_wrong_declaration_would_be_noticed() {
    let wrong = "#include <psm.h>\n_Static_assert(_Generic(&PSMalloc, \
                 void *(*)(PSMHandle, int): 1, default: 0), \"PSMalloc\");\n";
    let errors = compiles(wrong).expect_err("the compiler looks at signatures");
    assert!(errors.contains("PSMalloc"), "{errors}");
}

#[cfg(feature = "bindgen")]
#[test]
fn the_committed_bindings_are_those_of_the_header() {
    let committed = std::fs::read_to_string(folder().join("src/bindings.rs")).unwrap();
    if committed != psm_sys::GENERATED {
        if std::env::var_os("PSM_SYS_WRITE_BINDINGS").is_some() {
            std::fs::write(folder().join("src/bindings.rs"), psm_sys::GENERATED).unwrap();
            return;
        }
        let differing =
            committed.lines().zip(psm_sys::GENERATED.lines()).find(|(old, new)| old != new);
        panic!(
            "bindings.rs is not what psm.h gives, first at {differing:?}; make it anew with \
             PSM_SYS_WRITE_BINDINGS=1 cargo test -p psm-sys --features bindgen"
        );
    }
}
