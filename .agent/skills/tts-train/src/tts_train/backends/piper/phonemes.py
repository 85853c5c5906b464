"""Text to phoneme ids, as Piper does it.

espeak-ng comes from the piper-tts package (GPL-3.0-or-later), an optional part of the environment; without it nothing
in this family can turn text into sound.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tts_train.errors import InputUnusable, Unavailable

if TYPE_CHECKING:
    from piper.phonemize_espeak import EspeakPhonemizer

PAD, BEGIN, END = "_", "^", "$"
_SPELLED = re.compile(r"(\[\[.*?\]\])")


@dataclass(frozen=True)
class Utterance:
    """Ids of one utterance, with the phonemes the voice has no id for."""

    ids: list[int]
    unknown: tuple[str, ...] = ()


def sequence(phonemes: Sequence[str], id_map: Mapping[str, Sequence[int]]) -> Utterance:
    """Begin, then every phoneme followed by a pad, then end. Phonemes without an id are left out, as Piper does."""
    ids = [*id_map[BEGIN], *id_map[PAD]]
    for phoneme in phonemes:
        if phoneme in id_map:
            ids += [*id_map[phoneme], *id_map[PAD]]
    unknown = tuple(sorted({phoneme for phoneme in phonemes if phoneme not in id_map}))
    return Utterance([*ids, *id_map[END]], unknown)


def require_phonemizer() -> type[EspeakPhonemizer]:
    """espeak-ng's binding. Raises Unavailable when piper-tts is not installed: call it before any work."""
    try:
        from piper.phonemize_espeak import EspeakPhonemizer
    except ImportError as error:
        raise Unavailable(
            "piper voices need espeak-ng's phonemes, and piper-tts (GPL-3.0-or-later) is not installed",
            hint="run.sh setup skill --gpl",
        ) from error
    return EspeakPhonemizer


class Phonemizer:
    """espeak-ng for one voice. Raises Unavailable when piper-tts is not installed."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._espeak = require_phonemizer()()
        self._voice: str = settings["espeak"]["voice"]
        self._id_map: Mapping[str, Sequence[int]] = settings["phoneme_id_map"]
        self._clusters = {tuple(cluster) for cluster in settings.get("vowel_clusters") or ()} or None

    def phonemes(self, text: str) -> list[list[str]]:
        """Phonemes per sentence; espeak decides where sentences end. `[[…]]` in the text is taken as phonemes."""
        sentences: list[list[str]] = []
        parts = _SPELLED.split(text)
        after_spelled = False
        for index, part in enumerate(parts):
            if part.startswith("[["):
                if not sentences:
                    sentences.append([])
                before = " " if index and parts[index - 1].endswith(" ") else ""
                behind = " " if index + 1 < len(parts) and parts[index + 1].startswith(" ") else ""
                sentences[-1].extend(f"{before}{part[2:-2].strip()}{behind}")
                after_spelled = True
                continue
            spoken = self._espeak.phonemize(self._voice, part, vowel_clusters=self._clusters)
            if after_spelled and spoken:
                sentences[-1].extend(spoken.pop(0))
            sentences.extend(spoken)
            after_spelled = False
        return [phonemes for phonemes in sentences if phonemes]

    def sentences(self, text: str) -> list[Utterance]:
        """Ids per sentence. Raises InputUnusable when nothing in the text can be spoken."""
        spoken = [sequence(phonemes, self._id_map) for phonemes in self.phonemes(text)]
        if not spoken:
            raise InputUnusable(f"there is nothing to speak in {text[:60]!r}", hint="write some words")
        return spoken
