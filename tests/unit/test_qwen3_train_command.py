"""train-qwen3 says in options what a YAML says in lines, and plans the same training."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from qwen3_inputs import row, write_base, write_manifest
from tiny_skill import SKILL
from tts_train import jobs
from tts_train.config import load_train_config
from tts_train.errors import TtsTrainError, UsageError
from tts_train.work.configs import new_config
from tts_train.work.qwen3 import config_of, run_of
from tts_train.workspace import Workspace

MANIFEST = "datasets/ann/train_manifest_qwen3.jsonl"
HUB = "Qwen/Qwen3-TTS-12Hz-{}-Base"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    (tmp_path / "configs/tts").mkdir(parents=True)
    write_manifest(tmp_path / "datasets/ann", [row(number) for number in range(1, 31)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return Workspace(tmp_path)


def options(**changes: Any) -> dict[str, Any]:
    return {
        "base_model": HUB.format("0.6B"),
        "data_manifest": MANIFEST,
        "out_dir": "artifacts/tts/ann-qwen3",
        "freeze_text_embedding": False,
        **changes,
    }


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_qwen3", SKILL / "scripts/train_qwen3.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(script: ModuleType, *words: str) -> Any:
    given = ["--base-model", HUB.format("0.6B"), "--data-manifest", MANIFEST, "--out-dir", "ann-qwen3", *words]
    with script.main.make_context("run.sh train-qwen3", given) as context:
        return script.main.invoke(context)


YAML = """\
voice: ann
run: ann-qwen3
backend: qwen3
dataset: datasets/ann/train_manifest_qwen3.jsonl
base: Qwen/Qwen3-TTS-12Hz-1.7B-Base
epochs: 3
batch_size: 4
accumulation: 2
lr: 2.0e-5
schedule: {shape: cosine, warmup_steps: 7}
validation_clips: 2
seed: 5
device: cuda
precision: float32
processes: 2
probe: {file: configs/probes/p.yaml}
qwen3:
  speaker: ann
  language: english
  attention: eager
  subtalker_frames: 0.25
  freeze: [text_embedding]
  lora: {rank: 8, alpha: 16}
  save_dtype: bfloat16
