//! The examples: the same story in Rust, C and Python, told by all of them at once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use psm_tests::{Process, compile, file, name, python, root};

fn scratch(what: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{what}-{}", std::process::id()))
}

/// The program of a language, to be given a role.
fn words(language: &str) -> Option<Command> {
    Some(match language {
        "rust" => Command::new(env!("CARGO_BIN_EXE_words")),
        "c" => {
            static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
            let source = root().join("examples/c/words.c");
            Command::new(PROGRAM.get_or_init(|| compile(&source, &scratch("words-c"))))
        }
        _ => {
            let mut command = Command::new(&*python()?);
            command.arg(root().join("examples/python/words.py"));
            command
        }
    })
}

fn play(language: &str, arguments: &[&str]) -> Option<Process> {
    Some(Process::start(words(language)?.args(arguments)))
}

/// The value of a key in a line of JSON, the last one of that name; enough for numbers.
fn value(line: &str, key: &str) -> i64 {
    let from = line.rfind(&format!("\"{key}\": ")).unwrap_or_else(|| panic!("no {key} in {line}"));
    let rest = &line[from + key.len() + 4..];
    let end = rest.find([',', '}']).unwrap();
    rest[..end].parse().unwrap_or_else(|_| panic!("{key} in {line}"))
}

fn hear(process: &mut Process, event: &str) -> String {
    let line = process.hear();
    assert!(line.starts_with(&format!("{{\"event\": \"{event}\"")), "{line}");
    line
}

/// How many words a text has, by another way than the one that is checked.
fn count(text: &Path) -> i64 {
    let text = std::fs::read_to_string(text).unwrap();
    let letters = text.chars().map(|c| if c.is_ascii_alphabetic() { c } else { ' ' });
    letters.collect::<String>().split_whitespace().count() as i64
}

/// One process creates and two join; all index at once. Every language that was there checks.
fn tell(creator: &str, joiners: &[&str]) {
    let name = name();
    let texts =
        ["README.md", "docs/architecture.md", "docs/robustness.md"].map(|text| root().join(text));
    let text = |index: usize| texts[index % 3].to_str().unwrap();
    let Some(mut create) = play(creator, &["create", &name, "64", text(0)]) else { return };
    hear(&mut create, "ready");
    let mut joined = Vec::new();
    for (index, language) in joiners.iter().enumerate() {
        let Some(mut join) = play(language, &["join", &name, text(index + 1)]) else { return };
        assert_eq!(value(&hear(&mut join, "ready"), "row"), index as i64 + 1);
        joined.push(join);
    }
    create.send("");
    joined.iter_mut().for_each(|join| join.send(""));
    for mut join in joined {
        hear(&mut join, "done");
        join.end();
    }
    hear(&mut create, "done");
    create.send("");
    assert_eq!(value(&hear(&mut create, "reaped"), "members"), 1);

    let mut indexes = Vec::new();
    for language in [&[creator], joiners].concat() {
        let path = scratch(&format!("index-{creator}-{language}-{}", indexes.len()));
        let mut check = play(language, &["check", &name, path.to_str().unwrap()]).unwrap();
        let said = hear(&mut check, "checked");
        check.end();
        assert_eq!((value(&said, "broken"), value(&said, "check")), (0, 0), "{said}");
        assert_eq!(value(&said, "table_blocks"), value(&said, "blocks"), "{said}");
        indexes.push(std::fs::read_to_string(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
    }
    assert!(indexes.iter().all(|index| *index == indexes[0]), "all find the same in it");
    let places = indexes[0].split_whitespace().filter(|word| word.contains(':')).count() as i64;
    assert_eq!(places, (0..=joiners.len()).map(|index| count(Path::new(text(index)))).sum::<i64>());

    create.send("");
    let cleared = hear(&mut create, "cleared");
    assert_eq!((value(&cleared, "left"), value(&cleared, "check")), (0, 0), "{cleared}");
    create.end();
    assert!(!file(&name).exists());
}

#[test]
fn rust_creates_and_c_and_rust_join() {
    tell("rust", &["c", "rust"]);
}

#[test]
fn c_creates_and_rust_and_python_join() {
    tell("c", &["rust", "python"]);
}

#[test]
fn python_creates_and_rust_joins() {
    tell("python", &["rust"]);
}

/// A Rust process is killed half-way, and its change is finished or undone by the others.
#[test]
fn a_killed_rust_process_leaves_a_whole_table() {
    for turn in 0..5 {
        let name = name();
        let own = scratch(&format!("text-{turn}"));
        std::fs::write(&own, "a few words that come again and again \n".repeat(20_000)).unwrap();
        let text = root().join("docs/architecture.md");
        let mut create = play("rust", &["create", &name, "64", text.to_str().unwrap()]).unwrap();
        hear(&mut create, "ready");
        let mut victim = play("rust", &["join", &name, own.to_str().unwrap()]).unwrap();
        let row = value(&hear(&mut victim, "ready"), "row");
        let mut watch = play("c", &["watch", &name, &row.to_string()]).unwrap();
        create.send("");
        victim.send("");
        hear(&mut watch, "half");
        victim.kill();
        watch.end();
        hear(&mut create, "done");
        create.send("");
        let end = hear(&mut create, "reaped"); // by then, or when its lock was taken over
        assert_eq!(value(&end, "members") - value(&end, "reaped"), 1);
        for language in ["rust", "c"] {
            let mut check = play(language, &["check", &name]).unwrap();
            let said = hear(&mut check, "checked");
            check.end();
            assert_eq!(value(&said, "broken"), 0, "{said}");
            assert!(value(&said, "blocks") - value(&said, "table_blocks") <= 1, "{said}");
        }
        create.send("");
        let cleared = hear(&mut create, "cleared");
        assert!(value(&cleared, "left") <= 1 && value(&cleared, "check") == 0, "{cleared}");
        create.end();
        std::fs::remove_file(&own).unwrap();
    }
}

#[test]
fn mistakes_get_a_sentence() {
    for (arguments, sentence) in [
        (&["join", "shm:psm-rust-nowhere", "README.md"][..], "psm-rust-nowhere"),
        (&["create", "shm:psm-rust-nowhere", "many", "README.md"], "invalid digit"),
        (&["sing"], "usage: words create"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_words")).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(sentence), "{said}");
    }
}

/// The README of the project shows the first example of psmalloc's, which is a doc test.
#[test]
fn the_readme_shows_what_is_tested() {
    let block = |file: &str| {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let block = text.split("```rust\n").nth(1).expect("it has an example in Rust");
        let lines = block.split("```").next().unwrap().lines();
        lines.filter(|line| !line.starts_with("# ")).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(block("README.md"), block("bindings/rust/psmalloc/README.md"));
}
