"""Sides and order of trials, left to chance within rules: balanced sides, no source twice in a row where avoidable."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tts_train.probe.material import Stimulus

_RESTARTS = 6
_SWAPS_PER_TRIAL = 60
_SAME_SOURCE, _SAME_ITEM, _NEAR_REPEAT = 100, 1, 1000


@dataclass(frozen=True)
class Draft:
    """A trial: what is heard first, second and as X. A sheet has only a first, AB no X.

    `pair` of a repeat is the index of its original, and the other way round, while the order is not settled.
    """

    role: str
    item: str
    seed: int
    first: Stimulus
    second: Stimulus | None = None
    x: Stimulus | None = None
    pair: int | None = None
    repeat_of: int | None = None
    """Number (from 1) of the earlier trial, once the order is settled."""

    @property
    def sources(self) -> tuple[str, ...]:
        """What is to be told apart."""
        return (self.first.source,) if self.second is None else (self.first.source, self.second.source)


def with_sides(drafts: Sequence[Draft], repeats: int, chance: random.Random, *, abx: bool) -> list[Draft]:
    """Drafts with their sides drawn, ABX with its X, and `repeats` of the test trials again with the sides swapped.

    Each pair has either source first, and X equal to the first, half of the time (give or take one); over all pairs
    too, as far as that leaves a choice.
    """
    order = chance.sample(range(len(drafts)), len(drafts))
    leads: Counter[object] = Counter()
    sided = list(drafts)
    for index in order:
        sided[index] = _sided(drafts[index], leads, chance, abx=abx)
    tests = [index for index, draft in enumerate(sided) if draft.role == "test"]
    for index in chance.sample(tests, min(repeats, len(tests))):
        again = replace(_swapped(sided[index]), role="repeat", pair=index)
        sided[index] = replace(sided[index], pair=len(sided))
        sided.append(again)
    return sided


def in_order(drafts: Sequence[Draft], chance: random.Random) -> list[Draft]:
    """The drafts in a random order that plays no source twice in a row where that can be avoided, then no item.

    A repeat comes after its original and not beside it. Found by exchanging trials of random orders, so for large
    sessions "where avoidable" is "where it was found".
    """
    best: list[int] = []
    for _ in range(_RESTARTS):
        order = _improved(drafts, chance.sample(range(len(drafts)), len(drafts)), chance)
        if not best or _cost(drafts, order) < _cost(drafts, best):
            best = order
        if _cost(drafts, best) < _SAME_SOURCE:
            break
    number = {index: position for position, index in enumerate(best, 1)}
    for index in list(best):
        pair = drafts[index].pair
        # Both play the same, so whichever comes later is the repeat.
        if drafts[index].role == "repeat" and pair is not None and number[index] < number[pair]:
            number[index], number[pair] = number[pair], number[index]
    placed = sorted(number, key=lambda index: number[index])
    return [replace(drafts[index], repeat_of=_original(drafts[index], number)) for index in placed]


def _original(draft: Draft, number: dict[int, int]) -> int | None:
    return number[draft.pair] if draft.role == "repeat" and draft.pair is not None else None


def _sided(draft: Draft, leads: Counter[object], chance: random.Random, *, abx: bool) -> Draft:
    if draft.second is None:
        return draft
    pair = frozenset(draft.sources)
    ways = [
        (way, x_first)
        for way in ((draft.first, draft.second), (draft.second, draft.first))
        for x_first in ((True, False) if abx else (True,))
    ]

    def imbalance(choice: tuple[tuple[Stimulus, Stimulus], bool]) -> tuple[float, ...]:
        (first, second), x_first = choice
        by_pair = leads[pair, first.source] - leads[pair, second.source]
        by_source = leads[first.source] - leads[second.source]
        both = leads[pair, first.source, x_first] - leads[pair, second.source, not x_first]
        return by_pair, leads[pair, "x", x_first], leads["x", x_first], both, by_source, chance.random()

    (first, second), x_first = min(ways, key=imbalance)
    leads.update(((pair, first.source), first.source, (pair, "x", x_first), ("x", x_first)))
    leads.update(((pair, first.source, x_first),))
    leads[second.source] -= 1
    x = (first if x_first else second) if abx else draft.x
    return replace(draft, first=first, second=second, x=x)


def _swapped(draft: Draft) -> Draft:
    return draft if draft.second is None else replace(draft, first=draft.second, second=draft.first)


def _improved(drafts: Sequence[Draft], order: list[int], chance: random.Random) -> list[int]:
    size = len(order)
    for _ in range(_SWAPS_PER_TRIAL * size):
        one, two = chance.randrange(size), chance.randrange(size)
        near = {place for at in (one, two) for place in (at, at + 1, at + 2) if place < size}
        before = sum(_step(drafts, order, place) for place in near)
        order[one], order[two] = order[two], order[one]
        if sum(_step(drafts, order, place) for place in near) > before:
            order[one], order[two] = order[two], order[one]
    return order


def _cost(drafts: Sequence[Draft], order: Sequence[int]) -> int:
    return sum(_step(drafts, order, place) for place in range(len(order)))


def _step(drafts: Sequence[Draft], order: Sequence[int], place: int) -> int:
    """What is wrong with a trial after the two before it."""
    if place == 0:
        return 0
    here, last = drafts[order[place]], drafts[order[place - 1]]
    cost = _SAME_SOURCE if set(here.sources) & set(last.sources) else 0
    cost += _SAME_ITEM if here.item == last.item else 0
    if here.pair is not None and here.pair in order[max(0, place - 2) : place]:
        cost += _NEAR_REPEAT
    return cost
