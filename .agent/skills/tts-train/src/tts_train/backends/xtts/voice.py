"""coqui-tts's own model built from a base: weights read without running a pickle's code, the base never written.

Stock loading does otherwise (coqui-tts 0.28.0, Xtts._load_checkpoint): it rewrites the hub's model.pth in place, and
training loads with strict=False, so weights that are missing stay at random numbers.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tts_train.backends.xtts import CONFIG_CLASSES
from tts_train.backends.xtts import base as bases
from tts_train.backends.xtts.base import Base
from tts_train.errors import InputUnusable, Problem
from tts_train.pickles import require_harmless

if TYPE_CHECKING:
    from TTS.tts.layers.xtts.gpt import GPT
    from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
    from TTS.tts.models.xtts import Xtts

_TRAINER = "xtts."
"""Before every name in a checkpoint of coqui's trainer."""
_TRAINER_PARTS = ("dvae.", "torch_mel_spectrogram_dvae.", "torch_mel_spectrogram_style_encoder.")
"""Parts of that trainer that are not the model's."""
_ALIASES = ("gpt.gpt_inference.", "gpt.gpt.wte.")
"""Other names of the same weights, there after init_gpt_for_inference."""
_SHOWN = 12
"""Names of tensors an error lists."""


class _Ignored:
    """Stands for a configuration in a pickle: its fields are kept and nothing of it is run or read."""


@dataclass(frozen=True)
class Voice:
    """A base in memory, in evaluation mode."""

    base: Base
    model: Xtts
    mel_stats: Tensor
    """(80,) divisors of the log-mel bands, for both mel spectrograms of training."""

    @property
    def gpt(self) -> GPT:
        return self.model.gpt

    @property
    def tokenizer(self) -> VoiceBpeTokenizer:
        return self.model.tokenizer


def load_voice(base: Base, *, device: str = "cpu", speaks: bool = False) -> Voice:
    """The stock model with the base's weights, float32. The base's folder may be read-only.

    speaks: prepare the GPT for generation. Not for training: that gives its weights a second name.
    Raises InputUnusable for a damaged, refused or foreign file, naming every tensor that is missing or does not fit.
    """
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
    from TTS.tts.models.xtts import Xtts

    stats = _mel_stats(base.folder / bases.MEL_STATS)
    file = base.folder / bases.MODEL
    state = read_model(file)
    _require_vocabularies(base, file, state)
    config = XttsConfig()
    config.load_json(str(base.folder / bases.CONFIG))
    # With a number here coqui-tts builds the whole GPT once more, before it has the tokenizer.
    config.model_args.gpt_number_text_tokens = None
    model = Xtts(config)
    model.tokenizer = VoiceBpeTokenizer(base.folder / bases.VOCAB)
    model.init_models()
    _require_all(file, model.state_dict(), state)
    model.load_state_dict(state)
    # Not model.eval(), which prepares generation.
    model.hifigan_decoder.eval()
    model.gpt.eval()
    if speaks:
        model.gpt.init_gpt_for_inference(kv_cache=model.args.kv_cache)
        model.gpt.eval()
    model.to(device)
    return Voice(base, model, stats)


def gpt_state(gpt: nn.Module) -> dict[str, Tensor]:
    """What training changes, by its names in model.pth, each weight once. The tensors are the module's own."""
    named = {f"gpt.{name}": value for name, value in gpt.state_dict().items()}
    return {name: value for name, value in named.items() if not name.startswith(_ALIASES)}


def load_gpt(gpt: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Copy weights named as `gpt_state` names them into `gpt`, which stays where it is.

    `source`: the file or folder they are from, for the error. Raises InputUnusable when they are not the whole GPT.
    """
    own = gpt_state(gpt)
    _require_all(source, own, state)
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)


def read_model(file: Path) -> dict[str, Tensor]:
    """The model's weights in a checkpoint of coqui-tts, of its trainer too, by their names in a base's model.pth.

    Big tensors stay on disk until they are read. Raises InputUnusable when it is damaged, holds no weights, or holds
    anything that could run code.
    """
    content = read_pickle(file)
    state = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputUnusable(f"{file} holds no weights", hint="name a model.pth or a checkpoint of coqui-tts")
    named = {str(name).removeprefix(_TRAINER): value for name, value in state.items()}
    return {name: value for name, value in named.items() if not name.startswith(_TRAINER_PARTS + _ALIASES)}


def read_pickle(file: Path) -> Any:
    """torch.load that runs no code and writes nothing. Raises InputUnusable when the file is damaged or refused."""
    require_harmless([file], CONFIG_CLASSES)
    stand_ins: list[Any] = [(_Ignored, name) for name in CONFIG_CLASSES]
    try:
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise InputUnusable(
            f"{file} is refused: reading it would call {refused[1]}"
            if refused
            else f"{file} is damaged, or no file of weights: {str(error).partition(chr(10))[0]}",
            hint="a file of weights runs no code; take it from where the model was published",
        ) from error
    except (EOFError, OSError, RuntimeError, ValueError) as error:
        raise InputUnusable(
            f"{file} cannot be read: {str(error).partition(chr(10))[0]}", hint="download or copy it again"
        ) from error


def _mel_stats(file: Path) -> Tensor:
    stats = read_pickle(file)
    if not isinstance(stats, Tensor) or stats.shape != (80,) or not (stats.isfinite() & (stats != 0)).all():
        raise InputUnusable(f"{file} does not hold the 80 divisors of the mel bands", hint="download or copy it again")
    return stats.float()


def _require_vocabularies(base: Base, file: Path, state: Mapping[str, Tensor]) -> None:
    """Another vocabulary is the usual reason for weights that do not fit; say so, before the model is built."""
    wanted = {
        "gpt.text_embedding.weight": ((base.sizes.text_tokens, base.sizes.width), bases.VOCAB),
        "gpt.mel_embedding.weight": (
            (base.config["model_args"]["gpt_num_audio_tokens"], base.sizes.width),
            bases.CONFIG,
        ),
    }
    wrong = [
        Problem(f"{name} is {tuple(state[name].shape)}, {other} wants {shape}", str(file))
        for name, (shape, other) in wanted.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if wrong:
        raise InputUnusable(
            f"{file} does not belong to the files beside it: {wrong[0].message}",
            hint="take model.pth, config.json and vocab.json of one model; a vocabulary cannot be changed",
            problems=wrong,
        )


def _require_all(source: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raises InputUnusable when names or shapes differ: a weight not there would stay at what it was."""
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [
        f"{name} is {tuple(found[name].shape)}, not {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    wrong += [f"{name} is no weight of this model" for name in found if name not in wanted]
    if not wrong:
        return
    raise InputUnusable(
        f"{source} does not fit the model in {len(wrong)} of its tensors, such as: {wrong[0]}",
        hint="download or copy the model again, with the config.json and vocab.json it was published with",
        problems=[Problem(message, str(source)) for message in wrong[:_SHOWN]],
    )
