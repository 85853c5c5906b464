"""The vowel plot: which sources and sets it shows, ellipses that are one standard deviation, glides, labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finished_run import CONSTANT, KEY, make_run, workspace_in, write_measures, write_render
from playable_run import retrain
from tts_train.files import read_json, write_json
from tts_train.probe.vowel_space import vowel_space
from tts_train.review.decision.evidence import read_evidence
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace
from views.vowels import (
    BASE,
    SPEAKER,
    glide_sets,
    judged_sets,
    known_sets,
    outline,
    plot,
    read_spaces,
    starting_epochs,
    told,
)

ROLES = {"FOOT": "marker", "STRUT": "marker", "FACE": "marker", "KIT": "control"}


def spoken(shift: float = 0.0) -> dict[str, Any]:
    """A vowel space of four sets with four words each; STRUT is `shift` Hz lower in F1."""
    centres = {"FOOT": (400, 1000), "STRUT": (600 - shift, 1200), "FACE": (450, 2000), "KIT": (420, 1900)}
    vowels = [
        {
            "set": name,
            "word": f"{name}{k}",
            "f1": [f1 + 10 * k + step * 5 for step in range(5)],
            "f2": [f2 - 20 * k + step * 30 for step in range(5)],
        }
        for name, (f1, f2) in centres.items()
        for k in range(4)
    ]
    return vowel_space(vowels, ROLES)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = workspace_in(tmp_path)
    run = make_run(place, "demo", CONSTANT, epochs=3)
    asked = {
        "foot_strut": {"distance": 1.0, "verdict": "not shown", "n": {"FOOT": 4, "STRUT": 4}},
        "face_glide": {"distance": 1.0, "verdict": "not shown", "n": {"FACE": 4}},
    }
    for number in range(4):
        write_measures(run, number, CONSTANT, vowel_space=spoken(40.0 * number), contrasts=asked)
        write_render(run, number)
    write_json(run.path / "renders" / KEY / "target/measures.json", {"vowel_space": spoken(190.0)})
    return place


def spaces(workspace: Workspace) -> dict[str, Any]:
    folder = RunFolder(workspace.runs / "demo")
    return read_spaces(folder, read_evidence(workspace, "demo"), lambda path: read_json(path).get("vowel_space"))


def test_sources_come_in_the_order_of_the_legend_and_stale_ones_not_at_all(workspace: Workspace):
    assert list(spaces(workspace)) == [BASE, "epoch 1", "epoch 2", "epoch 3", SPEAKER]
    retrain(RunFolder(workspace.runs / "demo"), 2)
    assert list(spaces(workspace)) == [BASE, "epoch 1", "epoch 3", SPEAKER]


def test_a_run_without_renders_or_vowels_has_no_space(workspace: Workspace):
    make_run(workspace, "silent", CONSTANT, measured=False)
    folder = RunFolder(workspace.runs / "silent")
    assert read_spaces(folder, read_evidence(workspace, "silent"), read_json) == {}
    make_run(workspace, "mute", CONSTANT)
    evidence = read_evidence(workspace, "mute")
    assert (
        read_spaces(RunFolder(workspace.runs / "mute"), evidence, lambda path: read_json(path).get("vowel_space")) == {}
    )


def test_what_the_contrasts_ask_about_is_drawn_first(workspace: Workspace):
    evidence = read_evidence(workspace, "demo")
    assert judged_sets(evidence) == ["FOOT", "STRUT", "FACE"]
    assert glide_sets(evidence) == {"FACE"}
    assert known_sets(spaces(workspace)) == ["FOOT", "STRUT", "FACE", "KIT"]


def test_the_epoch_of_the_address_is_drawn_first_else_the_last(workspace: Workspace):
    found = spaces(workspace)
    assert starting_epochs(found, 1) == ["epoch 1"]
    assert starting_epochs(found, None) == ["epoch 3"]
    assert starting_epochs(found, 77) == ["epoch 3"]
    assert starting_epochs({BASE: {}}, None) == []


def test_layers_hold_the_chosen_sources_and_sets_alone(workspace: Workspace):
    found = spaces(workspace)
    drawn = plot(found, [SPEAKER, "epoch 3", BASE], ["FACE", "STRUT"], {"FACE"}, "hz")
    assert drawn.sources == (BASE, "epoch 3", SPEAKER), "the order is the legend's, not that of the choice"
    assert {(row["source"], row["set"]) for row in drawn.means} == {
        (source, name) for source in drawn.sources for name in ("FACE", "STRUT")
    }
    strut = {row["source"]: row["F1"] for row in drawn.means if row["set"] == "STRUT"}
    assert strut[BASE] > strut["epoch 3"] > strut[SPEAKER]
    assert {row["set"] for row in drawn.tracks} == {"FACE"}, "only glides have a way"
    way = [row for row in drawn.tracks if row["source"] == BASE]
    assert [row["share"] for row in way] == [0.2, 0.35, 0.5, 0.65, 0.8]
    assert [row["order"] for row in drawn.paths if row["set"] == "STRUT"] == [0, 1, 2]
    assert sorted(row["set"] for row in drawn.labels) == ["FACE", "STRUT"], "each set is named once"
    assert next(row for row in drawn.labels if row["set"] == "STRUT")["F1"] == strut[BASE]
    assert "STRUT" in told(drawn)
    assert "the real speaker" in told(drawn)


def test_what_has_no_scale_is_left_out_of_z_and_stays_in_hertz():
    two = {"FOOT": "marker", "STRUT": "marker"}
    vowels = [
        {"set": name, "word": name, "f1": [400.0] * 5, "f2": [1000.0 + len(name)] * 5} for name in two for _ in range(2)
    ]
    found = {BASE: vowel_space(vowels, two)}
    assert plot(found, [BASE], list(two), ()).means == ()
    drawn = plot(found, [BASE], list(two), (), "hz")
    assert len(drawn.means) == 2
    assert drawn.ellipses == (), "one word has no spread"


def test_an_outline_is_one_standard_deviation_in_every_direction():
    mean, covariance = np.array([500.0, 1500.0]), np.array([[900.0, 600.0], [600.0, 3600.0]])
    corners = np.array(outline(mean.tolist(), covariance.tolist()))
    assert np.allclose(corners[0], corners[-1]), "closed"
    away = corners - mean
    squared = np.einsum("ki,ij,kj->k", away, np.linalg.inv(covariance), away)
    assert np.allclose(squared, 1.0), "Mahalanobis distance 1 all around"
    assert away[:, 0].max() == pytest.approx(30.0, rel=0.02)
    assert away[:, 1].max() == pytest.approx(60.0, rel=0.02)
    assert outline([0.0, 0.0], None) == []
