"""Write what was measured: results.md, results.json and the plots."""

import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from . import charts, tables, targets
from .figures import Figures


def machine():
    model = "unknown processor"
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    system = f"{platform.system()} {platform.release()}"
    return f"{model}, {os.cpu_count()} cores, {system}, load {os.getloadavg()[0]:.1f} at the end"


def of_group(cases, group):
    return [case for case in cases if case.group == group]


def section(title, *parts):
    """A heading and its parts; nothing if all parts are empty."""
    parts = [part for part in parts if part]
    return [f"## {title}", *parts] if parts else []


def time_sections(figures, cases, peers):
    timed = of_group(cases, "time")
    return [
        *section("Time of an operation", tables.times_table(figures, timed, peers, "ns")),
        *section("Ratios", tables.ratios_table(figures, timed, peers)),
        *section(
            "Processor time and page faults",
            tables.times_table(figures, timed, peers, "CPU ns of an operation", "cpu_ns"),
            tables.times_table(
                figures, timed, peers, "page faults of an operation", "faults", "{:.2g}".format
            ),
        ),
    ]


def growth_section(figures, cases, peers):
    growths = of_group(cases, "growth")
    named = [peer for peer in peers if peer.named]
    return section(
        "Cost growth",
        *(tables.growth_table(figures, growths, peer) for peer in named),
        tables.flatness_table(figures, named),
    )


def series_sections(figures, cases, peers):
    return [
        *section(
            "Time over size",
            tables.times_table(figures, of_group(cases, "size"), peers, "ns of a pair"),
            "![time over size](size.svg)" if of_group(cases, "size") else "",
        ),
        *section(
            "Over the number of members",
            tables.times_table(
                figures, of_group(cases, "scale"), peers, "ns of an operation of each member"
            ),
            "![replacement](scale-replace.svg) ![Larson](scale-larson.svg)"
            if of_group(cases, "scale")
            else "",
        ),
        *section(
            "Latency",
            tables.latency_table(figures, of_group(cases, "latency"), peers),
            "![pairs](latency-pair.svg) ![replacement](latency-replace.svg)"
            if of_group(cases, "latency")
            else "",
        ),
        *section("Memory", tables.fill_table(figures, of_group(cases, "fill"), peers)),
    ]


def intro(runner, peers):
    versions = ", ".join(
        f"{peer.title} {runner.versions[peer.name]}"
        for peer in peers
        if peer.name in runner.versions
    )
    return (
        f"{machine()}. Rounds: {runner.rounds}{', QUICK' if runner.quick else ''}. "
        f"A figure is the median (lowest–highest) of the rounds. {versions}. "
        "An operation is an allocation and a free; its time is each member's own. PSM, Boost, APR "
        "and mm run as processes on one segment, the others as threads of one process."
    )


def missing_section(left_out, runner, cases):
    titles = {case.key: case.title for case in cases}
    lines = [f"- {sentence}" for sentence in left_out]
    grouped = {}
    for (key, peer), reason in runner.reasons.items():
        grouped.setdefault((peer, reason), []).append(titles[key])
    lines += [f"- {peer}: {reason} ({'; '.join(keys)})" for (peer, reason), keys in grouped.items()]
    return section("Not measured", "\n".join(lines))


@dataclass
class Measured:
    """All there is to write."""

    runner: object
    cases: list
    peers: list
    recovery: dict  # {title: {round: result}}
    hits: dict  # {function: instructions}
    counted: str  # a table of instructions
    traces: list  # lines about them
    left_out: list  # sentences


def results(measured, figures, wanted):
    """The text of results.md."""
    runner, cases, peers = measured.runner, measured.cases, measured.peers
    parts = [
        "# Measured by `make bench`",
        intro(runner, peers),
        *section("Targets", targets.targets_table(wanted)),
        *time_sections(figures, cases, peers),
        *section("Traces", "\n".join(f"- {line}" for line in measured.traces)),
        *series_sections(figures, cases, peers),
        *growth_section(figures, cases, peers),
        *section("After a death", tables.recovery_table(measured.recovery)),
        *section("Instructions, and lines that the first cache lacked", measured.counted),
        *missing_section(measured.left_out, runner, cases),
        *section("Failures", "\n".join(f"- {sentence}" for sentence in runner.failures)),
    ]
    return "\n\n".join(parts) + "\n"


def record(measured, wanted):
    """All of it as an object for JSON."""
    runner = measured.runner
    return {
        "machine": machine(),
        "rounds": runner.rounds,
        "quick": runner.quick,
        "versions": runner.versions,
        "runs": runner.runs,
        "recovery": measured.recovery,
        "instructions": measured.hits,
        "traces": measured.traces,
        "reasons": [[*key, reason] for key, reason in runner.reasons.items()],
        "targets": [
            {
                "target": target.title,
                "wanted": target.wanted,
                "found": target.found and vars(target.found),
                "verdict": target.word,
                "by_processor_time": target.processor and vars(target.processor),
            }
            for target in wanted
        ],
        "left_out": measured.left_out,
        "failures": runner.failures,
    }


def write(out, measured):
    """Write all files into `out`. Returns the text of results.md."""
    figures = Figures(measured.runner.runs)
    wanted = targets.collect(figures, measured.recovery, measured.hits)
    text = results(measured, figures, wanted)
    (out / "results.md").write_text(text, encoding="utf-8")
    (out / "results.json").write_text(
        json.dumps(record(measured, wanted), indent=1) + "\n", encoding="utf-8"
    )
    charts.write_all(out, figures, measured.peers)
    return text
