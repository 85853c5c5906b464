"""What a blind sheet asks, and its answers as a sheet of ours. For every player: live, from file, whatever comes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tts_train.errors import InputUnusable
from tts_train.probe.probe import Marker, Probe
from tts_train.review.record.verdicts import CATEGORIES, MARKS, WORD_FAULTS

HEARD = "heard"
_MARKER = "marker "
_EDGES = re.compile(r"^\W+|\W+$")

CATEGORY_LABELS = {
    "no-difference": "No different from the starting voice",
    "mangled": "Words dropped, cut or garbled",
    "wrong-direction": "Another accent than the one meant",
    "feature-missing": "Something of the accent is still missing",
    "overshot": "Overdone: past the accent meant",
    "good": "As wanted",
}
MARK_LABELS = {
    "target": "as in the accent meant",
    "baseline": "as in the starting voice",
    "overshot": "overdone",
    "mangled": "garbled",
    "not-heard": "not heard",
}


def bare(word: str) -> str:
    """A written word without the punctuation around it, in lower case."""
    return _EDGES.sub("", word).lower()


def markers_in(probe: Probe | None, words: Sequence[str]) -> dict[str, Marker]:
    """Which of `words` (as written) carry a marker of the probe: bare word → marker."""
    carried = {word.lower(): marker for marker in (probe.markers if probe else []) for word in marker.words}
    return {word: carried[word] for word in map(bare, words) if word in carried}


def sheet_questions(probe: Probe | None, words: Sequence[str]) -> list[dict[str, Any]]:
    """Questions in the form of player/questions.js: what is heard, and each marker that the text holds."""
    asked: list[dict[str, Any]] = [
        {
            "id": HEARD,
            "label": "Several may hold",
            "options": _options(CATEGORIES, CATEGORY_LABELS),
            "many": True,
            "required": True,
        }
    ]
    found = markers_in(probe, words)
    for marker in probe.markers if probe else []:
        carrying = [word for word, carried in found.items() if carried is marker]
        if carrying:
            label = f"{marker.set}, as in {', '.join(carrying)}"
            asked.append({"id": f"{_MARKER}{marker.set}", "label": label, "options": _options(MARKS, MARK_LABELS)})
    return asked


def sheet_of(values: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The sheet {heard, markers, words, note} out of a player's `values`; `words` is the text as it was shown.

    Of two faults of one word the graver counts. Raises InputUnusable for what no player of ours sends.
    """
    heard, tagged, note = values.get(HEARD, []), values.get("words", {}), values.get("note", "")
    markers = {name.removeprefix(_MARKER): mark for name, mark in values.items() if name.startswith(_MARKER)}
    strange = [name for name in values if name not in (HEARD, "words", "note") and not name.startswith(_MARKER)]
    texts = isinstance(note, str) and isinstance(heard, list) and all(isinstance(name, str) for name in heard)
    if (
        strange
        or not texts
        or not isinstance(tagged, dict)
        or not all(isinstance(mark, str) for mark in markers.values())
    ):
        raise InputUnusable("a sheet is none of ours", hint="send the file as the page saved it")
    faults: dict[str, str] = {}
    for index, fault in tagged.items():
        if not str(index).isdecimal() or int(index) >= len(words) or fault not in WORD_FAULTS:
            raise InputUnusable(f"a sheet marks word {index!r} as {fault!r}", hint="send the file as the page saved it")
        word = bare(words[int(index)])
        faults[word] = min(faults.get(word, fault), fault, key=WORD_FAULTS.index)
    return {HEARD: list(heard), "markers": markers, "words": faults, "note": note}


def _options(values: Sequence[str], labels: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"value": value, "label": labels[value]} for value in values]
