"""Finished runs on disk, made by the product's own run folder, schedule and status code; only the sound is missing.

The similarity, mel and WER series are those measured on the demo voice with three settings (see the names).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train.config import TrainConfig
from tts_train.files import write_json, write_synced
from tts_train.probe.render import render_folder, weights_sha256
from tts_train.training.run import RunFolder
from tts_train.training.schedule import sum_lr
from tts_train.training.status import Status
from tts_train.workspace import Workspace, skill_root

KEY = "0123456789abcdef"
TARGET_WER = 0.02
STEPS_PER_EPOCH = 12

PROBE = """\
name: small
language: en
items:
  - {id: passage, text: "Put the cup on the grass path, and look at the running water."}
markers:
  - {set: BATH, words: [grass, path], expected: short}
  - {set: FOOT, words: [put, look], expected: "[u]"}
contrasts: []
regions: [Lancashire]
"""


@dataclass(frozen=True)
class Story:
    """What a run was trained with and what its probe measured, epoch 0 first."""

    similarity: Sequence[float]
    mel: Sequence[float]
    wer: Sequence[float]
    changes: Mapping[str, Any]


CONSTANT = Story(
    (0.620, 0.695, 0.753, 0.784, 0.814, 0.815, 0.829),
    (1.576, 1.256, 1.096, 1.154, 1.131, 1.084, 1.049),
    (0.02, 0.02, 0.02, 0.02, 0.02, 0.03, 0.03),
    {"lr": 4e-5},
)
SETTLED = Story(
    (0.620, 0.742, 0.790, 0.812, 0.828, 0.826, 0.824),
    (1.576, 1.256, 1.096, 1.070, 1.060, 1.055, 1.050),
    (0.02, 0.02, 0.02, 0.02, 0.02, 0.03, 0.03),
    {"lr": 4e-5},
)
DECAY = Story(
    (0.620, 0.622, 0.622, 0.623, 0.622, 0.623, 0.623),
    (1.576, 1.560, 1.560, 1.559, 1.560, 1.560, 1.559),
    (0.02,) * 7,
    {"lr": 4e-5, "schedule": {"shape": "linear", "warmup_steps": 10, "horizon_steps": 6}},
)
TIMID = Story(
    (0.620, 0.632, 0.645, 0.660, 0.672, 0.684, 0.697),
    (1.576, 1.510, 1.440, 1.390, 1.340, 1.300, 1.260),
    (0.02,) * 7,
    {"lr": 1e-5},
)
HOT = Story(
    (0.620, 0.753, 0.711, 0.737, 0.692, 0.701, 0.711),
    (1.576, 1.251, 1.262, 1.296, 1.103, 1.423, 1.150),
    (0.02, 0.21, 0.45, 0.72, 0.79, 0.76, 1.00),
    {"lr": 3e-4},
)


def workspace_in(folder: Path) -> Workspace:
    """An empty workspace with a probe and a (token) dataset manifest."""
    for name in ("configs/tts", "configs/probes", "datasets/demo"):
        (folder / name).mkdir(parents=True)
    (folder / "configs/probes/small.yaml").write_text(PROBE)
    (folder / "datasets/demo/train_manifest.jsonl").write_text('{"id": "a"}\n')
    return Workspace(folder)


def config_of(run: str, changes: Mapping[str, Any]) -> TrainConfig:
    settings = {
        "voice": "demo",
        "run": run,
        "backend": "piper",
        "dataset": "datasets/demo/train_manifest.jsonl",
        "epochs": 6,
        "schedule": {"warmup_steps": 10},
        "probe": {"file": "configs/probes/small.yaml"},
    }
    return TrainConfig.model_validate({**settings, **changes})


def make_run(
    workspace: Workspace, run: str, story: Story, *, epochs: int | None = None, measured: bool = True, **changes: Any
) -> RunFolder:
    """A run of `story`, done, with every epoch published and measured. `changes` are further settings."""
    config = config_of(run, {**story.changes, **changes})
    folder = RunFolder(workspace.runs / run)
    with Status(folder.path / "status.json") as status:
        folder.start(config, {"dataset_sha256": "0" * 64})
        published = config.epochs if epochs is None else epochs
        for number in range(1, published + 1):
            _publish(folder, config, number)
        status.update(state="done" if published == config.epochs else "stopped", epoch=published, step=published * 12)
    if measured:
        for number in range(published + 1):
            write_measures(folder, number, story)
    return folder


def write_measures(run: RunFolder, number: int, story: Story, **more: Any) -> None:
    """measures.json as the probe writes it."""
    wer = story.wer[number]
    gates = [
        {"name": "runaway", "passed": True, "value": 0.0, "limit": 0.0, "detail": "every item came to its own end"},
        {
            "name": "wer",
            "passed": wer <= TARGET_WER + 0.03,
            "value": wer,
            "limit": TARGET_WER + 0.03,
            "detail": f"WER {wer:.1%}",
        },
    ]
    contrast = {"distance": 2.0 - 0.1 * number, "low": 1.2, "high": 2.6, "verdict": "not shown", "t": None}
    write_json(
        run.path / "renders" / KEY / f"epoch-{number:03d}" / "measures.json",
        {
            "epoch": number,
            "wer": wer,
            "target_wer": TARGET_WER,
            "speaker_similarity": story.similarity[number],
            "mel_distance": story.mel[number],
            "pace": 3.1,
            "gates": gates,
            "contrasts": {"foot_strut": contrast, "bath_trap": {"verdict": "not shown", "why": "not measured"}},
            **more,
        },
    )


def write_render(run: RunFolder, number: int, weights: str | None = None) -> None:
    """render.json as the probe writes it, spoken by the weights that are published or by others."""
    spoke = weights or weights_sha256(run, run.epoch(number))
    folder = render_folder(run, KEY, number)
    write_json(folder / "render.json", {"epoch": number, "weights_sha256": spoke, "items": []})


def run_script(command: str, *arguments: str | Path, code: int = 0, cwd: Path | None = None) -> dict[str, Any]:
    """Run a command as a user would and return its one JSON object; its exit code must be `code`."""
    script = skill_root() / "scripts" / f"{command}.py"
    done = run_raw([sys.executable, str(script), *map(str, arguments)], cwd)
    assert done.returncode == code, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["ok"] is (code == 0)
    return answer["result"] if code == 0 else answer["error"]


def run_raw(words: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(skill_root() / "src")}
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


def _publish(folder: RunFolder, config: TrainConfig, number: int) -> None:
    step, total = number * STEPS_PER_EPOCH, config.epochs * STEPS_PER_EPOCH
    moved = sum_lr(step, peak=config.lr, schedule=config.schedule, total_steps=total)
    info = {
        "epoch": number,
        "step": step,
        "loss": {"mel": 40.0 - number, "loss": 45.0 - number},
        "sum_lr": moved,
        "drift": moved * 3,
        "lr": config.lr,
        "seconds": 15.0,
    }
    folder.publish(number, lambda place: write_synced(place / "weights.safetensors", f"{number}".encode()), info)
