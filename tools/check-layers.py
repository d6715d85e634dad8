#!/usr/bin/env python3
"""Check what the files of core/ may name.

A file includes only headers of floors below its own, and a .c file its own
header. Conditional compilation and the system's headers stay where they
belong. Run from anywhere; prints one line per violation.
"""
import pathlib
import re
import sys

# From the ground up. A name stands for NAME.c and NAME.h; "os/" for a folder,
# whose files may include each other. Names on one line do not see each other.
FLOORS = [
    ["compiler", "trace"],
    ["status"],
    ["os/"],
    ["classes"],
    ["layout"],
    ["view"],
    ["commit", "roster", "address"],
    ["lock"],
    ["slab"],
    ["span"],
    ["give", "kept"],
    ["magazine"],
    ["reap"],
    ["cache", "large"],
    ["process"],
    ["segment"],
    ["fork", "check"],
    ["api"],
]
ALL = {"psm.c"}  # the one-file build includes everything
SYSTEM = "os/os.c"  # includes, for it, the files of one system's folder
PUBLIC = {"psm.h"}  # any file may include it
MAY_BRANCH = {"compiler.h", "trace.h", "os/"}  # may use #if
MAY_USE_SYSTEM = {"os/", "compiler.h"}  # may include any system header
STANDARD = {
    "assert.h", "errno.h", "inttypes.h", "limits.h", "stdalign.h", "stdarg.h", "stdatomic.h",
    "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h",
}

DIRECTIVE = re.compile(r"^[ \t]*#[ \t]*(\w+)[ \t]*(.*)$", re.M)


def uncomment(text):
    """Blank out comments; newlines stay, so that line numbers do."""
    return re.sub(r"/\*.*?\*/|//[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group()), text,
                  flags=re.S)


def module(path):
    folder = path.split("/")[0] + "/"
    return folder if any(folder in floor for floor in FLOORS) else path.rsplit(".", 1)[0]


def floor_of(name):
    return next((i for i, floor in enumerate(FLOORS) if name in floor), None)


def listed(path, names):
    return path in names or module(path) in names


def resolve(core, path, target):
    """The included file, relative to core/; None if it is not in there."""
    for base in ((core / path).parent, core):
        found = (base / target).resolve()
        if found.is_relative_to(core):
            if found.is_file():
                return found.relative_to(core).as_posix()
    return None


def check(core, path):
    directives = [(text.count("\n", 0, m.start()) + 1, m.group(1), m.group(2).strip())
                  for text in [uncomment((core / path).read_text())]
                  for m in DIRECTIVE.finditer(text)]
    here = floor_of(module(path))
    if here is None and path not in ALL:
        yield 1, "has no floor; give it one in tools/check-layers.py"
        return

    guard = (path.endswith(".h") and len(directives) > 2 and directives[0][1] == "ifndef"
             and directives[1][1:] == ("define", directives[0][2]) and directives[-1][1] == "endif")
    if path.endswith(".h") and not guard:
        yield 1, "has no header guard"
    branches = directives[2:-1] if guard else directives
    if not listed(path, MAY_BRANCH):
        for line, word, _ in branches:
            if word in ("if", "ifdef", "ifndef", "elif"):
                yield line, f"#{word} belongs into {', '.join(sorted(MAY_BRANCH))}"

    for line, word, rest in directives:
        if word != "include":
            continue
        target = rest[1:].rstrip('">').strip()
        if rest.startswith("<"):
            if target not in STANDARD and not listed(path, MAY_USE_SYSTEM):
                yield line, f"<{target}> is not a header of the C standard"
            continue
        if path in ALL or target in PUBLIC:
            continue
        included = resolve(core, path, target)
        if included is None:
            yield line, f'"{target}" is not in core/'
            continue
        same = module(included) == module(path)
        there = floor_of(module(included))
        if not same and (there is None or there >= here):
            yield line, f'"{included}" is not on a lower floor'
        elif included.endswith(".c") and path != SYSTEM:
            yield line, f'"{included}" is included only by {", ".join(ALL)} and {SYSTEM}'


def check_one_file_build(core, files):
    """psm.c includes every source once, floor by floor; those of a system through os/os.c."""
    def sources(path):
        for m in DIRECTIVE.finditer(uncomment((core / path).read_text())):
            found = m.group(1) == "include" and resolve(core, path, m.group(2).strip('"<> '))
            if found and found.endswith(".c"):
                yield found
                if found == SYSTEM:
                    yield from sources(found)

    highest = 0
    included = []
    for path in sources("psm.c"):
        included.append(path)
        floor = floor_of(module(path)) or 0
        if floor < highest:
            yield f"{path} comes after a file of a higher floor"
        highest = max(highest, floor)
    for path in files:
        if path.endswith(".c") and path not in ALL and included.count(path) != 1:
            yield f"includes {path} {included.count(path)} times"


def main():
    core = pathlib.Path(__file__).resolve().parent.parent / "core"
    files = sorted(p.relative_to(core).as_posix() for p in core.rglob("*.[ch]"))
    problems = [f"core/{path}:{line}: {what}" for path in files for line, what in check(core, path)]
    if "psm.c" in files:
        problems += [f"core/psm.c: {what}" for what in check_one_file_build(core, files)]
    if not files:
        problems.append("core/: no file")
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{len(files)} files in {len(FLOORS)} floors, ok")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
