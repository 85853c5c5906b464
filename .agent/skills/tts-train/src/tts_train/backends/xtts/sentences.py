"""Long texts cut into pieces that XTTS can say in one go: at sentence ends, never in the middle of a word.

A piece is what a seed belongs to. coqui-tts's own cutting needs spaCy, packs several sentences into a piece until its
limit (and then one character more), and cuts overlong ones wherever the limit falls.
"""

from __future__ import annotations

import re
import unicodedata

_END = re.compile(r"[.!?…؟।]+[\"'”’»)\]]*(?=\s)|[。！？]+[」』”’）]*|\n\s*\n")
_CLAUSE = re.compile(r"[,;:–—،](?=\s)|[，、；：]")
_NO_END = re.compile(
    r"(?:\b(?:mrs?|ms|drs?|prof|st|rev|lt|sgt|capt|col|gen|maj|hon|vs|mme|sra?|hr|nr)|\b\w|\b\d\d)\.$", re.IGNORECASE
)
"""Titles, initials, and small numbers, which are ordinals in German. At worst two sentences stay together."""


def pieces(text: str, limit: int) -> list[str]:
    """The sentences of `text` in order, each with at most `limit` characters; what has no sentence end is halved.

    Nothing is lost but white space. An empty text has no pieces.
    """
    return [piece for sentence in _sentences(text) for piece in _halved(sentence, limit)]


def _sentences(text: str) -> list[str]:
    found: list[str] = []
    start = 0
    written = unicodedata.normalize("NFC", text).strip()
    for end in [match.end() for match in _END.finditer(written)] + [len(written)]:
        sentence, rest = " ".join(written[start:end].split()), written[end:].lstrip()
        if end < len(written) and (_NO_END.search(sentence) or rest[:1].islower()):
            continue
        start = end
        if found and not any(character.isalnum() for character in sentence):
            found[-1] = f"{found[-1]} {sentence}".strip()
        elif sentence:
            found.append(sentence)
    return found


def _halved(sentence: str, limit: int) -> list[str]:
    """Cut near the middle until it fits: at a clause, else between words, else (no spaces in it) anywhere."""
    if len(sentence) <= limit:
        return [sentence]
    middle = len(sentence) / 2
    for mark in (_CLAUSE, re.compile(r"\s")):
        places = [match.end() for match in mark.finditer(sentence)]
        inner = [place for place in places if middle / 2 <= place <= middle * 3 / 2]
        if inner:
            at = min(inner, key=lambda place: abs(place - middle))
            break
    else:
        at = len(sentence) // 2
    return [*_halved(sentence[:at].rstrip(), limit), *_halved(sentence[at:].lstrip(), limit)]
