"""infer: what a published epoch or a shipped voice says, with the facts of how it came about beside it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tts_train import __version__, jobs
from tts_train.audio import SUFFIXES, write_audio
from tts_train.backends import Backend, Speaker, backend, base_of
from tts_train.dataset import NO_CONSENT, card_there
from tts_train.errors import UsageError
from tts_train.files import sha256_file, write_json
from tts_train.training.gpus import gpu_held
from tts_train.training.run import Epoch, RunFolder
from tts_train.training.status import now
from tts_train.work import watermark as marks
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
    watermark: bool = False,
) -> dict[str, Any]:
    """Speak with a run (or its config), or with a voice package, in the environment of its backend.

    `setting` is a JSON object of backend knobs; `cpu` speaks there whatever it was trained on; `watermark` marks what
    is said. Every file of a package is checked first. Raises UsageError and, for a damaged package, InputUnusable
    before any environment is entered.
    """
    if not text.strip():
        raise UsageError("there is nothing to say", hint="give a text with words in it")
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{out}: audio is written as {' or '.join(SUFFIXES)}", hint="change the file's ending")
    said = {"text": text, "setting": _knobs(setting), "cpu": cpu, "watermark": watermark}
    package = find_voice(target, workspace)
    if package is None:
        return in_backend(workspace, target, epoch, "tts_train.work.speak:speak", out=out, seed=seed or 0, **said)
    require_no_epoch(epoch)
    environment = open_voice(package).family.environment
    place = {"folder": str(package), "out": str(out.resolve()), "seed": seed}
    return jobs.call(environment, "tts_train.work.speak:speak_voice", {**place, **said})


def require_no_epoch(epoch: int | None) -> None:
    """Raise UsageError for `--epoch` with a voice package."""
    if epoch is not None:
        raise UsageError("a voice package holds one epoch", hint="leave --epoch out, or name the run")


def _knobs(setting: str) -> dict[str, Any]:
    example = """--setting '{"length_scale": 1.1}'"""
    try:
        knobs = json.loads(setting)
    except json.JSONDecodeError as error:
        raise UsageError(f"--setting is not JSON: {error}", hint=example) from error
    if not isinstance(knobs, dict):
        raise UsageError("--setting is not a JSON object", hint=example)
    return knobs


def consent_basis(workspace: Workspace, run: RunFolder) -> str | None:
    """The basis on which the voice may be used, as the card says today; None for data that are not here.

    Raises ConfigError for a card that is wrong, or says no without a reason.
    """
    card = card_there(workspace.path(run.config().dataset).parent)
    return card.consent_basis if card else None


def sharing_warnings(consent: str | None) -> dict[str, list[str]]:
    """{"warnings": […]} for a command's result, where there is one."""
    warning = "the card's consent_basis is none: this voice, and what it says, is not for sharing"
    return {"warnings": [warning]} if consent == NO_CONSENT else {}


def in_backend(
    workspace: Workspace, target: str, epoch: int | None, function: str, *, out: Path, **arguments: Any
) -> dict[str, Any]:
    """Call a worker `function` for an epoch of a run (or its config) in the environment of its backend."""
    run = RunFolder(run_of(target, workspace))
    chosen = chosen_epoch(run, epoch)
    place = {"workspace": str(workspace.root), "run": run.name, "epoch": chosen.number, "out": str(out.resolve())}
    environment = backend(run.config().backend).environment
    return jobs.call(environment, function, {**place, **arguments})


