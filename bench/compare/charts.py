"""Which plots there are."""

from . import plots
from .cases import MEMBERS, SIZES, number
from .peers import PEERS

NAMES = [peer.title for peer in PEERS]
PERCENTILES = ["p50", "p90", "p99", "p99.9", "p99.99"]
SCALES = {"replace": "Random replacement, 2 MB each", "larson": "Larson's exchange"}
LATENCIES = {"latency-pair": "Pairs of 64 B", "latency-replace": "Random replacement, 100 MB"}


def series(figures, peers, points):
    """{peer's title: {place: median}}; each point is a case's key and a metric."""
    lines = {}
    for peer in peers:
        for place, (key, metric) in enumerate(points):
            found = figures.spread(key, peer.name, metric)
            if found:
                lines.setdefault(peer.title, {})[place] = found.median
    return lines


def size_chart(figures, peers):
    lines = series(figures, peers, [(f"size-{size}", "ns") for size in SIZES])
    return plots.Chart(
        "Pairs: time over size",
        "size of a block",
        "ns of an alloc and a free",
        [number(size) for size in SIZES],
        lines,
        NAMES,
    )


def scale_chart(figures, peers, workload):
    """Throughput of all members together."""
    lines = series(figures, peers, [(f"scale-{workload}-{count}", "ns") for count in MEMBERS])
    for line in lines.values():
        for place, ns in line.items():
            line[place] = 1000 * MEMBERS[place] / ns
    return plots.Chart(
        f"{SCALES[workload]}: throughput over members",
        "processes (private allocators: threads)",
        "million operations a second",
        [str(count) for count in MEMBERS],
        lines,
        NAMES,
    )


def latency_chart(figures, peers, key):
    lines = series(figures, peers, [(key, name) for name in PERCENTILES])
    return plots.Chart(
        f"{LATENCIES[key]}: latency percentiles", "percentile", "ns", PERCENTILES, lines, NAMES
    )


def write_all(out, figures, peers):
    """The SVG files of all groups that were measured; others, of earlier runs, go."""
    charts = {"size.svg": size_chart(figures, peers)}
    charts.update((f"scale-{name}.svg", scale_chart(figures, peers, name)) for name in SCALES)
    charts.update((f"{key}.svg", latency_chart(figures, peers, key)) for key in LATENCIES)
    for name, chart in charts.items():
        (out / name).unlink(missing_ok=True)
        if chart.lines:
            (out / name).write_text(plots.draw(chart), encoding="utf-8")
