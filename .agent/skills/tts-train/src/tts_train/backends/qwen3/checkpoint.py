"""Checkpoints in the official custom-voice format, which stock qwen-tts loads, and reading them back.

The voice is a slot of the talker's codec embedding: row 3000, which generation never samples, holds the speaker
vector. Beside the official files stand speaker_encoder.safetensors, without which a checkpoint could never be a base
again, and voice.json.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.backends.qwen3 import folder as folders
from tts_train.backends.qwen3.base import describe
from tts_train.backends.qwen3.folder import CODEC, CONFIG, ENCODER, VOICE, WEIGHTS
from tts_train.backends.qwen3.text import AUTO, PINNED_TRANSFORMERS_VERSION, pin_tokenizer
from tts_train.errors import ConfigError, DiskError, InputUnusable, TtsTrainError
from tts_train.files import publish_folder, read_json, write_json
from tts_train.workspace import check_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from tts_train.backends.qwen3.base import Base

__all__ = ["SLOT", "WEIGHTS", "export_voice", "official_config", "read_weights", "voice_of", "write"]

SLOT = 3000
"""The official trainer's. Tokens from 2048 on are suppressed while speaking (all but the end), so it is never said."""
SLOT_TABLE = "talker.model.codec_embedding.weight"
TALKER = "talker."
_BLOCK = 1 << 24


def write(
    folder: Path,
    *,
    base: Base,
    weights: Mapping[str, Tensor],
    speaker: str,
    vector: Tensor,
    voice: Mapping[str, Any],
    encoder: Mapping[str, Tensor],
    dtype: str,
) -> dict[str, Any]:
    """Write a checkpoint into the existing empty `folder`: the same weights give the same bytes.

    `weights`: all "talker.…" tensors of the base; `vector` (hidden,); `encoder`: the speaker encoder's state; `dtype`
    "float32" or "bfloat16". Nothing given is changed. The codec is linked to the base's where the disk allows it.

    Returns {dtype, drift_kept}: how much of the distance from the base the rounding to `dtype` left
    (‖round(w) − round(w₀)‖ / ‖w − w₀‖, the slot left out); None in float32, which rounds nothing, and where nothing
    moved. Raises TtsTrainError for weights that are not the base's, DiskError when the disk refuses.
    """
    import torch

    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    _require_same_names(base, weights)
    state = {name: value.detach().to("cpu", kind).contiguous() for name, value in weights.items()}
    slots = state[SLOT_TABLE].clone()  # in float32 the entry is the live weight itself
    slots[SLOT] = vector.detach().to("cpu", kind)
    state[SLOT_TABLE] = slots
    kept = None if kind == torch.float32 else _drift_kept(base, weights, kind)
    _save(state, folder / WEIGHTS)
    _save(
        {f"speaker_encoder.{name}": value.detach().cpu().contiguous() for name, value in encoder.items()},
        folder / ENCODER,
    )
    write_json(folder / CONFIG, official_config(base.config, {speaker: SLOT}, dtype))
    write_json(folder / VOICE, dict(voice))
    for source in folders.companions(base.folder):
        shutil.copyfile(source, folder / source.name)
    pin_tokenizer(folder)
    for source in folders.codec_files(base.folder):
        folders.link_or_copy(source, folder / CODEC / source.name)
    return {"dtype": dtype, "drift_kept": kept}


def official_config(config: Mapping[str, Any], speakers: Mapping[str, int], dtype: str) -> dict[str, Any]:
    """config.json of a custom-voice model made from `config`.

    Speakers in lower case: stock qwen-tts lower-cases the name it is asked for and then does not find "Test_Man".
    The version keeps transformers from cutting words by Mistral's pattern.
    """
    official = copy.deepcopy(dict(config))
    official.pop("torch_dtype", None)
    names = {name.lower(): slot for name, slot in speakers.items()}
    official["tts_model_type"] = "custom_voice"
    official["talker_config"]["spk_id"] = names
    official["talker_config"]["spk_is_dialect"] = dict.fromkeys(names, False)
    official["dtype"] = dtype
    official["transformers_version"] = PINNED_TRANSFORMERS_VERSION
    return official


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The "talker.…" tensors of a base or checkpoint in float32 on the CPU, to start from.

    Raises InputUnusable when the folder is no Qwen3-TTS, or its weights are another architecture's than its config
    says. Whether they fit the model they go into is for that model to say.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    described = describe(folder, str(folder))
    there = {name: item for name, item in folders.tensors(folder).items() if name.startswith(TALKER)}
    if SLOT_TABLE not in there or there[SLOT_TABLE].shape[1:] != (described.hidden,):
        raise InputUnusable(
            f"the weights in {folder} are not those of the talker that its {CONFIG} describes",
            hint="name an epoch folder of a qwen3 run, or a Qwen3-TTS folder",
        )
    weights: dict[str, Tensor] = {}
    for file in folders.weight_files(folder):
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (it is no mapping)
                    if name.startswith(TALKER):
                        weights[name] = opened.get_tensor(name).to(torch.float32)
        except SafetensorError as error:
            raise InputUnusable(f"{file} is damaged: {error}", hint="train the epoch again or restore it") from error
    return weights


