"""probe: what it asks of the workers, the rows it gives, the text people read, the plan."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import finished_run
from tts_train import jobs
from tts_train.backends import BACKENDS
from tts_train.errors import Busy, ConfigError
from tts_train.files import locked, write_json
from tts_train.probe.render import render_folder
from tts_train.probe.work import plan, probe_run
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace

CONTRAST = {
    "distance": 1.05,
    "low": 0.81,
    "high": 1.25,
    "change": -0.13,
    "change_low": -0.27,
    "change_high": 0.01,
    "t": None,
    "t_low": None,
    "t_high": None,
    "verdict": "not shown",
    "why": "the interval of the change holds 0",
}


def _record(epoch: int | None, wer: float) -> dict[str, Any]:
    gate = {"name": "wer", "passed": wer < 0.05, "value": wer, "limit": 0.05, "detail": f"WER {wer:.1%}, too much"}
    return {
        "epoch": epoch,
        "wer": wer,
        "target_wer": 0.02,
        "speaker_similarity": 0.7,
        "mel_distance": None,
        "duration_ratio": 1.1,
        "pace": 3.1,
        "words": {"count": 10, "dropped": ["cow"], "mangled": [["cud", "code"]], "inserted": [], "repeated": []},
        "contrasts": {"foot_strut": CONTRAST},
        "accent": {"available": True},
        "gates": [gate],
    }


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = finished_run.workspace_in(tmp_path)
    finished_run.make_run(place, "demo", finished_run.CONSTANT, epochs=2, measured=False)
    return place


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, Any]]]:
    made: list[tuple[str, str, dict[str, Any]]] = []

    def call(environment: str, function: str, arguments: dict[str, Any]) -> dict[str, Any]:
        made.append((environment, function.partition(":")[2], arguments))
        if environment == "skill":
            return {"key": "k", "epochs": [], "timings_seconds": {"render": 1.0}}
        rows = [_record(number, 0.01 if number < 2 else 0.2) for number in arguments["epochs"]]
        target = _record(None, 0.02) if arguments["target"] else None
        return {"key": "k", "epochs": rows, "target": target, "timings_seconds": {"measure": 2.0}}

    monkeypatch.setattr(jobs, "call", call)
    return made


def test_it_renders_in_the_family_s_environment_then_measures_in_the_project_s(
    workspace: Workspace, calls: list[Any]
) -> None:
    result = probe_run(workspace, "demo", target="somewhere/manifest.jsonl")
    assert [(environment, function) for environment, function, _ in calls] == [
        ("skill", "render_run"),
        ("project", "measure_run"),
    ]
    assert calls[1][2]["key"] == "k"
    assert calls[1][2]["target"] == str(workspace.root / "somewhere/manifest.jsonl")
    assert [row["epoch"] for row in result["epochs"]] == [0, 1, 2]
    last = result["epochs"][2]
    assert last["gates"] == ["wer"]
    assert last["words"]["mangled"] == [["cud", "code"]]
    assert last["foot_strut"]["distance"] == 1.05
    assert last["sum_lr"] > 0
    assert result["epochs"][0]["sum_lr"] == 0
    assert result["timings_seconds"] == {"render": 1.0, "measure": 2.0}


def test_the_base_is_always_measured_with_the_epochs_asked_for(workspace: Workspace, calls: list[Any]) -> None:
    assert [row["epoch"] for row in probe_run(workspace, "demo", epochs=[2])["epochs"]] == [0, 2]


def test_the_text_has_a_row_per_epoch_and_says_what_failed(workspace: Workspace, calls: list[Any]) -> None:
    lines = probe_run(workspace, "demo", target="t")["text"].splitlines()
    assert lines[0].split() == ["epoch", "WER", "similarity", "mel", "dB", "pace", "foot-strut", "gates"]
    assert [line.split()[0] for line in lines[1:5]] == ["target", "0", "1", "2"]
    assert lines[4].endswith("FAILED wer")
    assert lines[3].endswith("ok")
    assert len({line.index("1.05 [0.81") for line in lines[1:5]}) == 1
    assert "epoch 2: WER 20.0%, too much" in lines
    assert "foot-strut, epoch 2 against the base: -0.13 [-0.27, 0.01]: not shown" in "\n".join(lines)


def test_unpublished_epochs_and_missing_probes_are_refused_before_any_work(
    workspace: Workspace, calls: list[Any]
) -> None:
    with pytest.raises(ConfigError, match="no epoch 7"):
        probe_run(workspace, "demo", epochs=[7])
    finished_run.make_run(workspace, "bare", finished_run.CONSTANT, epochs=1, measured=False, probe=None)
    with pytest.raises(ConfigError, match="no probe"):
        probe_run(workspace, "bare")
    assert calls == []


def test_what_a_killed_probe_left_half_written_is_removed(workspace: Workspace, calls: list[Any]) -> None:
    half = workspace.runs / "demo/renders/k/epoch-001/matched/.tmp-one.wav.4711"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"RIFF")
    probe_run(workspace, "demo")
    assert not half.exists()


def test_two_probes_of_one_run_do_not_meet(workspace: Workspace, calls: list[Any]) -> None:
    with locked(workspace.runs / "demo" / "renders" / ".lock"), pytest.raises(Busy):
        probe_run(workspace, "demo")
    assert calls == []


def test_the_plan_names_what_is_missing_and_costs_nothing(workspace: Workspace, calls: list[Any]) -> None:
    planned = plan(workspace, "demo", epochs=[1])
    assert planned["epochs"] == planned["render"] == [0, 1]
    assert planned["items"] == 1
    assert planned["estimate"]["minutes"] >= 0
    assert calls == []


def test_both_workers_are_told_the_same_seeds(
    workspace: Workspace, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They load the probe for themselves: were one left to its own defaults, it would look for other renders."""
    assert probe_run(workspace, "demo")["seeds"] == [0]
    assert probe_run(workspace, "demo", seeds=[1, 2])["seeds"] == [1, 2]
    monkeypatch.setitem(BACKENDS, "piper", replace(BACKENDS["piper"], samples=True))
    probe_run(workspace, "demo")
    assert [call[2]["seeds"] for call in calls] == [[0], [0], [1, 2], [1, 2], [0, 1], [0, 1]]
    assert plan(workspace, "demo", epochs=[1])["items"] == 2


