"""Clips as training examples, by the rules of coqui-tts's dataset, said aloud.

coqui-tts 0.28.0 (TTS/tts/layers/xtts/trainer/dataset.py) replaces a clip that is too long, too short, unreadable or
has a character without a token by another one and says nothing; an epoch draws clips at random, so a third of them is
never seen in it. Here such clips are left out with their reason before training, nothing replaces them, and an epoch is
every other clip once (training/batching.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tts_train.audio import Audio, probe_source, read_audio
from tts_train.backends.xtts import base as bases
from tts_train.backends.xtts import codes, sealed, text
from tts_train.backends.xtts.base import SAMPLE_RATE
from tts_train.backends.xtts.objective import Conditioning, code_count
from tts_train.backends.xtts.planning import MIN_SECONDS, longest
from tts_train.dataset import audio_path, load_manifest
from tts_train.errors import InputUnusable, Problem
from tts_train.files import read_jsonl, sha256_file, sha256_json
from tts_train.output import progress
from tts_train.quality import levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tts_train.backends.xtts.voice import Voice
    from tts_train.clip import Clip
    from tts_train.config import XttsSettings

VERSION = 1
"""Of what is cached; raised when the same clip gives other samples or codes."""
MIN_CONDITIONING, MAX_CONDITIONING = 66150, 132300
"""Samples of the piece that a clip is conditioned on, as in coqui's recipe: 3 to 6 s."""

REASONS = {
    "unreadable": "its audio cannot be read",
    "silent": "nothing is heard in it",
    "too-short": f"it is shorter than {MIN_SECONDS} s",
    "too-long": "it is longer than the longest clip that is trained on; cut it at a pause",
    "unreadable-text": "its text cannot be turned into tokens",
    "unknown-token": "its text has characters that the base has no token for",
    "text-too-long": "its text has more tokens than the longest that is trained on; cut it at a pause",
}
_TALK_EVERY = 50


@dataclass(frozen=True)
class Example:
    """A clip to train on (objective.Utterance)."""

    id: str
    key: str
    """Of all that is learnt from it."""
    tokens: tuple[int, ...]
    codes: NDArray[np.int16]
    """(ceil(wav_length / 1024),), 0 to 1023."""
    wav_length: int
    """Samples at 22.05 kHz."""
    wave: Path
    """Its samples, to be read with `sealed.read`."""
    language: str
    audio_file: Path

    @property
    def audio_seconds(self) -> float:
        return self.wav_length / SAMPLE_RATE

    @property
    def positions(self) -> int:
        """What it takes of a batch, for bucketing."""
        return len(self.tokens) + len(self.codes)


