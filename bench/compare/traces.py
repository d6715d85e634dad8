"""Record what two real programs allocate, for the replays; each run records anew."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HEADER = struct.Struct("5Q")  # trace/format.h
MAGIC = 0x31454341525450
TIMEOUT_S = 120

PYTHON_TASK = """
import ast, glob, os
for path in sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py")))[:40]:
    with open(path, encoding="utf-8") as source:
        compile(ast.parse(source.read()), path, "exec")
"""

COMMITS, FILES, LINES = 300, 40, 120  # of the repository that git reads


def record(build, path, command, **environment):
    """Run a program and record its first process. Raises OSError if there is then no trace."""
    path.unlink(missing_ok=True)
    library = build / "bench" / "libbench_record.so"
    done = subprocess.run(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        env=dict(os.environ, LD_PRELOAD=str(library), BENCH_TRACE=str(path), **environment),
    )
    header = path.read_bytes()[: HEADER.size] if path.exists() else b""
    if done.returncode or len(header) < HEADER.size or HEADER.unpack(header)[0] != MAGIC:
        raise OSError(f"no trace of {command[0]}: {done.stderr.strip()[-300:]}")


def record_python(build, path, _):
    """The compiler of Python on modules of its library, every object by malloc."""
    program = os.path.realpath(sys.executable)
    record(build, path, [program, "-S", "-c", PYTHON_TASK], PYTHONMALLOC="malloc")


def history():
    """A repository as git fast-import reads it: each commit changes a few lines of some files."""
    lines = {
        name: [f"line {n} of file {name}: {n * 7919 % 1000}" for n in range(LINES)]
        for name in range(FILES)
    }
    yield "feature done\n"
    for commit in range(COMMITS):
        message = f"change {commit}\n"
        when = 1700000000 + 60 * commit
        yield f"commit refs/heads/main\ncommitter A <a@example.org> {when} +0000\n"
        yield f"data {len(message)}\n{message}"
        for n in range(6 if commit else FILES):
            name = (commit * 11 + n) % FILES
            for edit in range(4):
                at = (commit * 31 + edit * 17 + n) % LINES
                lines[name][at] = f"line {at} as commit {commit} left it, {edit}"
            content = "\n".join(lines[name]) + "\n"
            yield f"M 100644 inline file{name}.txt\ndata {len(content)}\n{content}\n"
    yield "done\n"


def record_git(build, path, scratch):
    """git log with all patches, of a repository that is made on the spot."""
    if not shutil.which("git"):
        raise OSError("no git here (Debian has it in the package git)")
    quiet = {"HOME": str(scratch), "GIT_CONFIG_NOSYSTEM": "1", "GIT_PAGER": "cat"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment.update(quiet)
    subprocess.run(["git", "init", "-q", "-b", "main", str(scratch)], check=True, env=environment)
    subprocess.run(
        ["git", "-C", str(scratch), "fast-import", "--quiet"],
        check=True,
        text=True,
        input="".join(history()),
        env=environment,
    )
    record(
        build, path, ["git", f"--git-dir={scratch}/.git", "log", "-p", "--stat", "main"], **quiet
    )


RECORDERS = {"python": record_python, "git": record_git}


def record_all(build, folder, wanted):
    """Record the wanted traces into a folder.

    Returns {name: path}, lines that describe them, and reasons why others are missing.
    """
    found, described, missing = {}, [], []
    folder.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        path = folder / f"{name}.trace"
        try:
            with tempfile.TemporaryDirectory() as scratch:
                RECORDERS[name](build, path, Path(scratch))
        except (OSError, subprocess.SubprocessError) as problem:
            missing.append(f"trace of {name}: {problem}")
            continue
        _, _, allocations, slots, peak = HEADER.unpack(path.read_bytes()[: HEADER.size])
        found[name] = str(path)
        described.append(
            f"{name}: {allocations:,} allocations, at most {slots:,} blocks and "
            f"{peak / 1e6:.1f} MB alive"
        )
    return found, described, missing
