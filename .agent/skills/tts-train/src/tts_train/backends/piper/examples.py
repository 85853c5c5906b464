"""Clips as training examples: phoneme ids, frames per phoneme, samples at the base voice's level.

Level: one gain for the whole dataset brings it to the loudness at which the base reads the same texts, so what is
learnt is the voice and not its volume, and loud and soft clips keep their relation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from tts_train.audio import read_audio
from tts_train.backends.piper import durations
from tts_train.backends.piper.durations import Alignment
from tts_train.dataset import audio_path
from tts_train.errors import InputUnusable
from tts_train.files import read_json, sha256_file, sha256_json, write_json
from tts_train.output import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tts_train.backends.piper.model import PiperVits
    from tts_train.backends.piper.onnx_voice import OnnxVoice
    from tts_train.backends.piper.phonemes import Phonemizer
    from tts_train.clip import Clip

PEAK = 0.99
"""The gain stays below what would drive a clip's peak above this: the decoder ends in a tanh."""

REASONS = {
    "too-long": "aligning takes memory by the square of the length; cut it at a pause",
    "too-short": "fewer frames than a training window, or than phonemes",
    "pace": "much shorter or longer than the base's reading of its text",
    "mismatch": "does not sound like its text",
    "hold": "one phoneme would have to last too long",
}


@dataclass(frozen=True)
class Example:
    """A clip to train on; sum(durations) * hop == len(samples)."""

    id: str
    key: str
    ids: list[int]
    durations: list[int]
    samples: NDArray[np.float32]


@dataclass(frozen=True)
class LeftOut:
    """A clip that is not trained on, with the numbers that speak against it."""

    id: str
    reason: str
    numbers: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Corpus:
    examples: tuple[Example, ...]
    rejected: tuple[LeftOut, ...]
    gain: float


class Aligner:
    """Makes examples; each clip's alignment is a receipt in `cache`, made once per audio, text and base."""

    def __init__(
        self, model: PiperVits, phonemizer: Phonemizer, voice: OnnxVoice, cache: Path, min_frames: int
    ) -> None:
        self._model, self._phonemizer, self._voice = model, phonemizer, voice
        self._cache, self._min_frames = cache, min_frames

    def corpus(self, clips: Sequence[Clip], manifest: Path) -> Corpus:
        """Examples sorted by id. Raises InputUnusable when none is left."""
        aligned: list[tuple[Example, Alignment]] = []
        rejected: list[LeftOut] = []
        for number, clip in enumerate(sorted(clips, key=lambda clip: clip.id), 1):
            if number % 10 == 0 or number == len(clips):
                progress(f"aligning clips with the base voice: {number} of {len(clips)}")
            made = self.example(clip, audio_path(manifest, clip))
            if isinstance(made, LeftOut):
                progress(f"left out {made.id}: {REASONS[made.reason]}")
                rejected.append(made)
            else:
                aligned.append(made)
        if not aligned:
            reasons = ", ".join(sorted({item.reason for item in rejected}))
            raise InputUnusable(
                f"none of the {len(clips)} clips can be trained on: {reasons}",
                hint="do the texts belong to the clips, and is it the base voice's language?",
            )
        gain = dataset_gain(
            [item for _, item in aligned], [float(np.abs(example.samples).max()) for example, _ in aligned]
        )
        examples = (
            Example(item.id, item.key, item.ids, item.durations, item.samples * np.float32(gain)) for item, _ in aligned
        )
        return Corpus(tuple(examples), tuple(rejected), gain)

    def example(self, clip: Clip, audio_file: Path) -> tuple[Example, Alignment] | LeftOut:
        """One clip at its own level, with its alignment; or why not."""
        ids = [number for sentence in self._phonemizer.sentences(clip.text) for number in sentence.ids]
        samples = durations.padded(read_audio(audio_file, self._voice.rate).samples)
        hop = self._model.sizes.hop
        frames = len(samples) // hop
        if len(samples) > durations.MAX_SECONDS * self._voice.rate:
            return LeftOut(clip.id, "too-long", {"audio_seconds": round(len(samples) / self._voice.rate, 2)})
        if frames < max(self._min_frames, len(ids)):
            return LeftOut(clip.id, "too-short", {"frames": frames, "phonemes": len(ids)})
        key = self._key(audio_file, ids)
        alignment = self._aligned(key, ids, samples)
        doubt = alignment.doubt()
        if doubt:
            numbers = {name: value for name, value in alignment.as_json().items() if name != "durations"}
            return LeftOut(clip.id, doubt, numbers)
        return Example(clip.id, key, ids, alignment.durations, samples[: frames * hop]), alignment

    def _aligned(self, key: str, ids: list[int], samples: NDArray[np.float32]) -> Alignment:
        receipt = self._cache / f"{key}.json"
        if receipt.is_file():
            return Alignment(**read_json(receipt))
        with one_thread():
            alignment = durations.align(self._model, ids, samples, self._voice.rate)
        write_json(receipt, alignment.as_json())
        return alignment

    def _key(self, audio_file: Path, ids: list[int]) -> str:
        content = {
            "version": durations.VERSION,
            "audio": sha256_file(audio_file),
            "ids": ids,
            "base": self._voice.sha256,
        }
        return sha256_json(content)[:24]


@contextmanager
def one_thread() -> Iterator[None]:
    """Alignments of one dataset serve runs with any number of threads, so they must not depend on it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def dataset_gain(alignments: Sequence[Alignment], peaks: Sequence[float]) -> float:
    """The factor that brings the dataset to the base's loudness: the median over clips, within the peak limit."""
    wanted = median(item.base_rms / max(item.clip_rms, 1e-6) for item in alignments)
    return float(f"{min(wanted, PEAK / max(*peaks, 1e-6)):.6g}")
