"""Tables in Markdown."""

from .cases import BLOCKS, CROWDS, HEAPS
from .figures import ratio, spread


def digits(value):
    """Three digits, and no exponent."""
    return f"{float(f'{value:.3g}'):g}"


def ns(value):
    """A time in ns, as short as it is precise."""
    if value >= 1e6:
        return f"{digits(value / 1e6)} ms"
    if value >= 1e4:
        return f"{digits(value / 1e3)} µs"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def times(value):
    """A ratio: 1/20 instead of 0.05."""
    return f"1/{digits(1 / value)}" if 0 < value < 0.25 else digits(value)


def percent(value):
    return f"{100 * value:.1f} %"


def with_range(found, form):
    """median (lowest–highest) of a Spread; a dash if there is none."""
    if found is None:
        return "–"
    if found.rounds == 1:
        return form(found.median)
    return f"{form(found.median)} ({form(found.low)}–{form(found.high)})"


def table(head, rows):
    """Empty if there are no rows."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def cells(cases, peers, head, cell):
    """A row for each case that has a figure, a column for each peer that has one.

    `cell` takes a case's key and a peer's name and returns a Spread and its form.
    """
    found = {(case.key, peer.name): cell(case.key, peer.name) for case in cases for peer in peers}
    rows = [case for case in cases if any(found[case.key, peer.name][0] for peer in peers)]
    columns = [peer for peer in peers if any(found[case.key, peer.name][0] for case in rows)]
    if not rows:
        return ""
    return table(
        [head, *(peer.title for peer in columns)],
        [
            [case.title, *(with_range(*found[case.key, peer.name]) for peer in columns)]
            for case in rows
        ],
    )


def times_table(figures, cases, peers, head, metric="ns", form=ns):
    return cells(cases, peers, head, lambda key, peer: (figures.spread(key, peer, metric), form))


def ratios_table(figures, cases, peers):
    """PSM's time by each peer's; the first column is the best of the private ones in each round."""
    others = [peer for peer in peers if peer.name != "psm"]
    rows = []
    for case in cases:
        ratios = [
            figures.ratio(case.key, name) for name in ("private", *(peer.name for peer in others))
        ]
        if any(ratios):
            rows.append([case.title, *(with_range(ratio, times) for ratio in ratios)])
    head = ["PSM's time / that of", "the best private", *(peer.title for peer in others)]
    return table(head, rows)


def latency_table(figures, cases, peers):
    names = ["p50", "p90", "p99", "p99.9", "p99.99", "max"]
    rows = [
        [
            case.title,
            peer.title,
            *(with_range(figures.spread(case.key, peer.name, name), ns) for name in names),
        ]
        for case in cases
        for peer in peers
        if figures.values(case.key, peer.name, "p50")
    ]
    if not rows:
        return ""
    clock = [
        figures.spread(case.key, "psm", name)
        for case in cases[:1]
        for name in ("overhead_ns", "step_ns")
    ]
    note = ""
    if all(clock):
        note = (
            f"\n\nReading the clock takes {clock[0].median:.1f} ns, which is subtracted; "
            f"it counts in steps of {clock[1].median:.1f} ns."
        )
    return table(["ns of one operation", "", *names], rows) + note


def fill_table(figures, cases, peers):
    names = [
        ("share", "at the first refusal", percent),
        ("share_last", "to the last block", percent),
        ("share_refill", "after the second size", percent),
        ("metadata", "resident metadata", percent),
        ("refused_ns", "ns of a refusal", ns),
    ]
    rows = [
        [
            case.title,
            peer.title,
            *(
                with_range(figures.spread(case.key, peer.name, name), form)
                for name, _, form in names
            ),
        ]
        for case in cases
        for peer in peers
        if figures.values(case.key, peer.name, "share")
    ]
    return table(["payload of the segment", "", *(title for _, title, _ in names)], rows)


GROWTH = [
    ("alloc_ns", "alloc"),
    ("free_ns", "free"),
    ("attach_ns", "attach"),
    ("detach_ns", "detach"),
    ("use_ns", "attach, pair, detach"),
]


def growth_table(figures, cases, peer):
    rows = [
        [
            case.title,
            *(with_range(figures.spread(case.key, peer.name, name), ns) for name, _ in GROWTH),
            with_range(
                figures.spread(case.key, peer.name, "metadata_bytes"),
                lambda b: f"{b / 1024:.0f} KiB",
            ),
        ]
        for case in cases
        if figures.values(case.key, peer.name, "alloc_ns")
    ]
    head = [f"{peer.title}, ns", *(title for _, title in GROWTH), "resident metadata"]
    return table(head, rows)


def flatness_table(figures, peers):
    """How many times more the last row of a growth costs than its first, in the same round."""
    ends = [
        ("segment", f"heap-{HEAPS[0]}", f"heap-{HEAPS[-1]}"),
        ("blocks", f"blocks-{BLOCKS[0]}", f"blocks-{BLOCKS[-1]}"),
        ("members", f"members-{CROWDS[0]}", f"members-{CROWDS[-1]}"),
    ]
    rows = []
    for peer in peers:
        for what, first, last in ends:
            ratios = [
                ratio(figures.values(last, peer.name, name), figures.values(first, peer.name, name))
                for name, _ in GROWTH
            ]
            if any(ratios):
                rows.append([peer.title, what, *(with_range(value, times) for value in ratios)])
    head = ["last row / first row", "growth of", *(title for _, title in GROWTH)]
    return table(head, rows)


def recovery_table(found):
    rows = [
        [
            title,
            *(
                with_range(spread({turn: result[key] for turn, result in rounds.items()}), digits)
                for key in ("rebuild_ms", "reap_ms", "check_ms")
            ),
        ]
        for title, rounds in found.items()
    ]
    return table(["ms after a death", "lock and rebuild", "reap", "PSMcheck"], rows)
