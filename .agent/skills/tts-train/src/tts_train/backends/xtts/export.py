"""A trained epoch as a whole model that stock coqui-tts loads: `Xtts.load_checkpoint(config, checkpoint_dir=…)`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tts_train.backends import BACKENDS
from tts_train.backends.xtts import base as bases
from tts_train.backends.xtts import checkpoint
from tts_train.errors import InputUnusable, Problem
from tts_train.files import atomic_write_stream, publish_folder, require_space, write_text
from tts_train.workspace import check_name

_PATH = re.compile(r"^(?:/|~|[A-Za-z]:[\\/]|\\\\|file:)")
_AS_JUDGED = {
    "temperature": "temperature",
    "length_penalty": "length_penalty",
    "repetition_penalty": "repetition_penalty",
    "top_k": "top_k",
    "top_p": "top_p",
    "gpt_cond_len": "gpt_cond_len",
    "gpt_cond_chunk_len": "gpt_cond_chunk_len",
    "max_ref_length": "max_ref_len",
}
"""Our settings by the names under which coqui-tts's `synthesize` reads them from config.json."""


def export_voice(base: str, epoch_folder: Path, out: Path, name: str, voice: Mapping[str, Any]) -> dict[str, Any]:
    """Write `out`/`name`: model.pth in float32, config.json, vocab.json, mel_stats.pth and the reference recording.

    `voice` is the run's: {language, reference (path), …}. The DVAE is left out: only training needs it. An older
    folder is replaced; the base's is only read. Returns {folder, reference, language, bytes, use}.

    Raises InputUnusable when the epoch is not the base's or the reference is gone.
    """
    import torch

    from tts_train.backends.xtts.voice import read_model

    check_name(name, "voice")
    found = bases.describe(bases.find(base), base)
    reference = Path(voice.get("reference") or "")
    if not reference.is_file():
        raise InputUnusable(
            f"the reference recording {reference} of this voice is gone", hint="restore it: XTTS speaks as it"
        )
    state = read_model(found.folder / bases.MODEL)
    epoch = checkpoint.read(epoch_folder, bases.sha256(found))
    _require_same_names(epoch_folder, state, epoch)
    state = {key: epoch.get(key, value).float() if value.is_floating_point() else value for key, value in state.items()}
    require_space(out, sum(value.numel() * value.element_size() for value in state.values()))
    heard = f"reference{reference.suffix.lower()}"

    def fill(target: Path) -> None:
        atomic_write_stream(target / bases.MODEL, lambda file: torch.save({"model": state}, file))
        # Not write_json: coqui-tts's configs hold Infinity, which its own reader takes.
        write_text(target / bases.CONFIG, json.dumps(_config(found.config), ensure_ascii=False, indent=2) + "\n")
        # The CPML asks for its text beside the weights.
        licence = [path for path in found.folder.glob("LICENSE*") if path.is_file()]
        for path in (found.folder / bases.VOCAB, found.folder / bases.MEL_STATS, *licence):
            shutil.copyfile(path, target / path.name)
        shutil.copyfile(reference, target / heard)

    folder = out / name
    publish_folder(folder, fill)
    return {
        "folder": str(folder),
        "reference": heard,
        "language": voice.get("language"),
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
        "use": f"tts --model_path {folder} --config_path {folder / bases.CONFIG} --speaker_wav {folder / heard} "
        f"--language_idx {voice.get('language')} --text …",
    }


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The base's config.json without this machine's paths, and with the settings that the voice was judged with."""
    knobs = BACKENDS["xtts"].knobs
    judged = {theirs: knobs[ours] for ours, theirs in _AS_JUDGED.items()}
    return {**_portable(config), **judged}


def _portable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    return "" if isinstance(value, str) and _PATH.match(value) else value


def _require_same_names(folder: Path, base: Mapping[str, Any], epoch: Mapping[str, Any]) -> None:
    known = {name: tuple(value.shape) for name, value in base.items() if name.startswith(checkpoint.GPT)}
    given = {name: tuple(value.shape) for name, value in epoch.items()}
    wrong = sorted(name for name in known.keys() | given.keys() if known.get(name) != given.get(name))
    if wrong:
        raise InputUnusable(
            f"the weights in {folder} are not those of the base: {len(wrong)} tensors differ, such as {wrong[0]}",
            hint="name the base that the run's run.json names",
            problems=[Problem(f"{name}: {given.get(name)}, not {known.get(name)}", str(folder)) for name in wrong[:12]],
        )