def voice_of(folder: Path) -> dict[str, Any]:
    """voice.json of a checkpoint that we published, else what a custom-voice folder says of itself.

    That is {speaker, language}: the language it was trained with is not on record, so it is left open ("auto").
    Raises InputUnusable for a folder without a speaker, ConfigError for one with several.
    """
    if (folder / VOICE).is_file():
        known: dict[str, Any] = read_json(folder / VOICE)
        return known
    config = describe(folder, str(folder)).config
    speakers = sorted(config["talker_config"].get("spk_id") or {})
    if not speakers:
        raise InputUnusable(
            f"{folder} names no speaker: it is a {config.get('tts_model_type')} model",
            hint="name a fine-tuned checkpoint (custom_voice)",
        )
    if len(speakers) > 1:
        raise ConfigError(f"{folder} holds several speakers: {', '.join(speakers)}", hint="name one of them")
    return {"speaker": speakers[0], "language": AUTO}


def export_voice(epoch_folder: Path, out: Path, name: str) -> dict[str, Any]:
    """Copy an epoch to `out`/`name` as a folder of its own that stock qwen-tts loads. An older one is replaced.

    Returns {folder, speaker, bytes, use}.
    """
    check_name(name, "voice")
    found = describe(epoch_folder, name)
    speakers = found.config["talker_config"]["spk_id"]
    weights = folders.weight_files(epoch_folder)
    dtype = str(found.config.get("dtype") or found.config.get("torch_dtype") or "float32")

    def fill(target: Path) -> None:
        more = [epoch_folder / extra for extra in (ENCODER, VOICE) if (epoch_folder / extra).is_file()]
        index = [epoch_folder / folders.INDEX] if len(weights) > 1 else []
        for source in (*weights, *index, *folders.companions(epoch_folder), *more):
            shutil.copyfile(source, target / source.name)
        (target / CODEC).mkdir()
        for source in folders.codec_files(epoch_folder):
            shutil.copyfile(source, target / CODEC / source.name)
        pin_tokenizer(target)
        # A checkpoint of the official trainer keeps the speaker's case, and then no name is found in it.
        write_json(target / CONFIG, official_config(found.config, speakers, dtype))

    folder = out / name
    publish_folder(folder, fill)
    speaker = sorted(speaker.lower() for speaker in speakers)
    return {
        "folder": str(folder),
        "speaker": speaker[0] if len(speaker) == 1 else speaker,
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "use": f"Qwen3TTSModel.from_pretrained({str(folder)!r}).generate_custom_voice(text=…, speaker={speaker[0]!r})",
    }


def _require_same_names(base: Base, weights: Mapping[str, Tensor]) -> None:
    known = {name: item.shape for name, item in folders.tensors(base.folder).items() if name.startswith(TALKER)}
    given = {name: tuple(value.shape) for name, value in weights.items()}
    wrong = sorted(name for name in known.keys() | given.keys() if known.get(name) != given.get(name))
    if wrong:
        raise TtsTrainError(
            f"{len(wrong)} tensors are not those of {base.name}, such as {wrong[0]}: "
            f"{given.get(wrong[0])} where {known.get(wrong[0])} is expected",
            hint="nothing was published; this is a fault of the trainer, please report it",
        )


def _drift_kept(base: Base, weights: Mapping[str, Tensor], kind: torch.dtype) -> float | None:
    import torch
    from safetensors import safe_open

    moved = stayed = torch.zeros((), dtype=torch.float64)
    for file in folders.weight_files(base.folder):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (it is no mapping)
                if not name.startswith(TALKER):
                    continue
                for now, before in _blocks(name, weights[name], opened.get_tensor(name)):
                    rounded = now.to(kind).float() - before.to(kind).float()
                    moved = moved + (now - before).double().square().sum()
                    stayed = stayed + rounded.double().square().sum()
    return None if moved == 0 else float((stayed / moved).sqrt())


def _blocks(name: str, now: Tensor, before: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Two tensors side by side, flat and in parts that fit in memory several times; the slot holds no weight."""
    import torch

    flat, start = now.detach().cpu().float(), before.float()
    if name == SLOT_TABLE:
        kept = [row for row in range(len(flat)) if row != SLOT]
        flat, start = flat[kept], start[kept]
    yield from zip(torch.split(flat.flatten(), _BLOCK), torch.split(start.flatten(), _BLOCK), strict=True)


def _save(state: Mapping[str, Tensor], file: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        # One metadata key: the order of several is random.
        save_file(dict(state), file, metadata={"format": "pt"})
    except SafetensorError as error:
        raise DiskError(f"could not write {file}: {error}", hint="check free space and permissions") from error
