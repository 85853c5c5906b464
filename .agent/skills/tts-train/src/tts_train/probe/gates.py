"""Gates: what is plainly broken is found before anybody listens. A failure is shown; it never removes an epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tts_train.probe.probe import Gates

FINISHED = ("end", "eos", "duration-predictor")
"""What a speaker says when it stopped by itself; anything else is a runaway or a cut."""


NAMED_WORDS = 8
"""A detail names so many words, then says how many more there are."""


@dataclass(frozen=True)
class ItemNumbers:
    """What the gates read of one reading: an item spoken with two seeds is two of them.

    `dropped`, `repeated` and `mangled` (wanted, heard) are words beyond those of the reference's own reading.
    """

    id: str
    seconds: float
    expected_seconds: float | None
    """How long the target (or, without one, the base) takes for it."""
    silence_ratio: float
    clipped_ratio: float
    stopped_by: str
    seed: int = 0
    dropped: Sequence[str] = ()
    repeated: Sequence[str] = ()
    mangled: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class EpochNumbers:
    """What the gates read of one epoch. `reference` says what is compared with: "target" or "base"."""

    wer: float
    reference: str
    reference_wer: float
    pace: float
    reference_pace: float
    speaker_similarity: float | None
    items: Sequence[ItemNumbers]

    @property
    def seeds(self) -> list[int]:
        return sorted({item.seed for item in self.items})

    def name(self, item: ItemNumbers) -> str:
        """What a detail calls a reading; seeds are told only where there are several."""
        return item.id if len(self.seeds) == 1 else f"{item.id} (seed {item.seed})"


@dataclass(frozen=True)
class Gate:
    """One limit and how the epoch stands to it.

    `value` is the worst reading's where readings are judged one by one, the worst seed's where words are counted.
    """

    name: str
    passed: bool
    value: float | None
    limit: float | None
    detail: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(numbers: EpochNumbers, limits: Gates) -> list[Gate]:
    """Every gate that is switched on, failed or not, in a fixed order. A value on its limit passes."""
    gates = [_stopped(numbers)]
    if limits.max_wer_above_target is not None:
        gates.append(_wer(numbers, limits.max_wer_above_target))
    if limits.max_dropped_words is not None:
        gates.append(_words("dropped", numbers, lambda item: item.dropped, limits.max_dropped_words))
    if limits.max_repeated_words is not None:
        gates.append(_words("repeated", numbers, lambda item: item.repeated, limits.max_repeated_words))
    if limits.max_duration_ratio is not None:
        gates.append(_longest(numbers, limits.max_duration_ratio))
    if limits.min_duration_ratio is not None:
        gates.append(_shortest(numbers, limits.min_duration_ratio))
    if limits.max_silence_ratio is not None:
        gates.append(_worst("silence", "silent", numbers, lambda item: item.silence_ratio, limits.max_silence_ratio))
    if limits.max_clipped_ratio is not None:
        gates.append(_worst("clipping", "clipped", numbers, lambda item: item.clipped_ratio, limits.max_clipped_ratio))
    if limits.max_pace_ratio is not None:
        gates.append(_pace(numbers, limits.max_pace_ratio))
    if limits.min_speaker_similarity is not None and numbers.speaker_similarity is not None:
        gates.append(_similarity(numbers.speaker_similarity, limits.min_speaker_similarity))
    return gates


def _stopped(numbers: EpochNumbers) -> Gate:
    cut = {numbers.name(item): item.stopped_by for item in numbers.items if item.stopped_by not in FINISHED}
    detail = ", ".join(f"{name} stopped by {by}" for name, by in cut.items()) or "every item came to its own end"
    return Gate("runaway", not cut, float(len(cut)), 0.0, detail)


def _wer(numbers: EpochNumbers, allowed: float) -> Gate:
    limit = numbers.reference_wer + allowed
    own = f"the {numbers.reference}'s own is {numbers.reference_wer:.1%}"
    mangled = [f"{wanted} → {heard}" for item in numbers.items for wanted, heard in item.mangled]
    detail = f"WER {numbers.wer:.1%}; {own}, {allowed:.1%} above it is allowed"
    detail += f"; mangled: {_named(mangled)}" if mangled else ""
    return Gate("wer", numbers.wer <= limit + 1e-9, numbers.wer, limit, detail)


def _words(name: str, numbers: EpochNumbers, read: Callable[[ItemNumbers], Sequence[str]], limit: int) -> Gate:
    """Words lost or doubled in one reading of all items; of several seeds the worst counts."""
    counts = {seed: sum(len(read(item)) for item in numbers.items if item.seed == seed) for seed in numbers.seeds}
    worst = max(counts.values(), default=0)
    by_item = [f"{' '.join(_shortened(read(item)))} in {numbers.name(item)}" for item in numbers.items if read(item)]
    detail = f"{name}: {_named(by_item, '; ')}" if by_item else f"no word {name} that the {numbers.reference} has not"
    return Gate(name, worst <= limit, float(worst), float(limit), detail)


def _named(names: Sequence[str], join: str = ", ") -> str:
    return join.join(_shortened(names))


def _shortened(names: Sequence[str]) -> list[str]:
    more = len(names) - NAMED_WORDS
    return [*names[:NAMED_WORDS], f"and {more} more"] if more > 0 else list(names)


def _ratios(numbers: EpochNumbers) -> dict[str, float]:
    return {numbers.name(item): item.seconds / item.expected_seconds for item in numbers.items if item.expected_seconds}


def _longest(numbers: EpochNumbers, limit: float) -> Gate:
    ratios = _ratios(numbers)
    if not ratios:
        return _unknown("too-long", limit)
    name = max(ratios, key=lambda item: ratios[item])
    detail = f"{name} takes {ratios[name]:.2f} times as long as the {numbers.reference}"
    return Gate("too-long", ratios[name] <= limit, ratios[name], limit, detail)


def _shortest(numbers: EpochNumbers, limit: float) -> Gate:
    ratios = _ratios(numbers)
    if not ratios:
        return _unknown("too-short", limit)
    name = min(ratios, key=lambda item: ratios[item])
    detail = f"{name} takes {ratios[name]:.2f} times as long as the {numbers.reference}"
    return Gate("too-short", ratios[name] >= limit, ratios[name], limit, detail)


def _worst(name: str, what: str, numbers: EpochNumbers, read: Callable[[ItemNumbers], float], limit: float) -> Gate:
    item = max(numbers.items, key=read)
    return Gate(name, read(item) <= limit, read(item), limit, f"{numbers.name(item)} is {read(item):.2%} {what}")


def _pace(numbers: EpochNumbers, limit: float) -> Gate:
    ratio = numbers.pace / numbers.reference_pace if numbers.pace and numbers.reference_pace else float("inf")
    detail = f"{numbers.pace:.2f} words per second against the {numbers.reference}'s {numbers.reference_pace:.2f}"
    finite = ratio if ratio != float("inf") else None
    return Gate("pace", 1 / limit <= ratio <= limit, finite, limit, detail)


def _similarity(value: float, limit: float) -> Gate:
    return Gate("speaker", value >= limit, value, limit, f"speaker similarity {value:.3f} to the target")


def _unknown(name: str, limit: float) -> Gate:
    return Gate(name, True, None, limit, "no duration to compare with")
