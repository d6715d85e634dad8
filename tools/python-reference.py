#!/usr/bin/env python3
"""Write the reference in docs/python.md from the docstrings of the package.

usage: python-reference.py [--check]      with a Python that has psm and NumPy

What stands below the marker in the file is replaced. With --check nothing is
written, and the exit status says whether it was up to date.
"""

import difflib
import inspect
import pathlib
import re
import sys

import psm
import psm.arrow
from psm import access, allocation, errors, handle, inspection

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "python.md"
MARKER = "<!-- The reference is generated: tools/python-reference.py -->\n"
SECTIONS = ("Args", "Returns", "Raises", "Attributes")
PARTS = [  # of Segment, in the order in which one needs them
    ("Opening and closing", handle.Handle),
    ("Blocks", allocation.Allocation),
    ("What lies in it", access.Access),
    ("Looking inside, members, upkeep", inspection.Inspection),
]


def signature(thing, name):
    """Its parameters, as one writes them."""
    text = str(inspect.signature(thing))
    text = re.sub(r"\(self(, )?", "(", text)
    text = re.sub(r"'([\w.\[\], |]+)'", r"\1", text)
    text = text.replace("mode: int = 384", "mode: int = 0o600").replace(
        ": Name", ": Union[str, bytes, PathLike]"
    )
    return f"{name}{text}"


def items(lines):
    """The entries of a section, as a list of Markdown."""
    entries = []
    for line in lines:
        if re.match(r"\S", line) or not entries:
            entries.append(line.strip())
        else:
            entries[-1] += " " + line.strip()
    for entry in entries:
        name, colon, rest = entry.partition(": ")
        listed = colon and re.fullmatch(r"[\w.*]+(, [\w.*]+)*", name)
        yield (
            f"- {', '.join(f'`{n}`' for n in name.split(', '))}: {rest}" if listed else f"- {entry}"
        )


def markdown(thing):
    """A docstring as Markdown."""
    out, section, lines = [], None, []

    def flush():
        if section == "Returns":
            out.extend([f"*Returns*: {' '.join(line.strip() for line in lines)}", ""])
        elif section is not None:
            out.extend([f"*{section}*", "", *items(lines), ""])
        else:
            out.extend([*lines, ""])

    for line in (inspect.getdoc(thing) or "").splitlines():
        begins = line.rstrip(":") in SECTIONS and line.endswith(":")
        ends = section is not None and line and not line.startswith(" ")
        if begins or ends:
            flush()
            section, lines = (line.rstrip(":"), []) if begins else (None, [line])
        elif section is None or line.strip():
            lines.append(line[4:] if section else line)
    flush()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip()


def own_members(cls):
    for name, member in vars(cls).items():
        if name.startswith("_") or not (inspect.isfunction(member) or isinstance(member, property)):
            continue
        yield name, member


def members(cls, prefix):
    for name, member in own_members(cls):
        if isinstance(member, property):
            settable = ", can be set" if member.fset else ""
            yield f"#### `{prefix}.{name}`{settable}\n\n{markdown(member.fget)}\n"
        else:
            yield f"#### `{signature(member, f'{prefix}.{name}')}`\n\n{markdown(member)}\n"


def fields(cls):
    """The fields of a tuple with names; what they mean stands in comments above them."""
    found = re.findall(r"#: (.+)\n    (\w+): (\S+)", inspect.getsource(cls))
    assert [name for _, name, _ in found] == list(cls._fields), cls
    return "\n".join(f"- `{name}`: {kind}, {text}" for text, name, kind in found)


def error_table():
    yield "| exception | is also a | when |"
    yield "|---|---|---|"
    for name in errors.__all__:
        cls = getattr(errors, name)
        bases = [base.__name__ for base in cls.__bases__ if base not in (errors.Error, cls)]
        text = " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())
        yield f"| `{name}` | {', '.join(f'`{base}`' for base in bases) or '`OSError`'} | {text} |"


def reference():
    out = [
        "## Reference",
        "",
        f"Of the package `psm`, version {psm.__version__}.",
        "",
        "### Functions",
        "",
    ]
    for function in (psm.open, psm.sweep, psm.cdef):
        out += [
            f"#### `{signature(function, f'psm.{function.__name__}')}`",
            "",
            markdown(function),
            "",
        ]
    out += [
        "#### `psm.ffi`",
        "",
        "The `cffi.FFI` in which `psm.cdef` declares; for `sizeof`, `string`, `addressof` and so on.",
        "",
        "### `psm.Segment`",
        "",
        markdown(psm.Segment),
        "",
    ]
    for title, cls in PARTS:
        out += [f"**{title}**", "", *members(cls, "segment")]
    for cls, prefix in ((psm.Block, "block"), (psm.Array, "array"), (psm.Lock, "lock")):
        out += [f"### `psm.{cls.__name__}`", "", markdown(cls), "", *members(cls, prefix)]
    for cls in (psm.Stat, psm.Member, psm.Deaths):
        out += [f"### `psm.{cls.__name__}`", "", markdown(cls), "", fields(cls), ""]
    out += ["### `psm.arrow`", "", markdown(psm.arrow), ""]
    for function in (psm.arrow.write_table, psm.arrow.read_table):
        out += [f"#### `{signature(function, f'psm.arrow.{function.__name__}')}`", ""]
        out += [markdown(function), ""]
    out += ["### Exceptions", "", markdown(errors), "", *error_table(), ""]
    return "\n".join(out)


def main(arguments):
    if arguments not in ([], ["--check"]):
        raise SystemExit(__doc__)
    text = PAGE.read_text()
    head, marker, old = text.partition(MARKER)
    if not marker:
        raise SystemExit(f"{PAGE}: the marker is missing")
    new = "\n" + reference()
    if not arguments:
        PAGE.write_text(head + MARKER + new)
    elif old != new:
        difference = difflib.unified_diff(
            old.splitlines(), new.splitlines(), "is", "should be", lineterm=""
        )
        print("\n".join(list(difference)[:40]))
        print("docs/python.md is not up to date; run: .venv/bin/python tools/python-reference.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
