"""An XTTS voice that speaks: the base, or an epoch trained from it, with the run's reference recording.

Sentence by sentence and in float32, with the steps and the samples of coqui-tts's own `Xtts.inference`. The base stays
loaded in the process: the next epoch brings the GPT's weights only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tts_train.audio import Audio
from tts_train.backends import Spoken, joined
from tts_train.backends.xtts import base as bases
from tts_train.backends.xtts import checkpoint, generate, sentences, voice
from tts_train.backends.xtts.base import Base
from tts_train.backends.xtts.knobs import settings
from tts_train.backends.xtts.text import Unknown, Unreadable, language_tag, tokens
from tts_train.errors import ConfigError, InputUnusable, Unavailable
from tts_train.files import sha256_file

if TYPE_CHECKING:
    from TTS.tts.models.xtts import Xtts


@dataclass
class _Loaded:
    """A base in memory, whose GPT carries the weights of one speaker at a time."""

    key: tuple[Any, ...]
    voice: voice.Voice
    sha256: str
    carried: object | None = None
    """The speaker's `_weights` that the GPT holds; None: the base's own."""
    embeddings: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    """The speaker encoder is not trained: by the reference's hash and its length in seconds."""


_process: dict[str, _Loaded] = {}
"""The one base that this process keeps, as "base": two would need twice the memory."""