def test_stale_renders_are_named_also_where_nobody_asked_for_them(workspace: Workspace, calls: list[Any]) -> None:
    run = RunFolder(workspace.runs / "demo")
    key = plan(workspace, "demo")["key"]
    for number in (1, 2):
        weights = run.epoch(number).weights_sha256
        note = {"epoch": number, "weights_sha256": weights if number == 1 else "of before", "items": []}
        write_json(render_folder(run, key, number) / "render.json", note)
    assert plan(workspace, "demo", epochs=[1])["stale"] == [2]
    shutil.move(run.path / "renders" / key, run.path / "renders/k")  # where `calls` says that it renders
    probed = probe_run(workspace, "demo", epochs=[1])
    assert probed["stale"] == [2]
    assert "epoch 2; probe them again" in probed["text"].splitlines()[-1]


def test_the_command_reads_seeds(workspace: Workspace) -> None:
    place = ("--workspace", workspace.root)
    planned = finished_run.run_script("probe", "demo", "--seeds", "2,0-1", "--dry-run", *place)
    assert planned["seeds"] == [0, 1, 2]
    assert planned["items"] == 3
    error = finished_run.run_script("probe", "demo", "--seeds", "x", "--dry-run", *place, code=2)
    assert error["message"].startswith("--seeds x")


def test_the_command_reads_epochs_and_refuses_nonsense(workspace: Workspace) -> None:
    place = ("--workspace", workspace.root)
    planned = finished_run.run_script("probe", "demo", "--epochs", "0,1-2", "--dry-run", *place)
    assert planned["epochs"] == [0, 1, 2]
    for wrong in ("2-1", "a", "1,,2", "1-"):
        error = finished_run.run_script("probe", "demo", "--epochs", wrong, "--dry-run", *place, code=2)
        assert error["message"].startswith("--epochs")
