"""A Qwen3-TTS voice that speaks: a published epoch, or the base with the run's reference in the same place.

Always the stock package's custom-voice path, one text at a time, in float32: bfloat16 would round small updates away
before anybody could hear them, and a text inside a batch comes out other than alone. Base and epochs so differ in
weights only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tts_train.audio import Audio
from tts_train.backends import BACKENDS, Spoken
from tts_train.backends.qwen3 import base as bases
from tts_train.backends.qwen3.checkpoint import SLOT, voice_of
from tts_train.backends.qwen3.text import AUTO, HEAD, TAIL, language_name, normalise
from tts_train.backends.qwen3.vectors import speaker_vector
from tts_train.backends.settings import checked
from tts_train.errors import ConfigError, Diverged, InputUnusable, Unavailable
from tts_train.files import sha256_file

if TYPE_CHECKING:
    from qwen_tts import Qwen3TTSModel

RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0.01, 5.0),
    "top_p": (0.01, 1.0),
    "repetition_penalty": (0.5, 3.0),
    "subtalker_temperature": (0.01, 5.0),
    "subtalker_top_p": (0.01, 1.0),
}
COUNTS: dict[str, tuple[int, int]] = {"top_k": (0, 3072), "subtalker_top_k": (0, 2048), "max_new_tokens": (2, 30000)}
"""top_k 0: no limit."""
EXTRA = ("language", "max_new_tokens")
"""Settings that have no fixed default: the run's language, a budget by the text's length. (`do_sample` false: the most
likely code everywhere.)"""

FRAMES_TO_SPARE = 60
FRAMES_PER_TOKEN = 10
"""The budget of a text: speech has about 12.5 frames a second and 3 to 4 a text token, a digit up to 8. Beyond it the
model has lost its end (1 in 200, with every Qwen3-TTS) and goes on to the limit."""


class _Watched:
    """The talker's `generate`, noting its last token: qwen-tts drops it, and with it how the speech ended."""

    def __init__(self, generate: Any) -> None:
        self._generate = generate
        self.last_token: int | None = None

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.last_token = None
        result = self._generate(*given, **named)
        self.last_token = int(result.sequences[0, -1])
        return result


class Qwen3Speaker:
    """Speaks with one voice."""

    def __init__(self, wrapper: Qwen3TTSModel, speaker: str, language: str) -> None:
        self._wrapper = wrapper
        self._speaker = speaker
        self._language = language
        talker = wrapper.model.talker
        talker.generation_config.pad_token_id = talker.config.codec_eos_token_id  # what it would choose, with a warning
        self._talker = _Watched(talker.generate)
        talker.generate = self._talker

    @property
    def rate(self) -> int:
        return int(self._wrapper.model.speech_tokenizer.get_output_sample_rate())

    def say(self, text: str, setting: Mapping[str, Any], seed: int) -> Spoken:
        """Speak `text` as one utterance, however long it is.

        `stopped_by` is "eos" when the model ended by itself, "no-eos" when it ran into its budget. Raises ConfigError
        for a setting it does not know, InputUnusable when there is nothing to speak, Diverged when the weights give
        no finite numbers.
        """
        spoken = normalise(text)
        if not spoken:
            raise InputUnusable(f"there is nothing to speak in {text[:60]!r}", hint="write some words")
        model = self._wrapper.model
        knobs = settings(setting)
        language = self._named_language(knobs.pop("language", self._language))
        knobs.setdefault("max_new_tokens", budget(self._text_tokens(spoken)))
        knobs["subtalker_dosample"] = knobs["do_sample"]
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            samples = self._generated(spoken, language, knobs)
        ended = self._talker.last_token == model.config.talker_config.codec_eos_token_id
        return Spoken(Audio(samples, self.rate), "eos" if ended else "no-eos")

    def _generated(self, text: str, language: str, knobs: Mapping[str, Any]) -> Any:
        try:
            # Non-streaming is the layout that training uses; the other one is another prompt and another sound.
            waves, _ = self._wrapper.generate_custom_voice(
                text=text, speaker=self._speaker, language=language, non_streaming_mode=True, **knobs
            )
        except RuntimeError as error:
            if "probability tensor" not in str(error):
                raise
            raise _diverged() from error
        if not torch.from_numpy(waves[0]).isfinite().all():
            raise _diverged()
        return waves[0]

    def _named_language(self, tag: Any) -> str:
        if not isinstance(tag, str):
            raise ConfigError(f"'language' must be a name, got {tag!r}", hint='for example "english" or "auto"')
        return language_name(tag, self._wrapper.model.config.talker_config.codec_language_id)

    def _text_tokens(self, text: str) -> int:
        return len(bases.text_tokenizer(self._wrapper).prompt_ids(text)) - HEAD - TAIL