"""


def test_all_options_together_are_the_yaml(workspace: Workspace) -> None:
    (workspace.root / "configs/probes").mkdir()
    (workspace.root / "configs/probes/p.yaml").touch()
    (workspace.configs / "ann.yaml").write_text(YAML)

    config, notes = config_of(
        workspace,
        options(
            base_model=HUB.format("1.7B"),
            epochs=3,
            batch_size=4,
            accumulation=2,
            lr=2e-5,
            schedule="cosine",
            warmup_steps=7,
            validation_clips=2,
            seed=5,
            device="cuda",
            precision="float32",
            processes=2,
            probe="configs/probes/p.yaml",
            speaker="ann",
            language="english",
            attention="eager",
            subtalker_frames=0.25,
            freeze_text_embedding=True,
            lora_rank=8,
            save_dtype="bfloat16",
        ),
    )

    assert config == load_train_config(workspace.configs / "ann.yaml", workspace)
    assert notes == []


@pytest.mark.parametrize(
    ("size", "rank", "lr", "batch"), [("0.6B", None, 1e-5, 8), ("1.7B", None, 5e-6, 4), ("0.6B", 16, 1e-4, 8)]
)
def test_what_is_not_given_comes_from_the_size_and_is_said(
    size: str, rank: int | None, lr: float, batch: int, workspace: Workspace
) -> None:
    config, notes = config_of(workspace, options(base_model=HUB.format(size), lora_rank=rank))

    assert (config.lr, config.batch_size, config.epochs) == (lr, batch, 6)
    assert [note.split(" ", 1)[0] for note in notes] == ["--lr", "--batch-size", "--epochs"]
    assert f"{lr:g}" in notes[0]


def test_a_local_base_says_its_own_size(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write_base(workspace.root / "models/mine", "1b7")
    write_base(workspace.root / "models/little", "0b6")
    monkeypatch.chdir(workspace.root / "models")

    large, _ = config_of(workspace, options(base_model="mine"))
    small, _ = config_of(workspace, options(base_model="./little"))

    assert (large.base, large.lr) == ("models/mine", 5e-6)
    assert (small.base, small.lr) == ("models/little", 1e-5)


@pytest.mark.parametrize("given", ["ann-qwen3", "artifacts/tts/ann-qwen3", "artifacts/tts/ann-qwen3/"])
def test_out_dir_names_the_run(given: str, workspace: Workspace) -> None:
    config, _ = config_of(workspace, options(out_dir=given))

    assert (config.run, config.voice) == ("ann-qwen3", "ann")


def test_out_dir_may_be_absolute_or_relative_to_the_caller(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.runs.mkdir(parents=True)
    monkeypatch.chdir(workspace.root / "artifacts")

    assert run_of("tts/x", workspace) == "x"
    assert run_of(str(workspace.runs / "x"), workspace) == "x"
    assert run_of("artifacts/tts/x", workspace) == "x", "relative to the workspace, from wherever"


@pytest.mark.parametrize("given", ["out/x", "/elsewhere/x", "artifacts/tts/x/y", "../x", "artifacts/x"])
def test_another_out_dir_is_refused_with_the_path_to_give(given: str, workspace: Workspace) -> None:
    with pytest.raises(UsageError) as caught:
        run_of(given, workspace)

    assert f"--out-dir artifacts/tts/{Path(given).name}" in caught.value.hint


@pytest.mark.parametrize("given", ["Ann", "artifacts/tts/a b", "..", ""])
def test_an_unusable_run_name_is_refused(given: str, workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="not a run name"):
        run_of(given, workspace)


def test_impossible_values_come_all_at_once(workspace: Workspace) -> None:
    with pytest.raises(UsageError) as caught:
        config_of(workspace, options(lr=3.0, batch_size=0, subtalker_frames=0.0, lora_rank=0))

    text = "\n".join(problem.message for problem in caught.value.problems)
    assert all(name in text for name in ("'lr'", "'batch_size'", "'qwen3.subtalker_frames'", "'qwen3.lora.rank'"))


def test_a_missing_manifest_is_named(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match=r"--data-manifest nowhere\.jsonl is not a file"):
        config_of(workspace, options(data_manifest="nowhere.jsonl"))


def test_dry_run_plans_and_starts_nothing(
    script: ModuleType, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "replace", lambda *_: pytest.fail("a dry run trains nothing"))

    planned = call(script, "--lr", "1e-4", "--save-dtype", "bfloat16", "--lora-rank", "4", "--dry-run")

    assert planned["environment"] == "project"
    assert planned["config"]["qwen3"]["lora"] == {"rank": 4, "alpha": 8.0, "dropout": 0.0}
    assert planned["estimate"]["variants"]
    assert [note.split(" ", 1)[0] for note in planned["defaults"]] == ["--batch-size", "--epochs"]
    assert not workspace.runs.exists()


def test_training_goes_on_as_train_local_does(
    script: ModuleType, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "replace", lambda *arguments: {"started": arguments})

    started = call(script, "--save-dtype", "bfloat16", "--lora-rank", "4")["started"]

    environment, name, worker, arguments = started
    assert (environment, name, worker) == ("project", "train-qwen3", "tts_train.work.train:train")
    assert arguments["workspace"] == str(workspace.root)
    assert arguments["config"]["run"] == "ann-qwen3"
    assert "--lr not given: 0.0001 (adapters" in capsys.readouterr().err


def test_what_is_wrong_is_found_before_anything_starts(script: ModuleType, workspace: Workspace) -> None:
    with pytest.raises(TtsTrainError, match="no speaker 'bob'"):
        call(script, "--speaker", "bob")


def test_a_new_config_is_complete_and_valid(workspace: Workspace) -> None:
    path = new_config(workspace, "ann", backend_name="qwen3", dataset=MANIFEST)
    config = load_train_config(path, workspace)
    text = path.read_text()

    assert text.startswith("# run.sh train-local configs/tts/ann_qwen3.yaml\n")
    assert (config.run, config.lr, config.qwen3.language) == ("ann-qwen3", 1e-5, None)
    own, shared = type(config.qwen3).model_fields, type(config).model_fields
    missing = [name for name in (*own, *shared) if f"{name}:" not in text]
    assert missing == ["parent", "piper", "xtts"], "every option of the family stands in the template"
