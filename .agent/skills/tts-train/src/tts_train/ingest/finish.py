"""The end of every ingest: clips are screened, then manifest, rejections and report are written from receipts.

parts/screen.json keeps what was measured and which filters stand, so that taking a clip back needs no audio and no
heavy library: `finalise` decides again from the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.align.manifest import REJECTED_BY as ALIGN
from tts_train.align.manifest import rejections_of
from tts_train.clip import Clip, Rejection
from tts_train.dataset import write_manifest, write_rejections
from tts_train.files import read_json, sha256_file, write_json
from tts_train.ingest import parts, restore
from tts_train.ingest.parts import MANIFEST, REJECTIONS, Part
from tts_train.ingest.screen.judge import judged, with_measures
from tts_train.ingest.screen.options import ScreenOptions, options_from

if TYPE_CHECKING:
    from tts_train.engine import Engine

SCREENED = "screen.json"
_PAIRS_FROM = 0.5
"""Less alike than this is nobody's duplicate."""


@dataclass(frozen=True)
class Finished:
    """What is left: clips that stay, all rejections of ingest and screen, whether files changed, seconds per scorer."""

    clips: list[Clip]
    rejections: list[Rejection]
    changed: bool
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Screened:
    """parts/screen.json: the options, what was measured, and which model wrote the texts (its sha256), if one did."""

    options: ScreenOptions
    measures: dict[str, dict[str, Any]]
    pairs: list[tuple[str, str, float]]
    text_model: str | None = None


def finish(
    out: Path, done: Mapping[str, Part], screening: ScreenOptions, engine: Engine, *, text_model: str | None = None
) -> Finished:
    """Screen every clip of `done` and write the dataset's manifest, rejections and report from the outcome.

    `text_model` is the sha256 of the Whisper model that wrote the texts, if one did: wer wants another one, and
    UsageError says so. The caller holds the dataset's lock.
    """
    from tts_train.ingest.screen.measure import check_independent, measured

    check_independent(screening, text_model)
    clips = [clip for part in done.values() for clip in part.clips]
    hashes = {file: digest for part in done.values() for file, digest in part.files.items()}
    for clip in clips:
        if clip.audio_file not in hashes:
            hashes[clip.audio_file] = sha256_file(out / clip.audio_file)
    found = measured(out, clips, hashes, screening, engine)
    pairs = [pair for pair in found.pairs if pair[2] >= _PAIRS_FROM]
    screened = Screened(screening, found.added, pairs, text_model)
    save_screened(out, screened)
    outcome = finalise(out, done, screened)
    return Finished(outcome.clips, outcome.rejections, outcome.changed, found.seconds)


def finalise(out: Path, done: Mapping[str, Part], screened: Screened) -> Finished:
    """Judge all clips by what is known of them and write everything that follows; measures nothing.

    Rows that `align` wrote stay for clips that stay. Files that no part names are removed.
    """
    back = restore.restored(out)
    taken, stations = restore.divided(out, done, back)
    clips = with_measures([*(clip for part in done.values() for clip in part.clips)], screened.measures)
    kept, rejections = judged(clips, screened.options.filters, screened.pairs, back)
    kept += taken
    rejections += stations
    places = (out / MANIFEST, out / REJECTIONS)
    before = [place.read_bytes() if place.is_file() else b"" for place in places]
    ids = {clip.id for clip in kept}
    later = [item for item in rejections_of(out / REJECTIONS, ALIGN) if item.id in ids]
    parts.remove_strays(out, done)
    write_manifest(places[0], kept)
    write_rejections(places[1], [*rejections, *later])
    _write_report(out)
    return Finished(kept, rejections, before != [place.read_bytes() for place in places])


def load_screened(out: Path) -> Screened:
    """The last screening of a dataset; one without filters when it has never been screened."""
    place = out / "parts" / SCREENED
    if not place.is_file():
        return Screened(ScreenOptions(), {}, [])
    row = read_json(place)
    pairs = [(first, second, similarity) for first, second, similarity in row["pairs"]]
    return Screened(options_from(row), row["measures"], pairs, row["text_model"])


def save_screened(out: Path, screened: Screened) -> None:
    """Publish what was measured and asked for."""
    told: dict[str, Any] = {"measures": screened.measures, "pairs": _listed(screened.pairs)}
    write_json(out / "parts" / SCREENED, {**screened.options.as_json(), "text_model": screened.text_model, **told})


def _listed(pairs: Sequence[tuple[str, str, float]]) -> list[list[Any]]:
    return [list(pair) for pair in pairs]


def _write_report(out: Path) -> None:
    from tts_train.dataset_report import write_batch_state, write_page

    write_batch_state(out)
    write_page(out)
