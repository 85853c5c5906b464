"""How an XTTS voice is told to speak: coqui-tts's own settings and ours; the defaults stand in `BACKENDS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tts_train.backends import BACKENDS
from tts_train.backends.settings import checked
from tts_train.errors import ConfigError

RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0.01, 5.0),
    "length_penalty": (-10.0, 10.0),
    "repetition_penalty": (0.5, 20.0),
    "top_p": (0.01, 1.0),
    "speed": (0.25, 4.0),
    "sentence_silence": (0.0, 10.0),
}
"""length_penalty is coqui-tts's, without a meaning as there are no beams: with its wrong number of tokens (vocab_size)
beam search fails in coqui-tts 0.28.0. sentence_silence: seconds between sentences."""
COUNTS: dict[str, tuple[int, int]] = {
    "top_k": (0, 1026),
    "gpt_cond_len": (1, 600),
    "gpt_cond_chunk_len": (1, 600),
    "max_ref_length": (1, 600),
}
"""top_k 0: no limit. The lengths are seconds of the reference: heard by the GPT, in chunks, and heard at all."""
FLAGS = ("do_sample", "batched")
EXTRA = ("language",)
"""Settings without a fixed default: the run's language."""


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over the defaults. Raises ConfigError with every unknown key and every value out of range."""
    knobs = checked("xtts", given, BACKENDS["xtts"].knobs, ranges=RANGES, counts=COUNTS, flags=FLAGS, extra=EXTRA)
    if knobs["gpt_cond_chunk_len"] > knobs["gpt_cond_len"]:
        raise ConfigError(
            "'gpt_cond_chunk_len' must not be above 'gpt_cond_len'", hint="chunks are parts of what is heard"
        )
    return knobs