def budget(text_tokens: int) -> int:
    """The most codec tokens a text may take: some three times what natural speech needs."""
    return min(FRAMES_TO_SPARE + FRAMES_PER_TOKEN * text_tokens, COUNTS["max_new_tokens"][1])


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over the defaults. Raises ConfigError with every unknown key and every value out of range."""
    defaults = {**BACKENDS["qwen3"].knobs, "do_sample": True}
    return checked("qwen3", given, defaults, ranges=RANGES, counts=COUNTS, flags=("do_sample",), extra=EXTRA)


def load(base: str, epoch_folder: Path | None, threads: int, voice: Mapping[str, Any]) -> Qwen3Speaker:
    """The voice of an epoch, or of the untouched base: its weights, with the reference's vector in the voice's slot.

    `voice`: {speaker, language, reference (path), reference_sha256, attention, device, dtype}; an epoch needs neither
    reference nor base, it carries all it says. Raises Unavailable when the base is not there, InputUnusable for a
    reference that is missing or is another file by now, and for an epoch without the voice's speaker.
    """
    torch.set_num_threads(threads)
    if epoch_folder is None:
        reference = _reference(voice)
        found = bases.describe(bases.find(base), base)
        wrapper = _loaded(found, voice, encoder=True)
        speaker = str(voice.get("speaker") or "base").lower()
        _give_voice(wrapper, {speaker: SLOT})
        table = wrapper.model.talker.model.codec_embedding.weight
        with torch.no_grad():
            table[SLOT] = speaker_vector(wrapper, reference).to(table)
    else:
        found = bases.describe(epoch_folder, str(epoch_folder))
        speaker = str(voice.get("speaker") or voice_of(epoch_folder)["speaker"]).lower()
        slots = {name.lower(): int(slot) for name, slot in found.config["talker_config"].get("spk_id", {}).items()}
        if speaker not in slots:
            listed = ", ".join(sorted(slots)) or "none"
            raise InputUnusable(
                f"{epoch_folder} has no speaker '{speaker}' (it has: {listed})", hint="name an epoch of this run"
            )
        wrapper = _loaded(found, voice, encoder=False)
        _give_voice(wrapper, slots)
    language = language_name(str(voice.get("language") or AUTO), found.languages)
    return Qwen3Speaker(wrapper, speaker, language)


def _loaded(found: bases.Base, voice: Mapping[str, Any], *, encoder: bool) -> Qwen3TTSModel:
    device = str(voice.get("device", "cpu"))
    if device == "cuda" and not torch.cuda.is_available():
        raise Unavailable(
            "this run speaks on a GPU, and torch sees none",
            hint="speak where it was trained: renders of another device are not comparable",
        )
    attention = str(voice.get("attention", "sdpa"))
    return bases.load_model(
        found,
        dtype=str(voice.get("dtype", "float32")),
        # Flash attention is a faster way to the same sums for training in bfloat16; it has no float32.
        attention="sdpa" if attention == "flash_attention_2" else attention,
        device=device,
        encoder=encoder,
    )


def _give_voice(wrapper: Qwen3TTSModel, slots: Mapping[str, int]) -> None:
    """Make a loaded model a custom-voice one that knows `slots` (lower-case name → row)."""
    model = wrapper.model
    model.tts_model_type = model.config.tts_model_type = "custom_voice"
    model.config.talker_config.spk_id = dict(slots)
    model.config.talker_config.spk_is_dialect = dict.fromkeys(slots, False)
    model.supported_speakers = list(slots)


def _reference(voice: Mapping[str, Any]) -> Path:
    """The recording that epoch 0 speaks as, checked against its hash: another one would be another baseline."""
    given = voice.get("reference")
    if not given:
        raise ConfigError(
            "the untouched base has no voice of its own, and this run names no reference recording",
            hint="add the reference that it was trained with to run.json's voice; trained epochs speak without it",
        )
    path = Path(given)
    if not path.is_file():
        raise InputUnusable(
            f"the reference {path} that epoch 0 speaks as is gone", hint="restore it; trained epochs speak without it"
        )
    expected = voice.get("reference_sha256")
    if expected and sha256_file(path) != expected:
        raise InputUnusable(
            f"the reference {path} is another file than when the run began ({str(expected)[:12]})",
            hint="restore it: epochs cannot be compared with a baseline in another voice",
        )
    return path


def _diverged() -> Diverged:
    return Diverged("these weights give no finite numbers", hint="choose an earlier epoch, and train with a lower lr")
