"""Plots as plain SVG that reads well on light and on dark pages. Pure: numbers in, text out."""

import math
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, ROW, TOP = 760, 150, 112, 26, 58

STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #57606a } .title { font-size: 15px; font-weight: 600; fill: #1f2328 }
.name { fill: #1f2328 } .axis, .whisker { stroke: #8c959f } .grid { stroke: #d0d7de; stroke-dasharray: 2 3 }
.s0 { fill: #0969da; stroke: #0969da } .s1 { fill: #bf8700; stroke: #bf8700 } .s2 { fill: #8250df; stroke: #8250df }
.s3 { fill: #1a7f37; stroke: #1a7f37 } .s4 { fill: #cf222e; stroke: #cf222e } .s5 { fill: #0e8a8a; stroke: #0e8a8a }
.s6 { fill: #9a6700; stroke: #9a6700 } .s7 { fill: #bf3989; stroke: #bf3989 } .rest { fill: #8c959f; stroke: #8c959f }
.line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 } .title, .name { fill: #f0f6fc } .axis, .whisker { stroke: #6e7681 } .grid { stroke: #30363d }
.s0 { fill: #4493f8; stroke: #4493f8 } .s1 { fill: #d29922; stroke: #d29922 } .s2 { fill: #ab7df8; stroke: #ab7df8 }
.s3 { fill: #3fb950; stroke: #3fb950 } .s4 { fill: #f85149; stroke: #f85149 } .s5 { fill: #39c5c5; stroke: #39c5c5 }
.s6 { fill: #c69026; stroke: #c69026 } .s7 { fill: #db61a2; stroke: #db61a2 } .rest { fill: #6e7681; stroke: #6e7681 }
.line { fill: none } }
</style>"""


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart: parts one after the other, or one part with a range around its end."""

    name: str
    parts: tuple[float, ...]
    label: str
    range: tuple[float, float] | None = None
    # Class of the only part; stacked parts have the series' own.
    style: str = "rest"


def text(x: float, y: float, content: str, style: str = "", anchor: str = "start") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def page(title: str, height: float, body: list[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">'
    return "\n".join([head, STYLE, text(8, 20, title, "title"), *body, "</svg>"]) + "\n"


def steps(most: float) -> list[float]:
    """Returns round numbers from 0 to at least `most`, four to eight of them."""
    power = 10 ** math.floor(math.log10(most))
    step = next(size * power for size in (0.2, 0.5, 1, 2) if most / (size * power) <= 6)
    return [round(step * index, 10) for index in range(math.ceil(most / step) + 1)]


def legend(series: list[tuple[str, str]], y: float = 40) -> list[str]:
    out, x = [], LEFT
    for name, style in series:
        out += [f'<rect x="{x:.1f}" y="{y - 9:.1f}" width="10" height="10" class="{style}"/>', text(x + 15, y, name)]
        x += 34 + 6.6 * len(name)
    return out


def bars(title: str, rows: list[Bar], series: tuple[str, ...] = ()) -> str:
    """Draws horizontal bars; with `series`, each row's parts are stacked under these names."""
    ticks = steps(max(max(sum(row.parts), *(row.range or (0,))) for row in rows))
    scale = (WIDTH - LEFT - RIGHT) / ticks[-1]
    bottom = TOP + ROW * len(rows)
    body = legend([(name, f"s{index}") for index, name in enumerate(series)])
    for tick in ticks:
        x = LEFT + tick * scale
        body += [line(x, TOP, x, bottom, "grid"), text(x, bottom + 16, f"{tick:,g}", anchor="middle")]
    for index, row in enumerate(rows):
        y, x = TOP + ROW * index, float(LEFT)
        body.append(text(LEFT - 8, y + 17, row.name, "name", "end"))
        for part, value in enumerate(row.parts):
            style = f"s{part}" if series else row.style
            wide = value * scale
            body.append(f'<rect x="{x:.1f}" y="{y + 4}" width="{wide:.1f}" height="{ROW - 8}" class="{style}"/>')
            x += wide
        if row.range:
            low, high = (LEFT + end * scale for end in row.range)
            body.append(line(low, y + ROW / 2, high, y + ROW / 2, "whisker"))
            x = max(x, high)
        body.append(text(x + 6, y + 17, row.label))
    return page(title, bottom + 28, body)


def dots(title: str, rows: list[tuple[str, dict[str, float]]]) -> str:
    """Draws each row's named values on a common logarithmic axis."""
    values = [value for _, points in rows for value in points.values() if value > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    scale = (WIDTH - LEFT - RIGHT) / max(high - low, 1)
    bottom = TOP + ROW * len(rows)
    names = list(rows[0][1])
    body = legend([(name, f"s{index}") for index, name in enumerate(names)])
    for power in range(low, high + 1):
        x = LEFT + (power - low) * scale
        body += [line(x, TOP, x, bottom, "grid"), text(x, bottom + 16, f"{10.0**power:,g} ms", anchor="middle")]
    for index, (name, points) in enumerate(rows):
        y = TOP + ROW * index + ROW / 2
        xs = [LEFT + (math.log10(max(value, 10.0**low)) - low) * scale for value in points.values()]
        body += [text(LEFT - 8, y + 4, name, "name", "end"), line(min(xs), y, max(xs), y, "whisker")]
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="s{part}"/>' for part, x in enumerate(xs)]
    return page(title, bottom + 28, body)


def lines(title: str, series: dict[str, list[tuple[float, float]]], unit: str) -> str:
    """Draws a line for each name over a binary-logarithmic axis."""
    xs = sorted({x for points in series.values() for x, _ in points})
    ticks = steps(max(y for points in series.values() for _, y in points))
    top, bottom, left = 70, 330, 70
    span = max(math.log2(xs[-1] / xs[0]), 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (WIDTH - left - RIGHT) * math.log2(x / xs[0]) / span
        return left + across, bottom - (bottom - top) * y / ticks[-1]

    body = [text(WIDTH - RIGHT, bottom + 32, unit, anchor="end")]
    for tick in ticks:
        y = place(xs[0], tick)[1]
        body += [line(left, y, WIDTH - RIGHT, y, "grid"), text(left - 8, y + 4, f"{tick:,g}", anchor="end")]
    body += [text(place(x, 0)[0], bottom + 16, f"{x:g}", anchor="middle") for x in xs]
    for index, (name, points) in enumerate(series.items()):
        placed = [place(x, y) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        body.append(f'<polyline points="{path}" class="s{index % 8} line" style="fill:none"/>')
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="s{index % 8}"/>' for x, y in placed]
    half = math.ceil(len(series) / 2)
    named = [(name, f"s{index % 8}") for index, name in enumerate(series)]
    return page(title, bottom + 44, legend(named[:half], 40) + legend(named[half:], 58) + body)
