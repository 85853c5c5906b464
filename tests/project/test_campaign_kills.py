"""A campaign of three configs, from a real recording to real renders, killed ten times: no byte is another.

Every step is the product's own: the book is cut and aligned, a piper voice trains, the probe speaks and is measured.
tests/unit/test_campaign.py does the same with quick stand-ins in every run.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import campaign_commands as commands
import kills
from run_tiers import SKILL, in_environment
from tts_train.audio import Audio, read_audio, write_audio

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not kills.EXHAUSTIVE, reason="three minutes: run.sh test --exhaustive"),
]

DEMO = Path(__file__).resolve().parents[2] / "datasets/demo"
LINES = (
    (0.75, 2.034, "The boat in the barn."),
    (3.694, 6.418, "an old boat in the barn behind our house."),
    (6.734, 9.01, "Nobody had sailed her for thirty years."),
    (9.326, 10.45, "Her paint was cracked"),
    (10.51, 11.858, "and her mast was bare."),
)
RUNS = {"a": "end", "b": "end", "c": "never"}
KILLS = 10


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of the demo book, and what is said in them."""
    folder = tmp_path_factory.mktemp("book")
    whole = read_audio(DEMO / "book.m4b")
    write_audio(folder / "book.flac", Audio(whole.samples[: 12 * whole.rate], whole.rate))
    rows = [{"start": start, "end": end, "text": text} for start, end, text in LINES]
    (folder / "segments.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def workspace(place: Path, book: Path) -> list[str]:
    configs = commands.workspace(place, RUNS, epochs=1)
    for name in ("book.flac", "segments.jsonl"):
        shutil.copy(book / name, place / "books")
    with (place / "configs/datasets/ann.yaml").open("a") as recipe:
        recipe.write("ingest: {segments_jsonl: books/segments.jsonl, min_sec: 0.9, threads: 1}\n")
    for number, name in enumerate(configs, 1):
        config = json.loads((place / name).read_text())
        changes = {"dataset": "datasets/ann/train_aligned.jsonl", "lr": number * 1e-5, "batch_size": 2, "threads": 1}
        (place / name).write_text(json.dumps({**config, **changes, "schedule": {"warmup_steps": 0}}))
    return configs


def start(place: Path, configs: list[str]) -> subprocess.Popen[str]:
    command = in_environment("core", SKILL / "scripts/campaign.py", *configs, "--name", "night", "--workspace", place)
    with (place / "said.txt").open("a") as said:
        return subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=said, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    answer = json.loads(process.communicate(timeout=600)[0])
    assert process.returncode == 0, answer
    result: dict[str, Any] = answer["result"]
    return result


def step_of(place: Path) -> str:
    """The step that a killed campaign was at."""
    path = place / "artifacts/tts/campaigns/night/campaign.json"
    rows = json.loads(path.read_text())["steps"] if path.exists() else []
    return next((row["step"] for row in rows if row["state"] in ("running", "waiting")), "the start")


def test_ten_kills_change_no_manifest_weight_or_render(book: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    configs = workspace(tmp_path / "whole", book)
    finish(start(tmp_path / "whole", configs))
    expected = commands.everything(tmp_path / "whole")
    assert len([name for name in expected if name.endswith(".safetensors")]) == 3
    assert len([name for name in expected if "/renders/" in name and name.endswith(".wav")]) > 8
    alone = time.monotonic() - begun

    chance, hit, ended = random.Random(kills.day()), list[str](), list[Path]()
    place = tmp_path / "killed-0"
    workspace(place, book)
    while len(hit) < KILLS:
        process = start(place, configs)
        try:
            process.wait(1.0 + chance.random() * alone / 5)
        except subprocess.TimeoutExpired:
            commands.kill(process, alone=len(hit) % 2 == 0)
            hit.append(step_of(place))
        else:  # it came to its end between two kills: another one is killed on
            process.communicate()
            ended.append(place)
            place = tmp_path / f"killed-{len(ended)}"
            workspace(place, book)
    result = finish(start(place, configs))
    ended.append(place)

    wrong = [name for place in ended for name in differing(expected, commands.everything(place))]
    seconds = round(time.monotonic() - begun, 1)
    kills.record("campaign", 0, len(wrong), seconds, at_random=len(hit))
    print(f"killed at {hit}, {len(ended)} ends, {len(wrong)} of {len(expected)} files wrong, {seconds} s")
    assert not wrong, wrong[:5]
    assert {row["state"] for row in result["steps"]} == {"done"}
    assert [item["run"] for item in result["waiting_for_ears"]] == list(RUNS)


def differing(expected: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    return sorted(name for name in expected | found if expected.get(name) != found.get(name))
