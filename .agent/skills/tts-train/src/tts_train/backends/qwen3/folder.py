"""What a Qwen3-TTS folder holds: which files must be there, which of them hold weights, how they are copied.

Weights are read from safetensors files only: a pickle runs code when it is read.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from tts_train.backends.qwen3 import tensor_files
from tts_train.backends.qwen3.tensor_files import Stored
from tts_train.errors import InputUnusable
from tts_train.files import read_json
from tts_train.pickles import pickles_in

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Names the files of weights that were saved in several."""
CODEC = "speech_tokenizer"
ENCODER = "speaker_encoder.safetensors"
"""Beside the weights of a checkpoint that we published: the official format drops the speaker encoder, and without
it a checkpoint can never be a base again."""
VOICE = "voice.json"

_REQUIRED = (
    CONFIG,
    "generation_config.json",
    "tokenizer_config.json",
    f"{CODEC}/config.json",
    f"{CODEC}/model.safetensors",
    f"{CODEC}/preprocessor_config.json",
)
_TOKENIZER = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""Either is enough."""
_COMPANIONS = (".json", ".txt", ".jinja")
_OWN = (CONFIG, INDEX, VOICE, "epoch.json")
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the model's weights, whether they are there or not.

    As transformers chooses: one file before several. Raises InputUnusable when the index is unreadable, or names a
    file outside the folder, and for a folder with pickled weights only.
    """
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        _refuse_pickles(folder)
        return [folder / WEIGHTS]
    index = read_json(folder / INDEX)
    names = index.get("weight_map", {}).values() if isinstance(index, dict) else ()
    outside = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if outside or not names:
        wrong = f"names {outside[0]!r}, which is no file of this folder" if outside else "names no file"
        raise InputUnusable(f"{folder / INDEX} {wrong}", hint="download or copy the model again")
    return [folder / name for name in sorted(set(names))]


def tensors(folder: Path) -> dict[str, Stored]:
    """Name → tensor of a model's weights. Raises InputUnusable when a file is missing or damaged."""
    return {name: item for file in weight_files(folder) for name, item in tensor_files.table(file).items()}


def faults(folder: Path) -> list[str]:
    """Everything that keeps a folder from being a whole Qwen3-TTS: missing files, damaged weights."""
    found = [name for name in _REQUIRED if not (folder / name).is_file()]
    if not any(all((folder / name).is_file() for name in names) for names in _TOKENIZER):
        found += [name for name in _TOKENIZER[-1] if not (folder / name).is_file()]
    try:
        weights = weight_files(folder)
    except InputUnusable as error:
        return [*found, error.message]
    for file in (*weights, folder / CODEC / WEIGHTS):
        name = str(file.relative_to(folder))
        if not file.is_file():
            found += [name] if name not in found else []
            continue
        try:
            tensor_files.table(file)
        except InputUnusable as error:
            found.append(error.message)
    return found


def companions(folder: Path) -> list[Path]:
    """What travels with the weights: tokenizer, generation settings, licence; no weights, no files of ours."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and path.name not in _OWN
        and not path.name.startswith(".")
        and (path.suffix in _COMPANIONS or path.stem in ("LICENSE", "NOTICE"))
    ]


def codec_files(folder: Path) -> list[Path]:
    """The speech tokenizer's files."""
    return [
        path
        for path in sorted((folder / CODEC).iterdir())
        if path.is_file() and path.suffix in (*_COMPANIONS, ".safetensors") and not path.name.startswith(".")
    ]


def link_or_copy(source: Path, target: Path) -> bool:
    """Hard-link what `source` is in the end (the hub's cache is made of symlinks), or copy where that cannot be.

    Returns whether it is a link. Nothing ever writes into a file in place, so a link is as safe as a copy.
    """
    real = source.resolve(strict=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(real, target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        shutil.copyfile(real, target)
        return False
    return True


def _refuse_pickles(folder: Path) -> None:
    if (folder / WEIGHTS).is_file() or not folder.is_dir():
        return
    pickles = pickles_in(folder)
    if pickles:
        raise InputUnusable(
            f"{folder} holds its weights as {pickles[0].name}, a pickle: reading one runs whatever code is in it",
            hint=f"save them as {WEIGHTS} (model.save_pretrained(folder, safe_serialization=True))",
        )
