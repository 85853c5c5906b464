"""The vowel space of the base, of epochs and of the real speaker, as rows for a plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tts_train.probe.material import TARGET
from tts_train.probe.render import MEASURES, render_folder
from tts_train.review.decision.evidence import Evidence
from tts_train.training.run import RunFolder
from views.names import BASE, SPEAKER, epoch_name, listed

Space = Literal["z", "hz"]
Row = dict[str, Any]
UNITS: Mapping[Space, str] = {"z": "z", "hz": "Hz"}
"""z is Lobanov's normalisation, which takes the voice out."""
_CORNERS = 36


@dataclass(frozen=True)
class Plot:
    """Rows of the layers. `sources` are named in the order of the legend: base, epochs, real speaker."""

    sources: tuple[str, ...]
    sets: tuple[str, ...]
    means: tuple[Row, ...]
    """{source, set, F1, F2, words}."""
    ellipses: tuple[Row, ...]
    """{source, set, F1, F2, corner}: the outline of one standard deviation over words."""
    tracks: tuple[Row, ...]
    """{source, set, F1, F2, share}: the way of a vowel from 20 % to 80 % of its length, for sets judged as glides."""
    paths: tuple[Row, ...]
    """{set, F1, F2, order}: from the base over the epochs to the real speaker."""
    labels: tuple[Row, ...]
    """{set, F1, F2}: each set is named once."""


def read_spaces(
    run: RunFolder, evidence: Evidence, read: Callable[[Path], Mapping[str, Any] | None]
) -> dict[str, Mapping[str, Any]]:
    """Source → its vowel space (see probe/vowel_space.py), in the order of the legend.

    `read` gives the `vowel_space` of a measures.json, None without one. Epochs that were not measured, or whose
    renders are stale, are left out.
    """
    if evidence.render_key is None:
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for item in evidence.epochs:
        if item.measures is None:
            continue
        space = read(render_folder(run, evidence.render_key, item.epoch) / MEASURES)
        if space:
            found[epoch_name(item.epoch)] = space
    path = run.path / "renders" / evidence.render_key / TARGET / MEASURES
    space = read(path) if path.is_file() else None
    return {**found, SPEAKER: space} if space else found


def judged_sets(evidence: Evidence) -> list[str]:
    """Lexical sets that the probe's contrasts and glides ask about, in their order."""
    contrasts = [item.measures.contrasts for item in evidence.epochs if item.measures]
    sets = [name for asked in contrasts for contrast in asked.values() for name in sorted(contrast.sets)]
    return list(dict.fromkeys(sets))


def glide_sets(evidence: Evidence) -> set[str]:
    """Those of which a glide is asked: a contrast of one set is its glide."""
    contrasts = [item.measures.contrasts for item in evidence.epochs if item.measures]
    return {
        name for asked in contrasts for contrast in asked.values() if len(contrast.sets) == 1 for name in contrast.sets
    }


def known_sets(spaces: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """All sets that were measured in any source."""
    return list(dict.fromkeys(name for space in spaces.values() for name in space["sets"]))


def plot(
    spaces: Mapping[str, Mapping[str, Any]],
    sources: Sequence[str],
    sets: Sequence[str],
    glides: Iterable[str],
    space: Space = "z",
) -> Plot:
    """The chosen sources and sets; what has no scale in this space (too few sets for z) is left out."""
    moving = set(glides)
    chosen = [source for source in spaces if source in sources]
    means: list[Row] = []
    ellipses: list[Row] = []
    tracks: list[Row] = []
    for source in chosen:
        for name in sets:
            found = spaces[source]["sets"].get(name)
            shape = found and found[space]
            if not shape:
                continue
            about = {"source": source, "set": name}
            means.append({**about, **_point(shape["mean"]), "words": found["words"]})
            ellipses += [
                {**about, **_point(corner), "corner": k}
                for k, corner in enumerate(outline(shape["mean"], shape["covariance"]))
            ]
            if name in moving:
                tracks += [
                    {**about, **_point(at), "share": share}
                    for share, at in zip(spaces[source]["points"], shape["trajectory"], strict=True)
                ]
    paths = [
        {"set": row["set"], "F1": row["F1"], "F2": row["F2"], "order": chosen.index(row["source"])} for row in means
    ]
    return Plot(
        tuple(chosen), tuple(sets), tuple(means), tuple(ellipses), tuple(tracks), tuple(paths), tuple(_labels(means))
    )


def outline(mean: Sequence[float], covariance: Sequence[Sequence[float]] | None) -> list[list[float]]:
    """Corners [F1, F2] of the ellipse of one standard deviation, closed; nothing without a covariance."""
    if covariance is None:
        return []
    values, axes = np.linalg.eigh(np.array(covariance, float))
    radii = np.sqrt(np.maximum(values, 0.0))
    angles = np.linspace(0.0, 2.0 * math.pi, _CORNERS + 1)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    corners: list[list[float]] = (np.array(mean, float)[:, None] + axes @ (radii[:, None] * circle)).T.tolist()
    return corners


def starting_epochs(spaces: Mapping[str, Any], epoch: int | None) -> list[str]:
    """One epoch to begin with: the asked one, else the last that was measured."""
    epochs = [name for name in spaces if name not in (BASE, SPEAKER)]
    asked = epoch_name(epoch) if epoch else ""
    return [asked] if asked in epochs else epochs[-1:]


def told(drawn: Plot) -> str:
    """The plot in words, for those who cannot see it."""
    return f"vowel space, F1 against F2: {listed(list(drawn.sets))}, spoken by {listed(list(drawn.sources))}"


def _point(at: Sequence[float]) -> Row:
    return {"F1": at[0], "F2": at[1]}


def _labels(means: Iterable[Row]) -> list[Row]:
    """At the first source of the legend that has the set: sets that merge are apart in the base."""
    first: dict[str, Row] = {}
    for row in means:
        first.setdefault(row["set"], row)
    return [{"set": name, "F1": row["F1"], "F2": row["F2"]} for name, row in first.items()]
