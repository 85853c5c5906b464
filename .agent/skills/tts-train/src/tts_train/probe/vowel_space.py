"""The vowel space of an epoch, the base or the target, as numbers for a plot: means, spreads and trajectories.

Means run over words, each the mean of its tokens, as in the contrasts. z is Lobanov's over this condition's own sets;
a contrast takes only words that the compared conditions share, so that its distances may differ a little from the plot.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tts_train.probe.bootstrap import Floats
from tts_train.probe.formants import CENTRE, POINTS

MIN_SETS = 3
"""Fewer sets give no scale to normalise with."""
MIN_ELLIPSE = 3
"""Fewer words give no covariance."""


def vowel_space(vowels: Iterable[Mapping[str, Any]], roles: Mapping[str, str]) -> dict[str, Any]:
    """Plot data of measured `vowels` ({set, word, f1 [5 Hz], f2 [5 Hz]}); `roles` are the probe's sets in its order.

    {"points": shares of the vowel's duration, "normaliser": {"mean": [F1, F2], "sd": [F1, F2]} in Hz or None, "sets":
    {set: {"role", "words", "tokens", "hz": {...}, "z": {...} or None}}}. Hz and z have the same three parts: "mean"
    [F1, F2], "covariance" 2 x 2 over words (its 1-sigma ellipse is the spread; None for few words) and "trajectory"
    [[F1, F2]] at the points. A set that was not measured is left out.
    """
    tokens: dict[str, dict[str, list[Floats]]] = defaultdict(lambda: defaultdict(list))
    for vowel in vowels:
        tokens[vowel["set"]][vowel["word"]].append(np.array([vowel["f1"], vowel["f2"]], float).T)
    measured = [name for name in roles if tokens[name]]
    tracks = {name: np.array([np.mean(same, axis=0) for same in tokens[name].values()]) for name in measured}
    centres = {
        name: np.array([np.mean([_centre(one) for one in same], axis=0) for same in tokens[name].values()])
        for name in measured
    }
    means = np.array([centre.mean(0) for centre in centres.values()])
    scale = (means.mean(0), np.maximum(means.std(0, ddof=1), 1e-9)) if len(means) >= MIN_SETS else None
    hertz = (np.zeros(2), np.ones(2))
    return {
        "points": list(POINTS),
        "normaliser": {"mean": _listed(scale[0]), "sd": _listed(scale[1])} if scale else None,
        "sets": {
            name: {
                "role": roles[name],
                "words": len(centres[name]),
                "tokens": sum(map(len, tokens[name].values())),
                "hz": _shape(centres[name], tracks[name], *hertz),
                "z": _shape(centres[name], tracks[name], *scale) if scale else None,
            }
            for name in measured
        },
    }


def _centre(track: Floats) -> Floats:
    """F1 and F2 that stand for a token, as in the contrasts."""
    middle: Floats = np.median(track[CENTRE], axis=0)
    return middle


def _shape(centres: Floats, tracks: Floats, mean: Floats, unit: Floats) -> dict[str, Any]:
    """One set in one space; `centres` (words, 2) and `tracks` (words, 5, 2) in Hz."""
    points, lines = (centres - mean) / unit, (tracks - mean) / unit
    return {
        "mean": _listed(points.mean(0)),
        "covariance": _listed(np.cov(points.T)) if len(points) >= MIN_ELLIPSE else None,
        "trajectory": _listed(lines.mean(0)),
    }


def _listed(values: Floats) -> Any:
    return np.round(values, 4).tolist()
