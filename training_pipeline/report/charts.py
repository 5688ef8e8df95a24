"""Charts: small drawings in SVG, without a library and without a reference to anything outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training_pipeline.evaluation.intervals import Interval
from training_pipeline.evaluation.reliability import Bin
from training_pipeline.report.markup import Markup, tag

WIDTH, HEIGHT, MARGIN = 520.0, 240.0, 44.0
COLOURS = ("#1f5fa8", "#c4571b", "#3f7f3f")
_ROW_HEIGHT = 22.0
_NAME_WIDTH = 260.0
_TICKS = 4

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """Values on an axis to places in a drawing."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the place of a value."""
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return values at which the axis is marked."""
        return [self.low + (self.high - self.low) * i / _TICKS for i in range(_TICKS + 1)]


def line_chart(
    lines: Mapping[str, Sequence[Point]], *, across: str, up: tuple[float, float] | None = None
) -> Markup:
    """Return lines through points, each of a name.

    Args:
        lines: points (x, y) by name, with x rising.
        across: what x is.
        up: between which values y goes; None: between those of the points.
    """
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    if not xs:
        return tag("p", "Nothing to draw.")
    low, high = up or (min(ys), max(ys))
    x, y = _axes(Scale(min(xs), max(xs), 0, 0), Scale(low, high, 0, 0))
    drawn = []
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in points)
        drawn.append(tag("polyline", points=path, fill="none", stroke=colour, stroke_width=1.6))
        if len(points) <= 2 * _TICKS:
            drawn += [tag("circle", cx=x.at(a), cy=y.at(b), r=3, fill=colour) for a, b in points]
        drawn.append(
            tag("text", name, x=MARGIN + 8 + 130 * number, y=14, fill=colour, class_="name")
        )
    return _drawing(HEIGHT, _frame(x, y), *drawn, _caption(across))


def reliability_diagram(bins: Sequence[Bin]) -> Markup:
    """Return accuracy over confidence: on the diagonal, answers are as sure as they are right."""
    x, y = _axes(Scale(0, 1, 0, 0), Scale(0, 1, 0, 0))
    most = max(one.rows for one in bins)
    points = [
        tag(
            "circle",
            tag("title", f"{one.rows} rows"),
            cx=x.at(one.confidence),
            cy=y.at(one.accuracy),
            r=3 + 7 * (one.rows / most) ** 0.5,
            fill=COLOURS[0],
            fill_opacity=0.7,
        )
        for one in bins
    ]
    diagonal = tag("line", x1=x.at(0), y1=y.at(0), x2=x.at(1), y2=y.at(1), class_="guide")
    return _drawing(HEIGHT, _frame(x, y), diagonal, *points, _caption("confidence"))


def interval_chart(rows: Sequence[tuple[str, float, Interval]]) -> Markup:
    """Return shares with their intervals, one a line.

    Args:
        rows: name, share and interval of each.
    """
    height = _ROW_HEIGHT * len(rows) + MARGIN
    x = Scale(0, 1, _NAME_WIDTH, WIDTH + MARGIN)
    drawn = [
        tag("line", x1=x.at(tick), y1=0, x2=x.at(tick), y2=height - MARGIN + 6, class_="guide")
        for tick in x.ticks()
    ]
    for number, (name, share, interval) in enumerate(rows):
        middle = _ROW_HEIGHT * (number + 0.5)
        ends = {"x1": x.at(interval.low), "x2": x.at(interval.high)}
        drawn += [
            tag("text", name, x=_NAME_WIDTH - 8, y=middle + 4, class_="row"),
            tag("line", y1=middle, y2=middle, stroke=COLOURS[0], stroke_width=3, **ends),
            tag("circle", cx=x.at(share), cy=middle, r=4, fill=COLOURS[1]),
        ]
    drawn += [
        tag("text", f"{tick:.2f}", x=x.at(tick), y=height - MARGIN + 20, class_="tick")
        for tick in x.ticks()
    ]
    return _drawing(height, *drawn)


def bar_chart(bars: Sequence[tuple[str, float]]) -> Markup:
    """Return shares as bars, one a line.

    Args:
        bars: name and share, 0 to 1, of each.
    """
    x = Scale(0, 1, _NAME_WIDTH, WIDTH)
    drawn = []
    for number, (name, share) in enumerate(bars):
        top = _ROW_HEIGHT * number
        width = x.at(share) - x.start
        drawn += [
            tag("text", name, x=_NAME_WIDTH - 8, y=top + 15, class_="row"),
            tag("rect", x=x.start, y=top + 4, width=width, height=14, fill=COLOURS[0]),
            tag("text", f"{share:.2f}", x=x.at(share) + 6, y=top + 15),
        ]
    return _drawing(_ROW_HEIGHT * len(bars), *drawn)


def _axes(x: Scale, y: Scale) -> tuple[Scale, Scale]:
    return (
        Scale(x.low, x.high, MARGIN, WIDTH),
        Scale(y.low, y.high, HEIGHT - MARGIN, MARGIN / 2),
    )


def _frame(x: Scale, y: Scale) -> Markup:
    lines = [
        tag("line", x1=x.start, x2=x.end, y1=y.at(tick), y2=y.at(tick), class_="guide")
        for tick in y.ticks()
    ]
    told = [
        tag("text", f"{tick:.2f}", x=x.start - 6, y=y.at(tick) + 4, class_="row")
        for tick in y.ticks()
    ]
    below = [
        tag("text", f"{tick:.3g}", x=x.at(tick), y=y.start + 16, class_="tick")
        for tick in x.ticks()
    ]
    return tag("g", *lines, *told, *below)


def _caption(across: str) -> Markup:
    return tag("text", across, x=(MARGIN + WIDTH) / 2, y=HEIGHT - 8, class_="tick")


def _drawing(height: float, *parts: Markup) -> Markup:
    width = WIDTH + 2 * MARGIN
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=width,
        height=height,
        role="img",
    )
