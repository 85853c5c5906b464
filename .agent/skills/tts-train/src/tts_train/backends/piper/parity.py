"""Proof that torch speaks as onnxruntime does: the same phonemes, noise off, compared sample by sample."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.errors import ConfigError
from tts_train.files import read_json, sha256_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from tts_train.backends.piper.model import PiperVits
    from tts_train.backends.piper.onnx_voice import OnnxVoice

LIMIT = 1e-3
_SENTENCE = "ðə bɹˈaɪt pˈæθ θɹuː ðə ɡɹˈæs lˈɛd dˌaʊn tə ðə ɹˈʌnɪŋ wˈɔːɾɚ, ænd wˈi wˈɔːkt."
"""Phonemes, not text: the check needs no phonemizer."""


@dataclass(frozen=True)
class Parity:
    """Samples compared, the largest absolute difference among them, and the loudness they have (rms)."""

    samples: int
    max_abs_diff: float
    rms: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(onnx: Path | bytes, model: PiperVits, settings: Mapping[str, Any]) -> Parity:
    """Compare `model` with an ONNX file or its content. Raises ConfigError when even the lengths differ."""
    import numpy as np
    import torch

    from tts_train.backends.piper.phonemes import sequence

    ids = sequence(list(_SENTENCE), settings["phoneme_id_map"]).ids
    theirs = run_onnx(onnx, ids)
    ours = model.speak(torch.tensor(ids))[0].numpy()
    if theirs.shape != ours.shape:
        raise ConfigError(
            f"torch speaks {len(ours)} samples, onnxruntime {len(theirs)}", hint="this voice cannot be hosted"
        )
    difference = np.abs(theirs - ours).max()
    return Parity(len(ours), float(f"{difference:.3g}"), float(f"{np.sqrt((theirs**2).mean()):.3g}"))


def run_onnx(onnx: Path | bytes, ids: list[int]) -> NDArray[np.float32]:
    """One sequence through onnxruntime on one thread, noise off, natural pace: samples (n,)."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    source = onnx if isinstance(onnx, bytes) else str(onnx)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    inputs = {
        "input": np.array([ids], np.int64),
        "input_lengths": np.array([len(ids)], np.int64),
        "scales": np.array([0.0, 1.0, 0.0], np.float32),
    }
    samples: NDArray[np.float32] = np.asarray(session.run(None, inputs)[0]).reshape(-1)
    return samples


def require(voice: OnnxVoice, model: PiperVits, cache: Path | None = None) -> Parity:
    """Parity of a base voice, measured once per file content and library versions when `cache` is a folder.

    Raises ConfigError above `LIMIT`: training would start from another voice than the one that was chosen.
    """
    receipt = cache / f"parity-{_key(voice)}.json" if cache else None
    if receipt and receipt.is_file():
        return Parity(**read_json(receipt))
    parity = measure(voice.file, model, voice.settings)
    if not parity.max_abs_diff <= LIMIT:
        raise ConfigError(
            f"{voice.file.name}: torch and onnxruntime differ by {parity.max_abs_diff:g}, allowed is {LIMIT:g}",
            hint="this voice cannot be hosted; use the packaged one",
        )
    if receipt:
        write_json(receipt, parity.as_json())
    return parity


def _key(voice: OnnxVoice) -> str:
    from importlib.metadata import version

    versions = {name: version(name) for name in ("torch", "coqui-tts", "onnxruntime")}
    return sha256_json({"voice": voice.sha256, **versions})[:16]
