"""A Piper voice that speaks text: the base, or an epoch trained from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tts_train.audio import Audio
from tts_train.backends import Spoken, joined
from tts_train.backends.piper import model, onnx_voice, weights
from tts_train.backends.piper.phonemes import Phonemizer, Utterance, require_phonemizer
from tts_train.backends.settings import checked
from tts_train.errors import InputUnusable

DEFAULTS: dict[str, float] = {"noise_scale": 0.0, "noise_w": 0.0, "length_scale": 1.0, "sentence_silence": 0.2}
"""noise_scale: variation of the sound; noise_w: variation of durations; length_scale: 1.2 is slower;
sentence_silence: seconds between sentences, which are spoken one by one. Without noise the seed has no effect."""

RANGES: dict[str, tuple[float, float]] = {
    "noise_scale": (0.0, 2.0),
    "noise_w": (0.0, 2.0),
    "length_scale": (0.25, 4.0),
    "sentence_silence": (0.0, 10.0),
}

ORDINARY = "duration-predictor"
"""What ends speech that no limit has cut."""

MAX_HOLD_SECONDS = 2.0
"""No phoneme is held longer (at length_scale 1)."""
MAX_FRAMES_PER_PHONEME = 16
"""Mean over a sentence; natural speech has about 4. Beyond it the sentence is cut short: a runaway."""


class PiperSpeaker:
    """Speaks sentence by sentence on the CPU in fp32."""

    def __init__(self, voice: model.PiperVits, phonemizer: Phonemizer, rate: int) -> None:
        self._model = voice
        self._phonemizer = phonemizer
        self._rate = rate

    @property
    def rate(self) -> int:
        return self._rate

    def say(self, text: str, setting: Mapping[str, Any], seed: int) -> Spoken:
        """Speak `text`; the level is the model's own, nothing is normalised.

        `stopped_by` is "duration-predictor", or "runaway-guard" when a limit above cut a phoneme or a sentence.
        Raises ConfigError for a setting it does not know, InputUnusable when there is nothing to speak, Diverged when
        the weights give no finite numbers.
        """
        return joined(self.parts(text, setting, seed), ORDINARY)

    def parts(self, text: str, setting: Mapping[str, Any], seed: int) -> Iterator[Spoken]:
        """`say`, sentence by sentence."""
        knobs = settings(setting)
        pause = np.zeros(round(knobs["sentence_silence"] * self._rate), np.float32)
        random: torch.Tensor | None = None
        before = pause[:0]
        for utterance in self._phonemizer.sentences(text):
            # The caller's random numbers stay as they are, also between two parts.
            with torch.random.fork_rng(devices=[]), torch.inference_mode():
                if random is None:
                    torch.manual_seed(seed)
                else:
                    torch.set_rng_state(random)
                samples, cut = self._sentence(utterance, knobs)
                random = torch.get_rng_state()
            if len(samples):
                audio = Audio(np.concatenate([before, samples]), self._rate)
                yield Spoken(audio, "runaway-guard" if cut else ORDINARY)
                before = pause
        if before is not pause:
            raise InputUnusable(f"there is nothing to speak in {text[:60]!r}", hint="write some words")

    def _sentence(
        self, utterance: Utterance, knobs: Mapping[str, float]
    ) -> tuple[np.ndarray[Any, np.dtype[np.float32]], bool]:
        voice = self._model
        encoded = voice.encode(torch.tensor([utterance.ids]), torch.tensor([len(utterance.ids)]))
        predicted = model.whole_frames(voice.log_durations(encoded, knobs["noise_w"]), knobs["length_scale"])
        durations = guarded(predicted, self._rate / voice.sizes.hop, knobs["length_scale"])
        latent = voice.frames(encoded, durations, knobs["noise_scale"])
        return voice.decode(latent)[0].numpy(), not torch.equal(durations, predicted)


def guarded(durations: torch.Tensor, frames_per_second: float, length_scale: float) -> torch.Tensor:
    """Frames per phoneme (1, phonemes) within the limits: long holds are clipped, a runaway sentence is cut off."""
    held = durations.clamp(max=int(MAX_HOLD_SECONDS * frames_per_second * length_scale))
    budget = int(MAX_FRAMES_PER_PHONEME * length_scale * durations.shape[1])
    room = (budget - (held.cumsum(1) - held)).clamp(min=0)
    return torch.minimum(held, room)


def settings(given: Mapping[str, Any]) -> dict[str, float]:
    """`given` over the defaults. Raises ConfigError with every unknown key and every value out of range."""
    return checked("piper", given, DEFAULTS, ranges=RANGES)


def load(base: str, epoch_folder: Path | None, threads: int) -> PiperSpeaker:
    """Raises Unavailable before anything is read when the phonemizer is missing; InputUnusable for a foreign epoch."""
    require_phonemizer()
    torch.set_num_threads(threads)
    voice = onnx_voice.read(base)
    state: Mapping[str, Any] = voice.weights if epoch_folder is None else weights.load(epoch_folder, voice.sha256)
    return PiperSpeaker(model.build(voice.architecture, state), Phonemizer(voice.settings), voice.rate)
