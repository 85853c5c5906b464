"""Speaker similarity with resemblyzer's GE2E encoder (256 numbers per utterance, weights in the package).

Cosines are comparable within one recording set only: other speakers reached 0.78 where one reader's own clips went
down to 0.75. Rank and compare; do not cut at a fixed number.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tts_train.audio import Audio
from tts_train.errors import InputUnusable, Unavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from resemblyzer import VoiceEncoder

RATE = 16000
MIN_SECONDS = 0.5
LEVEL = 10 ** (-30 / 20)
"""RMS level that the encoder was trained at."""


def embedding(audio: Audio) -> NDArray[np.float32]:
    """Unit vector of shape (256,) for one utterance; level and pauses are normalised away.

    Raises InputUnusable when there is less than half a second of speech.
    """
    from resemblyzer import preprocess_wav

    encoder = _encoder()
    mono = audio.at(RATE).samples
    rms = float(np.sqrt(np.mean(np.square(mono, dtype=np.float64)))) if len(mono) else 0.0
    # Its own normalisation only ever raises the level, and an embedding moves by 0.06 when the level falls by 10 dB.
    speech = preprocess_wav(mono * (LEVEL / max(rms, 1e-6)), source_sr=RATE)
    if len(speech) < MIN_SECONDS * RATE:
        raise InputUnusable(
            f"{audio.seconds:.1f} s of audio hold {len(speech) / RATE:.1f} s of speech: too little to know a speaker",
            hint=f"give at least {MIN_SECONDS} s of speech",
        )
    vector: NDArray[np.float32] = encoder.embed_utterance(speech)
    return vector


def centroid(vectors: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Mean direction of utterances, a unit vector of shape (256,)."""
    mean = np.mean(np.stack(vectors), axis=0)
    unit: NDArray[np.float32] = (mean / np.linalg.norm(mean)).astype(np.float32)
    return unit


def similarity(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """Cosine of two embeddings, in [-1, 1]."""
    return float(np.dot(left, right) / (np.linalg.norm(left) * np.linalg.norm(right)))


def speaker_similarity(audio: Audio, targets: Sequence[Audio]) -> float:
    """Cosine between an utterance and the centroid of a speaker's utterances."""
    return similarity(embedding(audio), centroid([embedding(target) for target in targets]))


@functools.cache
def _encoder() -> VoiceEncoder:
    try:
        from resemblyzer import VoiceEncoder
    except ImportError as error:
        raise Unavailable(f"resemblyzer cannot be imported: {error}", hint="run.sh setup project") from error
    return VoiceEncoder("cpu", verbose=False)
