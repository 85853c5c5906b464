"""Speech recognition with faster-whisper.

Clips are cut at pauses first and recognised one by one, each in a window of its own. Measured against packing speech
into 30 s windows and splitting the text by Whisper's word times (240 s of studio prompts, base int8, two threads): word
errors 1.1 % instead of 1.5-2.5 % and no word on the wrong side of a cut, for 20 s instead of 14-33 s. One window at a
time also means that a clip's text never depends on its neighbours.

Whisper was trained on windows of 30 s, and most of the work on a clip of five seconds goes into padding. A shorter
window hears as well as long as enough padding follows the speech; with too little, Whisper says the text again and
again. Measured with base int8, one thread, in word errors and CPU seconds per second of speech. 100 clips of studio
prompts, 742 words: windows of 30 s 5 % and 0.33; of the speech and 1, 2 or 4 s more 39, 23 and 9 % and 0.06. 60 of
them, 447 words: 30 s 27 errors; at least 15 s, and 30 s again where the text repeats itself or is doubted, 29 and 0.10;
at least 25 s 29 and 0.20. A synthetic Northern voice, 56 clips, 741 words: 18, 22 and 19 errors. Several clips in one
batch cost more than one after the other (0.097, 0.100, 0.106, 0.118 for 1, 2, 4, 8).
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tts_train.audio import Audio
from tts_train.errors import Unavailable, UsageError
from tts_train.ingest.merge import MergeRule, merge
from tts_train.ingest.models import ModelChoice

if TYPE_CHECKING:
    from ctranslate2 import StorageView
    from faster_whisper import WhisperModel
    from faster_whisper.tokenizer import Tokenizer

RATE = 16000
WINDOW_SECONDS = 28.0
"""Whisper hears 30 s at a time; longer audio is split at pauses."""

FULL_WINDOW_SECONDS = 30.0
SHORT_WINDOW_SECONDS = 15.0
TAIL_SECONDS = 4.0
"""The least padding behind the speech in a window that is shorter than Whisper's own."""

_REPEATED = re.compile(r"\b(\w.*?)\W+\1\b", re.IGNORECASE)


@dataclass(frozen=True)
class Heard:
    """What was recognised, and Whisper's own doubts about it."""

    text: str
    log_probability: float
    no_speech: float
    compression: float


@dataclass(frozen=True)
class Guards:
    """Limits beyond which a text is not believed: silence and music make Whisper invent or repeat."""

    min_log_probability: float = -1.0
    max_no_speech: float = 0.6
    max_compression: float = 2.4
    min_characters_per_second: float = 3.0
    max_characters_per_second: float = 28.0


_NOT_TOO_FAST = Guards(min_characters_per_second=0.0)


def doubt(heard: Heard, seconds: float, guards: Guards) -> str | None:
    """The rejection code for a text that is not to be believed, or None."""
    letters = sum(character.isalnum() for character in heard.text)
    unsure = heard.log_probability < guards.min_log_probability
    if not letters or (heard.no_speech > guards.max_no_speech and unsure):
        return "no-speech-text"
    if heard.compression > guards.max_compression:
        return "repeated-text"
    if unsure:
        return "low-confidence"
    if not guards.min_characters_per_second <= len(heard.text) / seconds <= guards.max_characters_per_second:
        return "implausible-pace"
    return None


