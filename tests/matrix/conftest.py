"""A grid of what each pair did, printed at the end."""

from __future__ import annotations

import re
from typing import Any, Dict, Tuple

from languages import registry

MARKS = {"passed": ".", "failed": "F", "skipped": "s"}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    results: Dict[str, Dict[Tuple[str, str], str]] = {}
    for outcome, mark in MARKS.items():
        for report in terminalreporter.stats.get(outcome, []):
            pair = re.search(r"test_(\w+)\[(\w+)-(\w+)\]$", report.nodeid)
            if pair and (report.when == "call" or outcome != "passed"):
                results.setdefault(pair[1], {})[pair[2], pair[3]] = mark
    names = list(registry().commands)
    for story, marks in results.items():
        passed = sum(mark == "." for mark in marks.values())
        terminalreporter.write_line("")
        terminalreporter.write_line(f"{story}: row writes, column reads; {passed} of {len(marks)}")
        terminalreporter.write_line(" " * 8 + "".join(f"{name:>7}" for name in names))
        for row in names:
            line = "".join(f"{marks.get((row, column), '-'):>7}" for column in names)
            terminalreporter.write_line(f"{row:<8}{line}")
    for language, reason in {**registry().missing, **registry().broken}.items():
        terminalreporter.write_line(f"{language}: not run: {reason.splitlines()[0]}")
