"""Which voices are served: shipped packages, checked file by file, and epochs of runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tts_train.backends import Backend, backend, base_of
from tts_train.errors import InputUnusable, UsageError
from tts_train.training.run import RunFolder
from tts_train.work.speak import consent_basis
from tts_train.work.voice_package import EPOCH, find_voice, open_voice
from tts_train.workspace import Workspace

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_RUN_EPOCH = re.compile(r"^([a-z0-9][a-z0-9_-]{0,63}):(\d{1,6})$")


@dataclass(frozen=True)
class Voice:
    """All that a worker needs to speak as a voice, and what clients are told of it."""

    name: str
    backend: str
    base: str
    epoch_folder: str | None
    facts: dict[str, Any]
    """The voice as `load_speaker` takes it."""
    threads: int
    knobs: dict[str, Any]
    """As it was judged."""
    seed: int
    """The first one that was judged."""
    weights_sha256: str
    confirmed: bool
    """Whether a listener judged it good."""
    consent_basis: str | None = None
    """On which the voice may be used; None: nobody says."""

    @property
    def family(self) -> Backend:
        return backend(self.backend)

    @property
    def environment(self) -> str:
        return self.family.environment

    def as_message(self) -> dict[str, Any]:
        """For the worker."""
        return asdict(self)

    def told(self) -> dict[str, Any]:
        """For clients: no path of this machine."""
        return {
            "id": self.name,
            "name": self.name,
            "family": self.backend,
            "language": self.facts.get("language"),
            "seed": self.seed,
            "setting": self.knobs,
            "weights_sha256": self.weights_sha256,
            "confirmed": self.confirmed,
            "consent_basis": self.consent_basis,
        }


def open_voices(workspace: Workspace, targets: Sequence[str], *, cpu: bool = False) -> dict[str, Voice]:
    """Name → voice, in the order given. `cpu`: all speak there, whatever they were trained on.

    Raises UsageError for what names no voice and for two of one name, InputUnusable for a damaged package and for a
    name that is none, ConfigError for an epoch that is not published.
    """
    voices: dict[str, Voice] = {}
    for target in targets:
        voice = _opened(workspace, target, {"device": "cpu"} if cpu else {})
        if not _NAME.fullmatch(voice.name):  # of a package that somebody else made; it stands in logs and metrics
            raise InputUnusable(f"the voice in {target} has a name that is not one", hint="ask for another package")
        if voice.name in voices:
            raise UsageError(f"two voices are called '{voice.name}'", hint="serve one of them, or ship the other anew")
        voices[voice.name] = voice
    return voices


def _opened(workspace: Workspace, target: str, device: dict[str, str]) -> Voice:
    package = find_voice(target, workspace)
    if package is not None:
        opened = open_voice(package)
        manifest = opened.manifest
        return Voice(
            name=manifest.name,
            backend=manifest.backend,
            base=opened.base,
            epoch_folder=str(package / EPOCH),
            facts={**opened.facts(), **device},
            threads=manifest.threads,
            knobs=dict(manifest.knobs),
            seed=manifest.seeds[0],
            weights_sha256=manifest.weights_sha256,
            confirmed=manifest.confirmed,
            consent_basis=manifest.consent_basis,
        )
    match = _RUN_EPOCH.fullmatch(target)
    if match is None:
        raise UsageError(
            f"'{target}' is neither a shipped voice nor RUN:EPOCH",
            hint="a folder that `run.sh ship` made, its name, or an epoch such as demo-constant:4",
        )
    folder = RunFolder(workspace.run(match[1]))
    config, epoch = folder.config(), folder.epoch(int(match[2]))
    epoch.require_weights()
    family = backend(config.backend)
    return Voice(
        name=f"{folder.name}:{epoch.number}",
        backend=family.name,
        base=base_of(config, workspace),
        epoch_folder=str(Path(epoch.folder)) if epoch.folder else None,
        facts={**folder.voice(workspace), **device},
        threads=config.threads,
        knobs=dict(family.knobs),
        seed=family.default_seeds[0],
        weights_sha256=epoch.weights_sha256,
        confirmed=False,
        consent_basis=consent_basis(workspace, folder),
    )
