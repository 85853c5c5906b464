"""Ending a training early: decided by the measures on disk, the same after every kill."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from finished_run import CONSTANT, DECAY, HOT, SETTLED, Story, make_run, workspace_in, write_measures
from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, DiskError, UsageError
from tts_train.training.run import RunFolder
from tts_train.work import train
from tts_train.work.patience import out_of_patience, require_measures
from tts_train.workspace import Workspace, skill_script

EACH = {"probe": {"file": "configs/probes/small.yaml", "when": "each-epoch"}}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_in(tmp_path)


@pytest.mark.parametrize(
    ("story", "epochs", "patience", "reason"),
    [
        (SETTLED, 6, 2, "epoch 4 is the best by gates and similarity; 2 measured after it are no better"),
        (SETTLED, 5, 2, None),
        (SETTLED, 6, 3, None),
        (CONSTANT, 6, 1, None),
        (DECAY, 4, 1, "epoch 3 is the best by gates and similarity; 1 measured after it are no better"),
        (HOT, 2, 2, "none of 2 measured epochs passes the gates"),
        (HOT, 2, 3, None),
    ],
)
def test_epochs_after_the_best_one_use_it_up(
    workspace: Workspace, story: Story, epochs: int, patience: int, reason: str | None
) -> None:
    make_run(workspace, "demo", story, epochs=epochs)

    assert out_of_patience(workspace, "demo", patience) == reason


def test_an_epoch_that_could_not_be_measured_counts_neither_way(workspace: Workspace) -> None:
    run = make_run(workspace, "demo", SETTLED, epochs=6, measured=False)
    for number in (0, 1, 2, 3, 4, 6):
        write_measures(run, number, SETTLED)

    assert out_of_patience(workspace, "demo", 2) is None
    assert out_of_patience(workspace, "demo", 1) is not None


@pytest.mark.parametrize("probe", [None, {"file": "p.yaml"}, {"file": "p.yaml", "when": "never"}])
def test_it_wants_every_epoch_probed(probe: object) -> None:
    config = {"voice": "a", "backend": "piper", "dataset": "m", "epochs": 1, "lr": 1e-5, "probe": probe}
    with pytest.raises(ConfigError, match="--patience judges every epoch"):
        require_measures(TrainConfig.model_validate(config))


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], {"probe": True, "patience": None}),
        (["--no-probe"], {"probe": False, "patience": None}),
        (["--patience", "2"], {"probe": True, "patience": 2}),
    ],
)
def test_train_local_hands_it_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, words: list[str], given: dict[str, object]
) -> None:
    spec = importlib.util.spec_from_file_location("train_local", skill_script("train-local"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    asked: list[object] = []

    def plan(_config: Path, _workspace: Workspace, patience: int | None) -> dict[str, object]:
        asked.append(patience)
        return {"done": False, "warnings": [], "environment": "skill", "config": {}}

    def replace(_environment: str, _name: str, _function: str, arguments: dict[str, object]) -> dict[str, object]:
        return arguments

    monkeypatch.setattr(module, "plan", plan)
    monkeypatch.setattr(module.jobs, "replace", replace)
    place = ["--workspace", str(workspace.root)]

    arguments = module.main.main(["c.yaml", *words, *place], standalone_mode=False)
    assert {name: arguments[name] for name in given} == given
    assert asked == [given["patience"]]
    with pytest.raises(UsageError):
        module.main.main(["c.yaml", "--no-probe", "--patience", "2", *place], standalone_mode=False)


def test_an_epoch_is_probed_once_and_then_judged(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(workspace, "demo", SETTLED, epochs=6, measured=False, **EACH)
    for number in range(6):
        write_measures(run, number, SETTLED)
    probed: list[list[int]] = []

    def probe(_workspace: Workspace, _run: str, epochs: list[int]) -> dict[str, object]:
        probed.append(epochs)
        write_measures(run, epochs[-1], SETTLED)
        return {}

    monkeypatch.setattr(train, "probe_run", probe)
    after = [train._after_epoch(run.config(), workspace, 6, patience) for patience in (None, 3, 2)]

    assert probed == [[0, 6]], "a run that is taken up again finds what was measured"
    assert after[:2] == [None, None]
    assert str(after[2]).startswith("epoch 4 is the best")


def test_a_failed_probe_ends_no_training(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(workspace, "demo", SETTLED, epochs=5, **EACH)

    def full(*_arguments: object, **_named: object) -> None:
        raise DiskError("full")

    monkeypatch.setattr(train, "probe_run", full)
    RunFolder(run.path / "renders" / "0123456789abcdef" / "epoch-005" / "measures.json").path.unlink()

    assert train._after_epoch(run.config(), workspace, 5, 1) is None
