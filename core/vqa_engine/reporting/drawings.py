"""Drawings of a report as SVG: they need no script, scale to any width, and print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from vqa_engine.memory.budget import shown
from vqa_engine.reporting.course import Course, Point
from vqa_engine.reporting.markup import Markup, join, tag
from vqa_engine.reporting.pairs import Pair
from vqa_engine.scoring import Score

_HEIGHT = 100
"""Of a chart's own coordinates; its width is the number of its points."""


def gauge(score: Score, *, thin: bool = False) -> Markup:
    """A mean with its interval on a line from 0 to 100 per cent."""
    height = 10 if thin else 20
    middle, box = height / 2, height - (4 if thin else 6)
    top = (height - box) / 2
    mean = _share(score.percent)
    described = f"{score.percent:.1f} %, 95 % interval {score.low:.1f} to {score.high:.1f} %"
    track = tag("rect", class_="track", x=0, y=top, width="100%", height=box, rx=box / 2)
    kind = "gauge thin" if thin else "gauge"
    if not score.count:
        return tag("svg", track, class_=kind, role="img", aria_label="no score")
    return tag(
        "svg",
        track,
        tag("rect", class_="mean", x=0, y=top, width=mean, height=box, rx=box / 2),
        tag(
            "line",
            class_="span",
            x1=_share(score.low),
            x2=_share(score.high),
            y1=middle,
            y2=middle,
        ),
        tag("circle", class_="dot", cx=mean, cy=middle, r=3.5 if thin else 6),
        class_=kind,
        role="img",
        aria_label=described,
    )


def split(
    pair: Pair, colours: tuple[str, str], links: Sequence[str], names: Sequence[str]
) -> Markup:
    """One bar of the four ways in which two contenders can be right and wrong."""
    counts = (pair.both, pair.only_first, pair.only_second, pair.neither)
    kinds = ("both", f"first {colours[0]}", f"second {colours[1]}", "neither")
    parts, at = [], 0.0
    for count, kind, link, name in zip(counts, kinds, links, names, strict=True):
        width = 100 * count / pair.count if pair.count else 0.0
        if count:
            box = tag("rect", class_=kind, x=f"{at:.3f}%", y=0, width=f"{width:.3f}%", height=24)
            title = tag("title", f"{name}: {count:,}")
            parts.append(tag("a", title, box, href=link, aria_label=f"{name}: {count:,}"))
        at += width
    return tag("svg", *parts, class_="split")


def memory_chart(course: Course, link: Callable[[Point], str]) -> Markup | None:
    """Peak, floor, prediction, budget, cleanups and restarts over a run; None without figures."""
    top = _highest(course)
    if not top:
        return None
    peaks = _line(course.points, lambda point: point.peak, top)
    return tag(
        "svg",
        *_marks(course.cleanups, "clean", foot=_HEIGHT, longest=-15),
        *_marks(course.restarts, "restart", foot=0, longest=45),
        _under(peaks),
        _curve("low", _line(course.points, lambda point: point.floor, top)),
        _curve("predicted", _line(course.points, lambda point: point.predicted, top)),
        _curve("curve", peaks),
        _level("budget", course.budget, top, len(course.points)),
        *_targets(course.points, link),
        **_canvas(len(course.points)),
    )


def pace_chart(course: Course, link: Callable[[Point], str]) -> Markup | None:
    """Questions a second over a run; None without figures."""
    top = fastest(course)
    if not top:
        return None
    line = _line(course.points, lambda point: point.pace, top)
    return tag(
        "svg",
        _under(line),
        _curve("curve", line),
        *_targets(course.points, link),
        **_canvas(len(course.points)),
    )


def highest(course: Course) -> float:
    """The bytes at the top of the chart of memory."""
    return _highest(course) or 0.0


def fastest(course: Course) -> float:
    """The pace at the top of its chart."""
    return max((point.pace or 0.0 for point in course.points), default=0.0) * 1.05


def _highest(course: Course) -> float | None:
    peak = max((point.peak or 0.0 for point in course.points), default=0.0)
    if not peak:
        return None
    predicted = max((point.predicted or 0.0 for point in course.points), default=0.0)
    near = course.budget if course.budget and course.budget < 3 * peak else 0
    return 1.05 * max(peak, min(predicted, 3 * peak), near)


def _canvas(points: int) -> dict[str, str]:
    return {"viewBox": f"0 0 {max(points, 1)} {_HEIGHT}", "preserveAspectRatio": "none"}


Line = list[list[tuple[float, float]]]
"""Runs of points without a gap."""


def _line(points: Sequence[Point], figure: Callable[[Point], float | None], top: float) -> Line:
    line: Line = [[]]
    for at, point in enumerate(points):
        value = figure(point)
        if value is None:
            line.append([])
            continue
        line[-1].append((at + 0.5, _HEIGHT * (1 - min(value / top, 1))))
    return [part for part in line if part]


def _curve(kind: str, line: Line) -> Markup | None:
    return tag("path", class_=kind, d=" ".join(map(_path, line))) if line else None


def _under(line: Line) -> Markup:
    areas = (
        f"{_path(part)} L{part[-1][0]:g} {_HEIGHT} L{part[0][0]:g} {_HEIGHT} Z" for part in line
    )
    return tag("path", class_="under", d=" ".join(areas))


def _path(part: Sequence[tuple[float, float]]) -> str:
    if len(part) == 1:  # a single point is drawn as wide as it stands for
        ((x, y),) = part
        return f"M{x - 0.5:g} {y:.2f} L{x + 0.5:g} {y:.2f}"
    return "M" + " L".join(f"{x:g} {y:.2f}" for x, y in part)


def _level(kind: str, value: float | None, top: float, width: int) -> Markup | None:
    if not value or value > top:
        return None
    y = f"{_HEIGHT * (1 - value / top):.2f}"
    return tag("line", class_=kind, x1=0, x2=width, y1=y, y2=y)


def _marks(
    counts: Mapping[int, int], kind: str, *, foot: float, longest: float
) -> Iterator[Markup]:
    """A stroke at each point where something happened, the longer the more often it did."""
    most = max(counts.values(), default=1)
    for at in sorted(counts):
        end = foot + longest * (0.4 + 0.6 * counts[at] / most)
        yield tag("line", class_=kind, x1=at + 0.5, x2=at + 0.5, y1=f"{foot:g}", y2=f"{end:g}")


def _targets(points: Sequence[Point], link: Callable[[Point], str]) -> Iterator[Markup]:
    """A link over each point, to its rows."""
    for at, point in enumerate(points):
        title = tag("title", _told(point))
        box = tag("rect", x=at, y=0, width=1, height=_HEIGHT)
        yield tag("a", title, box, href=link(point), tabindex=-1, aria_hidden="true")


def _told(point: Point) -> str:
    rows = f"rows {point.first + 1:,} to {point.last + 1:,}"
    pace = f", {point.pace:.1f} questions/s" if point.pace else ""
    peak = f", peak {shown(int(point.peak))}" if point.peak else ""
    floor = f", floor {shown(int(point.floor))}" if point.floor else ""
    return join(rows, pace, peak, floor)


def _share(percent: float) -> str:
    return f"{percent:.2f}%"