@dataclass(frozen=True)
class LeftOut:
    """A clip that is not trained on, with the numbers that speak against it."""

    id: str
    line: int
    """Of the manifest."""
    reason: str
    numbers: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Corpus:
    """Sorted by id."""

    examples: tuple[Example, ...]
    rejected: tuple[LeftOut, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Reason → clips left out for it."""
        return dict(Counter(item.reason for item in self.rejected))


class _Unfit(Exception):
    def __init__(self, reason: str, **numbers: Any) -> None:
        super().__init__(reason)
        self.reason, self.numbers = reason, numbers


def build(manifest: Path, voice: Voice, settings: XttsSettings) -> Corpus:
    """Every clip of a manifest as an example, or left out. Samples and codes are kept in parts/xtts beside it.

    Raises ConfigError for a manifest or language that is wrong, InputUnusable when no clip is left, with the lines.
    """
    clips = load_manifest(manifest)
    lines = {str(row.get("id")): number for number, row in read_jsonl(manifest)}
    maker = _Maker(manifest, voice, settings)
    examples: list[Example] = []
    rejected: list[LeftOut] = []
    for number, clip in enumerate(sorted(clips, key=lambda clip: clip.id), 1):
        if number % _TALK_EVERY == 0 or number == len(clips):
            progress(f"samples, tokens and codes of the clips: {number} of {len(clips)}")
        try:
            examples.append(maker.example(clip))
        except _Unfit as unfit:
            left = LeftOut(clip.id, lines[clip.id], unfit.reason, unfit.numbers)
            progress(f"left out {clip.id} ({manifest.name}:{left.line}): {_why(left)}")
            rejected.append(left)
    corpus = Corpus(tuple(examples), tuple(rejected))
    if not examples:
        raise InputUnusable(
            f"none of the {len(clips)} clips of {manifest} can be trained on: "
            + ", ".join(f"{reason} {count}" for reason, count in sorted(corpus.counts.items())),
            hint="; ".join(f"{reason}: {REASONS[reason]}" for reason in sorted(corpus.counts)),
            problems=[Problem(f"{item.id}: {_why(item)}", str(manifest), item.line) for item in rejected],
        )
    return corpus


class Conditioner:
    """Draws the pieces of themselves that clips are conditioned on.

    Not as coqui's get_prompt_slice: that takes any place, and half of a clip that is shorter than the length drawn, so
    its pieces nearly always cover the middle. With a mask that works (objective.py) the middle of a short clip would
    never be learnt: a tiny model memorises its clips up to there and derails.
    """

    def __init__(self, mel_stats: Tensor) -> None:
        self._mel = codes.spectrogram(mel_stats, window=2048)

    def draw(self, example: Example) -> Conditioning:
        """A piece of 3 to 6 s, at most half the clip, at its head or its tail, by torch's global generator.

        So every code is learnt in half of the draws or more, whatever the clip's length.
        """
        length = min(int(torch.randint(MIN_CONDITIONING, MAX_CONDITIONING + 1, ())), example.wav_length // 2)
        at_tail = bool(torch.randint(0, 2, ()))
        return self._piece(example, example.wav_length - length if at_tail else 0, length)

    def fixed(self, example: Example) -> Conditioning:
        """For validation: 4.5 s from the clip's start, or half of a shorter clip, as coqui does."""
        wanted = (MIN_CONDITIONING + MAX_CONDITIONING) // 2
        return self._piece(example, 0, wanted if wanted <= example.wav_length else example.wav_length // 2)

    def _piece(self, example: Example, start: int, length: int) -> Conditioning:
        """(80, 517) frames whatever the length: coqui pads the piece with silence to 6 s."""
        heard = codes.as_float(sealed.read(example.wave)[start : start + length])
        padded = functional.pad(heard, (0, MAX_CONDITIONING - length))
        with torch.no_grad():
            return Conditioning(self._mel(padded[None])[0], start, start + length)


class _Maker:
    """Makes examples; what is slow is kept under a name of what it was made from."""

    def __init__(self, manifest: Path, voice: Voice, settings: XttsSettings) -> None:
        self._manifest, self._voice = manifest, voice
        self._language = settings.language
        self._seconds = longest(settings, voice.base)
        self._most_tokens = min(settings.max_text_tokens, voice.base.sizes.max_text)
        self._cache = manifest.parent / "parts" / "xtts"
        folder = voice.base.folder
        self._encoded_by = [sha256_file(folder / bases.DVAE), sha256_file(folder / bases.MEL_STATS)]
        self._encoder: codes.Encoder | None = None

    def example(self, clip: Clip) -> Example:
        """Raises _Unfit."""
        file = audio_path(self._manifest, clip)
        sound = sha256_json([VERSION, SAMPLE_RATE, sha256_file(file)])[:32]
        wave = self._cache / f"wave-{sound}.npy"
        samples = sealed.kept(wave, lambda: self._samples(file))
        self._check(samples)
        language = text.language_tag(self._language or clip.language, self._voice.base.languages)
        tokens = self._tokens(clip.text, language)
        coded = sha256_json([sound, *self._encoded_by])[:32]
        found = sealed.kept(self._cache / f"codes-{coded}.npy", lambda: self._codes(samples))
        key = sha256_json([coded, tokens])[:32]
        return Example(clip.id, key, tuple(tokens), found, len(samples), wave, language, file)

    def _samples(self, file: Path) -> NDArray[np.int16]:
        """Mono at 22.05 kHz, 16 bits; checked, so that only what is trained on is kept."""
        try:
            seconds = probe_source(file).seconds
            if seconds > 2 * self._seconds:  # by the header: a book need not be decoded
                raise _Unfit("too-long", audio_seconds=round(seconds, 2), limit=round(self._seconds, 2))
            audio = read_audio(file, SAMPLE_RATE)
        except InputUnusable as error:
            raise _Unfit("unreadable", message=error.message) from error
        samples = np.clip(np.round(audio.samples * 32768.0), -32768, 32767).astype(np.int16)
        self._check(samples)
        return samples

    def _check(self, samples: NDArray[np.int16]) -> None:
        seconds, most = len(samples) / SAMPLE_RATE, self._seconds
        if seconds < MIN_SECONDS:
            raise _Unfit("too-short", audio_seconds=round(seconds, 3), limit=MIN_SECONDS)
        if seconds > most:
            raise _Unfit("too-long", audio_seconds=round(seconds, 2), limit=round(most, 2))
        loud = levels.loud_level(
            levels.frame_levels(Audio(samples.astype(np.float32) / np.float32(32768), SAMPLE_RATE))
        )
        if loud < levels.SILENT_CLIP_DBFS:
            raise _Unfit("silent", loudest_dbfs=round(loud, 1), limit=levels.SILENT_CLIP_DBFS)

    def _tokens(self, written: str, language: str) -> list[int]:
        try:
            tokens = text.tokens(self._voice.tokenizer, written, language)
        except text.Unreadable as error:
            raise _Unfit("unreadable-text", message=str(error)) from error
        except text.Unknown as error:
            raise _Unfit("unknown-token", characters=error.characters, language=language) from error
        if len(tokens) > self._most_tokens:
            raise _Unfit("text-too-long", tokens=len(tokens), limit=self._most_tokens)
        return tokens

    def _codes(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        self._encoder = self._encoder or codes.Encoder(self._voice.base, self._voice.mel_stats)
        found = self._encoder.codes(samples)
        assert len(found) == code_count(len(samples))
        return found


def _why(left: LeftOut) -> str:
    told = ", ".join(
        f"{name} {' '.join(value) if isinstance(value, Sequence) and not isinstance(value, str) else value}"
        for name, value in left.numbers.items()
    )
    return f"{left.reason}: {REASONS[left.reason]} ({told})"
