"""One reading of one text, measured: the same code for an epoch's render and for the target's own clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.align import AlignedWord, AlignmentFailed, align_known_text
from tts_train.align.text import spoken_words
from tts_train.audio import Audio, read_audio
from tts_train.errors import InputUnusable, Unavailable
from tts_train.files import sha256_file, sha256_json
from tts_train.probe.formants import FormantTracker, marked_vowel
from tts_train.quality.levels import clipped_ratio, silence_ratio
from tts_train.quality.mel import mel_distance
from tts_train.quality.speaker import centroid, embedding, similarity
from tts_train.quality.wer import word_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tts_train.ingest.models import ModelChoice
    from tts_train.ingest.transcribe import Recogniser
    from tts_train.probe.probe import Probe

LISTENERS = 2
"""Readings recognised at a time. Each decodes by itself, so the number changes no text."""

BEAM = 5
COMPUTE_TYPE = "int8"


@dataclass(frozen=True)
class Reading:
    """A text and the file in which somebody reads it. `stopped_by` is the speaker's word for why it ended."""

    item: str
    seed: int
    text: str
    path: Path
    stopped_by: str = "end"


class Reference:
    """The target speaker's own clips, by item id."""

    def __init__(self, clips: Mapping[str, Audio]) -> None:
        self.clips = clips

    @cached_property
    def _embeddings(self) -> dict[str, NDArray[Any]]:
        return {name: vector for name, audio in self.clips.items() if (vector := _embedding(audio)) is not None}

    def similarity(self, item: str, audio: Audio) -> float | None:
        """Cosine to the centroid of the target's other clips.

        The clip of the same text is left out for everybody, so that the target's own value (leave-one-out) is what
        an epoch can reach. None without enough speech.
        """
        others = [vector for name, vector in self._embeddings.items() if name != item] or [*self._embeddings.values()]
        vector = _embedding(audio)
        return similarity(vector, centroid(others)) if vector is not None and others else None

    def mel_distance(self, item: str, audio: Audio) -> float | None:
        """DTW distance (dB per band, level taken out) to the target's reading of the same text, if there is one."""
        if item not in self.clips:
            return None
        try:
            return mel_distance(audio, self.clips[item])
        except InputUnusable:
            return None

    def seconds(self, item: str) -> float | None:
        return self.clips[item].seconds if item in self.clips else None


