"""Count the instructions of operations with callgrind, and hold them against instructions.txt.

Beside them it tells how often a line was not in the first cache (its model of it: 8 ways, as large
as this processor's).

A count is the difference between a long and a short run, by the difference of their operations:
start and end cancel out. Unlike times, counts are the same on a busy machine.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

TABLE = Path(__file__).resolve().parent.parent / "instructions.txt"
HIT = ("pair", 10240, 112640)  # workload, operations of the short and of the long run
WORKLOADS = {
    "pair": HIT,
    "batches": ("batch", 10000, 210000),
    "replacement of 10,000 live": ("replace", 40960, 245760),
}
TIMEOUT_S = 300


class Uncounted(Exception):
    """There is no valgrind, or it failed; the text says which."""


def limits():
    """{function: (instructions at most, the target)} of the table."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    return {name: (int(limit), int(target)) for name, limit, target in rows}


def collected(program, workload, operations, function):
    """Instructions, and lines that the first cache lacked, of one run or of one function in it."""
    with tempfile.TemporaryDirectory() as scratch:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/out"]
        command.append("--cache-sim=yes")
        if function:
            command.append(f"--toggle-collect={function}")
        command += [str(program), workload, f"ops={operations}", "ms=0", "live=10000", "max=1024"]
        done = subprocess.run(
            [*command, f"heap={256 << 20}"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    # Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw
    found = re.search(r"Collected : ([\d ]+)", done.stderr)
    if done.returncode or not found:
        raise Uncounted(f"callgrind failed: {done.stderr.strip()[-500:]}")
    events = [int(number) for number in found.group(1).split()]
    return events[0], events[4] + events[5]


def count(program, workload, function=None):
    """Instructions of one operation of a workload, of one function if it is named, and its lines
    that the first cache lacked.

    Raises Uncounted.
    """
    if not shutil.which("valgrind"):
        raise Uncounted("no valgrind here (Debian has it in the package valgrind)")
    name, few, many = workload
    short = collected(program, name, few, function)
    long = collected(program, name, many, function)
    return [(more - less) / (many - few) for more, less in zip(long, short)]


def hits(build):
    """{function: instructions of a hit}, for each function of the table."""
    return {name: count(build / "bench" / "bench_psm", HIT, name)[0] for name in limits()}


def compared(build, peers):
    """Rows of a table: workload, and of an operation of each peer with its loop the instructions
    and, in brackets, the lines that the first cache lacked."""
    rows = []
    for title, workload in WORKLOADS.items():
        found = [count(build / "bench" / f"bench_{peer.name}", workload) for peer in peers]
        rows.append([title, *(f"{instructions:.0f} ({lines:.1f})" for instructions, lines in found)])
    return rows


def check(build):
    """Print what the hits take beside their limits. Returns 0, or 1 if one is over."""
    found, wrong = hits(build), 0
    for name, (limit, _) in limits().items():
        over = found[name] > limit
        wrong |= over
        verdict = "OVER the limit of" if over else "limit"
        print(f"{name}, hit: {found[name]:.1f} instructions, {verdict} {limit} ({TABLE.name})")
    return int(wrong)
