"""Which speech of a book is wanted: some chapters, without the credits at both ends. The rest is skipped, not lost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tts_train.errors import UsageError
from tts_train.ingest.merge import Span
from tts_train.ingest.sources import Source

CHAPTER = "chapter"
"""The reason of speech in a chapter that is not wanted."""


@dataclass(frozen=True)
class Selection:
    """`chapters` None: all of them. Seconds are skipped at the start and the end of every source."""

    chapters: frozenset[int] | None = None
    skip_first: float = 0.0
    skip_last: float = 0.0

    def skips(self, span: Span, seconds: float) -> str | None:
        """Why a span is left out ("chapter", "first", "last"), or None; `seconds` is the source's length.

        A span that only reaches into the skipped seconds is skipped whole: no credits in a clip, and no torn word.
        """
        if self.chapters is not None and span.chapter not in self.chapters:
            return CHAPTER
        if span.start < self.skip_first:
            return "first"
        return "last" if span.end > seconds - self.skip_last and self.skip_last else None


def chapter_numbers(text: str) -> frozenset[int]:
    """Parse "1,3-5". Raises UsageError."""
    numbers: set[int] = set()
    for piece in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?", piece)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise UsageError(f"--chapters {text!r}: '{piece}' is no chapter or range", hint='for example "1,3-5"')
        numbers.update(range(first, last + 1))
    return frozenset(numbers)


def select(
    sources: Sequence[Source], *, chapters: str | None = None, skip_first: float = 0.0, skip_last: float = 0.0
) -> Selection:
    """The selection of the command line. Raises UsageError for chapters that the sources do not have."""
    if skip_first < 0 or skip_last < 0:
        raise UsageError("--skip-first and --skip-last are seconds, 0 or more", hint="--skip-first 35")
    if chapters is None:
        return Selection(None, skip_first, skip_last)
    wanted = chapter_numbers(chapters)
    known = {chapter.index for source in sources for chapter in source.chapters}
    if wanted - known:
        raise UsageError(
            f"there is no chapter {', '.join(map(str, sorted(wanted - known)[:5]))}: they are 1 to {max(known)}",
            hint="--dry-run --human lists them",
        )
    return Selection(wanted, skip_first, skip_last)
