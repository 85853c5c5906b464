"""Configs: every problem at once, with its line and what to try."""

from __future__ import annotations

from pathlib import Path

import pytest

from tts_train.config import load_train_config
from tts_train.errors import ConfigError
from tts_train.work.configs import new_config
from tts_train.workspace import Workspace

GOOD = """voice: ann
backend: piper
dataset: manifest.jsonl
epochs: 2
lr: 5.0e-5
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "configs/tts").mkdir(parents=True)
    (tmp_path / "manifest.jsonl").write_text("")
    return Workspace(tmp_path)


def problems_of(text: str, workspace: Workspace) -> dict[int | None, str]:
    path = workspace.configs / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_train_config(path, workspace)
    assert caught.value.exit_code == 78
    return {problem.line: problem.message for problem in caught.value.problems}


def test_a_good_config_gets_the_defaults(workspace: Workspace) -> None:
    path = workspace.configs / "a.yaml"
    path.write_text(GOOD)

    config = load_train_config(path, workspace)

    assert config.run == "ann-piper"
    assert config.schedule.shape == "constant"


def test_all_problems_come_at_once_with_lines(workspace: Workspace) -> None:
    text = GOOD.replace("epochs: 2", "epohcs: 2").replace("5.0e-5", "-1") + "schedule:\n  shap: linear\n"

    found = problems_of(text, workspace)

    assert "did you mean 'epochs'" in found[4]
    assert "'lr'" in found[5]
    assert "did you mean 'shape'" in found[7]
    assert "'epochs' is missing" in found[None]


def test_a_file_that_is_not_there_is_named(workspace: Workspace) -> None:
    found = problems_of(GOOD.replace("manifest.jsonl", "nowhere.jsonl"), workspace)

    assert "nowhere.jsonl is not a file" in found[3]


def test_a_key_given_twice_is_refused(workspace: Workspace) -> None:
    """YAML keeps the last one in silence: the first, perhaps the one you changed, would be lost."""
    assert "given twice" in problems_of(GOOD + "lr: 1.0e-4\n", workspace)[6]


@pytest.mark.parametrize("name", ["../evil", "Ann", "a b", "a" * 65, "-x", "voices", "sessions"])
def test_names_that_are_not_safe_folders_are_refused(workspace: Workspace, name: str) -> None:
    assert problems_of(GOOD + f"run: {name!r}\n", workspace)


def test_a_new_config_is_valid_and_opens_with_its_command(workspace: Workspace) -> None:
    path = new_config(workspace, "ann", backend_name="piper", dataset="manifest.jsonl")

    assert path.read_text().startswith("# run.sh train-local configs/tts/ann_piper.yaml\n")
    assert load_train_config(path, workspace).epochs == 6


def test_a_new_config_never_overwrites(workspace: Workspace) -> None:
    new_config(workspace, "ann", backend_name="piper", dataset="manifest.jsonl")

    with pytest.raises(ConfigError, match="exists"):
        new_config(workspace, "ann", backend_name="piper", dataset="manifest.jsonl")


def test_a_new_config_for_a_missing_dataset_leaves_no_file(workspace: Workspace) -> None:
    with pytest.raises(ConfigError):
        new_config(workspace, "bob", backend_name="piper", dataset="nowhere.jsonl")

    assert not (workspace.configs / "bob_piper.yaml").exists()
