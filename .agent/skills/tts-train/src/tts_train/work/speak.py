"""infer and export: what a published epoch or a shipped voice says, and the file other programs speak with."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tts_train import __version__, jobs
from tts_train.audio import SUFFIXES, write_audio
from tts_train.backends import Backend, Speaker, backend, base_of
from tts_train.dataset import NO_CONSENT, load_card
from tts_train.errors import ConfigError, UsageError
from tts_train.files import sha256_file, write_json
from tts_train.training.run import Epoch, RunFolder
from tts_train.work.targets import run_of
from tts_train.work.voice_package import EPOCH, Voice, find_voice, open_voice, read_voice
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
    workspace: Workspace,
    target: str,
    out: Path,
    *,
    text: str,
    epoch: int | None,
    seed: int | None,
    setting: str,
    cpu: bool = False,
) -> dict[str, Any]:
    """Speak with a run (or its config), or with a voice package, in the environment of its backend.

    `setting` is a JSON object of backend knobs; `cpu` speaks there whatever it was trained on. Every file of a package
    is checked first. Raises UsageError and, for a damaged package, InputUnusable before any environment is entered.
    """
    if not text.strip():
        raise UsageError("there is nothing to say", hint="give a text with words in it")
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{out}: audio is written as {' or '.join(SUFFIXES)}", hint="change the file's ending")
    said = {"text": text, "setting": _knobs(setting), "cpu": cpu}
    package = find_voice(target, workspace)
    if package is None:
        return _in_backend(workspace, target, epoch, "speak", out=out, seed=seed or 0, **said)
    if epoch is not None:
        raise UsageError("a voice package holds one epoch", hint="leave --epoch out, or name the run")
    environment = open_voice(package).family.environment
    place = {"folder": str(package), "out": str(out.resolve()), "seed": seed}
    return jobs.call(environment, "tts_train.work.speak:speak_voice", {**place, **said})


def _knobs(setting: str) -> dict[str, Any]:
    example = """--setting '{"length_scale": 1.1}'"""
    try:
        knobs = json.loads(setting)
    except json.JSONDecodeError as error:
        raise UsageError(f"--setting is not JSON: {error}", hint=example) from error
    if not isinstance(knobs, dict):
        raise UsageError("--setting is not a JSON object", hint=example)
    return knobs


def export(workspace: Workspace, target: str, out: Path, *, epoch: int | None) -> dict[str, Any]:
    """Write an epoch of a run (or its config) as the voice files its family's own programs read.

    A voice whose card names no consent is exported with a warning: only `ship` checks all that sharing it takes.
    """
    exported = _in_backend(workspace, target, epoch, "export_epoch", out=out)
    dataset = workspace.path(RunFolder(workspace.run(exported["run"])).config().dataset)
    try:
        consent = load_card(dataset.parent).consent_basis
    except ConfigError:  # of a run that was adopted, or whose dataset is gone
        return exported
    if consent != NO_CONSENT:
        return exported
    return {**exported, "warnings": ["the card's consent_basis is none: this voice is not for sharing"]}


def _in_backend(
    workspace: Workspace, target: str, epoch: int | None, work: str, *, out: Path, **arguments: Any
) -> dict[str, Any]:
    run = RunFolder(run_of(target, workspace))
    chosen = chosen_epoch(run, epoch)
    place = {"workspace": str(workspace.root), "run": run.name, "epoch": chosen.number, "out": str(out.resolve())}
    environment = backend(run.config().backend).environment
    return jobs.call(environment, f"tts_train.work.speak:{work}", {**place, **arguments})


def speak(
    workspace: str,
    run: str,
    epoch: int | None,
    text: str,
    out: str,
    seed: int,
    setting: dict[str, Any],
    cpu: bool = False,
) -> dict[str, Any]:
    """Speak `text` into the WAV or FLAC file `out`, with a JSON file of its provenance beside it (worker entry)."""
    place = Workspace(Path(workspace))
    folder = RunFolder(place.run(run))
    config, chosen = folder.config(), chosen_epoch(folder, epoch)
    family = backend(config.backend)
    voice = folder.voice(place) | ({"device": "cpu"} if cpu else {})
    started = time.monotonic()
    speaker = family.load_speaker(base_of(config, place), chosen.folder, config.threads, voice)
    provenance = {
        "run": run,
        "epoch": chosen.number,
        "weights_sha256": chosen.weights_sha256,
        "dataset_sha256": folder.info().get("dataset_sha256"),
        "voice": voice,
        "threads": config.threads,
    }
    return _said(speaker, family, text, Path(out), seed, {**family.knobs, **setting}, provenance, started)


def speak_voice(
    folder: str, text: str, out: str, seed: int | None, setting: dict[str, Any], cpu: bool = False
) -> dict[str, Any]:
    """Speak with a package, with the knobs and the first seed that were judged (worker entry; `infer` checked it).

    `setting` and `seed` override them; `cpu` speaks there whatever the voice was judged on. `as_judged` is false when
    that, or a newer way of speaking, makes another sound than the one that was judged; `differs` says what.
    """
    voice = read_voice(Path(folder))
    manifest, family = voice.manifest, voice.family
    setting = {name: value for name, value in setting.items() if value is not None}
    chosen = manifest.seeds[0] if seed is None else seed
    facts = voice.facts() | ({"device": "cpu"} if cpu else {})
    differs = list(_differences(voice, chosen, setting, facts))
    started = time.monotonic()
    speaker = family.load_speaker(voice.base, voice.folder / EPOCH, manifest.threads, facts)
    provenance = {
        "voice_package": manifest.name,
        "run": manifest.run,
        "epoch": manifest.epoch,
        "weights_sha256": manifest.weights_sha256,
        "voice": facts,
        "threads": manifest.threads,
        "confirmed": manifest.confirmed,
        "as_judged": not differs,
        "differs": differs,
    }
    return _said(speaker, family, text, Path(out), chosen, {**manifest.knobs, **setting}, provenance, started)


def _said(
    speaker: Speaker,
    family: Backend,
    text: str,
    path: Path,
    seed: int,
    knobs: Mapping[str, Any],
    provenance: Mapping[str, Any],
    started: float,
) -> dict[str, Any]:
    """Speak into `path`; `started` is when loading the speaker began."""
    loaded = time.monotonic()
    spoken = speaker.say(text, knobs, seed)
    write_audio(path, spoken.audio)
    facts = {
        **provenance,
        "text": text,
        "seed": seed,
        "setting": dict(knobs),
        "dtype": "float32",
        "inference_version": family.inference_version,
        "audio_sha256": sha256_file(path),
        "tts_train": __version__,
    }
    write_json(path.with_suffix(path.suffix + ".json"), facts)
    return {
        "file": str(path),
        "audio_seconds": round(spoken.audio.seconds, 3),
        "stopped_by": spoken.stopped_by,
        "timings_seconds": {"load": round(loaded - started, 2), "speak": round(time.monotonic() - loaded, 2)},
        **facts,
    }


def _differences(voice: Voice, seed: int, setting: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    manifest, family = voice.manifest, voice.family
    yield from (f"setting {name}" for name, value in setting.items() if manifest.knobs.get(name) != value)
    if family.samples and seed not in manifest.seeds:
        yield f"seed {seed} was not judged"
    if facts.get("device", "cpu") != (manifest.voice.device or "cpu"):
        yield "judged on a GPU, spoken on the CPU"
    if family.inference_version != manifest.inference_version:
        yield f"inference version {family.inference_version}, judged with {manifest.inference_version}"


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
