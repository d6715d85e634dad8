#!/usr/bin/env python3
"""Run the examples of README.md, or of the files named.

A block of code that follows the comment <!-- run --> is run in a folder of its
own (sh: at the top of the tree). C and C++ are linked with the static library;
without a main() they become the body of one, and so do Java, C#, D and Go where
they show no more than statements. Languages of bindings/swig that cannot be
built here are skipped.

usage: readme-snippets.py [--python PYTHON] [--library LIBRARY] [FILE...]
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bindings/swig"))
import build as swig  # noqa: E402

SNIPPET = re.compile(r"<!-- run -->[ \t]*\n\s*```(\w+)[^\n]*\n(.*?)^```", re.M | re.S)
SECONDS = 120
COMPILERS = {"c": [os.environ.get("CC", "cc"), "-std=c11"],
             "cpp": [os.environ.get("CXX", "c++"), "-std=c++17"]}


def whole_program(code):
    if re.search(r"\bmain\s*\(", code):
        return code
    lines = code.splitlines()
    head = [line for line in lines if line.startswith("#")]
    body = [line for line in lines if not line.startswith("#")]
    return "\n".join([*head, "int main(void) {", *body, "return 0;", "}", ""])


# By what a block of code is called; how statements become a program.
SWIG = {"perl": "perl", "tcl": "tcl", "lua": "lua", "ruby": "ruby", "javascript": "node",
        "java": "java", "csharp": "csharp", "go": "go", "php": "php",
        "d": "d", "scheme": "guile"}
WRAPPED = {
    "java": (r"\bclass\s", r"import ",
             "class snippet {{ public static void main(String[] a) {{\n{} }} }}\n"),
    "csharp": (r"\bclass\s", r"using ", "static class Snippet {{ static void Main() {{\n{} }} }}\n"),
    "d": (r"\bmain\(", r"import ", "void main() {{\n{} }}\n"),
    "go": (r"^package ", r"import ", "func main() {{\n{} }}\n"),
}


def swig_program(name, code):
    if name not in WRAPPED or re.search(WRAPPED[name][0], code, re.M):
        return code
    start, frame = WRAPPED[name][1:]
    lines = code.splitlines()
    head = [line for line in lines if line.startswith(start)]
    body = [line for line in lines if not line.startswith(start)]
    if name == "go":
        head.insert(0, "package main")
    return "\n".join([*head, frame.format("\n".join(body) + "\n")])


def swig_command(name, code, folder):
    source = folder / f"snippet{swig.LANGUAGES[name].suffix}"
    source.write_text(swig_program(name, code))
    return swig.command(name, source, folder)


def run(language, code, folder, options):
    if language in COMPILERS:
        source, program = folder / f"snippet.{language}", folder / "snippet"
        source.write_text(whole_program(code))
        subprocess.run([*COMPILERS[language], "-Wall", "-Wextra", "-Werror",
                        f"-I{ROOT / 'include'}", source, options.library.resolve(), "-pthread",
                        "-o", program], check=True, timeout=SECONDS)
        command, where = [program], folder
    elif language == "python":
        source = folder / "snippet.py"
        source.write_text(code)
        command, where = [os.path.abspath(options.python), source], folder
    elif language in SWIG:
        command, where = swig_command(SWIG[language], code, folder), folder
    else:
        command, where = ["sh", "-euc", code], ROOT
    subprocess.run(command, cwd=where, check=True, timeout=SECONDS, stdin=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=ROOT / ".venv/bin/python")
    parser.add_argument("--library", type=pathlib.Path, default=ROOT / "build/release/libpsm.a")
    parser.add_argument("files", nargs="*", type=pathlib.Path, default=[ROOT / "README.md"])
    options = parser.parse_args()
    failed = count = 0
    for path in options.files:
        text = path.read_text()
        if text.count("<!-- run -->") != len(SNIPPET.findall(text)):
            print(f"{path.name}: a <!-- run --> is not followed by a block of code")
            failed += 1
        for match in SNIPPET.finditer(text):
            language, code = match.groups()
            place = f"{path.name}:{text.count(chr(10), 0, match.start()) + 1} {language}"
            count += 1
            if language not in (*COMPILERS, "python", "sh", *SWIG):
                print(f"{place}: cannot run this language")
                failed += 1
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    run(language, code, pathlib.Path(folder), options)
                    print(f"{place}: ok", flush=True)
                except swig.Missing as reason:
                    print(f"{place}: skipped: {reason}", flush=True)
                except (subprocess.SubprocessError, OSError, SystemExit) as error:
                    print(f"{place}: {error}", flush=True)
                    failed += 1
    if not count:
        print("no block is marked with <!-- run -->")
    return bool(failed or not count)


if __name__ == "__main__":
    sys.exit(main())
