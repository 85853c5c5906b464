"""Checkpoints of the official fine-tuning script (checkpoint-epoch-0, -1, …), as they are adopted into a run.

They may come from anywhere, so nothing outside the folder is followed and no pickle is read. Light: it works in the
core environment.
"""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.backends.qwen3 import folder as folders
from tts_train.backends.qwen3 import tensor_files
from tts_train.backends.qwen3.base import Base, describe, locate, sha256
from tts_train.backends.qwen3.checkpoint import SLOT_TABLE, TALKER, voice_of
from tts_train.backends.qwen3.folder import CODEC, CONFIG, WEIGHTS
from tts_train.backends.qwen3.text import AUTO, language_name
from tts_train.backends.qwen3.vectors import TENSOR
from tts_train.errors import InputUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

_NUMBERED = re.compile(r"^checkpoint-epoch-(\d{1,4})$")
IN_CORE = True
PROGRAM = "the official fine-tuning script"
OWN_REFERENCE = "epoch 0 speaks with the speaker vector that the first checkpoint carries"
VECTOR = "speaker_vector.safetensors"
_HUB = "Qwen/Qwen3-TTS-12Hz-{size}-Base"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that another program wrote, checked and not yet copied."""

    folder: Path
    described: Base
    speaker: str
    """In lower case, as it is asked for."""
    slot: int

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS

    @property
    def base(self) -> str:
        """The model it was most likely trained from; a checkpoint does not say."""
        return _HUB.format(size=self.described.size)

    @property
    def size(self) -> str:
        return self.described.size

    @property
    def room(self) -> int:
        """Bytes that a copy takes, all but."""
        return self.weights.stat().st_size

    def voice(self, language: str | None, _base: Base | None) -> dict[str, Any]:
        """Raises ConfigError for a language that the model does not know.

        The official script reads the manifest's language and trains without it.
        """
        return {"speaker": self.speaker, "language": language_name(language or AUTO, self.described.languages)}

    def own_reference(self) -> tuple[str, bytes]:
        """Its speaker vector as a file: with it the base speaks as the same voice, for want of the recording."""
        table = folders.tensors(self.folder)[SLOT_TABLE]
        width = table.shape[1]
        (row,) = tensor_files.blocks(table, self.slot * width, (self.slot + 1) * width)
        return VECTOR, tensor_files.packed({TENSOR: row})

    def take(self, target: Path, *, link: bool, base_sha256: str) -> dict[str, Any]:  # noqa: ARG002 (xtts needs it)
        """Bring its files into `target`; only what is large is linked. Returns facts for epoch.json."""
        linked = _bring(self.weights, target / WEIGHTS, link=link)
        for path in (self.folder / CONFIG, *folders.companions(self.folder)):
            shutil.copyfile(path, target / path.name)
        for path in folders.codec_files(self.folder):
            _bring(path, target / CODEC / path.name, link=link and path.suffix == ".safetensors")
        return {"weights": WEIGHTS, "linked": linked}


def read_checkpoints(folder: Path) -> dict[int, Checkpoint]:
    """Epoch → checkpoint. Raises as `read_checkpoint` does, and when there is none."""
    found = find_checkpoints(folder)
    if not found:
        raise InputUnusable(
            f"{folder} holds no checkpoint-epoch-N folder", hint="name the script's --output_model_path"
        )
    return {number: read_checkpoint(path, folder.resolve()) for number, path in found}


def find_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(epoch, folder) of each checkpoint in `folder`, in order; `folder` may be one itself.

    Epochs are numbered from 1, as 0 is the base: the script's checkpoint-epoch-0 is epoch 1.
    """
    if not folder.is_dir():
        raise InputUnusable(f"{folder} is not a folder", hint="name the script's --output_model_path")
    if (folder / CONFIG).is_file():
        own = _NUMBERED.match(folder.resolve().name)
        return [(int(own[1]) + 1 if own else 1, folder)]
    numbered = [(match, path) for path in folder.iterdir() if (match := _NUMBERED.match(path.name)) and path.is_dir()]
    return sorted((int(match[1]) + 1, path) for match, path in numbered)


