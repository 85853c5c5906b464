"""Runs for the Runs page: one that was trained, measured with vowels and can be heard, one that stopped early."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finished_run import CONSTANT, KEY, make_run, workspace_in, write_measures
from playable_run import make_playable
from tts_train.files import read_json, write_json
from tts_train.workspace import Workspace

SETS = ("FOOT", "STRUT", "FACE")
STEPS = 72


def measured_workspace(folder: Path) -> Workspace:
    """A workspace in `folder` with `demo`, measured with vowels, and `other`, stopped before anything was measured."""
    place = workspace_in(folder)
    run = make_playable(place)
    contrasts = {
        "foot_strut": {
            "distance": 1.0,
            "low": 0.5,
            "high": 1.5,
            "verdict": "shown",
            "n": {"FOOT": 4, "STRUT": 4},
            "t": 0.5,
            "t_low": 0.2,
            "t_high": 0.9,
        },
        "face_glide": {"distance": 1.0, "verdict": "not shown", "n": {"FACE": 4}},
    }
    for number in range(7):
        known = read_json(run.path / "renders" / KEY / f"epoch-{number:03d}" / "measures.json")
        more = {"vowel_space": _space(number / 10), "contrasts": contrasts, "items": known["items"]}
        write_measures(run, number, CONSTANT, **more)
    target = run.path / "renders" / KEY / "target/measures.json"
    write_json(target, {**read_json(target), "vowel_space": _space(1.0)})
    steps = [{"kind": "step", "step": k, "epoch": 1, "loss": 2.0 - k / 100, "lr": 1e-4} for k in range(1, STEPS + 1)]
    ends = [{"kind": "epoch", "step": 12 * k, "mean_loss": 2.0, "sum_lr": 1e-3 * k, "drift": 0.01} for k in range(1, 7)]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in (*steps, *ends)))
    make_run(place, "other", CONSTANT, epochs=2, measured=False)
    return place


def _space(at: float) -> dict[str, Any]:
    """A vowel space of sets in a row, all of them `at` along."""
    sets = {}
    for place, name in enumerate(SETS):
        track = [[at + place, place + share / 10] for share in range(5)]
        shape = {"mean": track[2], "covariance": [[0.1, 0.0], [0.0, 0.2]], "trajectory": track}
        sets[name] = {"role": "marker", "words": 4, "tokens": 4, "hz": shape, "z": shape}
    return {"points": [0.2, 0.35, 0.5, 0.65, 0.8], "normaliser": None, "sets": sets}
