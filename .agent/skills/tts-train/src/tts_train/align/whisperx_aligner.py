"""Alignment with WhisperX and a wav2vec2 CTC model: any language there is a model for.

WhisperX reports a failed alignment as a warning and a segment without words, so an empty word list is the failure
sign. Its sentence splitter wants data that nltk would download; a clip is one segment here, so an empty table of
abbreviations serves as well and nothing is fetched.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train.align.text import spoken_words
from tts_train.align.words import AlignedWord, Alignment, AlignmentFailed
from tts_train.audio import Audio
from tts_train.errors import InputUnusable, Unavailable
from tts_train.pickles import require_harmless

RATE = 16000
_MODEL_FILES = (
    ("config.json",),
    ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"),
    ("preprocessor_config.json", "processor_config.json"),
    ("vocab.json", "tokenizer.json"),
)
"""What a folder of a wav2vec2 CTC model holds: one of each."""

_PUNKT_FILES = ("abbrev_types.txt", "collocations.tab", "sent_starters.txt", "ortho_context.tab")


@dataclass(frozen=True)
class WhisperXAligner:
    """A loaded wav2vec2 model with the dictionary of its letters."""

    model: Any
    metadata: dict[str, Any]
    language: str

    def align(self, audio: Audio, text: str) -> Alignment:
        """Lay `text` over `audio`. Raises AlignmentFailed when WhisperX found no words or not all of them."""
        import whisperx

        words = spoken_words(text, self.language)
        if not words:
            raise AlignmentFailed("no-words", f"no words in {text!r}")
        samples = audio.at(RATE).samples
        segment = {"start": 0.0, "end": audio.seconds, "text": " ".join(words)}
        with _sentence_splitter(self.metadata["language"]):
            answer = whisperx.align([segment], self.model, self.metadata, samples, "cpu")
        found = [item for part in answer["segments"] for item in part["words"]]
        if not found:
            raise AlignmentFailed("alignment-failed", "WhisperX could not lay the text over the audio")
        untimed = [item["word"] for item in found if not _timed(item)]
        if len(found) != len(words) or untimed:
            numbers = {"words": len(words), "aligned": len(found) - len(untimed), "untimed": untimed}
            raise AlignmentFailed(
                "words-missing", f"{len(found) - len(untimed)} of {len(words)} words have times", numbers
            )
        aligned = tuple(_word(word, item) for word, item in zip(words, found, strict=True))
        return Alignment(aligned, {"score": round(sum(word.score for word in aligned) / len(aligned), 4)})


def load_whisperx(model: str, language: str) -> WhisperXAligner:
    """Load a wav2vec2 model: a local folder, a torchaudio bundle or a hub name.

    Raises Unavailable with the reason when it cannot be had (offline, no such model, whisperx missing), InputUnusable
    when reading its weights would run code.
    """
    folder = Path(model)
    local = folder.is_dir()
    if local:
        require_model(folder)
    try:
        import whisperx
    except ImportError as error:
        raise Unavailable("whisperx is not installed", hint="run.sh setup project") from error
    code = language.split("-", maxsplit=1)[0]
    try:
        loaded, metadata = whisperx.load_align_model(code, "cpu", model_name=model, model_cache_only=local)
    except pickle.UnpicklingError as error:
        raise InputUnusable(
            f"the alignment model '{model}' is refused: {str(error).partition(chr(10))[0]}",
            hint="delete it where torch keeps it (~/.cache/torch/hub/checkpoints) and let it be downloaded again",
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        where = "" if local else ", which is no folder, from torchaudio or the hub"
        raise Unavailable(
            f"the alignment model '{model}'{where} could not be loaded: {error}",
            hint="without a network name a local folder of a wav2vec2 CTC model; English has --aligner pocketsphinx",
        ) from error
    return WhisperXAligner(loaded, metadata, language)


def require_model(folder: Path) -> None:
    """A wav2vec2 model's files are there, and none that may be read as a pickle would run code."""
    missing = [names[0] for names in _MODEL_FILES if not any((folder / name).is_file() for name in names)]
    if missing:
        raise Unavailable(
            f"{folder} holds no wav2vec2 model ({', '.join(missing)} missing)",
            hint="name the model's own folder, with all files that the hub has for it",
        )
    require_harmless(sorted(folder.glob("pytorch_model*.bin")))


@contextlib.contextmanager
def _sentence_splitter(language: str) -> Iterator[None]:
    """nltk data for whisperx.align: the installed data if any, else an empty table for as long as it is needed."""
    import nltk
    from whisperx.utils import PUNKT_LANGUAGES

    name = PUNKT_LANGUAGES.get(language, "english")
    try:
        nltk.data.find(f"tokenizers/punkt_tab/{name}/")
    except LookupError:
        with tempfile.TemporaryDirectory() as folder:
            tables = Path(folder) / "tokenizers" / "punkt_tab" / name
            tables.mkdir(parents=True)
            for file in _PUNKT_FILES:
                (tables / file).write_text("")
            nltk.data.path.append(folder)
            try:
                yield
            finally:
                nltk.data.path.remove(folder)
        return
    yield


def _timed(item: dict[str, Any]) -> bool:
    return all(math.isfinite(item.get(name, math.nan)) for name in ("start", "end"))


def _word(word: str, item: dict[str, Any]) -> AlignedWord:
    score = float(item.get("score", 0.0))
    return AlignedWord(
        word,
        round(float(item["start"]), 4),
        round(float(item["end"]), 4),
        round(score if math.isfinite(score) else 0.0, 4),
    )
