"""Resemblyzer's GE2E speaker encoder in NumPy: its published weights and its arithmetic, without torch and librosa.

The encoder is three small LSTM layers; importing torch for it costs 490 MiB, which is more than the rest of an ingest.
Agrees with resemblyzer 0.1.4 to 1e-5 (tests/project/test_speaker.py). L. Wan et al., "Generalized end-to-end loss for
speaker verification", ICASSP 2018.
"""

from __future__ import annotations

import functools
import importlib.util
import pickle
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tts_train.errors import Unavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

RATE = 16000
HOP = 160
_FFT = 400
_BANDS = 40
WINDOW_FRAMES = 160
WINDOW_SAMPLES = WINDOW_FRAMES * HOP
"""The encoder hears 1.6 s at a time."""

_STEP_FRAMES = round(RATE / 1.3 / HOP)
_MIN_COVERAGE = 0.75
_LAYERS = 3
_VAD_WINDOW = 480
_VAD_SMOOTHING = 8
_VAD_MAX_SILENCE = 6


def trimmed(samples: Floats) -> Floats:
    """16 kHz samples without pauses longer than some 0.2 s, as WebRTC's VAD hears them (its strictest mode)."""
    import webrtcvad

    windows = len(samples) // _VAD_WINDOW
    samples = samples[: windows * _VAD_WINDOW]
    if not windows:
        return samples
    pcm = np.round(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()
    vad = webrtcvad.Vad(3)
    size = _VAD_WINDOW * 2
    voiced = np.array([vad.is_speech(pcm[at : at + size], RATE) for at in range(0, len(pcm), size)], float)
    padded = np.concatenate([np.zeros((_VAD_SMOOTHING - 1) // 2), voiced, np.zeros(_VAD_SMOOTHING // 2)])
    smooth = np.round(np.convolve(padded, np.ones(_VAD_SMOOTHING) / _VAD_SMOOTHING, mode="valid")) > 0
    wide = np.convolve(smooth, np.ones(_VAD_MAX_SILENCE + 1), mode="same") > 0
    return samples[np.repeat(wide, _VAD_WINDOW)]


def windows(speech: Floats) -> Floats:
    """Embeddings of trimmed speech (16 kHz, RMS about -30 dBFS) in 1.6 s windows every 0.77 s: unit vectors (n, 256).

    At least one; what is missing of a window is silence.
    """
    frames = -(-(len(speech) + 1) // HOP)
    starts = list(range(0, max(1, frames - WINDOW_FRAMES + _STEP_FRAMES + 1), _STEP_FRAMES))
    if len(starts) > 1 and (len(speech) - starts[-1] * HOP) / (WINDOW_SAMPLES) < _MIN_COVERAGE:
        starts.pop()
    needed = (starts[-1] + WINDOW_FRAMES) * HOP
    mel = mel_power(np.pad(speech, (0, max(0, needed - len(speech)))))
    pieces = np.stack([mel[start : start + WINDOW_FRAMES] for start in starts])
    return _encode(pieces)


def mean_direction(vectors: Floats | Sequence[Floats]) -> Floats:
    """The mean of unit vectors as a unit vector, shape (256,)."""
    mean = np.mean(np.asarray(vectors), axis=0)
    unit: Floats = (mean / max(float(np.linalg.norm(mean)), 1e-9)).astype(np.float32)
    return unit


def _encode(pieces: Floats) -> Floats:
    """(n, frames, bands) → (n, 256): the last state of the last layer, through a rectified linear layer."""
    weights = _weights()
    states = pieces
    for layer in range(_LAYERS):
        states = _lstm(states, weights, layer)
    raw = np.maximum(states[:, -1] @ weights["linear.weight"].T + weights["linear.bias"], 0.0)
    unit: Floats = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return unit


def _lstm(inputs: Floats, weights: Mapping[str, Floats], layer: int) -> Floats:
    """One layer over (n, time, features), gates in torch's order: input, forget, cell, output."""
    inner = weights[f"lstm.weight_hh_l{layer}"].T
    bias = weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"]
    driven = inputs @ weights[f"lstm.weight_ih_l{layer}"].T + bias
    size = inner.shape[0]
    hidden = np.zeros((len(inputs), size), np.float32)
    cell = np.zeros_like(hidden)
    states = np.empty((*inputs.shape[:2], size), np.float32)
    for time in range(inputs.shape[1]):
        gates = driven[:, time] + hidden @ inner
        entry, forget, output = (_sigmoid(gates[:, at * size : (at + 1) * size]) for at in (0, 1, 3))
        cell = forget * cell + entry * np.tanh(gates[:, 2 * size : 3 * size])
        hidden = output * np.tanh(cell)
        states[:, time] = hidden
    return states


def _sigmoid(values: Floats) -> Floats:
    half: Floats = np.tanh(values * np.float32(0.5)) * np.float32(0.5) + np.float32(0.5)
    return half


def mel_power(samples: Floats) -> Floats:
    """Mel power spectrogram (not in dB), shape (frames, 40): 25 ms Hann windows every 10 ms, Slaney's filters."""
    padded = np.pad(samples, _FFT // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)
    power = np.abs(np.fft.rfft(windows * window, axis=1)) ** 2
    mel: Floats = (power @ _filters().T).astype(np.float32)
    return mel


@functools.cache
def _filters() -> NDArray[np.float64]:
    """Triangles of equal area on Slaney's mel scale (linear to 1 kHz, then logarithmic), shape (40, 201)."""
    step, log_step = 200.0 / 3, np.log(6.4) / 27.0
    top = 15.0 + np.log(RATE / 2 / 1000.0) / log_step
    mels = np.linspace(0.0, top, _BANDS + 2)
    edges = np.where(mels < 15.0, mels * step, 1000.0 * np.exp(log_step * (mels - 15.0)))
    bins = np.linspace(0, RATE / 2, _FFT // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]


@functools.cache
def _weights() -> dict[str, Floats]:
    """The encoder's tensors by name, from resemblyzer's own file. Raises Unavailable without the package."""
    spec = importlib.util.find_spec("resemblyzer")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("resemblyzer is not installed: its weights know speakers", hint="run.sh setup project")
    return read_checkpoint(Path(spec.submodule_search_locations[0]) / "pretrained.pt")


def read_checkpoint(path: Path) -> dict[str, Floats]:
    """float32 tensors of "model_state" in a file of torch's format before 1.6: pickles, then the raw storages.

    Only the three names that such a file needs are looked up, so nothing in it can run.
    """
    with path.open("rb") as file:
        for _ in ("magic number", "protocol", "system"):
            _Unpickler(file).load()
        state: dict[str, _Tensor] = _Unpickler(file).load()["model_state"]
        order = _Unpickler(file).load()
        storages: dict[str, Floats] = {}
        for key in order:
            count = int.from_bytes(file.read(8), "little")
            storages[key] = np.frombuffer(file.read(count * 4), "<f4").astype(np.float32)
    return {name: tensor.read(storages) for name, tensor in state.items()}


@dataclass(frozen=True)
class _Tensor:
    storage: str
    offset: int
    shape: tuple[int, ...]

    def read(self, storages: Mapping[str, Floats]) -> Floats:
        size = int(np.prod(self.shape))
        return storages[self.storage][self.offset : self.offset + size].reshape(self.shape)


def _rebuilt(storage: str, offset: int, shape: tuple[int, ...], *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape)


class _Unpickler(pickle.Unpickler):
    _KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
        ("torch", "FloatStorage"): np.float32,
    }

    def find_class(self, module: str, name: str) -> Any:
        known = self._KNOWN.get((module, name))
        if known is None:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a checkpoint of weights")
        return known

    def persistent_load(self, pid: Any) -> str:
        return str(pid[2])
