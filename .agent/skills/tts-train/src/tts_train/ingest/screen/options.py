"""Filters by name: what they look at, how it is measured, the reason a clip outside gets, and today's defaults."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tts_train.errors import Unavailable, UsageError

Station = Literal["book", "transcript"]


@dataclass(frozen=True)
class Kind:
    """What a filter can be about. `key` names it in Clip.measures (audio_seconds is the clip's own field).

    `low` and `high` are the reason codes below the minimum and above the maximum; `scorer` measures it ("": the
    station did when it made the clip); `unit` is for people.
    """

    name: str
    key: str
    unit: str
    low: str
    high: str
    scorer: str = ""


KINDS = (
    Kind("duration", "audio_seconds", "s", "too-short", "too-long"),
    Kind("silence", "silence_ratio", "share of the clip", "no-pause", "silent"),
    Kind("clipping", "clipped_ratio", "share of samples", "not-clipped", "clipped"),
    Kind("bandwidth", "bandwidth_hz", "Hz", "narrow-band", "wide-band"),
    Kind("snr", "snr_db", "dB", "noisy", "too-clean"),
    Kind("loudness", "loudness_lufs", "LUFS", "too-quiet", "too-loud"),
    Kind("leading", "leading_seconds", "s before the first speech", "cut-speech", "edge-silence"),
    Kind("trailing", "trailing_seconds", "s after the last speech", "cut-speech", "edge-silence"),
    Kind("language", "other_language", "probability", "own-language", "other-language", "language"),
    Kind("characters_per_second", "characters_per_second", "1/s", "implausible-pace", "implausible-pace"),
    Kind("words_per_second", "words_per_second", "1/s", "implausible-pace", "implausible-pace"),
    Kind("two_speakers", "two_speakers", "robust deviations", "one-speaker", "two-speakers", "speaker"),
    Kind("speaker", "speaker_outlier", "robust deviations", "usual-speaker", "other-speaker", "speaker"),
    Kind("speaker_similarity", "speaker_similarity", "cosine", "other-speaker", "usual-speaker", "speaker"),
    Kind("wer", "wer", "word errors / words", "right-text", "wrong-text", "wer"),
    Kind("mos", "mos", "1-5", "low-mos", "high-mos", "mos"),
    Kind("duplicate", "duplicate_similarity", "0-1", "no-duplicate", "duplicate", "duplicate"),
)
"""In the order in which a clip is judged: its reason is the first filter that it fails."""

_BY_NAME = {name: kind for kind in KINDS for name in (kind.key, kind.name)}


@dataclass(frozen=True)
class Filter:
    """Clips whose measure is below `low` or above `high` are rejected; None is open. Unmeasured clips pass."""

    name: str
    low: float | None = None
    high: float | None = None

    @property
    def kind(self) -> Kind:
        return _BY_NAME[self.name]


@dataclass(frozen=True)
class ScreenOptions:
    """What the screen rejects, and what it measures besides (`measure`: names of kinds).

    `station`, `min_seconds` and `max_seconds` are what the defaults were made from: `screen` starts from them again.
    """

    filters: tuple[Filter, ...] = ()
    measure: frozenset[str] = frozenset()
    check_model: str | None = None
    station: Station = "book"
    min_seconds: float = 1.5
    max_seconds: float = 15.0

    @property
    def scorers(self) -> frozenset[str]:
        """The scorers that filters and measures need."""
        names = (*(item.name for item in self.filters), *self.measure)
        return frozenset(_BY_NAME[name].scorer for name in names) - {""}

    def as_json(self) -> dict[str, Any]:
        """Form for parts/screen.json."""
        filters = [[item.name, item.low, item.high] for item in self.filters]
        return {**asdict(self), "filters": filters, "measure": sorted(self.measure)}


def options_from(row: dict[str, Any]) -> ScreenOptions:
    """The options that `as_json` told."""
    filters = tuple(Filter(name, low, high) for name, low, high in row["filters"])
    given = {name: row[name] for name in ("check_model", "station", "min_seconds", "max_seconds")}
    return ScreenOptions(filters, frozenset(row["measure"]), **given)


def default_filters(station: Station, min_seconds: float, max_seconds: float, *, wer: bool) -> tuple[Filter, ...]:
    """Filters that stand when nobody says otherwise; each was set where it loses none of 404 good studio clips.

    The numbers behind them are in references/formats.md. A clip's language is only asked for where the recogniser was
    unsure: of a list of transcripts that is known with `wer` alone.
    """
    filters = [
        Filter("duration", min_seconds, max_seconds),
        Filter("silence", None, 0.7),
        Filter("clipping", None, 0.001),
        Filter("bandwidth", 4200.0, None),
        Filter("snr", 15.0, None),
        # Whisper invents words over music and breath: of what it heard, less than 3 a second is no reading.
        Filter("characters_per_second", 3.0 if station == "book" else 2.0, 28.0),
        Filter("two_speakers", None, 6.0),
        Filter("speaker", None, 6.0),
        Filter("duplicate", None, 0.94),
    ]
    if station == "book" or wer:
        filters.append(Filter("language", None, 0.5))
    return tuple(filters)


def screen_options(
    filters: Sequence[str],
    measure: Sequence[str],
    check_model: str | None,
    *,
    station: Station,
    min_seconds: float,
    max_seconds: float,
) -> ScreenOptions:
    """Options from the command line: the station's defaults, changed by `filters` ("name:min:max", each side optional).

    "name::" switches a default off. Raises UsageError for a name that is not there, a limit that is no number, or a
    measure that cannot be taken; Unavailable for one whose package is missing.
    """
    named = frozenset(_kind(name).name for name in measure)
    asked = [_parsed(text) for text in filters]
    wer = "wer" in named or any(given.name == "wer" for given in asked)
    chosen = {item.name: item for item in default_filters(station, min_seconds, max_seconds, wer=wer)}
    for given in asked:
        chosen.pop(given.name, None)
        if given.low is not None or given.high is not None:
            chosen[given.name] = given
    order = [kind.name for kind in KINDS]
    ordered = tuple(sorted(chosen.values(), key=lambda item: order.index(item.name)))
    options = ScreenOptions(ordered, named, check_model, station, min_seconds, max_seconds)
    if "wer" in options.scorers and station == "book" and not check_model:
        raise UsageError(
            "wer of a book needs --check-model: the texts come from Whisper, and a model agrees with itself",
            hint="--check-model FOLDER_OR_NAME of another Whisper model, such as small.en",
        )
    if check_model and "wer" not in options.scorers:
        raise UsageError("--check-model has nothing to check", hint="--measure wer, or --filter wer::0.3")
    if "mos" in options.scorers and importlib.util.find_spec("distillmos") is None:
        raise Unavailable("mos needs the package distillmos, which is not installed", hint="run.sh setup project")
    return options


def _parsed(text: str) -> Filter:
    name, *limits = text.split(":")
    kind = _kind(name)
    if len(limits) != 2:
        raise UsageError(
            f"--filter {text}: expected NAME:MIN:MAX",
            hint=f"{kind.name}:1:20, {kind.name}:1:, or {kind.name}:: for none",
        )
    low, high = (_limit(text, limit) for limit in limits)
    if low is not None and high is not None and low > high:
        raise UsageError(f"--filter {text}: {low:g} is more than {high:g}", hint="the smaller number comes first")
    return Filter(kind.name, low, high)


def _limit(text: str, limit: str) -> float | None:
    if not limit.strip():
        return None
    try:
        value = float(limit)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"--filter {text}: '{limit}' is not a number", hint="NAME:MIN:MAX, an empty side is open")
    return value


def _kind(name: str) -> Kind:
    kind = _BY_NAME.get(name.strip().lower().replace("-", "_"))
    if kind is None:
        raise UsageError(f"there is no measure '{name}'", hint=f"there are: {', '.join(_names(KINDS))}")
    return kind


def _names(kinds: Iterable[Kind]) -> list[str]:
    return [kind.name for kind in kinds]