class XttsSpeaker:
    """Speaks with the weights of one epoch. Several may be alive: each brings its weights when it speaks."""

    def __init__(
        self, loaded: _Loaded, weights: Mapping[str, Tensor] | None, reference: Path, language: str, source: Path
    ) -> None:
        self._loaded = loaded
        self._weights = weights
        self._reference = reference
        self._reference_sha256 = sha256_file(reference)
        self._language = language
        self._source = source
        self._latents: dict[tuple[int, int, int], Tensor] = {}
        self._carried()

    @property
    def rate(self) -> int:
        return self._loaded.voice.base.output_rate

    def say(self, text: str, setting: Mapping[str, Any], seed: int) -> Spoken:
        """Speak `text` as it is cut by `sentences.pieces`; the level is the model's own.

        `stopped_by` is "eos" when every sentence ended by itself, "no-eos" when one ran into the model's limit. Raises
        ConfigError for settings it does not know, InputUnusable for a text it has no tokens for or a piece with too
        many, Diverged when the weights give no finite numbers; all but the last before any work.
        """
        return joined(self.parts(text, setting, seed), "eos")

    def parts(self, text: str, setting: Mapping[str, Any], seed: int) -> Iterator[Spoken]:
        """`say`, sentence by sentence; with `batched` several sentences are ready at once."""
        knobs = settings(setting)
        language = self._named_language(knobs.pop("language", self._language))
        utterances = self._utterances(text, language)
        model = self._carried()
        pause = np.zeros(round(knobs["sentence_silence"] * self.rate), np.float32)
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.inference_mode():
            latents, embedding = self._conditioning(model, knobs)
        codes = generate.codes(model, latents, utterances, knobs, seed)
        before = pause[:0]
        for spoken in utterances:
            # Between two parts the caller's random numbers and gradients are as they were, and so are these weights.
            with torch.random.fork_rng(devices=devices), torch.inference_mode():
                model = self._carried()
                said = next(codes)
                wave = generate.wave(model, latents, embedding, spoken, said, knobs["speed"])
            ended = int(said[-1]) == model.gpt.stop_audio_token
            yield Spoken(Audio(np.concatenate([before, wave]), self.rate), "eos" if ended else "no-eos")
            before = pause

    def _carried(self) -> Xtts:
        """The model with this speaker's weights in it."""
        held = self._loaded.voice
        if self._loaded.carried is not self._weights:
            weights = self._weights
            if weights is None:
                stored = voice.read_model(held.base.folder / bases.MODEL)
                weights = {name: value for name, value in stored.items() if name.startswith(checkpoint.GPT)}
            voice.load_gpt(held.gpt, weights, self._source)
            self._loaded.carried = self._weights
        return held.model

    def _named_language(self, name: Any) -> str:
        if not isinstance(name, str):
            raise ConfigError(f"'language' must be a tag, got {name!r}", hint='for example "en"')
        return language_tag(name, self._loaded.voice.base.languages)

    def _utterances(self, text: str, language: str) -> list[Tensor]:
        """(1, n) tokens of each piece."""
        tokenizer, most = self._loaded.voice.tokenizer, self._loaded.voice.base.sizes.max_text
        limit = tokenizer.char_limits.get(language.partition("-")[0], 250)
        found = sentences.pieces(text, limit)
        if not found:
            raise InputUnusable(f"there is nothing to speak in {text[:60]!r}", hint="write some words")
        utterances = []
        for piece in found:
            try:
                # As Xtts.inference does it.
                ids = tokens(tokenizer, piece.lower(), language)
            except Unreadable as error:
                raise InputUnusable(f"{piece[:60]!r} cannot be spoken: {error}", hint="write it in words") from error
            except Unknown as error:
                raise InputUnusable(
                    f"{piece[:60]!r} has characters that the base has no token for: {error}",
                    hint="write it without them",
                ) from error
            if len(ids) > most:
                raise InputUnusable(
                    f"{piece[:60]!r} has {len(ids)} tokens, {most} are the most in one piece",
                    hint="write numbers and signs in words, or make two sentences of it",
                )
            utterances.append(torch.tensor([ids], dtype=torch.int32, device=self._loaded.voice.model.device))
        return utterances

    def _conditioning(self, model: Xtts, knobs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """What Xtts.get_conditioning_latents gives: (1, 32, width) of this epoch's GPT, and (1, 512, 1)."""
        from TTS.tts.models.xtts import load_audio

        heard = knobs["max_ref_length"]
        key, place = (knobs["gpt_cond_len"], knobs["gpt_cond_chunk_len"], heard), (self._reference_sha256, heard)
        embeddings = self._loaded.embeddings
        if key not in self._latents or place not in embeddings:
            try:
                samples = load_audio(str(self._reference), bases.SAMPLE_RATE)[:, : bases.SAMPLE_RATE * heard]
            except (OSError, RuntimeError) as error:
                raise InputUnusable(
                    f"the reference {self._reference} could not be read as audio: {error}", hint="restore it as a WAV"
                ) from error
            if samples.shape[1] < bases.SAMPLE_RATE:
                raise InputUnusable(
                    f"the reference {self._reference} is {samples.shape[1] / bases.SAMPLE_RATE:.2f} s long",
                    hint="a voice can be known from at least 1 s, better 4 to 12 s",
                )
            samples = samples.to(model.device)
            self._latents[key] = model.get_gpt_cond_latents(samples, bases.SAMPLE_RATE, *key[:2])
            if place not in embeddings:
                embeddings[place] = model.get_speaker_embedding(samples, bases.SAMPLE_RATE)
        return self._latents[key], embeddings[place]


def load(base: str, epoch_folder: Path | None, threads: int, given: Mapping[str, Any]) -> XttsSpeaker:
    """The voice of an epoch, or of the untouched base; `given`: {language, reference (path), reference_sha256, device}.

    Raises Unavailable when the base is not there, ConfigError for a voice without language or reference, InputUnusable
    for a reference that is missing or another file by now, and for an epoch of another base.
    """
    reference = _reference(given)
    loaded = _base(base, str(given.get("device", "cpu")))
    torch.set_num_threads(threads)
    if not given.get("language"):
        raise ConfigError("this voice names no language", hint='add it to run.json\'s voice, for example "en"')
    language = language_tag(str(given["language"]), loaded.voice.base.languages)
    weights = None if epoch_folder is None else checkpoint.read(epoch_folder, loaded.sha256)
    source = epoch_folder or loaded.voice.base.folder / bases.MODEL
    return XttsSpeaker(loaded, weights, reference, language, source)


def _base(name: str, device: str) -> _Loaded:
    """The base, which stays loaded as long as its files stay the same."""
    if device == "cuda" and not torch.cuda.is_available():
        raise Unavailable(
            "this run speaks on a GPU, and torch sees none",
            hint="speak where it was trained: renders of another device are not comparable",
        )
    found = bases.describe(bases.find(name), name)
    key = (found.folder, device, *_signature(found))
    held = _process.get("base")
    if held is None or held.key != key:
        _process.clear()
        held = _Loaded(key, voice.load_voice(found, device=device, speaks=True), bases.sha256(found))
        _process["base"] = held
    return held


def _signature(found: Base) -> list[tuple[int, int]]:
    files = [(found.folder / file).stat() for file in bases.FILES]
    return [(file.st_size, file.st_mtime_ns) for file in files]


def _reference(given: Mapping[str, Any]) -> Path:
    """The recording that the voice speaks as, checked against its hash: another one would be another voice."""
    if not given.get("reference"):
        raise ConfigError(
            "this voice names no reference recording, which XTTS speaks as",
            hint="add it to run.json's voice, or set xtts.reference and train again",
        )
    path = Path(given["reference"])
    if not path.is_file():
        raise InputUnusable(f"the reference {path} that this voice speaks as is gone", hint="restore it")
    expected = given.get("reference_sha256")
    if expected and sha256_file(path) != expected:
        raise InputUnusable(
            f"the reference {path} is another file than when the run began ({str(expected)[:12]})",
            hint="restore it: epochs cannot be compared when they speak as somebody else",
        )
    return path