def read_checkpoint(folder: Path, root: Path) -> Checkpoint:
    """Check a checkpoint below `root`.

    Raises InputUnusable when it is not whole, has pickled or split weights, or leads outside `root`; ConfigError when
    it holds several speakers.
    """
    _require_inside(folder, root)
    faults = folders.faults(folder)
    if faults:
        raise InputUnusable(
            f"{folder} is not a whole checkpoint: it lacks {', '.join(faults)}",
            hint="the script copies the base's other files beside the weights: copy them from there",
        )
    if folders.weight_files(folder) != [folder / WEIGHTS]:
        raise InputUnusable(f"{folder} holds its weights in several files", hint=f"save them as one {WEIGHTS}")
    described = describe(folder, str(folder))
    speaker = str(voice_of(folder)["speaker"])
    slots = described.config["talker_config"].get("spk_id", {})
    slot = slots.get(speaker)
    table = folders.tensors(folder).get(SLOT_TABLE)
    if table is None or not isinstance(slot, int) or not 0 <= slot < table.shape[0]:
        raise InputUnusable(
            f"{folder / CONFIG} gives the speaker '{speaker}' no place among the weights ({slot!r})",
            hint="name a checkpoint as the fine-tuning script wrote it",
        )
    return Checkpoint(folder, described, speaker.lower(), slot)


def local_base(name: str) -> Base | None:
    """The base, when it is on this machine."""
    folder = locate(name)
    return None if folder is None else describe(folder, name)


def base_sha256(base: Base) -> str:
    """What run.json keeps of the base."""
    return sha256(base)


def drift(checkpoint: Checkpoint, base: Base) -> float:
    """How far a checkpoint is from the base: ‖w − w₀‖ / ‖w₀‖ over the talker, its voice's slot left out.

    Raises InputUnusable when it was not trained from this base's architecture.
    """
    import numpy as np

    ours, theirs = folders.tensors(checkpoint.folder), folders.tensors(base.folder)
    names = sorted(name for name in theirs if name.startswith(TALKER))
    differ = [name for name in names if name not in ours or ours[name].shape != theirs[name].shape]
    if differ or not names:
        raise InputUnusable(
            f"{checkpoint.folder} was not trained from {base.name} ({base.size}): "
            f"{len(differ)} tensors differ in shape, such as {differ[0] if differ else TALKER}",
            hint="name the base that it was trained from: --base",
        )
    moved = whole = 0.0
    for name in names:
        skipped = checkpoint.slot if name == SLOT_TABLE else None
        now, before = _parts(ours[name], skipped), _parts(theirs[name], skipped)
        for here, there in zip(now, before, strict=True):
            moved += float(np.square(here - there, dtype=np.float64).sum())
            whole += float(np.square(there, dtype=np.float64).sum())
    return math.sqrt(moved / whole)


def _parts(tensor: tensor_files.Stored, skipped: int | None) -> Iterator[NDArray[np.float32]]:
    if skipped is None:
        yield from tensor_files.blocks(tensor)
        return
    width = tensor.shape[1]
    yield from tensor_files.blocks(tensor, 0, skipped * width)
    yield from tensor_files.blocks(tensor, (skipped + 1) * width)


def _bring(source: Path, target: Path, *, link: bool) -> bool:
    if link:
        return folders.link_or_copy(source, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return False


def _require_inside(folder: Path, root: Path) -> None:
    """A symlink out of a downloaded folder would copy somebody's private file into the run."""
    home = root.resolve()
    places = [folder, folder / CODEC, *folder.glob("*"), *(folder / CODEC).glob("*")]
    outside = [path for path in places if path.exists() and not path.resolve().is_relative_to(home)]
    if outside:
        raise InputUnusable(
            f"{outside[0]} leads outside {root}, to {outside[0].resolve()}",
            hint="name the folder that holds the files themselves",
        )
