"""Clips held out of training, to measure what the voice has not seen.

What was just read before or after a held-out clip shares its breath, mood and room, and the same text read again
shares its words: such clips are neither trained on nor measured.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Protocol

from tts_train.errors import ConfigError

NEIGHBOUR, DUPLICATE = "neighbour-of-held-out", "duplicate-of-held-out"


class Placed(Protocol):
    """A clip with its text and its place in the source ("": nobody knows, so it has no neighbours)."""

    @property
    def id(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def chapter(self) -> str: ...
    @property
    def start(self) -> float: ...


@dataclass(frozen=True)
class Split:
    """Ids that are measured, and ids that are neither measured nor trained on, with the reason."""

    held_out: frozenset[str] = frozenset()
    left_out: dict[str, str] = field(default_factory=dict)

    def trains(self, name: str) -> bool:
        """Whether the clip of this id is trained on."""
        return name not in self.held_out and name not in self.left_out

    def as_json(self) -> dict[str, object]:
        """For run.json: nothing when nothing is held out."""
        if not self.held_out:
            return {}
        return {"held_out": sorted(self.held_out), "kept_apart": dict(sorted(self.left_out.items()))}


def split(clips: Iterable[Placed], count: int, seed: int) -> Split:
    """Hold out `count` of `clips`, and keep apart those that a held-out clip leaks into.

    The choice goes by a hash of seed and id: neither the order of clips nor ones that join later reshuffle it. Raises
    ConfigError when nothing would be left to train on.
    """
    if count == 0:
        return Split()
    known = {clip.id: clip for clip in clips}
    order = sorted(known, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    near, same = _neighbours(known.values()), _same_texts(known.values())
    found = _split(order[:count], near, same)
    if len(found.held_out) + len(found.left_out) >= len(known):
        most = _most(order, near, same)
        raise ConfigError(
            f"validation_clips {count} leaves nothing of {len(known)} clips to train on",
            hint=f"at most {most} (what is read beside a held-out clip, or is the same text, is not trained on "
            "either); a tenth of the clips is plenty",
        )
    return found


def normalised_text(text: str) -> str:
    """Letters and digits of a text in lower case, words apart by one space: what two readings of it have in common."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = (character if unicodedata.category(character)[0] in "LNM" else " " for character in folded)
    return " ".join("".join(kept).split())


def _split(held: Sequence[str], near: dict[str, set[str]], same: dict[str, set[str]]) -> Split:
    chosen = frozenset(held)
    left_out: dict[str, str] = {}
    for name in held:
        left_out |= dict.fromkeys(near.get(name, set()) - chosen, NEIGHBOUR)
    for name in held:
        left_out |= dict.fromkeys(same.get(name, set()) - chosen, DUPLICATE)
    return Split(chosen, left_out)


def _most(order: Sequence[str], near: dict[str, set[str]], same: dict[str, set[str]]) -> int:
    """The largest count that leaves a clip to train on: the more are held out, the fewer are left."""
    taken: set[str] = set()
    for count, name in enumerate(order):
        taken |= {name} | near.get(name, set()) | same.get(name, set())
        if len(taken) == len(order):
            return count
    return len(order)


def _neighbours(clips: Iterable[Placed]) -> dict[str, set[str]]:
    """Id → the clips right before and after it in the same chapter of the same source."""
    near: dict[str, set[str]] = defaultdict(set)
    placed = sorted(
        (clip for clip in clips if clip.source), key=lambda clip: (clip.source, clip.chapter, clip.start, clip.id)
    )
    for _, chapter in groupby(placed, key=lambda clip: (clip.source, clip.chapter)):
        for before, after in pairwise(chapter):
            near[before.id].add(after.id)
            near[after.id].add(before.id)
    return near


def _same_texts(clips: Iterable[Placed]) -> dict[str, set[str]]:
    """Id → the other clips of the same text."""
    by_text: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        by_text[normalised_text(clip.text) or clip.id].add(clip.id)
    return {name: names - {name} for names in by_text.values() if len(names) > 1 for name in names}
