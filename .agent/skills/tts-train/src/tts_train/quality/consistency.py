"""Whether the clips of a book are one speaker: distances from the book's own centroid in robust deviations.

A fixed cosine cannot tell: one reader's clips went down to 0.75 where other speakers reached 0.78. How far a whole clip
lies from its own speaker depends on its length (0.6 rad for one second of speech, 0.2 for ten), so stretches of one
length are compared: two windows, 2.4 s. Measured on 358 clips of a studio voice with a tenth of other speakers mixed
in: own clips lie up to 4.3 deviations off (5.7 with clips of a single word), a man or a synthetic voice 6.6 to 10,
another woman in the same studio 3.5 to 6. Two speakers in one clip: own clips 4.3 at most, with another woman 4.4 to
9.3, with a man 7 and more. With 30 % of others the deviation grows, and fewer of them stand out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tts_train.quality.ge2e import mean_direction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32] | NDArray[np.float16]

FEWEST = 10
"""With fewer clips nobody can say what is usual."""

NARROWEST = 0.03
"""Radians: the deviation of a very even (synthetic) voice is taken to be at least this."""

PRESENT = 3.3
"""A clip holds the book's speaker where two windows in a row lie within this many deviations."""

_ROUNDS = 5
_MAD_TO_DEVIATION = 1.4826


@dataclass(frozen=True)
class Consistency:
    """Of one clip: cosine with the book's centroid, deviations of the whole clip, and of its strangest stretch.

    `two_speakers` is 0 unless one stretch of some 2.4 s is the book's speaker; it then tells how strange another is.
    """

    similarity: float
    outlier: float
    two_speakers: float


def consistency(clips: Sequence[Vectors]) -> list[Consistency] | None:
    """For clips given as unit vectors of their 1.6 s windows, shape (windows, 256); None for fewer than ten clips.

    Vectors may be float16: with six hours of speech in memory that is 15 MB. The arithmetic is in float32.
    Robust: medians stand as long as more than half of the clips are one speaker.
    """
    if len(clips) < FEWEST:
        return None
    whole = np.stack([mean_direction(clip.astype(np.float32)) for clip in clips])
    centre = _centre(whole)
    windows = _deviations([_angles(clip, centre) for clip in clips])
    stretches = _deviations([_angles(_stretches(clip), centre) for clip in clips])
    return [
        Consistency(float(cosine), float(np.median(stretch if len(stretch) else window)), _two_speakers(stretch))
        for cosine, window, stretch in zip(whole @ centre, windows, stretches, strict=True)
    ]


def _centre(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean direction of the half of the vectors that lies nearest to it."""
    centre = mean_direction(vectors)
    for _ in range(_ROUNDS):
        cosines = vectors @ centre
        centre = mean_direction(vectors[cosines >= np.median(cosines)])
    return centre


def _angles(vectors: Vectors, centre: NDArray[np.float32]) -> NDArray[np.float64]:
    cosines = vectors.astype(np.float32) @ centre
    angles: NDArray[np.float64] = np.arccos(np.clip(cosines, -1.0, 1.0)).astype(np.float64)
    return angles


def _stretches(clip: Vectors) -> NDArray[np.float32]:
    """Means of each two windows in a row, shape (windows - 1, 256); none for a clip of one window."""
    means = clip[:-1].astype(np.float32) + clip[1:].astype(np.float32)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    stretches: NDArray[np.float32] = means / np.maximum(lengths, 1e-9)
    return stretches


def _deviations(angles: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Angles of each clip in robust deviations of the angles of all clips."""
    pooled = np.concatenate(angles)
    if not len(pooled):
        return list(angles)
    usual = float(np.median(pooled))
    deviation = max(NARROWEST, _MAD_TO_DEVIATION * float(np.median(np.abs(pooled - usual))))
    return [(clip - usual) / deviation for clip in angles]


def _two_speakers(stretches: NDArray[np.float64]) -> float:
    if len(stretches) < 2 or stretches.min() > PRESENT:
        return 0.0
    return max(0.0, float(stretches.max()))