def speak(
    workspace: str,
    run: str,
    epoch: int | None,
    text: str,
    out: str,
    seed: int,
    setting: dict[str, Any],
    cpu: bool = False,
    *,
    watermark: bool = False,
) -> dict[str, Any]:
    """Speak `text` into the WAV or FLAC file `out`, with a JSON file of its provenance beside it (worker entry)."""
    place = Workspace(Path(workspace))
    folder = RunFolder(place.run(run))
    config, chosen = folder.config(), chosen_epoch(folder, epoch)
    consent = consent_basis(place, folder)
    family = backend(config.backend)
    voice = folder.voice(place) | ({"device": "cpu"} if cpu else {})
    started = time.monotonic()
    provenance = {
        "run": run,
        "epoch": chosen.number,
        "weights_sha256": chosen.weights_sha256,
        "dataset_sha256": folder.info().get("dataset_sha256"),
        "base_sha256": folder.info().get("base", {}).get("sha256"),
        "consent_basis": consent,
        "voice": _told(voice),
        "threads": config.threads,
    }
    with gpu_held(str(voice.get("device", "cpu")), run=folder.path):
        speaker = family.load_speaker(base_of(config, place), chosen.folder, config.threads, voice)
        said = _said(
            speaker, family, text, Path(out), seed, {**family.knobs, **setting}, provenance, started, mark=watermark
        )
    return said | sharing_warnings(consent)


def speak_voice(
    folder: str,
    text: str,
    out: str,
    seed: int | None,
    setting: dict[str, Any],
    cpu: bool = False,
    *,
    watermark: bool = False,
) -> dict[str, Any]:
    """Speak with a package, with the knobs and the first seed that were judged (worker entry; `infer` checked it).

    `setting` and `seed` override them; `cpu` speaks there whatever the voice was judged on; `watermark` marks what is
    said. `as_judged` is false when that, or a newer way of speaking, makes another sound than the one that was judged;
    `differs` says what.
    """
    voice = read_voice(Path(folder))
    manifest, family = voice.manifest, voice.family
    setting = {name: value for name, value in setting.items() if value is not None}
    chosen = manifest.seeds[0] if seed is None else seed
    facts = voice.facts() | ({"device": "cpu"} if cpu else {})
    differs = [*_differences(voice, chosen, setting, facts), *(["watermark"] if watermark else [])]
    started = time.monotonic()
    provenance = {
        "voice_package": manifest.name,
        "run": manifest.run,
        "epoch": manifest.epoch,
        "weights_sha256": manifest.weights_sha256,
        "dataset_sha256": manifest.dataset_sha256,
        "base_sha256": manifest.base.sha256,
        "consent_basis": manifest.consent_basis,
        "voice": _told(facts),
        "threads": manifest.threads,
        "confirmed": manifest.confirmed,
        "as_judged": not differs,
        "differs": differs,
    }
    with gpu_held(str(facts.get("device", "cpu"))):
        speaker = family.load_speaker(voice.base, voice.folder / EPOCH, manifest.threads, facts)
        said = _said(
            speaker, family, text, Path(out), chosen, {**manifest.knobs, **setting}, provenance, started, mark=watermark
        )
    return said | sharing_warnings(manifest.consent_basis)


def _told(voice: Mapping[str, Any]) -> dict[str, Any]:
    """A voice's facts without the folder of its reference: the JSON goes where the sound goes."""
    return {**voice, **({"reference": Path(voice["reference"]).name} if voice.get("reference") else {})}


def _said(
    speaker: Speaker,
    family: Backend,
    text: str,
    path: Path,
    seed: int,
    knobs: Mapping[str, Any],
    provenance: Mapping[str, Any],
    started: float,
    *,
    mark: bool,
) -> dict[str, Any]:
    """Speak into `path`; `started` is when loading the speaker began; `mark` puts the watermark in."""
    if mark:
        marks.require()
    loaded = time.monotonic()
    spoken = speaker.say(text, knobs, seed)
    write_audio(path, marks.mark(spoken.audio) if mark else spoken.audio)
    facts = {
        **provenance,
        "text": text,
        "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "seed": seed,
        "setting": dict(knobs),
        "dtype": "float32",
        "inference_version": family.inference_version,
        "watermark": marks.NAME if mark else None,
        "audio_sha256": sha256_file(path),
        "created": now(),
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