class Instruments:
    """Models, each loaded once per process; recognition runs in threads beside everything else."""

    def __init__(self, probe: Probe) -> None:
        """Raises Unavailable without a Whisper model; without formants or an aligner only the accent is missing."""
        from tts_train.ingest.models import resolve_model

        self.probe = probe
        self._choice: ModelChoice = resolve_model()
        self._marked = _marked_words(probe)
        self.tracker, self.no_accent = _tracker(probe)
        self._listening = ThreadPoolExecutor(LISTENERS, "whisper")

    @property
    def versions(self) -> dict[str, Any]:
        """What decides the numbers, for knowing when they are out of date."""
        return {
            "code_sha256": measuring_code(),
            "whisper": f"{self._choice.name} {self._choice.sha256[:12]} {COMPUTE_TYPE} beam {BEAM}",
            "accent": self.tracker.engine if self.tracker else None,
        }

    def hear(self, readings: Sequence[Reading]) -> list[Future[str]]:
        """Start recognising; the texts come in order."""
        self._recogniser  # noqa: B018  loaded here, before threads could load it twice
        return [self._listening.submit(self._hear, reading.path) for reading in readings]

    def close(self) -> None:
        """Forget what was not recognised yet."""
        self._listening.shutdown(wait=True, cancel_futures=True)

    def measure(self, reading: Reading, heard: Future[str], reference: Reference | None) -> dict[str, Any]:
        """Everything about one reading, as JSON."""
        audio = read_audio(reading.path)
        words, failure = self._align(audio, reading.text)
        expected = reference.seconds(reading.item) if reference else None
        return {
            "id": reading.item,
            "seed": reading.seed,
            "audio_seconds": round(audio.seconds, 3),
            "expected_seconds": expected and round(expected, 3),
            "speech_seconds": round(words[-1].end - words[0].start, 3) if words else None,
            "spoken_words": len(spoken_words(reading.text, self.probe.language)),
            "silence_ratio": round(silence_ratio(audio), 4),
            "clipped_ratio": round(clipped_ratio(audio), 6),
            "stopped_by": reading.stopped_by,
            "speaker_similarity": _rounded(reference.similarity(reading.item, audio) if reference else None),
            "mel_distance": _rounded(reference.mel_distance(reading.item, audio) if reference else None),
            "not_aligned": failure,
            "words": [asdict(word.as_word()) for word in words],
            "vowels": self._vowels(reading.item, audio, words),
            "heard": heard.result(),
            "errors": word_errors(reading.text, heard.result(), self.probe.language).as_dict(),
        }

    def _hear(self, path: Path) -> str:
        return self._recogniser.hear(read_audio(path)).text

    @cached_property
    def _recogniser(self) -> Recogniser:
        from tts_train.ingest.transcribe import FULL_WINDOW_SECONDS, Recogniser

        # Of a voice in training a short window hears 60 words wrong where this one hears 43, and gates go by few words.
        return Recogniser(
            self._choice,
            self.probe.language,
            beam=BEAM,
            compute_type=COMPUTE_TYPE,
            threads=LISTENERS,
            window=FULL_WINDOW_SECONDS,
        )

    def _align(self, audio: Audio, text: str) -> tuple[list[AlignedWord], str | None]:
        if not self.probe.language.startswith("en"):
            return [], f"the aligner knows English only, not '{self.probe.language}'"
        try:
            return align_known_text(audio, text), None
        except AlignmentFailed as error:
            return [], error.reason

    def _vowels(self, item: str, audio: Audio, words: Sequence[AlignedWord]) -> list[dict[str, Any]]:
        """Formants of the item's marker words; words whose vowel is too short or has no formants are left out."""
        if self.tracker is None or not words:
            return []
        found = [(name, index, marked_vowel(words[index], name)) for name, index in self._marked.get(item, ())]
        phones = [(name, index, phone) for name, index, phone in found if phone is not None]
        tracks = self.tracker.vowels(audio, [(phone.start, phone.end) for _, _, phone in phones])
        return [
            {"set": name, "word": words[index].word.lower(), "index": index, **asdict(track)}
            for (name, index, _), track in zip(phones, tracks, strict=True)
            if track is not None
        ]


def measuring_code() -> str:
    """Hash of the modules that make the numbers: those of two versions are never compared."""
    package = Path(__file__).parents[1]
    files = [*package.glob("align/*.py"), *package.glob("quality/*.py"), package / "ingest/transcribe.py"]
    files += [package / "audio.py", package / "decoding.py", package / "probe/formants.py", Path(__file__)]
    return sha256_json({str(file.relative_to(package)): sha256_file(file) for file in files})


def _marked_words(probe: Probe) -> dict[str, list[tuple[str, int]]]:
    """Item → (lexical set, index among the item's spoken words)."""
    marked: dict[str, list[tuple[str, int]]] = {}
    for marker in probe.markers:
        for token in probe.tokens(marker.set):
            marked.setdefault(token.item, []).append((marker.set, token.index))
    return marked


def _tracker(probe: Probe) -> tuple[FormantTracker | None, str]:
    if not probe.markers:
        return None, "the probe marks no words"
    if not probe.language.startswith("en"):
        return None, f"vowels are found by the aligner, which knows English only, not '{probe.language}'"
    try:
        return FormantTracker(probe.formant_ceiling_hz), ""
    except Unavailable as error:
        return None, error.message


def _embedding(audio: Audio) -> NDArray[Any] | None:
    try:
        return embedding(audio)
    except InputUnusable:
        return None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
