"""The probe: what every epoch reads aloud, which words carry the accent, and what counts as broken."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tts_train.align.text import spoken_words
from tts_train.errors import ConfigError, Problem
from tts_train.files import sha256_json
from tts_train.yaml_config import Place, load_yaml, validate

Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Item(_Part):
    """One text, spoken in one go."""

    id: Id
    text: Text

    @property
    def words(self) -> list[str]:
        """Its spoken words, as the aligner counts them."""
        return spoken_words(self.text)


class Marker(_Part):
    """A lexical set (Wells 1982) and the words of the texts that carry its vowel, each occurrence a token."""

    set: Text
    words: Annotated[list[Text], Field(min_length=1)]
    expected: str = ""
    role: Literal["marker", "control"] = "marker"


class Contrast(_Part):
    """Two sets whose distance the accent makes smaller or larger."""

    name: Id
    sets: tuple[str, str]
    expected: Literal["smaller", "larger"]


class Glide(_Part):
    """A set whose vowel the accent moves less (a monophthong) or more (a diphthong) from 20 % to 80 % of its length."""

    name: Id
    set: str
    expected: Literal["smaller", "larger"]


class Site(_Part):
    """Two neighbouring words whose join is worth hearing (linking r)."""

    kind: Text
    item: str
    words: tuple[str, str]


class Gates(_Part):
    """Limits an epoch has to keep before anybody need listen; null switches one off."""

    max_wer_above_target: Share | None = 0.03
    max_dropped_words: Annotated[int, Field(ge=0)] | None = 2
    """In one reading of the whole probe, beyond those that are missing in the target's own reading too."""
    max_repeated_words: Annotated[int, Field(ge=0)] | None = 1
    """The same for words said twice in a row. A recogniser may hide a short stutter, so it is a lower bound."""
    max_silence_ratio: Share | None = 0.5
    max_duration_ratio: Annotated[float, Field(gt=0)] | None = 2.0
    min_duration_ratio: Annotated[float, Field(gt=0)] | None = 0.5
    max_clipped_ratio: Share | None = 0.001
    min_speaker_similarity: Annotated[float, Field(ge=-1, le=1)] | None = None
    max_pace_ratio: Annotated[float, Field(gt=1)] | None = None
    """Pace against the target's, either way: 1.5 allows two thirds to one and a half times."""


@dataclass(frozen=True)
class Token:
    """One occurrence of a marker word; `index` counts the item's spoken words from 0."""

    item: str
    word: str
    index: int


class Probe(_Part):
    """A whole probe. Changing texts or seeds makes new renders; changing anything else only new measures."""

    name: Id
    language: Text
    accent: str = ""
    regions: list[Text] = []
    """Where the accent is spoken, as listeners name the place they come from: who does is a native listener."""
    items: Annotated[list[Item], Field(min_length=1)]
    markers: list[Marker] = []
    contrasts: list[Contrast] = []
    glides: list[Glide] = []
    pairs: list[tuple[str, str]] = []
    """Minimal pairs, one word of each of two sets."""
    sites: list[Site] = []
    gates: Gates = Gates()
    seeds: list[Annotated[int, Field(ge=0)]] = []
    """Empty: the family's default (`keys.seeded`)."""
    formant_ceiling_hz: Annotated[int, Field(ge=3500, le=8000)] = 5000
    """Praat's maximum formant: about 5000 for a man's voice, 5500 for a woman's; one for everything compared."""

    @property
    def texts(self) -> dict[str, str]:
        """Item id → text."""
        return {item.id: item.text for item in self.items}

    def spoken(self, text: str) -> list[str]:
        """The words of any text as the aligner counts them."""
        return spoken_words(text, self.language)

    @property
    def controls(self) -> list[str]:
        """Sets that must not move."""
        return [marker.set for marker in self.markers if marker.role == "control"]

    @property
    def marks_sha256(self) -> str:
        """Hash of what measuring depends on besides texts: markers and the formant ceiling."""
        sets = {marker.set: sorted(word.lower() for word in marker.words) for marker in self.markers}
        return sha256_json({"sets": sets, "formant_ceiling_hz": self.formant_ceiling_hz})

    def tokens(self, lexical_set: str) -> list[Token]:
        """Every occurrence of the set's words, in the items' order. Raises ConfigError for an unknown set."""
        words = {word.lower() for marker in self.markers if marker.set == lexical_set for word in marker.words}
        if not words:
            raise ConfigError(f"the probe '{self.name}' has no set '{lexical_set}'", hint=f"one of: {_names(self)}")
        return [
            Token(item.id, word.lower(), index)
            for item in self.items
            for index, word in enumerate(item.words)
            if word.lower() in words
        ]


def load_probe(path: Path) -> Probe:
    """Read and check a probe. Raises ConfigError with every problem and its line."""
    document = load_yaml(path)
    probe = validate(Probe, document, path)
    problems = [Problem(message, str(path), document.line(place)) for place, message in _faults(probe)]
    if problems:
        raise ConfigError(f"{path}: {len(problems)} problem(s)", hint="fix the lines named", problems=problems)
    return probe


