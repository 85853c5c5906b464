"""Stands in for run.sh in tests of campaigns: quick commands with the locks, receipts and signals of the real ones.

`ingest` leaves a receipt per clip, `train-local` publishes epochs through the product's run folder, `probe` measures.
A file `<command>.fails` or `<command>.waits` in the workspace makes a step end with the code, or last the seconds, that
it holds; `save.waits` makes saving last.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / ".agent/skills/tts-train/src"
CLIPS = 3
CARD = "source: s\nlicence: l\nspeaker: kumo\nconsent_basis: synthetic voice\nlanguage: en\n"
PROBE = """\
name: small
language: en
items: [{id: good, text: Good.}, {id: luck, text: Luck.}]
markers: [{set: FOOT, words: [good]}, {set: STRUT, words: [luck]}]
contrasts: []
"""
_START = """
import sys
from pathlib import Path
sys.path[:0] = [{source!r}, {scripts!r}]
from tts_train.work.campaign import outlook, running
outlook.skill_root = running.skill_root = lambda: Path({stand_in!r})
running.BUSY_SECONDS = 0.2
import campaign
from tts_train.output import run_command
run_command(campaign.main)
"""


def stand_in(folder: Path) -> Path:
    """A skill folder whose run.sh is this file."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "run.sh"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{__file__}" "$@"\n')
    program.chmod(0o755)
    return folder


def workspace(place: Path, runs: dict[str, str], epochs: int = 2) -> list[str]:
    """A workspace with a recipe for the dataset `ann` and a config per run ({run: probe.when}); the configs' paths."""
    for folder in ("configs/tts", "configs/datasets", "configs/probes", "books"):
        (place / folder).mkdir(parents=True)
    (place / "books/book.flac").write_bytes(b"book")
    (place / "books/card.yaml").write_text(CARD)
    (place / "configs/datasets/ann.yaml").write_text("audio: books/book.flac\ncard: books/card.yaml\n")
    (place / "configs/probes/small.yaml").write_text(PROBE)
    for run, when in runs.items():
        config = {
            "voice": "ann",
            "run": run,
            "backend": "piper",
            "dataset": "datasets/ann/train_manifest.jsonl",
            "epochs": epochs,
            "lr": 1e-5,
            "probe": {"file": "configs/probes/small.yaml", "when": when},
        }
        (place / f"configs/tts/{run}.yaml").write_text(json.dumps(config))
    return [f"configs/tts/{run}.yaml" for run in runs]


def start(place: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """`run.sh campaign ARGUMENTS…` in the workspace `place`, with this file for its steps."""
    scripts = SOURCE.parent / "scripts"
    code = _START.format(source=str(SOURCE), scripts=str(scripts), stand_in=str(stand_in(place / "stand-in")))
    with (place / "said.txt").open("a") as said:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", code, *map(str, arguments)],
            cwd=place,
            env={**os.environ, "TTS_TRAIN_WORKSPACE": str(place)},
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )


def everything(place: Path) -> dict[str, bytes]:
    """What must not depend on kills: manifests, clips, weights, measures."""
    kinds = (".jsonl", ".wav", ".flac", ".safetensors", "measures.json", "render.json")
    return {
        str(path.relative_to(place)): path.read_bytes()
        for folder in ("datasets", "artifacts")
        for path in sorted((place / folder).rglob("*"))
        if path.name.endswith(kinds) and path.name != "metrics.jsonl"
    }


def kill(process: subprocess.Popen[str], *, alone: bool) -> None:
    """kill -9 of the campaign alone, or of it and of everything that it started, as a power cut does."""
    victims = [] if alone else psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
    process.communicate()


def _main() -> None:
    sys.path[:0] = [str(SOURCE), str(Path(__file__).parent)]
    command, *words = sys.argv[1:]
    if "--dry-run" in words:
        print(json.dumps({"ok": True, "result": {"estimate": {"minutes": 6, "disk_mb": 500}}}))
        return
    signal.signal(signal.SIGTERM, _save)
    if Path(f"{command}.waits").exists():
        time.sleep(float(Path(f"{command}.waits").read_text()))
    if Path(f"{command}.fails").exists():
        code = int(Path(f"{command}.fails").read_text())
        print(json.dumps({"ok": False, "error": {"kind": "diverged", "message": "as asked", "hint": ""}}))
        sys.exit(code)
    {"ingest": _ingest, "train-local": _train, "probe": _probe}[command](words)
    print(json.dumps({"ok": True, "result": {}}))


def _save(number: int, _frame: object) -> None:
    waits = Path("save.waits")  # with its lock held
    time.sleep(float(waits.read_text()) if waits.exists() else 0.2)
    print(
        json.dumps({"ok": False, "error": {"kind": "stopped", "message": "stopped", "hint": "", "signal": "SIGTERM"}})
    )
    sys.exit(128 + number)


def _locked(folder: Path):
    from tts_train.errors import Busy
    from tts_train.files import locked, sweep

    try:
        lock = locked(folder / ".lock")
        lock.__enter__()
    except Busy as error:
        print(json.dumps({"ok": False, "error": error.as_json()}))
        sys.exit(error.exit_code)
    sweep(folder)
    return lock


def _ingest(words: list[str]) -> None:
    from tts_train.files import atomic_write_bytes, write_jsonl

    out = Path(words[2])
    held = _locked(out)
    rows = []
    for number in range(CLIPS):
        clip = out / f"clips/{number}.wav"
        if not clip.exists():
            time.sleep(0.1)
            sound = clip.parent / f".tmp-{number}"
            clip.parent.mkdir(exist_ok=True)
            with wave.open(str(sound), "wb") as file:
                file.setparams((1, 2, 24000, 0, "NONE", ""))
                file.writeframes(bytes([number, 0]) * 24000)
            atomic_write_bytes(clip, sound.read_bytes())
        row = {"id": str(number), "audio_file": f"clips/{number}.wav", "text": "Good.", "speaker": "kumo"}
        rows.append({**row, "language": "en", "audio_seconds": 1.0})
    atomic_write_bytes(out / "dataset.yaml", CARD.encode())
    write_jsonl(out / "train_manifest.jsonl", rows)
    held.__exit__(None, None, None)


def _train(words: list[str]) -> None:
    import finished_run
    from tts_train.config import load_train_config
    from tts_train.training.run import RunFolder
    from tts_train.training.status import Status
    from tts_train.workspace import Workspace

    place = Workspace.find()
    config = load_train_config(Path(words[0]), place)
    folder = RunFolder(place.runs / config.run)
    held = _locked(folder.path)
    with Status(folder.path / "status.json") as status:
        folder.start(config, {"dataset_sha256": "0" * 64})
        for number in range(1, config.epochs + 1):
            if not (folder.path / f"epochs/epoch-{number:03d}").exists():
                time.sleep(0.15)
                finished_run._publish(folder, config, number)
        status.update(state="done")
    held.__exit__(None, None, None)


def _probe(words: list[str]) -> None:
    import finished_run
    from tts_train.training.run import RunFolder
    from tts_train.workspace import Workspace

    run = RunFolder(Workspace.find().runs / words[0])
    held = _locked(run.path / "renders")
    for number in range(len(run.epochs()) + 1):
        time.sleep(0.1)
        finished_run.write_measures(run, number, finished_run.CONSTANT)
    held.__exit__(None, None, None)


if __name__ == "__main__":
    _main()
