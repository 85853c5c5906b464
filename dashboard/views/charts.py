"""Charts of the Runs page as Altair objects. Colour never stands alone: shape, dash or a name says the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from views.runs import Curves, Point, Row
from views.vowels import BASE, SPEAKER, UNITS, Plot, Space


@dataclass(frozen=True)
class Palette:
    """Colours that stand out from the ground by 3 to 1, text by 4.5 to 1 (WCAG AA; tests/unit/test_views_charts.py).

    Epochs take `epochs` in turn. The hues keep apart for eyes that lack red, green or blue cones (after Okabe and Ito).
    """

    ground: str
    text: str
    base: str
    speaker: str
    epochs: tuple[str, ...]

    @property
    def line(self) -> str:
        return self.epochs[0]


LIGHT = Palette("#ffffff", "#1b242b", "#6b7280", "#c2410c", ("#0067b1", "#00785a", "#9c3d8f", "#8a6100"))
DARK = Palette("#14191d", "#e8edf1", "#a3a9b5", "#ff8a4c", ("#56b4e9", "#2fc39a", "#dd86cf", "#e0b23c"))

_EPOCH_SHAPES = ("circle", "triangle-up", "triangle-down", "cross")
MOST_EPOCHS = len(_EPOCH_SHAPES)
_HEIGHT = 170
_PROGRESS_HEIGHT = 380
_VOWELS_HEIGHT = 500


def palette(dark: bool) -> Palette:
    return DARK if dark else LIGHT


def loss(curves: Curves, colours: Palette) -> alt.LayerChart:
    """Each step's loss, thin, and the mean of each epoch as points."""
    step = _line(curves.loss, "loss", colours.base).mark_line(color=colours.base, strokeWidth=1, opacity=0.8)
    mean = _line(curves.loss_epochs, "mean of the epoch", colours.line)
    return alt.layer(step, mean.mark_line(color=colours.line, strokeWidth=2, point={"size": 45, "color": colours.line}))


def over_steps(points: Sequence[Point], title: str, colours: Palette, *, dots: bool, form: str = "~g") -> alt.Chart:
    """One line over optimizer steps, from zero."""
    point: Any = {"size": 45, "color": colours.line} if dots else False
    return _line(points, title, colours.line, form, zero=True).mark_line(color=colours.line, strokeWidth=2, point=point)


def progress(rows: Sequence[Row], colours: Palette) -> alt.LayerChart:
    """t of every contrast over epochs with its interval: 0 is the base, 1 the real speaker."""
    names = list(dict.fromkeys(row["contrast"] for row in rows))
    looks = [colours.line, colours.speaker, *colours.epochs[1:]]
    colour = alt.Color("contrast:N", scale=alt.Scale(domain=names, range=looks), legend=_legend())
    shape = alt.Shape("contrast:N", scale=alt.Scale(domain=names, range=[*_EPOCH_SHAPES, "square"]), legend=_legend())
    epoch = alt.X("epoch:O", title="epoch", axis=alt.Axis(labelAngle=0))
    offset = alt.XOffset("contrast:N", scale=alt.Scale(domain=names))
    base = alt.Chart(_values(rows))
    scale = alt.Scale(domain=_domain(rows), clamp=True)
    bars = base.mark_rule(strokeWidth=2, opacity=0.7).encode(
        x=epoch,
        xOffset=offset,
        y=alt.Y("low:Q", title="t", scale=scale),
        y2="high:Q",
        color=colour,
    )
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=epoch,
        xOffset=offset,
        y=alt.Y("t:Q", scale=scale),
        color=colour,
        shape=shape,
        tooltip=["contrast:N", "epoch:O", *(alt.Tooltip(f"{name}:Q", format=".2f") for name in ("t", "low", "high"))],
    )
    marks = alt.Chart(_values([{"at": 0.0}, {"at": 1.0}])).mark_rule(strokeDash=[5, 4], color=colours.base)
    return alt.layer(marks.encode(y=alt.Y("at:Q", scale=scale)), bars, dots).properties(height=_PROGRESS_HEIGHT)


