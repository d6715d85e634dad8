"""The whole comparison."""

import os
import sys
from pathlib import Path

from . import cases as all_cases
from . import instructions, peers, report, tables, traces
from .running import Runner

ROOT = Path(__file__).resolve().parent.parent.parent


def words(name):
    """A list out of the environment; None if it is not set."""
    text = os.environ.get(name, "").replace(",", " ").split()
    return text or None


def wants(chosen, name):
    return chosen is None or name in chosen


def count_instructions(build, chosen, failures):
    """{function: count} and a table; both empty, with a reason, if they cannot be counted."""
    compared = [
        peer for peer in chosen if peer.name in ("psm", "mimalloc", "jemalloc", "tcmalloc", "glibc")
    ]
    try:
        hits = instructions.hits(build)
        rows = [
            [f"{name}, hit", f"{count:.1f}", *("–" for _ in compared[1:])]
            for name, count in hits.items()
        ]
        rows += instructions.compared(build, compared)
        return hits, tables.table(["of an operation", *(peer.title for peer in compared)], rows)
    except instructions.Uncounted as problem:
        failures.append(f"instructions: {problem}")
        return {}, ""


def main(arguments):
    """Returns 0 whatever the figures are, 1 if a program failed, 2 if a wish makes no sense."""
    build = Path(arguments[0] if arguments else ROOT / "build" / "bench").resolve()
    out = Path(arguments[1]).resolve() if len(arguments) > 1 else build
    quick = os.environ.get("QUICK", "0") not in ("", "0")
    rounds = int(os.environ.get("ROUNDS") or (1 if quick else 5))
    wanted = words("CASES")
    try:
        chosen, left_out = peers.choose(build, words("PEERS"))
        cases = all_cases.choose(wanted)
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 2
    if not chosen:
        print(f"no benchmark program in {build}", file=sys.stderr)
        return 2
    for sentence in left_out:
        print("left out:", sentence, flush=True)

    needed = sorted({case.trace for case in cases if case.trace})
    found, described, missing = traces.record_all(build, out / "traces", needed)
    runner = Runner(build, chosen, rounds, quick, found)
    runner.run(cases)
    has_psm = any(peer.name == "psm" for peer in chosen)
    recovery = runner.recovery() if has_psm and wants(wanted, "recovery") else {}
    hits, counted = {}, ""
    if has_psm and wants(wanted, "instructions"):
        hits, counted = count_instructions(build, chosen, left_out)
    measured = report.Measured(
        runner, cases, chosen, recovery, hits, counted, described, left_out + missing
    )
    print(report.write(out, measured), end="")
    print(f"\nwritten to {os.path.relpath(out)}: results.md, results.json, *.svg")
    return 1 if runner.failures else 0
