"""espeak-ng as a speaker whose accents and phoneme times are known: transcriptions, and speech with its phones.

The library keeps one state per process; voices are switched by every call. Its data and library come in
espeakng-loader (GPL, a test tool).
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tts_train.audio import Audio

RP, LANCASHIRE, SCOTTISH, AMERICAN = "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-scotland", "en-us"

_SYNCHRONOUS, _PHONEME_EVENTS, _IPA_EVENTS = 2, 1, 2
_WORD, _PHONEME = 1, 7
_RATE, _PITCH = 1, 3
_UTF8 = 1
_IPA = 2
_VOWELS = "aeiouyæɐɑɒɔəɚɛɜɪɨʉʊʌᵻ"


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Phone:
    """One phone in IPA, with its stress mark if it has one; times in seconds."""

    name: str
    start: float
    end: float

    @property
    def vowel(self) -> bool:
        return self.name.lstrip("ˈˌ")[:1] in _VOWELS and bool(self.name.lstrip("ˈˌ"))


@dataclass(frozen=True)
class Speech:
    """An utterance; `words` are the phones of every word of the text by the word's place among its characters."""

    audio: Audio
    words: dict[int, list[Phone]]


class _Library:
    def __init__(self) -> None:
        import espeakng_loader

        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        data = espeakng_loader.get_data_path().encode()
        self.rate = self.library.espeak_Initialize(_SYNCHRONOUS, 0, data, _PHONEME_EVENTS | _IPA_EVENTS)
        assert self.rate > 0, "espeak-ng did not start"
        self.blocks: list[Any] = []
        self.events: list[tuple[int, float, int, str]] = []
        self._callback = _Callback(self._hear)  # kept: the library calls it later
        self.library.espeak_SetSynthCallback(self._callback)

    def _hear(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self.blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type:
            event = events[index]
            name = event.id.string.decode("utf-8", "replace") if event.type == _PHONEME else ""
            self.events.append((event.type, event.audio_position / 1000, event.text_position, name))
            index += 1
        return 0

    def use(self, voice: str) -> None:
        """Every switch leaves an event behind, and a full list of events loses the first word of what is said next."""
        assert self.library.espeak_SetVoiceByName(voice.encode()) == 0, f"espeak-ng has no voice {voice}"

    def say(self, text: str) -> None:
        self.blocks.clear()
        self.events.clear()
        said = text.encode()
        assert self.library.espeak_Synth(said, len(said) + 1, 0, 1, 0, _UTF8, None, None) == 0
        self.library.espeak_Synchronize()


@cache
def _library() -> _Library:
    return _Library()


@cache
def transcribe(text: str, voice: str) -> str:
    """IPA with stress marks, as the voice reads the text."""
    library = _library()
    library.use(voice)
    rest = ctypes.c_char_p(text.encode())
    clauses = []
    while rest.value:
        clauses.append(library.library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA).decode())
    return " ".join(clauses).strip()


def stressed_vowel(word: str, voice: str) -> str:
    """The vowel of the word's main stress, a diphthong whole, length marks as ː."""
    after = transcribe(word, voice).partition("ˈ")[2].replace(":", "ː")
    return _first_vowel(after)


def last_vowel(word: str, voice: str) -> str:
    """The vowel at the end of happy, letter, comma."""
    found = re.findall(rf"[{_VOWELS}]ː?", transcribe(word, voice).replace(":", "ː"))
    return found[-1]


def speak(text: str, voice: str, *, pitch: int = 50, words_per_minute: int = 150) -> Speech:
    """Synthesise, with phone times from the synthesiser itself. `voice` may have a variant: "en-gb-x-rp+f2"."""
    library = _library()
    library.use(voice)
    library.library.espeak_SetParameter(_PITCH, pitch, 0)
    library.library.espeak_SetParameter(_RATE, words_per_minute, 0)
    library.say("a")  # empties the library's list of events
    library.say(text)
    samples = np.concatenate(library.blocks).astype(np.float32) / 32768
    audio = Audio(samples, library.rate)
    return Speech(audio, dict(_words(library.events, audio.seconds)))


def _words(events: list[tuple[int, float, int, str]], seconds: float) -> Iterator[tuple[int, list[Phone]]]:
    times = [time for _, time, _, _ in events] + [seconds]
    place, phones = None, []
    for index, (kind, time, position, name) in enumerate(events):
        if kind == _WORD:
            if place is not None:
                yield place, phones
            place, phones = position - 1, []
        elif kind == _PHONEME and name.strip("ˈˌ") and place is not None:
            end = next((later for later in times[index + 1 :] if later > time), seconds)
            phones.append(Phone(name, time, end))
    if place is not None:
        yield place, phones


def _first_vowel(ipa: str) -> str:
    found = re.search(rf"[{_VOWELS}]+ː?", ipa)
    return found.group() if found else ""