def vowels(drawn: Plot, space: Space, colours: Palette) -> alt.LayerChart:
    """F1 against F2 as phoneticians draw it: close vowels at the top, front vowels at the left."""
    looks = _looks(drawn.sources, colours)
    colour = alt.Color("source:N", scale=_scale(looks, 0), legend=_legend())
    shape = alt.Shape("source:N", scale=_scale(looks, 1), legend=_legend())
    scale, axis = alt.Scale(reverse=True, zero=False, nice=False, padding=20), alt.Axis(tickCount=6)
    x = alt.X("F2:Q", title=f"F2, {UNITS[space]}", scale=scale, axis=axis)
    y = alt.Y("F1:Q", title=f"F1, {UNITS[space]}", scale=scale, axis=axis)
    form = ".2f" if space == "z" else ".0f"

    paths = alt.Chart(_values(drawn.paths)).mark_line(strokeDash=[3, 3], strokeWidth=1, color=colours.base)
    spread = alt.Chart(_values(drawn.ellipses)).mark_line(strokeWidth=1, opacity=0.55)
    ways = alt.Chart(_values(drawn.tracks)).mark_trail(opacity=0.9)
    dots = alt.Chart(_values(drawn.means)).mark_point(filled=True, size=110, opacity=1)
    names = alt.Chart(_values(drawn.labels)).mark_text(dy=-14, fontWeight="bold", fontSize=12, color=colours.text)
    return alt.layer(
        spread.encode(x=x, y=y, color=colour, detail=["set:N"], order="corner:Q"),
        paths.encode(x=x, y=y, detail="set:N", order="order:Q"),
        ways.encode(
            x=x,
            y=y,
            color=colour,
            detail=["set:N"],
            order="share:Q",
            size=alt.Size("share:Q", scale=alt.Scale(range=[0.5, 6]), legend=None),
        ),
        dots.encode(
            x=x,
            y=y,
            color=colour,
            shape=shape,
            tooltip=[
                "set:N",
                "source:N",
                alt.Tooltip("F1:Q", format=form),
                alt.Tooltip("F2:Q", format=form),
                "words:Q",
            ],
        ),
        names.encode(x=x, y=y, text="set:N"),
    ).properties(height=_VOWELS_HEIGHT)


def _looks(sources: Sequence[str], colours: Palette) -> Mapping[str, tuple[str, str]]:
    """Source → colour and shape."""
    epochs = [source for source in sources if source not in (BASE, SPEAKER)]
    fixed = {BASE: (colours.base, "square"), SPEAKER: (colours.speaker, "diamond")}
    turns = {
        name: (colours.epochs[k % len(colours.epochs)], _EPOCH_SHAPES[k % MOST_EPOCHS]) for k, name in enumerate(epochs)
    }
    return {source: {**fixed, **turns}[source] for source in sources}


def _scale(looks: Mapping[str, tuple[str, str]], part: int) -> alt.Scale:
    return alt.Scale(domain=list(looks), range=[look[part] for look in looks.values()])


def _legend() -> alt.Legend:
    return alt.Legend(title=None, orient="top", direction="horizontal", columns=0, symbolSize=110, symbolOpacity=1)


def _line(points: Sequence[Point], title: str, colour: str, form: str = "~g", *, zero: bool = False) -> alt.Chart:
    rows = [{"step": step, title: value} for step, value in points]
    return (
        alt.Chart(_values(rows), height=_HEIGHT)
        .mark_line(color=colour)
        .encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickCount=4)),
            y=alt.Y(f"{title}:Q", title=None, scale=alt.Scale(zero=zero), axis=alt.Axis(format=form, tickCount=4)),
            tooltip=["step:Q", alt.Tooltip(f"{title}:Q", format=form)],
        )
    )


def _domain(rows: Sequence[Row]) -> list[float]:
    """From base to target with what is measured, but an endless interval shall not flatten the rest."""
    values = [row[name] for row in rows for name in ("t", "low", "high") if row[name] is not None]
    return [max(min([*values, -0.1]), -2.0), min(max([*values, 1.1]), 3.0)]


def _values(rows: Sequence[Row]) -> alt.InlineData:
    return alt.InlineData(values=list(rows))
