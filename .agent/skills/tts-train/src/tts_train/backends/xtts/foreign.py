"""Checkpoints of coqui's trainer (its recipe and the web UIs around it), as they are adopted into a run.

A folder of one training holds best_model.pth, best_model_STEP.pth and checkpoint_STEP.pth, with optimizer and DVAE; the
web UIs leave a stripped model.pth in ready/. They are pickles: what would run code is refused. They are only read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.backends.epoch_weights import FILE
from tts_train.backends.xtts import base as bases
from tts_train.backends.xtts import checkpoint
from tts_train.backends.xtts.base import Base
from tts_train.backends.xtts.text import language_tag
from tts_train.errors import ConfigError, InputUnusable
from tts_train.files import read_json
from tts_train.output import progress

if TYPE_CHECKING:
    from torch import Tensor

IN_CORE = False
"""Reading them needs torch."""
PROGRAM = "coqui's trainer"
OWN_REFERENCE = "all epochs speak as the reference.wav that lies beside the checkpoints"
REFERENCE = "reference.wav"
_TRAINED = re.compile(r"^(?:best_model|checkpoint)(?:_\d+)?\.pth$")
_READY = re.compile(r"^(?:unoptimize_)?model\.pth$")
_VOCODER = "hifigan_decoder."


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that another program wrote, checked and not yet copied."""

    weights: Path
    root: Path
    """The folder that was named."""
    speaker: str
    """What the training was called: a checkpoint does not say who speaks."""
    epoch: int
    """As we count: 1 after the first."""
    step: int
    languages: tuple[str, ...]
    """Of the data sets it was trained on."""
    count: int
    """Numbers in the GPT."""

    @property
    def size(self) -> str:
        return f"{self.count / 1e6:.0f}M"

    @property
    def base(self) -> str:
        return bases.HUB_ID

    @property
    def room(self) -> int:
        """Bytes that adopting takes."""
        return 4 * self.count

    def voice(self, language: str | None, base: Base | None) -> dict[str, Any]:
        """Raises ConfigError when it is neither told nor on record what language it speaks."""
        if language is None and len(self.languages) != 1:
            raise ConfigError(
                f"{self.weights} does not say which language it speaks ({', '.join(self.languages) or 'none named'})",
                hint="tell it: --language en",
            )
        named = language or self.languages[0]
        return {"language": language_tag(named, base.languages) if base else named}

    def own_reference(self) -> tuple[str, bytes]:
        """The recording that the web UIs keep. Raises ConfigError when there is none."""
        for folder in (self.weights.parent, self.root, self.root / "ready"):
            if (folder / REFERENCE).is_file():
                require_inside(folder / REFERENCE, self.root)
                return REFERENCE, (folder / REFERENCE).read_bytes()
        raise ConfigError(
            "XTTS speaks as a recording, and none lies beside the checkpoints", hint="name one: --reference ref.wav"
        )

    def take(self, target: Path, *, link: bool, base_sha256: str) -> dict[str, Any]:  # noqa: ARG002
        """Write its GPT into `target` as an epoch of ours; there is nothing to link. Returns facts for epoch.json."""
        written = checkpoint.write(target, _weights(self.weights), base_sha256, "float32")
        return {"weights": FILE, "linked": False, "dtype": written["dtype"], "step_of_source": self.step}


def read_checkpoints(folder: Path) -> dict[int, Checkpoint]:
    """Epoch → the last checkpoint in it. `folder`: the training's, or one above it.

    Raises InputUnusable when there is none, or one is torn, refused or leads outside, ConfigError for several.
    """
    found: dict[int, Checkpoint] = {}
    read = [_read(file, folder.resolve()) for file in _files(folder)]
    for item in sorted(read, key=lambda item: (item.epoch, item.step, item.weights.name)):
        earlier = found.get(item.epoch)
        if earlier is not None and earlier.step != item.step:
            progress(f"epoch {item.epoch}: {earlier.weights.name} is left out, {item.weights.name} is later in it")
        found[item.epoch] = item
    return found


def local_base(name: str) -> Base:
    """The base. Raises Unavailable when it is not there: without it no epoch can speak."""
    return bases.describe(bases.find(name), name)


def base_sha256(base: Base) -> str:
    """What run.json keeps of the base."""
    return bases.sha256(base)


