//! Bindings from the fenced part of `include/psm.h`.

use std::path::Path;

const BEGIN: &str = "/* [begin: read by binding generators] */";
const END: &str = "/* [end: read by binding generators] */";

/// The compiler's own types, so that no system header comes in and the output is the same everywhere.
const PRELUDE: &str = "\
typedef __SIZE_TYPE__ size_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __UINT64_TYPE__ uint64_t;
";

const FIRST_LINE: &str =
    "// Made from include/psm.h by `cargo test -p psm-sys --features bindgen`; not to be edited.";

/// Writes the bindings to `output`.
pub(crate) fn generate(header: &Path, output: &Path) {
    let text = std::fs::read_to_string(header).expect("include/psm.h can be read");
    let fenced = text.split(BEGIN).nth(1).and_then(|rest| rest.split(END).next());
    let fenced = fenced.expect("include/psm.h has both fences");
    bindgen::Builder::default()
        .header_contents("psm.h", &format!("{PRELUDE}{}", with_trailing_docs(fenced)))
        .clang_arg("--target=x86_64-unknown-linux-gnu")
        .use_core()
        .rust_edition(bindgen::RustEdition::Edition2024)
        .rust_target(bindgen::RustTarget::stable(85, 0).unwrap_or_else(|_| panic!("an old Rust")))
        .allowlist_item("PSM.*")
        .prepend_enum_name(false)
        .derive_default(true)
        .formatter(bindgen::Formatter::Prettyplease)
        .disable_header_comment()
        .raw_line(FIRST_LINE)
        .parse_callbacks(Box::new(Manual))
        .generate()
        .expect("the fenced part of psm.h is plain C")
        .write_to_file(output)
        .expect("the bindings can be written");
}

/// A comment beside a field or constant documents it.
fn with_trailing_docs(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        match line.find("/* ") {
            Some(at) if !line[..at].trim().is_empty() => {
                out += &line[..at];
                out += "/**< ";
                out += &line[at + 3..];
            }
            _ => out += line,
        }
        out.push('\n');
    }
    out
}

/// Turns the four slots of the manual into sections of rustdoc.
#[derive(Debug)]
struct Manual;

impl bindgen::callbacks::ParseCallbacks for Manual {
    fn process_comment(&self, comment: &str) -> Option<String> {
        let mut out = String::new();
        for line in comment.trim_start_matches('<').trim().lines() {
            let line = line.trim();
            let (word, rest) = line.split_once("  ").unwrap_or((line, ""));
            let section = match word {
                "Returns" => "Returns",
                "Errors" => "Errors",
                "Owns" => "Ownership",
                "Safe" => "Safety",
                _ => {
                    out += line;
                    out.push('\n');
                    continue;
                }
            };
            out = out.trim_end().to_owned();
            out += &format!("\n\n# {section}\n\n{}\n", capitalised(rest.trim()));
        }
        Some(capitalised(out.trim()))
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
