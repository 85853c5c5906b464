"""A trained epoch back in Piper's own format: the base's ONNX graph with new weights, and the JSON beside it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.errors import TtsTrainError
from tts_train.files import atomic_write_bytes, remove_leftovers, write_text
from tts_train.workspace import check_name

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor

    from tts_train.backends.licences import PackedBase
    from tts_train.backends.piper.onnx_voice import OnnxVoice

LIMIT = 1e-4
CARD = "MODEL_CARD"
"""Beside every voice that Piper publishes."""


@dataclass(frozen=True)
class Exported:
    """A voice that Piper can load, and how closely it speaks like the epoch it came from."""

    onnx: str
    json: str
    written: int
    """Initializers that carry trained weights."""
    samples: int
    max_abs_diff: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def export_epoch(base: str, epoch_folder: Path, out: Path, name: str) -> Exported:
    """Export a published epoch of `base`; see `export_voice`."""
    from tts_train.backends.piper import onnx_voice, weights

    voice = onnx_voice.read(base)
    return export_voice(voice, weights.load(epoch_folder, voice.sha256), out, name)


def export_voice(voice: OnnxVoice, state: Mapping[str, Tensor], out: Path, name: str) -> Exported:
    """Write `out`/`name`.onnx and .onnx.json.

    onnxruntime must speak the exported file as torch speaks `state` (within `LIMIT`), or nothing is written and
    TtsTrainError is raised.
    """
    from tts_train.backends.piper import model, parity

    check_name(name, "voice")
    data = rewritten(voice, state).SerializeToString()
    measured = parity.measure(data, model.build(voice.architecture, state), voice.settings)
    if not measured.max_abs_diff <= LIMIT:
        raise TtsTrainError(
            f"the exported voice differs from the epoch by {measured.max_abs_diff:g}, allowed is {LIMIT:g}",
            hint="nothing was written; this is a fault of the exporter, please report it",
        )
    settings = copy.deepcopy(voice.settings)
    settings["dataset"] = name
    target = out / f"{name}.onnx"
    beside = out / f"{name}.onnx.json"
    for path in (target, beside):
        remove_leftovers(path)
    write_text(beside, json.dumps(settings, ensure_ascii=False, indent=2) + "\n")
    atomic_write_bytes(target, data)
    return Exported(str(target), str(beside), len(voice.bindings), measured.samples, measured.max_abs_diff)


def package_base(base: str) -> PackedBase:
    """The voice's files as `onnx_voice.read` wants them, with its card if there is one; see `onnx_voice.find`."""
    from tts_train.backends.licences import PackedBase, from_piper_card
    from tts_train.backends.piper import onnx_voice

    file = onnx_voice.find(base)
    card = file.with_name(CARD)
    files = (file, onnx_voice.settings_beside(file), *([card] if card.is_file() else []))
    return PackedBase(file.stem, files, file.name, from_piper_card(card))


def rewritten(voice: OnnxVoice, state: Mapping[str, Tensor]) -> ModelProto:
    """The base's graph with the weights of `state` in every bound initializer."""
    import numpy as np
    from onnx import numpy_helper

    from tts_train.backends.piper.onnx_voice import load_model

    graph_file = load_model(voice.file)
    places = {tensor.name: tensor for tensor in graph_file.graph.initializer}
    for binding in voice.bindings:
        values = state[binding.parameter].detach().cpu().numpy()
        stored = np.exp(-values) if binding.form == "exp_negated" else values
        tensor = numpy_helper.from_array(np.ascontiguousarray(stored, np.float32), binding.initializer)
        places[binding.initializer].CopyFrom(tensor)
    return graph_file
