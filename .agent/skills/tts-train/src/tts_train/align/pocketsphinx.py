"""Forced alignment of known English text with pocketsphinx: offline, its acoustic model ships in the package.

Two passes: the words of the text along the audio, then the phones of those words (ps_set_align_text, then
ps_set_alignment). Wide beams, because the text is known and a lost path costs the whole clip; padding and a trace of
noise, because digital silence and an abrupt start have no likelihood in a model trained on rooms. At the end edges
beside pauses are moved to the sound (sound.py): single words of 24 rows with known gaps then start within 6 ms in the
median instead of 15, and 99 % of them within 100 ms instead of 95 %.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tts_train.align.pronounce import Pronunciation, pronounce
from tts_train.align.sound import snap_to_sound
from tts_train.align.text import spoken_words
from tts_train.align.words import AlignedWord, Alignment, AlignmentFailed, Phone
from tts_train.audio import Audio
from tts_train.errors import Unavailable

if TYPE_CHECKING:
    from pocketsphinx import Decoder

RATE = 16000
PAD_SECONDS = 0.4
NOISE_LEVEL = 3.0
"""Standard deviation of the added noise in 16-bit steps (-81 dBFS)."""

BEAMS = (1e-100, 1e-300)
"""Beam widths to try in turn; the second keeps nearly every path."""

FRAME_SECONDS = 0.01
FRAME_OFFSET = 0.0078
"""Frames are analysed over 25.6 ms from their start, so the border before frame i is at i * 10 + 7.8 ms."""

NATS_PER_LOG_UNIT = 1024 * math.log(1.0001)
"""pocketsphinx keeps log likelihoods in base 1.0001, shifted right by 10 bits."""

MIN_CLIP_SCORE = 0.03
"""Measured: right texts of 60 studio prompts 0.13-0.38 and of a Northern English reader 0.12-0.37; wrong texts that
found a path at all had 0.003 in the median and 0.044 at most."""

MAX_OUTSIDE_SECONDS = 0.4
"""Measured: 0.0 for 38 right texts; above it for most texts that lack three words or more."""
LOUD_WITHIN_DB = 25.0
MAX_WORD_SECONDS = 2.5


def align(audio: Audio, text: str) -> Alignment:
    """Lay `text` (English) over `audio`.

    Returns every word that spoken_words(text) names, in order, without gaps in the word list. Raises AlignmentFailed
    with a reason when the text holds no words, cannot fit, or the result is not credible.
    """
    words = spoken_words(text)
    if not words:
        raise AlignmentFailed("no-words", f"no words in {text!r}")
    samples = _pcm(audio)
    last: AlignmentFailed | None = None
    for beam in BEAMS:
        decoder = _decoder(beam)
        # Its estimate of the noise outlives an utterance: words would depend on the clips aligned before (2.4 ms).
        decoder.reinit_feat()
        said = [pronounce(word, functools.partial(_look_up, decoder)) for word in words]
        try:
            found = _two_passes(decoder, samples, _entries(decoder, words, said))
        except AlignmentFailed as error:
            last = error
            continue
        return _checked(words, said, found, audio)
    raise last or AlignmentFailed("alignment-failed", "no beam was tried")


@functools.cache
def _decoder(beam: float) -> Decoder:
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise Unavailable("pocketsphinx is not installed", hint="run.sh setup project") from error
    return Decoder(
        lm=None, loglevel="FATAL", bestpath=False, backtrace=False, beam=beam, wbeam=beam, pbeam=beam, silprob=0.05
    )


def _look_up(decoder: Decoder, word: str) -> list[str] | None:
    phones = decoder.lookup_word(word)
    return phones.split() if phones else None


def _entries(decoder: Decoder, words: Sequence[str], said: Sequence[Pronunciation]) -> list[str]:
    """Dictionary entries of the words; guessed pronunciations are added under a name of their own."""
    entries: list[str] = []
    for word, pronunciation in zip(words, said, strict=True):
        entry = word.lower().strip("'")
        if pronunciation.method != "dictionary":
            entry = f"{entry}~"
            if decoder.lookup_word(entry) is None:
                decoder.add_word(entry, " ".join(pronunciation.phones), True)
        entries.append(entry)
    return entries


def _pcm(audio: Audio) -> bytes:
    """16 kHz 16-bit samples between silences, peak at half scale, with a trace of noise (same noise each time)."""
    mono = audio.at(RATE).samples
    peak = float(np.abs(mono).max()) if len(mono) else 0.0
    if peak < 1e-4:
        raise AlignmentFailed("silent", "the audio is silent", {"peak": peak})
    padded = np.pad(mono * (0.5 / peak) * 32767.0, round(PAD_SECONDS * RATE))
    noise = np.random.default_rng(0).normal(0.0, NOISE_LEVEL, len(padded))
    return np.clip(np.round(padded + noise), -32768, 32767).astype("<i2").tobytes()


def _two_passes(decoder: Decoder, samples: bytes, entries: list[str]) -> list[dict[str, Any]]:
    """Words with frames, summed log ratio and phones, no silences. Raises AlignmentFailed when there is no path."""
    try:
        decoder.set_align_text(" ".join(entries))
        _decode(decoder, samples)
        if decoder.hyp() is None:
            raise AlignmentFailed("alignment-failed", "no path through the text reaches the end of the audio")
        decoder.set_alignment()
        _decode(decoder, samples)
        return _read_alignment(decoder, entries)
    except RuntimeError as error:
        raise AlignmentFailed("alignment-failed", f"pocketsphinx gave up: {error}") from error


def _decode(decoder: Decoder, samples: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(samples, no_search=False, full_utt=True)
    decoder.end_utt()


def _read_alignment(decoder: Decoder, entries: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    # The entries are iterators over one C structure: each must be read before the next is asked for.
    for word in decoder.get_alignment():
        phones = [(phone.name, phone.start, phone.duration) for phone in word]
        if word.name.startswith(("<", "[")):
            continue
        found.append(
            {"entry": word.name, "start": word.start, "frames": word.duration, "score": word.score, "phones": phones}
        )
    names = [re.sub(r"\(\d+\)$", "", word["entry"]) for word in found]
    if names != entries:
        raise AlignmentFailed("alignment-failed", f"{len(entries)} words went in, {len(names)} came out")
    return found


def _checked(words: list[str], said: list[Pronunciation], found: list[dict[str, Any]], audio: Audio) -> Alignment:
    aligned = tuple(_word(word, item, audio.seconds) for word, item in zip(words, found, strict=True))
    frames = sum(item["frames"] for item in found)
    numbers: dict[str, Any] = {
        "score": round(_score(sum(item["score"] for item in found), frames), 4),
        "worst_word_score": round(min(word.score for word in aligned), 4),
        "longest_word_seconds": round(max(word.end - word.start for word in aligned), 3),
        "speech_outside_seconds": round(_speech_outside(audio, aligned), 3),
        "guessed_words": [word for word, how in zip(words, said, strict=True) if how.method != "dictionary"],
    }
    if numbers["score"] < MIN_CLIP_SCORE:
        raise AlignmentFailed("text-does-not-fit", f"the text fits the audio badly (score {numbers['score']})", numbers)
    if numbers["longest_word_seconds"] > MAX_WORD_SECONDS or numbers["speech_outside_seconds"] > MAX_OUTSIDE_SECONDS:
        raise AlignmentFailed("speech-without-text", "the audio holds speech that the text lacks", numbers)
    return Alignment(snap_to_sound(audio, aligned), numbers)


def _word(word: str, item: dict[str, Any], seconds: float) -> AlignedWord:
    phones = tuple(
        Phone(name, _time(start, seconds), _time(start + duration, seconds)) for name, start, duration in item["phones"]
    )
    start, end = _time(item["start"], seconds), _time(item["start"] + item["frames"], seconds)
    return AlignedWord(word, start, end, round(_score(item["score"], item["frames"]), 4), phones)


def _speech_outside(audio: Audio, words: tuple[AlignedWord, ...]) -> float:
    """Seconds of loud 10 ms frames that lie in no word: speech that the text lacks, or breath and noise."""
    size = round(audio.rate * FRAME_SECONDS)
    frames = audio.samples[: len(audio.samples) // size * size].reshape(-1, size)
    level = 10.0 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-12)
    loud = level > np.percentile(level, 95) - LOUD_WITHIN_DB
    for word in words:
        loud[max(0, round(word.start / FRAME_SECONDS) - 3) : round(word.end / FRAME_SECONDS) + 3] = False
    return float(loud.sum() * FRAME_SECONDS)


def _time(frame: int, seconds: float) -> float:
    return round(min(max(frame * FRAME_SECONDS + FRAME_OFFSET - PAD_SECONDS, 0.0), seconds), 4)


def _score(total: float, frames: int) -> float:
    return math.exp(total * NATS_PER_LOG_UNIT / max(frames, 1))
