"""What is measured. A case is one workload with its options, for some of the peers."""

import fnmatch
from dataclasses import dataclass, field

MIB, GIB = 1 << 20, 1 << 30
MEAN = (16 + 4096) // 2  # bytes of a block of a replacement

SIZES = [8, 32, 128, 512, 2048, 8192, 32 << 10, 128 << 10, MIB, 8 * MIB, 64 * MIB]
MEMBERS = [1, 2, 4, 8, 64]
HEAPS = [64 * MIB, GIB, 16 * GIB]
BLOCKS = [0, 10**4, 10**6]
CROWDS = [2, 8, 64, 1024]


@dataclass(frozen=True)
class Case:
    """One row of a table, or one point of a plot."""

    key: str
    group: str
    title: str
    workload: str
    options: dict = field(default_factory=dict)
    ms: int = 100  # of the timed part
    who: str = "all"  # "named": can be joined by name; "own": private, a heap for each; "psm"
    rare: bool = False  # measured in every second round
    trace: str = ""  # the trace it replays
    quick: dict = field(default_factory=dict)  # options that QUICK changes

    def runs(self, peer):
        """Whether a peer takes part."""
        if self.who == "psm":
            return peer.name == "psm"
        if self.who == "named":
            return peer.named
        return self.who == "all" or peer.private

    def arguments(self, peer, quick, traces):
        """The command line of the peer's program, after its name."""
        options = dict(self.options, ms=max(self.ms // 5, 20) if quick else self.ms)
        options["setup_ms"] = (4000 if peer.slow else 10000) // (2 if quick else 1)
        if peer.slow:
            options["warm_ms"] = 2 * options["ms"]
        elif quick:
            options["warm_ms"] = 1500
        if quick:
            options.update(self.quick)
        if self.who == "own":
            options["threads"] = 0
        if self.trace:
            options["file"] = traces[self.trace]
        return [self.workload, *(f"{key}={value}" for key, value in options.items())]


def number(value):
    """A count of bytes or things as people write it."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (1 << 10, "KiB")):
        if value >= unit and value % unit == 0:
            return f"{value // unit} {name}"
    return f"{value} B"


def replacement(megabytes, members=1):
    """Of 16-4096 B, so many MB each. The segment is half empty: some of the peers commit all of it
    when they create it, so it is not larger than it need be."""
    heap = 256 * MIB
    while heap < 2 * megabytes * 1000000 * members:
        heap *= 2
    live = megabytes * 1000000 // MEAN
    return {"live": live, "max": 4096, "members": members, "heap": heap}


def larson(members):
    return {"min": 8, "max": 1000, "members": members, "heap": (256 + 16 * members) * MIB}


def timed():
    small = {"heap": 256 * MIB}
    return [
        Case("pair", "time", "pairs of 64 B", "pair", dict(small, size=64)),
        Case("batch", "time", "random batches of 10,000, 16–1024 B", "batch", small, 200),
        Case(
            "replace-1m",
            "time",
            "random replacement, 1 MB of 16–4096 B",
            "replace",
            replacement(1),
            200,
        ),
        Case("replace-100m", "time", "the same, 100 MB", "replace", replacement(100), 300),
        Case(
            "replace-1g",
            "time",
            "the same, 1 GB",
            "replace",
            replacement(1000),
            300,
            rare=True,
            quick=replacement(300),
        ),
        Case("replace-4", "time", "100 MB each, four members", "replace", replacement(100, 4), 400),
        Case(
            "own-4",
            "time",
            "the same, four processes with a heap each",
            "replace",
            replacement(100, 4),
            400,
            who="own",
        ),
        Case(
            "larson-4",
            "time",
            "Larson's exchange, four members, 8–1000 B",
            "larson",
            larson(4),
            300,
        ),
        Case(
            "produce",
            "time",
            "one allocates, another frees, 16–1024 B",
            "produce",
            dict(small, members=2),
            200,
        ),
        Case(
            "large",
            "time",
            "random replacement, 16 of 64 KiB–64 MiB",
            "replace",
            {"live": 16, "log": 1, "min": 64 << 10, "max": 64 * MIB},
            100,
        ),
    ]


def replays():
    return [
        Case(
            f"replay-{trace}-{members}",
            "time",
            f"trace of {trace}, {how}",
            "replay",
            {"members": members, "heap": 512 * MIB},
            300,
            trace=trace,
        )
        for trace in ("python", "git")
        for members, how in ((1, "one process"), (4, "four members that free each other's"))
    ]


def series():
    """The points of the plots."""
    cases = [
        Case(
            f"size-{size}",
            "size",
            f"pairs of {number(size)}",
            "pair",
            {"size": size, "heap": 512 * MIB},
            60,
            rare=True,
        )
        for size in SIZES
    ]
    for workload, options in (("replace", lambda count: replacement(2, count)), ("larson", larson)):
        cases += [
            Case(
                f"scale-{workload}-{count}",
                "scale",
                f"{workload}, members: {count}",
                workload,
                options(count),
                200,
                rare=True,
            )
            for count in MEMBERS
        ]
    return cases


def latencies():
    return [
        Case("latency-pair", "latency", "pairs of 64 B", "latency_pair", {"size": 64}, 400),
        Case(
            "latency-replace",
            "latency",
            "random replacement, 100 MB",
            "latency_replace",
            replacement(100),
            400,
        ),
        Case(
            "latency-replace-4",
            "latency",
            "the same, four members",
            "latency_replace",
            replacement(100, 4),
            400,
            rare=True,
        ),
    ]


def fills():
    heap, small = {"heap": 256 * MIB}, {"heap": 64 * MIB}
    return [
        Case(
            "fill-log",
            "fill",
            "log-uniform 16–1024 B, then 200 B",
            "fill",
            dict(heap, log=1, refill=200),
            rare=True,
            quick=small,
        ),
        Case(
            "fill-64",
            "fill",
            "64 B, then 128 B",
            "fill",
            dict(heap, min=64, max=64, refill=128),
            rare=True,
            quick=small,
        ),
        Case(
            "fill-large",
            "fill",
            "log-uniform 1–256 KiB, then 100 KiB",
            "fill",
            dict(heap, log=1, min=1024, max=256 << 10, refill=100 << 10),
            rare=True,
            quick=small,
        ),
    ]


def growths():
    """Cost over size, blocks and members; the rest is the same."""
    rows = [
        (f"heap-{size}", f"segment of {number(size)}", {"heap": size, "live": 10**4})
        for size in HEAPS
    ]
    rows += [
        (f"blocks-{live}", f"{live:,} live blocks", {"heap": GIB, "live": live}) for live in BLOCKS
    ]
    rows += [
        (f"members-{count}", f"{count:,} members", {"heap": GIB, "live": 10**4, "idle": count - 2})
        for count in CROWDS
    ]
    return [
        # Boost and libpmemobj commit all memory of a segment when they create it.
        Case(
            key,
            "growth",
            title,
            "growth",
            options,
            60,
            rare=True,
            who="psm" if options["heap"] > GIB else "named",
        )
        for key, title, options in rows
    ]


def all_cases():
    return timed() + replays() + series() + latencies() + fills() + growths()


def choose(patterns):
    """The cases whose key or group matches one of the patterns; all if there is none.

    Raises ValueError for a pattern that matches nothing.
    """
    cases = all_cases()
    if not patterns:
        return cases
    for pattern in patterns:
        if not any(matches(case, pattern) for case in cases) and pattern not in (
            "recovery",
            "instructions",
        ):
            groups = " ".join(sorted({case.group for case in cases}))
            raise ValueError(f"no case matches {pattern!r}; groups: {groups} recovery instructions")
    return [case for case in cases if any(matches(case, pattern) for pattern in patterns)]


def matches(case, pattern):
    return fnmatch.fnmatch(case.key, pattern) or case.group == pattern
