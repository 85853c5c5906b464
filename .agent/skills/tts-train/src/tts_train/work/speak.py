"""infer and export: what a published epoch says, and the file other programs speak with."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tts_train import __version__, jobs
from tts_train.audio import SUFFIXES, write_audio
from tts_train.backends import backend, base_of
from tts_train.errors import UsageError
from tts_train.files import sha256_file, write_json
from tts_train.training.run import Epoch, RunFolder
from tts_train.work.targets import run_of
from tts_train.workspace import Workspace


def chosen_epoch(run: RunFolder, number: int | None) -> Epoch:
    """Epoch `number`, or the last published one. Raises UsageError when nothing is published yet."""
    if number is not None:
        chosen = run.epoch(number)
        chosen.require_weights()
        return chosen
    published = [epoch for epoch in run.epochs() if not epoch.pruned]
    if not published:
        raise UsageError(f"run '{run.name}' has published no epoch yet", hint="give --epoch 0 for the untouched base")
    return published[-1]


def infer(
    workspace: Workspace, target: str, out: Path, *, text: str, epoch: int | None, seed: int, setting: str
) -> dict[str, Any]:
    """Speak with a run (or its config) in the environment of its backend.

    `setting` is a JSON object of backend knobs. Raises UsageError before any environment is entered.
    """
    if not text.strip():
        raise UsageError("there is nothing to say", hint="give a text with words in it")
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{out}: audio is written as {' or '.join(SUFFIXES)}", hint="change the file's ending")
    try:
        knobs = json.loads(setting)
    except json.JSONDecodeError as error:
        example = """--setting '{"length_scale": 1.1}'"""
        raise UsageError(f"--setting is not JSON: {error}", hint=example) from error
    return _in_backend(workspace, target, epoch, "speak", out=out, text=text, seed=seed, setting=knobs)


def export(workspace: Workspace, target: str, out: Path, *, epoch: int | None) -> dict[str, Any]:
    """Write an epoch of a run (or its config) as the voice files its family's own programs read."""
    return _in_backend(workspace, target, epoch, "export_epoch", out=out)


def _in_backend(
    workspace: Workspace, target: str, epoch: int | None, work: str, *, out: Path, **arguments: Any
) -> dict[str, Any]:
    run = RunFolder(run_of(target, workspace))
    chosen = chosen_epoch(run, epoch)
    place = {"workspace": str(workspace.root), "run": run.name, "epoch": chosen.number, "out": str(out.resolve())}
    environment = backend(run.config().backend).environment
    return jobs.call(environment, f"tts_train.work.speak:{work}", {**place, **arguments})


def speak(
    workspace: str, run: str, epoch: int | None, text: str, out: str, seed: int, setting: dict[str, Any]
) -> dict[str, Any]:
    """Speak `text` into the WAV or FLAC file `out`, with a JSON file of its provenance beside it (worker entry)."""
    place = Workspace(Path(workspace))
    folder = RunFolder(place.run(run))
    config, chosen = folder.config(), chosen_epoch(folder, epoch)
    family = backend(config.backend)
    voice = folder.voice(place)
    started = time.monotonic()
    speaker = family.load_speaker(base_of(config, place), chosen.folder, config.threads, voice)
    loaded = time.monotonic()
    spoken = speaker.say(text, setting, seed)
    path = Path(out)
    write_audio(path, spoken.audio)
    provenance = {
        "run": run,
        "epoch": chosen.number,
        "weights_sha256": chosen.weights_sha256,
        "dataset_sha256": folder.info().get("dataset_sha256"),
        "text": text,
        "seed": seed,
        "setting": {**family.knobs, **setting},
        "voice": voice,
        "threads": config.threads,
        "dtype": "float32",
        "inference_version": family.inference_version,
        "audio_sha256": sha256_file(path),
        "tts_train": __version__,
    }
    write_json(path.with_suffix(path.suffix + ".json"), provenance)
    return {
        "file": str(path),
        "audio_seconds": round(spoken.audio.seconds, 3),
        "stopped_by": spoken.stopped_by,
        "timings_seconds": {"load": round(loaded - started, 2), "speak": round(time.monotonic() - loaded, 2)},
        **provenance,
    }


def export_epoch(workspace: str, run: str, epoch: int | None, out: str) -> dict[str, Any]:
    """Write an epoch as the voice files its family's own programs read (worker entry)."""
    place = Workspace(Path(workspace))
    folder = RunFolder(place.run(run))
    config, chosen = folder.config(), chosen_epoch(folder, epoch)
    if chosen.folder is None:
        raise UsageError(
            "epoch 0 is the untouched base", hint="export a trained epoch; the base is its own file already"
        )
    result = backend(config.backend).export_voice(
        base_of(config, place), chosen.folder, Path(out), run, folder.voice(place)
    )
    return {"run": run, "epoch": chosen.number, **result}
