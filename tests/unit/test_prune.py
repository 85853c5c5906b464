"""Pruning deletes weights that nobody holds on to, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from finished_run import CONSTANT, make_run
from playable_run import make_playable
from tts_train.errors import Busy, InputUnusable, UsageError
from tts_train.files import locked
from tts_train.probe.work import _choices
from tts_train.review.record.store import Store, database
from tts_train.review.record.verdicts import Verdict
from tts_train.review.sessions.sessions import new_session
from tts_train.training.run import RunFolder
from tts_train.work.prune import prune
from tts_train.work.speak import chosen_epoch
from tts_train.workspace import Workspace


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Six epochs, the fourth judged, the second a child's beginning."""
    workspace = Workspace(tmp_path)
    folder = make_run(workspace, "a", CONSTANT)
    parent = {"run": "a", "epoch": 2, "move": "train-more", "from_weights": True}
    make_run(workspace, "child", CONSTANT, epochs=1, parent=parent)
    with Store(database(workspace)) as store:
        store.add_verdict(Verdict(run="a", epoch=4, listener="ann", heard=("good",)))
    return folder


def weights(run: RunFolder) -> list[int]:
    return [epoch.number for epoch in run.epochs() if (epoch.folder / epoch.info["weights"]).is_file()]


def test_without_delete_it_only_says_so(run: RunFolder, tmp_path: Path) -> None:
    told = prune(Workspace(tmp_path), "a", keep="5")

    assert (told["prune"], told["deleted"]) == ([1, 3], False)
    assert {row["epoch"]: row["why"] for row in told["keep"]} == {
        2: "run 'child' starts from it",
        4: "judged by ann",
        5: "--keep 5",
        6: "the last one",
    }
    assert told["bytes"] > 0
    assert weights(run) == [1, 2, 3, 4, 5, 6]


def test_with_delete_weights_go_and_the_record_stays(run: RunFolder, tmp_path: Path) -> None:
    prune(Workspace(tmp_path), "a", keep="last:1", delete=True)

    assert weights(run) == [2, 4, 6]
    assert [epoch.number for epoch in run.epochs()] == [1, 2, 3, 4, 5, 6]
    assert run.epoch(1).info["loss"]
    assert list(run.path.glob("renders/*/epoch-001/measures.json"))
    with pytest.raises(InputUnusable, match="pruned"):
        chosen_epoch(run, 1)
    assert chosen_epoch(run, None).number == 6
    assert _choices(Workspace(tmp_path), run, "probe.yaml", None, None)[2] == [0, 2, 4, 6]
    assert prune(Workspace(tmp_path), "a", keep="last:1")["prune"] == []


def test_epochs_that_listeners_were_played_are_held(tmp_path: Path) -> None:
    make_playable(Workspace(tmp_path), "a")
    new_session(Workspace(tmp_path), "a", kind="abx", listener="ann", epochs=[3], trials=8, seed=1)

    told = prune(Workspace(tmp_path), "a", keep="last:1")

    assert told["prune"] == [1, 2, 4, 5]
    assert [row["why"][:17] for row in told["keep"]] == ["played in session", "--keep last:1; th"]


def test_a_prune_that_was_killed_is_finished_by_the_next(run: RunFolder, tmp_path: Path, monkeypatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            prune(Workspace(tmp_path), "a", keep="last:1", delete=True)
    assert run.epoch(1).pruned

    told = prune(Workspace(tmp_path), "a", keep="last:1", delete=True)

    assert 1 in told["prune"]
    assert weights(run) == [2, 4, 6]


def test_linked_files_give_nothing_back(run: RunFolder, tmp_path: Path) -> None:
    before = prune(Workspace(tmp_path), "a", keep="last:1")["bytes"]
    file = run.epoch(1).folder / "weights.safetensors"
    os.link(file, tmp_path / "elsewhere")

    assert prune(Workspace(tmp_path), "a", keep="last:1")["bytes"] == before - file.stat().st_size


@pytest.mark.parametrize("keep", ["9", "last:0", "last", "best", "-1"])
def test_a_keep_that_names_nothing_is_refused(run: RunFolder, tmp_path: Path, keep: str) -> None:
    with pytest.raises(UsageError, match="names nothing"):
        prune(Workspace(tmp_path), "a", keep=keep)


def test_a_run_in_training_is_left_alone(run: RunFolder, tmp_path: Path) -> None:
    with locked(run.path / ".lock"), pytest.raises(Busy):
        prune(Workspace(tmp_path), "a", keep="last:1", delete=True)
