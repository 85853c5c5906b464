"""How far pocketsphinx's word times are off: real recordings of single words, joined with gaps that are known."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

import asterisk
from tts_train.align import AlignmentFailed
from tts_train.align.pocketsphinx import align
from tts_train.audio import Audio

RATE = asterisk.RATE
WORDS_IN_A_ROW = 8
FRAME = 80
AUDIBLE_DB = 35.0


def spoken_part(samples: np.ndarray) -> np.ndarray:
    """From the first to the last 5 ms frame that is at most AUDIBLE_DB below the loudest."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    level = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    loud = np.flatnonzero(level > level.max() - AUDIBLE_DB)
    return samples[loud[0] * FRAME : (loud[-1] + 1) * FRAME]


def joined(words: list[asterisk.Prompt], gaps: random.Random) -> tuple[Audio, list[tuple[float, float]]]:
    """The words with 50 to 300 ms of silence around each, and where each one lies, in seconds."""
    parts, places, now = [], [], 0
    for word in words:
        silence = np.zeros(gaps.randrange(RATE // 20, RATE * 3 // 10), np.float32)
        body = spoken_part(asterisk.read(word))
        now += len(silence)
        places.append((now / RATE, (now + len(body)) / RATE))
        now += len(body)
        parts += [silence, body]
    return Audio(np.concatenate([*parts, np.zeros(RATE // 5, np.float32)]), RATE), places


@pytest.fixture(scope="module")
def errors() -> dict[str, np.ndarray]:
    """Seconds by which starts and ends of all words are off that were not refused; the share of rows refused."""
    words = [prompt for prompt in asterisk.require() if re.fullmatch(r"[A-Za-z']{2,}[.,]?", prompt.text)]
    chance = random.Random(8)
    chance.shuffle(words)
    starts, ends, refused, rows = [], [], 0, len(words) // WORDS_IN_A_ROW
    for row in range(rows):
        chosen = words[row * WORDS_IN_A_ROW : (row + 1) * WORDS_IN_A_ROW]
        audio, places = joined(chosen, chance)
        try:
            found = align(audio, " ".join(prompt.text for prompt in chosen)).words
        except AlignmentFailed:
            refused += 1
            continue
        starts += [word.start - start for word, (start, _) in zip(found, places, strict=True)]
        ends += [word.end - end for word, (_, end) in zip(found, places, strict=True)]
    return {"starts": np.array(starts), "ends": np.array(ends), "refused": np.array(refused / rows)}


def test_words_start_where_they_are_spoken(errors: dict[str, np.ndarray]) -> None:
    starts = np.abs(errors["starts"])

    assert len(starts) >= 150
    assert np.median(starts) < 0.040
    assert np.mean(starts <= 0.100) >= 0.95  # 0.948 without align.sound, 0.99 with it


def test_words_end_where_they_are_spoken(errors: dict[str, np.ndarray]) -> None:
    ends = np.abs(errors["ends"])

    assert np.median(ends) < 0.040
    assert np.mean(ends <= 0.100) >= 0.95


def test_few_right_texts_are_refused(errors: dict[str, np.ndarray]) -> None:
    assert errors["refused"] <= 0.05