def _faults(probe: Probe) -> Iterator[tuple[Place, str]]:
    yield from _repeated("items", "id", [item.id for item in probe.items])
    yield from _repeated("markers", "set", [marker.set for marker in probe.markers])
    yield from _repeated("contrasts", "name", [contrast.name for contrast in probe.contrasts])
    yield from _repeated("glides", "name", [glide.name for glide in probe.glides])
    if len(set(probe.seeds)) < len(probe.seeds):
        yield ("seeds",), "a seed stands there twice"
    yield from _text_faults(probe)
    # Words can be looked for only where the texts are plain words.
    said = [word.lower() for item in probe.items if not _DIGITS.search(item.text) for word in item.words]
    yield from _marker_faults(probe, said)
    yield from _contrast_faults(probe)
    yield from _glide_faults(probe)
    yield from _pair_faults(probe, said)
    yield from _site_faults(probe)


_DIGITS = re.compile(r"[\d£$€]")


def _text_faults(probe: Probe) -> Iterator[tuple[Place, str]]:
    for index, item in enumerate(probe.items):
        if _DIGITS.search(item.text):
            yield (
                ("items", index, "text"),
                f"item '{item.id}' holds digits or currency signs: write numbers as words",
            )
        elif not item.words:
            yield ("items", index, "text"), f"item '{item.id}' holds no words"


def _marker_faults(probe: Probe, said: list[str]) -> Iterator[tuple[Place, str]]:
    owner: dict[str, str] = {}
    for index, marker in enumerate(probe.markers):
        for number, word in enumerate(marker.words):
            place = ("markers", index, "words", number)
            lower = word.lower()
            if lower not in said:
                yield place, f"{marker.set} word '{word}' is in no item's text{_near(lower, said)}"
            if lower in owner:
                yield place, f"'{word}' stands in {owner[lower]} already: a word is a token of one set"
            owner.setdefault(lower, marker.set)


def _contrast_faults(probe: Probe) -> Iterator[tuple[Place, str]]:
    known = [marker.set for marker in probe.markers]
    for index, contrast in enumerate(probe.contrasts):
        for name in contrast.sets:
            if name not in known:
                yield (
                    ("contrasts", index, "sets"),
                    f"contrast '{contrast.name}': no marker has the set '{name}'{_near(name, known)}",
                )
        if contrast.sets[0] == contrast.sets[1]:
            yield (
                ("contrasts", index, "sets"),
                f"contrast '{contrast.name}' compares {contrast.sets[0]} with itself",
            )


def _glide_faults(probe: Probe) -> Iterator[tuple[Place, str]]:
    known = [marker.set for marker in probe.markers]
    contrasts = {contrast.name for contrast in probe.contrasts}
    for index, glide in enumerate(probe.glides):
        if glide.set not in known:
            message = f"glide '{glide.name}': no marker has the set '{glide.set}'{_near(glide.set, known)}"
            yield ("glides", index, "set"), message
        if glide.name in contrasts:
            yield ("glides", index, "name"), f"the name '{glide.name}' is a contrast's already"


def _pair_faults(probe: Probe, said: list[str]) -> Iterator[tuple[Place, str]]:
    for index, pair in enumerate(probe.pairs):
        for number, word in enumerate(pair):
            if word.lower() not in said:
                yield (
                    ("pairs", index, number),
                    f"pair word '{word}' is in no item's text{_near(word.lower(), said)}",
                )


def _site_faults(probe: Probe) -> Iterator[tuple[Place, str]]:
    words = {item.id: [word.lower() for word in item.words] for item in probe.items if not _DIGITS.search(item.text)}
    for index, site in enumerate(probe.sites):
        if site.item not in probe.texts:
            yield (
                ("sites", index, "item"),
                f"{site.kind}: there is no item '{site.item}'{_near(site.item, list(probe.texts))}",
            )
            continue
        first, second = (word.lower() for word in site.words)
        there = words.get(site.item, [])
        if (first, second) not in pairwise(there):
            yield (
                ("sites", index, "words"),
                f"{site.kind}: '{first} {second}' is not in the text of '{site.item}'",
            )


def _repeated(part: str, field: str, names: list[str]) -> Iterator[tuple[Place, str]]:
    counts: Counter[str] = Counter()
    for index, name in enumerate(names):
        counts[name] += 1
        if counts[name] == 2:
            yield (part, index, field), f"the {field} '{name}' is given twice in {part}"


def _near(name: str, known: list[str]) -> str:
    match = difflib.get_close_matches(name, sorted(set(known)), n=1)
    return f"; did you mean '{match[0]}'?" if match else ""


def _names(probe: Probe) -> str:
    return ", ".join(marker.set for marker in probe.markers) or "none"
