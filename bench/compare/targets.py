"""The targets, and whether this run met them."""

from dataclasses import dataclass

from . import instructions
from .figures import ratio, spread
from .tables import digits, percent, table, times, with_range

# (case, title, PSM's time at most this much of the best private allocator's, of Boost's)
RATIOS = [
    ("pair", "pairs of 64 B, one process", 1.2, 1 / 15),
    ("batch", "random batches, one process", 1.3, 1 / 30),
    ("replace-100m", "random replacement 100 MB, one process", 1.3, 1 / 20),
    ("replace-4", "the same, four processes (private: threads)", 1.2, 1 / 30),
    ("larson-4", "Larson's exchange, four processes (private: threads)", 1.0, 1 / 25),
    ("produce", "one allocates, another frees", 0.7, 1 / 20),
    ("replay-python-1", "trace of python, one process", 1.3, 1 / 5),
    ("replay-git-1", "trace of git, one process", 1.3, 1 / 5),
]
FILL_SHARE = 0.94
METADATA_SHARE = 0.03
TAIL = 10  # p99.9 of a pair by its median
RECOVERY_MS = 1000


@dataclass(frozen=True)
class Target:
    """What is wanted, and what was found: a Spread, or None if it was not measured."""

    title: str
    wanted: str
    found: object
    form: object
    met: bool
    processor: object = None  # the same by processor time; it decides nothing

    @property
    def word(self):
        if self.found is None:
            return "not measured"
        return "met" if self.met else "MISSED"


def at_most(title, limit, found, form, strictly=False, processor=None):
    met = found is not None and (found.median < limit if strictly else found.median <= limit)
    sign = "<" if strictly else "≤"
    return Target(title, f"{sign} {form(limit)}", found, form, met, processor)


def milliseconds(value):
    return f"{digits(value)} ms"


def collect(figures, recovery, counts):
    """All targets. `recovery` and `counts` may be empty: then theirs were not measured."""
    targets = []
    for case, title, private, boost in RATIOS:
        for peer, name, limit in (
            ("private", "the best private", private),
            ("boost", "Boost", boost),
        ):
            targets.append(
                at_most(
                    f"{title}: of {name}",
                    limit,
                    figures.ratio(case, peer),
                    times,
                    processor=figures.ratio(case, peer, "cpu_ns"),
                )
            )
    share = figures.spread("fill-log", "psm", "share_last")
    targets.append(
        Target(
            "payload, log-uniform 16–1024 B, to the last block",
            f"≥ {percent(FILL_SHARE)}",
            share,
            percent,
            share is not None and share.median >= FILL_SHARE,
        )
    )
    targets.append(
        at_most(
            "resident metadata of a full segment",
            METADATA_SHARE,
            figures.spread("fill-log", "psm", "metadata"),
            percent,
            strictly=True,
        )
    )
    tail = ratio(
        figures.values("latency-pair", "psm", "p99.9"), figures.values("latency-pair", "psm", "p50")
    )
    targets.append(at_most("p99.9 of a pair by its median", TAIL, tail, times, strictly=True))
    for title, rounds in recovery.items():
        for key, what in (("rebuild_ms", "rebuild"), ("reap_ms", "reap")):
            found = spread({turn: result[key] for turn, result in rounds.items()})
            targets.append(
                at_most(f"{what}, {title}", RECOVERY_MS, found, milliseconds, strictly=True)
            )
    for name, (_, limit) in instructions.limits().items():
        found = spread({0: counts[name]}) if name in counts else None
        targets.append(at_most(f"instructions of {name}, hit", limit, found, "{:.0f}".format))
    return targets


def targets_table(targets):
    return table(
        ["target", "wanted", "found", "", "by processor time"],
        [
            [
                t.title,
                t.wanted,
                with_range(t.found, t.form),
                t.word,
                with_range(t.processor, t.form),
            ]
            for t in targets
        ],
    )
