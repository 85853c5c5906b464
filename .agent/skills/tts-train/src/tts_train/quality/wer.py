"""Word errors, with the words named: dropped, mangled, inserted, repeated."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tts_train.align.text import spoken_words

_AMERICAN = (("colour", "color"), ("favour", "favor"), ("honour", "honor"), ("harbour", "harbor"),
             ("neighbour", "neighbor"), ("labour", "labor"), ("rumour", "rumor"), ("vapour", "vapor"),
             ("behaviour", "behavior"), ("grey", "gray"),
             ("plough", "plow"), ("mould", "mold"), ("theatre", "theater"), ("centre", "center"), ("metre", "meter"),
             ("cheque", "check"), ("kerb", "curb"), ("storey", "story"), ("pyjama", "pajama"), ("tyre", "tire"),
             ("realis", "realiz"), ("recognis", "recogniz"), ("organis", "organiz"), ("travell", "travel"),
             ("jewell", "jewel"), ("alright", "all right"), ("okay", "ok"))  # fmt: skip
"""One spelling for words that sound the same: a recogniser's spelling is no error of the speaker."""

PHRASE = 8
"""Longest phrase, in words, whose repetition is looked for."""


@dataclass(frozen=True)
class WordErrors:
    """Errors of a hypothesis against a reference; `wer` = errors / words (0 for two empty texts).

    `repeated` are words heard again in a row that the text does not have so, alone or as a phrase: "the the cat", "put
    the put the kettle". They are errors already, as inserted or, where a loop took the place of the text, as mangled.
    """

    wer: float
    errors: int
    words: int
    dropped: tuple[str, ...] = ()
    mangled: tuple[tuple[str, str], ...] = ()
    inserted: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON form, shares rounded to four decimals."""
        return {
            "wer": round(self.wer, 4),
            "errors": self.errors,
            "words": self.words,
            "dropped": list(self.dropped),
            "mangled": [list(pair) for pair in self.mangled],
            "inserted": list(self.inserted),
            "repeated": list(self.repeated),
        }


def normalise(text: str, language: str = "en") -> str:
    """Lower-case words in one spelling, without punctuation; numbers as words."""
    joined = " ".join(word.lower().strip("'") for word in spoken_words(text, language))
    for british, american in _AMERICAN:
        joined = re.sub(rf"\b{british}", american, joined)
    return joined


def word_errors(reference: str, hypothesis: str, language: str = "en") -> WordErrors:
    """Levenshtein alignment of words (jiwer). "boathouse" and "boat house" count as the same words."""
    import jiwer

    wanted, heard = normalise(reference, language), normalise(hypothesis, language)
    words = len(wanted.split())
    if not wanted or not heard:
        extra = tuple(heard.split())
        errors = words + len(extra)
        return WordErrors(errors / max(words, 1), errors, words, tuple(wanted.split()), (), extra)
    output = jiwer.process_words(_joined(wanted, heard), _joined(heard, wanted))
    said, got = output.references[0], output.hypotheses[0]
    dropped: list[str] = []
    mangled: list[tuple[str, str]] = []
    inserted: list[str] = []
    for chunk in output.alignments[0]:
        left, right = said[chunk.ref_start_idx : chunk.ref_end_idx], got[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "substitute":
            mangled += zip(left, right, strict=True)
        elif chunk.type != "equal":
            dropped += left
            inserted += right
    errors = len(dropped) + len(mangled) + len(inserted)
    repeated = (Counter(_repetitions(got)) - Counter(_repetitions(said))).elements()
    lists = (tuple(dropped), tuple(mangled), tuple(inserted), tuple(repeated))
    return WordErrors(errors / words, errors, words, *lists)


def total(parts: list[WordErrors]) -> WordErrors:
    """Errors over several texts: all errors by all words, not the mean of rates."""
    words, errors = sum(part.words for part in parts), sum(part.errors for part in parts)
    return WordErrors(
        errors / max(words, 1),
        errors,
        words,
        tuple(word for part in parts for word in part.dropped),
        tuple(pair for part in parts for pair in part.mangled),
        tuple(word for part in parts for word in part.inserted),
        tuple(word for part in parts for word in part.repeated),
    )


def _repetitions(words: list[str]) -> list[str]:
    """Words of every phrase of up to PHRASE words that stands right after itself."""
    found: list[str] = []
    place = 1
    while place < len(words):
        sizes = range(min(PHRASE, place), 0, -1)
        size = next((n for n in sizes if words[place : place + n] == words[place - n : place]), 0)
        found += words[place : place + size]
        place += size or 1
    return found


def _joined(text: str, other: str) -> str:
    """`text` with two words written as one where `other` does so."""
    words, whole = text.split(), set(other.split())
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] + word in whole and f"{joined[-1]} {word}" not in other:
            joined[-1] += word
        else:
            joined.append(word)
    return " ".join(joined)
