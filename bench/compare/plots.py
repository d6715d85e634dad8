"""Line charts as SVG, with logarithmic axes."""

import math
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 55  # margins; the legend is on the right
COLOURS = [
    "#d62728",
    "#1f77b4",
    "#2ca02c",
    "#9467bd",
    "#8c564b",
    "#000000",
    "#ff7f0e",
    "#bcbd22",
    "#17becf",
    "#e377c2",
    "#7f7f7f",
    "#1b9e77",
]


def decades(low, high):
    """The powers of ten from below `low` to above `high`."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def short(value):
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def element(name, content="", **attributes):
    words = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in attributes.items())
    return f"<{name}{words}>{content}</{name}>" if content else f"<{name}{words}/>"


def text(x, y, words, **attributes):
    return element("text", escape(words), x=f"{x:.1f}", y=f"{y:.1f}", **attributes)


@dataclass(frozen=True)
class Chart:
    """What a chart shows."""

    title: str
    x_title: str
    y_title: str
    x_labels: list  # the places on the x axis, at equal distances
    lines: dict  # {name: {place's index: value > 0}}; the y axis is logarithmic
    names: list  # of all lines that any chart may have: each has its colour in all of them


def draw(chart):
    """An SVG document."""
    values = [value for line in chart.lines.values() for value in line.values() if value > 0]
    ticks = decades(min(values), max(values))
    low, high = math.log10(ticks[0]), math.log10(ticks[-1])

    def x(place):
        return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / len(chart.x_labels)

    def y(value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(value) - low) / (high - low)

    parts = [
        element("rect", width=WIDTH, height=HEIGHT, fill="white"),
        text(LEFT, TOP - 16, chart.title, font_size=15, font_weight="bold"),
    ]
    for tick in ticks:
        parts.append(
            element(
                "line",
                x1=LEFT,
                x2=WIDTH - RIGHT,
                y1=f"{y(tick):.1f}",
                y2=f"{y(tick):.1f}",
                stroke="#ddd",
            )
        )
        parts.append(text(LEFT - 8, y(tick) + 4, short(tick), text_anchor="end"))
    for place, label in enumerate(chart.x_labels):
        parts.append(text(x(place), HEIGHT - BOTTOM + 18, label, text_anchor="middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, chart.x_title, text_anchor="middle"))
    parts.append(
        text(18, middle, chart.y_title, text_anchor="middle", transform=f"rotate(-90 18 {middle})")
    )
    for index, (name, line) in enumerate(chart.lines.items()):
        parts += draw_line(
            index,
            chart.names.index(name),
            name,
            {place: (x(place), y(value)) for place, value in sorted(line.items()) if value > 0},
        )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def draw_line(index, colour_index, name, points):
    """A line with its dots and its entry in the legend. The first name's, PSM's, is thicker."""
    colour = COLOURS[colour_index % len(COLOURS)]
    width = 3 if colour_index == 0 else 1.5
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points.values())
    parts = [element("polyline", points=path, fill="none", stroke=colour, stroke_width=width)]
    parts += [
        element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3, fill=colour)
        for x, y in points.values()
    ]
    at = TOP + 10 + 20 * index
    parts.append(
        element(
            "line",
            x1=WIDTH - RIGHT + 15,
            x2=WIDTH - RIGHT + 40,
            y1=at,
            y2=at,
            stroke=colour,
            stroke_width=width,
        )
    )
    parts.append(text(WIDTH - RIGHT + 46, at + 4, name))
    return parts
