"""How long each phoneme lasts in a recorded clip: the base voice reads the same words, and its reading is warped
onto the recording (dynamic time warping over MFCCs).

The first MFCC (loudness) is left out and the others are normalised per clip, so level and microphone do not matter.
A warp always exists, also between two different sentences: the numbers kept with it say whether to believe it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from tts_train.backends.piper.model import PiperVits

VERSION = 1
"""Raised when alignments come out differently: receipts of another version are made again."""

LEAD, TAIL = 1024, 2048
"""Digital silence put before and after a clip, samples: the base voice begins and ends with about as much."""

MAX_SECONDS = 60.0
"""Longer clips are not aligned: a minute takes about 0.5 GB."""

_MEL_BANDS, _COEFFICIENTS, _DYNAMIC_RANGE = 80, 13, 80.0


@dataclass(frozen=True)
class Limits:
    """Beyond these an alignment is not believed.

    Measured on a speaker with another accent: of 75 clips with their own text 1 was doubted (2 s long), of 132 with
    another clip's text 124. A wrong word or two goes unseen: texts are checked when a dataset is built.
    """

    min_pace: float = 0.4
    max_pace: float = 2.5
    max_cost: float = 0.78
    max_hold_seconds: float = 1.5


@dataclass(frozen=True)
class Alignment:
    """Whole frames per phoneme (each at least 1), and what speaks for or against them."""

    durations: list[int]
    pace: float
    """Length of the recording, as a multiple of the base's reading."""
    cost: float
    """Mean distance along the warp, as a share of the mean over all pairs of frames: low is a clear match."""
    hold_seconds: float
    """The longest phoneme, the silence at both ends apart."""
    clip_rms: float
    base_rms: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def doubt(self, limits: Limits | None = None) -> str | None:
        """Why this alignment is not to be trained on, or None."""
        limits = limits or Limits()
        if not limits.min_pace <= self.pace <= limits.max_pace:
            return "pace"
        if self.cost > limits.max_cost:
            return "mismatch"
        if self.hold_seconds > limits.max_hold_seconds:
            return "hold"
        return None


def padded(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """A clip as it is trained on: silence at both ends."""
    return np.pad(samples, (LEAD, TAIL))


def align(model: PiperVits, ids: Sequence[int], samples: NDArray[np.float32], rate: int) -> Alignment:
    """Align a padded clip (n,) with its phoneme ids; it must have at least as many frames as ids."""
    import torch

    hop = model.sizes.hop
    frames = len(samples) // hop
    reading, predicted = model.speak(torch.tensor(list(ids)))
    base, clip = _mfcc(reading, rate, hop), _mfcc(torch.from_numpy(samples), rate, hop)
    distances = _distances(base, clip)
    path = warp(distances)
    ends = _place(predicted.cumsum(0).numpy(), path, frames)
    durations = np.diff(spread(ends, frames), prepend=0)
    inner = durations[2:-2] if len(durations) > 4 else durations
    return Alignment(
        durations=[int(frames_) for frames_ in durations],
        pace=_rounded(frames * hop / len(reading)),
        cost=_rounded(float(distances[path[:, 0], path[:, 1]].mean() / distances.mean())),
        hold_seconds=_rounded(int(inner.max()) * hop / rate),
        clip_rms=_rounded(float(np.sqrt(np.mean(samples**2)))),
        base_rms=_rounded(float(reading.square().mean().sqrt())),
    )


def warp(distances: NDArray[np.float64]) -> NDArray[np.int64]:
    """Cheapest monotone path through (n, m) distances from corner to corner, as (steps, 2) index pairs.

    Steps go one forward in either or both sequences. Filled along anti-diagonals, whose cells do not depend on each
    other.
    """
    rows, columns = distances.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(rows + columns - 1):
        row = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        column = diagonal - row
        before = np.minimum(total[row, column], np.minimum(total[row, column + 1], total[row + 1, column]))
        total[row + 1, column + 1] = distances[row, column] + before
    place = (rows - 1, columns - 1)
    path = [place]
    while place != (0, 0):
        row, column = place
        place = min(
            (total[row, column], (row - 1, column - 1)),
            (total[row, column + 1], (row - 1, column)),
            (total[row + 1, column], (row, column - 1)),
            key=lambda step: step[0],
        )[1]
        path.append(place)
    return np.array(path[::-1])


def spread(ends: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """Move phoneme ends as little as needed so that each phoneme has a frame: the model cannot speak one in none."""
    place = np.arange(len(ends))
    # Ends that grow by at least 1 are, less their index, ends that do not shrink.
    moved = np.maximum.accumulate(np.maximum(ends - place, 1)) + place
    moved[-1] = frames
    return np.minimum(moved, frames - place[::-1])


def _place(ends: NDArray[np.int64], path: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """Where each phoneme's end lies in the clip: the first clip frame that is matched to the frame after it."""
    first = np.full(path[-1, 0] + 1, frames, np.int64)
    np.minimum.at(first, path[:, 0], path[:, 1])
    return np.array([first[end] if end < len(first) else frames for end in ends], np.int64)


def _mfcc(samples: Tensor, rate: int, hop: int) -> NDArray[np.float64]:
    """(frames, 13), zero mean and unit variance over the clip."""
    import torch
    from torchaudio.functional import create_dct, melscale_fbanks

    size = 4 * hop
    spectrum = torch.stft(samples, size, hop, size, torch.hann_window(size), return_complex=True).abs() ** 2
    bank = melscale_fbanks(size // 2 + 1, 0.0, rate / 2, _MEL_BANDS, rate, norm="slaney", mel_scale="slaney")
    decibels = 10.0 * (spectrum.T @ bank).clamp_min(1e-10).log10()
    decibels = decibels.clamp_min(float(decibels.max()) - _DYNAMIC_RANGE)
    cepstrum = (decibels @ create_dct(_COEFFICIENTS + 1, _MEL_BANDS, norm="ortho"))[:, 1:].double()
    return ((cepstrum - cepstrum.mean(0)) / (cepstrum.std(0) + 1e-5)).numpy()


def _distances(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    squared = (ours**2).sum(1)[:, None] + (theirs**2).sum(1)[None] - 2.0 * ours @ theirs.T
    return np.sqrt(np.maximum(squared, 0.0))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
