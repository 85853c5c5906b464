"""Pictures of the page, as SVG without any style of its own: page.css colours them for light and dark.

Kept and rejected are told apart by place (above and below the axis) and pattern, not by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tts_train.dataset_report.measures import BY_NAME, Measure

PATTERNS = (
    '<svg class="patterns" width="0" height="0" aria-hidden="true"><defs>'
    '<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="under" width="5" height="5"/><rect class="over" width="2" height="5"/></pattern>'
    '<pattern id="dots" width="5" height="5" patternUnits="userSpaceOnUse">'
    '<circle class="over" cx="2.5" cy="2.5" r="1.1"/></pattern></defs></svg>'
)
PARTS = ("kept", "rejected", "skipped", "missing")
"""Of the speech, in the order of a bar."""

_WIDTH, _HEIGHT, _TOP, _PLOT = 240, 132, 6, 100
_LEAST = 2.0
"""A bin that holds anything is at least this high, so that one clip among thousands is seen."""
_TICKS = 3


def figure(name: str, row: Mapping[str, Any]) -> str:
    """A measure's histogram with its caption; `row` is one of the facts' `measures`."""
    measure = BY_NAME[name]
    caption = _caption(measure, row)
    return (
        f'<figure class="chart"><figcaption><b>{escape(measure.label)}</b><span>{escape(caption)}</span></figcaption>'
        f"{_histogram(measure, row, f'{measure.label}: {caption}')}</figure>"
    )


def bar(parts: Mapping[str, float], whole: float, label: str = "") -> str:
    """A bar of kept, rejected, skipped and missing seconds; without a label the text beside it tells the same."""
    drawn, at = [], 0.0
    for name in PARTS:
        width = 100 * parts.get(name, 0.0) / whole if whole else 0.0
        if width > 0:
            drawn.append(f'<rect class="{name}" x="{at:.3f}%" width="{width:.3f}%" height="100%"/>')
        at += width
    told = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    return f'<svg class="bar" {told}>{"".join(drawn)}</svg>'


def _caption(measure: Measure, row: Mapping[str, Any]) -> str:
    kept, lost = row["kept"], row["rejected"]
    if not kept["clips"]:
        return f"no kept clip; {lost['clips']} rejected"
    low, high = measure.shown(kept["p05"], unit=False), measure.shown(kept["p95"])
    spread = f"median {measure.shown(kept['median'])}"
    return f"{spread}, nine in ten {low} to {high}" if kept["p05"] != kept["p95"] else spread


def _histogram(measure: Measure, row: Mapping[str, Any], label: str) -> str:
    bins = row["histogram"]
    edges, kept, rejected = bins["edges"], bins["kept"], bins["rejected"]
    highest, deepest = max(kept, default=0), max(rejected, default=0)
    # Room for the bars that are raised to be seen.
    unit = (_PLOT - 2 * _LEAST) / max(1, highest + deepest)
    axis = _TOP + (_height(highest, unit) if highest else 0.0)
    step = _WIDTH / len(kept)
    drawn = [
        _bin(_range(measure, bins, index), index * step, step, pair, unit, axis)
        for index, pair in enumerate(zip(kept, rejected, strict=True))
        if any(pair)
    ]
    drawn.append(f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{axis:.1f}" y2="{axis:.1f}"/>')
    drawn += [_limit(edges, limit) for limit in row["limits"] if limit is not None and edges[0] <= limit <= edges[-1]]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{''.join(drawn)}{_ticks(measure, bins, step)}</svg>"
    )


def _bin(place: str, x: float, step: float, pair: Sequence[int], unit: float, axis: float) -> str:
    kept, rejected = pair
    told = f"{place}: {kept} kept"
    told += f", {rejected} rejected" if rejected else ""
    left, width = f"{x + 0.75:.1f}", f"{step - 1.5:.1f}"
    bars = [
        f"<title>{escape(told)}</title>",
        f'<rect class="reach" x="{x:.1f}" width="{step:.1f}" height="{_HEIGHT}"/>',
    ]
    if kept:
        high = _height(kept, unit)
        bars.append(f'<rect class="kept" x="{left}" y="{axis - high:.1f}" width="{width}" height="{high:.1f}"/>')
    if rejected:
        deep = _height(rejected, unit)
        bars.append(f'<rect class="rejected" x="{left}" y="{axis:.1f}" width="{width}" height="{deep:.1f}"/>')
    return f"<g>{''.join(bars)}</g>"


def _height(count: int, unit: float) -> float:
    return max(_LEAST, count * unit)


def _limit(edges: Sequence[float], limit: float) -> str:
    x = _WIDTH * (limit - edges[0]) / (edges[-1] - edges[0])
    return f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_TOP + _PLOT + 4}"/>'


def _range(measure: Measure, bins: Mapping[str, Any], index: int) -> str:
    """2.0 to 2.5 s; for an outermost bin that holds more: 2.5 s or less."""
    low, high = bins["edges"][index], bins["edges"][index + 1]
    if index == 0 and bins["beyond"][0]:
        return f"{measure.shown(high)} or less"
    if index == len(bins["kept"]) - 1 and bins["beyond"][1]:
        return f"{measure.shown(low)} or more"
    return f"{measure.shown(low, unit=False)} to {measure.shown(high)}"


def _ticks(measure: Measure, bins: Mapping[str, Any], step: float) -> str:
    edges, signs = bins["edges"], ("≤ " if bins["beyond"][0] else "", "≥ " if bins["beyond"][1] else "")
    drawn, last = [], len(edges) - 1
    for index in sorted({round(last * part / _TICKS) for part in range(_TICKS + 1)}):
        anchor = "start" if index == 0 else "end" if index == last else "middle"
        number = f"{edges[index] * measure.scale:.6g}".replace("-", "−")
        sign = signs[0] if index == 0 else signs[1] if index == last else ""
        drawn.append(f'<text x="{index * step:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{sign}{number}</text>')
    return "".join(drawn)
