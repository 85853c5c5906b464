"""Which recordings a book is made of: one file, many, or a folder; their order, names and chapters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tts_train.audio import Chapter, SourceInfo, probe_source
from tts_train.errors import InputUnusable, UsageError
from tts_train.files import read_json, sha256_json, write_json
from tts_train.ingest import parts

AUDIO_SUFFIXES = frozenset(
    {".aac", ".aif", ".aiff", ".flac", ".m4a", ".m4b", ".mka", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wav", ".wma"}
)
"""What counts as audio when a folder is given; a file given by name may end as it likes."""

WHOLE_BOOK = "audio"
"""audiobook-ingest puts the whole book into its folder under this stem."""

FRONT_MATTER = "Front matter"
_STARTS_AT_ONCE = 1.0


@dataclass(frozen=True)
class Source:
    """One recording. Chapters are numbered over all sources, touch each other and begin at 0; there is at least one."""

    number: int
    path: Path
    name: str
    """The file's name, with as much of its folder as tells it from the others."""
    info: SourceInfo
    chapters: tuple[Chapter, ...]

    def chapter(self, index: int) -> Chapter:
        """The chapter of that number."""
        return next(chapter for chapter in self.chapters if chapter.index == index)

    def borders(self, index: int) -> tuple[float, float]:
        """Start and end of a chapter in seconds; the last one ends with the file, wherever that is."""
        chapter = self.chapter(index)
        return chapter.start, float("inf") if chapter is self.chapters[-1] else chapter.end


@dataclass(frozen=True)
class Fault:
    """A recording that cannot be used: a reason code, a sentence, and the seconds its container promises."""

    name: str
    reason: str
    message: str
    seconds: float = 0.0


def fault_of(name: str, error: InputUnusable, seconds: float = 0.0) -> Fault:
    """What is wrong with a source that raised `error`."""
    return Fault(name, getattr(error, "reason", "") or "unreadable-audio", error.message, seconds)


def find_sources(given: Sequence[Path]) -> tuple[list[Source], list[Fault]]:
    """The sources in order, and those whose header cannot be read.

    Files stay in the order given; a folder stands for its audio files in natural order (2 before 10), for the ones in
    its subfolders when it holds none itself, and for `audio.*` alone when there is one (a book of audiobook-ingest).
    Raises UsageError for a path that is not there, a folder without audio, or a recording named twice; InputUnusable
    when there is only one and it cannot be read.
    """
    files = [file for path in given for file in _files_of(path)]
    twice = [str(file) for file, count in Counter(file.resolve() for file in files).items() if count > 1]
    if twice:
        raise UsageError(f"named twice: {', '.join(twice)}", hint="each recording once")
    sources: list[Source] = []
    faults: list[Fault] = []
    chapters = 0
    for path, name in zip(files, _names(files), strict=True):
        try:
            info = probe_source(path)
        except InputUnusable as error:
            if len(files) == 1:
                raise
            faults.append(fault_of(name, error))
            continue
        numbered = tuple(numbered_chapters(info, path.stem, chapters + 1))
        chapters += len(numbered)
        sources.append(Source(len(sources), path, name, info, numbered))
    if not sources:
        raise InputUnusable(
            f"none of the {len(files)} files can be read as audio: {faults[0].message}", hint="name audio files"
        )
    return sources, faults


def claim_sources(out: Path, sources: Sequence[Source], digests: Sequence[str]) -> None:
    """Mark the folder as made from these sources; more may join them later. Raises ConfigError for another book's."""
    place, named = out / "parts" / "source.json", out / "parts" / "sources.json"
    identity = digests[0] if len(digests) == 1 else sha256_json(sorted(digests))
    if place.is_file():
        known = read_json(place)["identity"]
        before = read_json(named)["sha256"] if named.is_file() else [known]
        identity = known if set(before) <= set(digests) else identity
    others = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
    parts.claim(out, sources[0].name + others, identity)
    write_json(named, {"sha256": list(digests)})


def numbered_chapters(info: SourceInfo, title: str, first: int) -> Iterator[Chapter]:
    """A source's chapters from its marks, numbered from `first`; without marks it is one, called `title`."""
    inside = (mark for mark in info.chapters if not info.seconds or mark.start < info.seconds)
    # Of marks at the same place the last one counts: nothing lies between them.
    by_start = {mark.start: mark for mark in inside}
    marks = [by_start[start] for start in sorted(by_start)]
    if not marks:
        marks = [Chapter(1, title, 0.0, info.seconds)]
    elif marks[0].start > _STARTS_AT_ONCE:
        marks.insert(0, Chapter(0, FRONT_MATTER, 0.0, marks[0].start))
    else:
        marks[0] = replace(marks[0], start=0.0)
    ends = [*(mark.start for mark in marks[1:]), max(info.seconds, marks[-1].start)]
    for number, (mark, end) in enumerate(zip(marks, ends, strict=True), first):
        yield Chapter(number, mark.title, mark.start, end)


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key: numbers inside a name count as numbers, case does not matter."""
    pieces = re.split(r"(\d+)", name.casefold())
    return [(1, int(piece), "") if piece.isdecimal() else (0, 0, piece) for piece in pieces if piece]


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"{path} is not there", hint="name audio files or a folder of them")
    found = _audio_in(path) or [file for folder in _ordered(path) if folder.is_dir() for file in _audio_in(folder)]
    if not found:
        raise UsageError(f"{path} holds no audio file", hint=f"looked for {' '.join(sorted(AUDIO_SUFFIXES))}")
    whole = [file for file in found if file.parent == path and file.stem == WHOLE_BOOK]
    return whole[:1] or found


def _audio_in(folder: Path) -> list[Path]:
    return [file for file in _ordered(folder) if file.is_file() and file.suffix.lower() in AUDIO_SUFFIXES]


def _ordered(folder: Path) -> list[Path]:
    shown = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(shown, key=lambda path: (natural(path.name), path.name))


def _names(files: Sequence[Path]) -> list[str]:
    """File names, with folders in front of those that would be the same."""
    paths = [file.absolute().parts for file in files]
    depth = [1] * len(paths)
    while clashes := _repeated(_joined(paths, depth)):
        longer = [size + (name in clashes) for size, name in zip(depth, _joined(paths, depth), strict=True)]
        if longer == depth or all(size > len(path) for size, path in zip(longer, paths, strict=True)):
            break
        depth = longer
    return _joined(paths, depth)


def _joined(paths: Iterable[tuple[str, ...]], depth: Iterable[int]) -> list[str]:
    return ["/".join(path[-size:]) for path, size in zip(paths, depth, strict=True)]


def _repeated(names: Iterable[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}