def drift(item: Checkpoint, base: Base) -> float:
    """How far a checkpoint is from the base: ‖w − w₀‖ / ‖w₀‖ over the GPT.

    Raises InputUnusable when it was not trained from this base, or its numbers are not finite.
    """
    from tts_train.backends.xtts.voice import read_model

    ours, theirs = read_model(item.weights), read_model(base.folder / bases.MODEL)
    _require_base(item, ours, base, theirs)
    before = {name: value.float() for name, value in theirs.items() if name.startswith(checkpoint.GPT)}
    moved = checkpoint.norm(ours[name].float() - value for name, value in before.items())
    if not math.isfinite(moved):
        raise InputUnusable(
            f"{item.weights} holds numbers that are not finite: its training diverged, which coqui's trainer does not "
            "notice",
            hint="move it out of the folder and adopt the others",
        )
    return moved / checkpoint.norm(before.values())


def require_inside(file: Path, root: Path) -> None:
    """A symlink out of a downloaded folder would copy somebody's private file into the run."""
    if not file.resolve().is_relative_to(root.resolve()):
        raise InputUnusable(
            f"{file} leads outside {root}, to {file.resolve()}", hint="name the folder that holds the files themselves"
        )


def _files(folder: Path) -> list[Path]:
    """The checkpoints of the one training in `folder`: those of the trainer, else a web UI's stripped one."""
    if not folder.is_dir():
        raise InputUnusable(f"{folder} is not a folder", hint="name the trainer's run folder, or a web UI's ready/")
    pickles = [path for path in sorted(folder.rglob("*.pth")) if not (path.parent / bases.DVAE).is_file()]
    for pattern in (_TRAINED, _READY):
        files = [path for path in pickles if pattern.match(path.name)]
        here = [path for path in files if path.parent == folder]
        places = sorted({path.parent for path in files})
        if here or len(places) == 1:
            return here or files
        if places:
            raise ConfigError(
                f"{folder} holds several trainings: {', '.join(str(place.relative_to(folder)) for place in places)}",
                hint="adopt each by itself: name its folder",
            )
    raise InputUnusable(
        f"{folder} holds no best_model.pth, checkpoint_STEP.pth or model.pth (a base does not count)",
        hint="name the trainer's run folder, or a web UI's ready/",
    )


def _read(file: Path, root: Path) -> Checkpoint:
    from tts_train.backends.xtts.voice import read_pickle

    require_inside(file, root)
    weights = _weights(file)
    content = read_pickle(file)
    config = content.get("config")
    config = config if isinstance(config, dict) else {}
    sets = config.get("datasets") or []
    epoch, step = (value if isinstance(value := content.get(key), int) else 0 for key in ("epoch", "step"))
    return Checkpoint(
        file,
        root,
        speaker=str(config.get("run_name") or file.parent.name),
        epoch=epoch + 1,
        step=step,
        languages=tuple(
            sorted({str(item["language"]) for item in sets if isinstance(item, dict) and item.get("language")})
        ),
        count=sum(value.numel() for value in weights.values()),
    )


def _weights(file: Path) -> dict[str, Tensor]:
    from tts_train.backends.xtts.voice import read_model

    weights = {name: value for name, value in read_model(file).items() if name.startswith(checkpoint.GPT)}
    if weights:
        return weights
    raise InputUnusable(
        f"{file} holds no weights of an XTTS", hint="name the trainer's run folder, or a web UI's ready/"
    )


def _require_base(item: Checkpoint, ours: Mapping[str, Tensor], base: Base, theirs: Mapping[str, Tensor]) -> None:
    """The GPT's shapes, the vocabulary and the vocoder must be the base's: the epoch will speak with its."""
    import torch

    wanted = {name: value for name, value in theirs.items() if name.startswith(checkpoint.GPT)}
    given = {name: value for name, value in ours.items() if name.startswith(checkpoint.GPT)}
    wrong = sorted(
        name
        for name in wanted.keys() | given.keys()
        if name not in wanted or name not in given or wanted[name].shape != given[name].shape
    )
    fault = f"{len(wrong)} tensors differ in shape, such as {wrong[0]}" if wrong else ""
    vocabulary = item.weights.parent / bases.VOCAB
    if not fault and vocabulary.is_file() and read_json(vocabulary) != read_json(base.folder / bases.VOCAB):
        fault = f"{vocabulary} is another vocabulary"
    vocoder = [name for name in theirs if name.startswith(_VOCODER) and name in ours]
    if not fault and not all(
        theirs[name].shape == ours[name].shape and torch.allclose(theirs[name].float(), ours[name].float(), rtol=1e-3)
        for name in vocoder
    ):
        fault = "its vocoder is another one"
    if fault:
        raise InputUnusable(
            f"{item.weights} was not trained from {base.name}: {fault}",
            hint="name the base that it was trained from: --base",
        )