class Recogniser:
    """A loaded model. `hear` is deterministic: no sampling, one window at a time."""

    def __init__(
        self,
        choice: ModelChoice,
        language: str,
        *,
        beam: int = 5,
        compute_type: str = "int8",
        threads: int = 0,
        window: float = SHORT_WINDOW_SECONDS,
    ) -> None:
        """`window`: seconds in which a clip is heard at least, up to Whisper's own FULL_WINDOW_SECONDS."""
        self._least = window
        self.choice = choice
        self.language = language.split("-", maxsplit=1)[0]
        self.beam = beam
        self._workers = threads or min(os.cpu_count() or 1, 8)
        self._model = _load(choice, compute_type, self._workers)
        self._tokenizer, self._prompt = _prompt(self._model, self.language)

    def hear(self, audio: Audio) -> Heard:
        """The words of `audio`; audio longer than Whisper's window is split at pauses."""
        mono = audio.at(RATE)
        if mono.seconds <= WINDOW_SECONDS:
            return self._hear_window(mono)
        parts = [self._hear_window(part) for part in _windows(mono)]
        return Heard(
            " ".join(part.text for part in parts if part.text),
            min((part.log_probability for part in parts), default=0.0),
            max((part.no_speech for part in parts), default=1.0),
            max((part.compression for part in parts), default=0.0),
        )

    def hear_all(self, audios: Sequence[Audio]) -> list[Heard]:
        """`hear` for each, in order, as many at a time as there are threads: the same texts as one by one."""
        from threadpoolctl import threadpool_limits

        # The spectrograms' matrix products would start as many threads again: 13 % more CPU on two cores.
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(self.hear, audios))

    def detect_language(self, audio: Audio) -> tuple[str, float]:
        """(ISO 639-1 code, probability) of the language spoken in the first 30 s of `audio`, by Whisper itself.

        The language this recogniser was made for plays no part. An English-only model says ("en", 1.0) of everything.
        """
        if not self._model.model.is_multilingual:
            return "en", 1.0
        mono = audio.at(RATE)
        answer = self._model.model.detect_language(self._features(mono, self._window(mono)))[0]
        token, probability = answer[0]
        return token.strip("<|>"), round(float(probability), 4)

    def _hear_window(self, mono: Audio) -> Heard:
        window = self._window(mono)
        heard = self._decode(mono, self.beam, window)
        if window < FULL_WINDOW_SECONDS and suspect(heard, mono.seconds):
            heard = self._decode(mono, self.beam, FULL_WINDOW_SECONDS)
        if self.beam == 1 and doubt(heard, mono.seconds, Guards()):
            return self._decode(mono, 5, FULL_WINDOW_SECONDS)
        return heard

    def _window(self, mono: Audio) -> float:
        return min(FULL_WINDOW_SECONDS, max(self._least, mono.seconds + TAIL_SECONDS))

    def _decode(self, mono: Audio, beam: int, window: float) -> Heard:
        found = self._model.model.generate(
            self._features(mono, window),
            [self._prompt],
            beam_size=beam,
            # A clip cannot hold more: a loop ends here and not after Whisper's 448 tokens.
            max_length=len(self._prompt) + min(220, int(16 + 12 * mono.seconds)),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = found.sequences_ids[0]
        text = self._tokenizer.decode(tokens).strip()
        return Heard(
            text,
            # CTranslate2 divides by the tokens, Whisper (whose limits these are) by one more: the end counts.
            round(found.scores[0] * len(tokens) / (len(tokens) + 1), 4),
            round(found.no_speech_prob, 4),
            round(_compression(text), 4),
        )

    def _features(self, mono: Audio, window: float) -> StorageView:
        """Log mel spectrogram, padded to `window` seconds; shape (1, bands, frames)."""
        import ctranslate2
        from faster_whisper.audio import pad_or_trim

        extractor = self._model.feature_extractor
        # An even number of frames: the encoder halves it.
        frames = 2 * round(window * extractor.sampling_rate / extractor.hop_length / 2)
        spectrogram = pad_or_trim(extractor(mono.samples, padding=extractor.hop_length), frames)
        return ctranslate2.StorageView.from_array(np.ascontiguousarray(spectrogram[None], dtype=np.float32))


def suspect(heard: Heard, seconds: float) -> bool:
    """Whether a text is such as a short window may have spoilt: repeated, doubted, or too much for its time."""
    return bool(_REPEATED.search(heard.text)) or doubt(heard, seconds, _NOT_TOO_FAST) is not None


def _compression(text: str) -> float:
    """How much shorter zlib makes a text; above 2.4 it repeats itself."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def _windows(mono: Audio) -> list[Audio]:
    from tts_train.ingest.speech import SpeechOptions, speech_probabilities, speech_spans

    probabilities, seconds = speech_probabilities([mono.samples])
    spans = speech_spans(probabilities, seconds, [], SpeechOptions())
    cuts = merge(spans, MergeRule(max_gap=seconds, min_seconds=2.0, max_seconds=WINDOW_SECONDS - 0.5))
    return [
        Audio(mono.samples[max(0, int((cut.start - 0.2) * RATE)) : int((cut.end + 0.2) * RATE)], RATE) for cut in cuts
    ]


def _prompt(model: WhisperModel, language: str) -> tuple[Tokenizer, list[int]]:
    """The tokenizer of a language, and the tokens that ask for a transcription without times.

    Raises UsageError for a language that Whisper does not know, or that an English-only model cannot hear.
    """
    from faster_whisper.tokenizer import Tokenizer

    multilingual = model.model.is_multilingual
    if language not in model.supported_languages:
        known = ", ".join(sorted(model.supported_languages))
        raise UsageError(
            f"this Whisper model does not know the language '{language}'",
            hint=f"--language with one of: {known}" if multilingual else "it is English-only: name another --model",
        )
    tokenizer = Tokenizer(model.hf_tokenizer, multilingual, task="transcribe", language=language)
    return tokenizer, [*tokenizer.sot_sequence, tokenizer.no_timestamps]


def _load(choice: ModelChoice, compute_type: str, workers: int) -> WhisperModel:
    # One thread per clip beats two threads on one clip: 60 s instead of 91 s for 43 clips on two busy cores.
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise Unavailable("faster-whisper is not installed", hint="run.sh setup project") from error
    try:
        return WhisperModel(
            str(choice.folder), device="cpu", compute_type=compute_type, cpu_threads=1, num_workers=workers
        )
    except (RuntimeError, ValueError) as error:
        raise Unavailable(
            f"the model in {choice.folder} could not be loaded: {error}",
            hint="int8 and float32 work on every CPU; a model has model.bin, config.json and tokenizer.json",
        ) from error
