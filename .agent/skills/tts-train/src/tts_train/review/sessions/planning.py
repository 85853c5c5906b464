"""What a listener will hear in a session: which pairs, which items, which controls; decided before anybody listens.

Most trials ask the question; the others are controls (after ITU-R BS.1534 and ITU-T P.808): identical pairs, repeats
with the sides swapped, the low-pass anchor, the real speaker. The untouched base is hidden among the epochs.
The number of trials is fixed beforehand, so nobody can stop where the answers please.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from tts_train.errors import InputUnusable, UsageError
from tts_train.probe.material import ANCHOR, TARGET, Stimulus
from tts_train.review.record.trials import epoch_of
from tts_train.review.sessions.ordering import Draft, in_order, with_sides

BASE = "epoch-000"
TRIALS = {"abx": 24, "ab": 30, "xab": 30}
"""Unless the listener's time says otherwise: ABX leaves 18 or more test trials, which decide at 14 correct."""
FEWEST_TRIALS, MOST_TRIALS = 4, 500
WITH_ANCHORS = 8
"""Shorter sessions have no room for anchor and real speaker."""
LONGEST_SECONDS = 15.0
"""Longer items are for sheets: who compares two of them has forgotten the first."""
ENOUGH_ITEMS = 3
DECIDES = 8
"""Comparisons below which no epoch can win (review/statistics/listening.py)."""

Place = tuple[str, int]
"""Item and sampling seed."""


@dataclass(frozen=True)
class Plan:
    """Trials in the order they are heard, the epochs they ask about (the base among them), and what to know of it."""

    trials: tuple[Draft, ...]
    contenders: tuple[str, ...]
    notes: tuple[str, ...]


def plan_trials(
    stimuli: Sequence[Stimulus], kind: str, epochs: Sequence[int] | None, count: int | None, seed: int
) -> Plan:
    """Plan `count` trials of `kind` (abx, ab, xab, sheet) on `stimuli` of one render key.

    `epochs` None: all that can be played, for ABX the last. Everything that is left to chance follows from `seed`.
    Raises InputUnusable when an epoch (or for XAB the real speaker) cannot be played, UsageError for a count that does
    not fit.
    """
    pool = _Pool(stimuli)
    contenders = _contenders(pool, kind, epochs)
    chance = random.Random(seed)  # noqa: S311  a plan is to be repeatable; what must not be guessed are its tokens
    total = _count(kind, count, pool, len(contenders))
    if kind == "sheet":
        drafts = _sheets(pool, contenders, total, chance)
    else:
        drafts = _comparisons(pool, contenders, kind, total, chance)
    notes = (*_too_few(pool, drafts, contenders, kind), *_missing_controls(pool))
    return Plan(tuple(in_order(drafts, chance)), contenders, notes)


class _Pool:
    """Stimuli by source and place."""

    def __init__(self, stimuli: Sequence[Stimulus]) -> None:
        self.by_key = {(item.source, item.item, item.seed): item for item in stimuli}
        self.sources = {item.source for item in stimuli}

    def get(self, source: str, place: Place) -> Stimulus:
        return self.by_key[self._key(source, place)]

    def places(self, *sources: str) -> list[Place]:
        """Where all `sources` can be heard. The real speaker and the anchor have no sampling seed."""
        sampled = [key[1:] for key in self.by_key if key[0] in sources and epoch_of(key[0]) is not None]
        drawn = sampled or [(item, 0) for source, item, _ in self.by_key if source in sources]
        every = sorted(set(drawn))
        return [place for place in every if all(self._key(source, place) in self.by_key for source in sources)]

    def short(self, places: Sequence[Place]) -> list[Place]:
        """Without the items that are too long to compare, while enough others are left."""
        longest: dict[str, float] = {}
        for stimulus in self.by_key.values():
            longest[stimulus.item] = max(longest.get(stimulus.item, 0.0), stimulus.audio_seconds)
        kept = [place for place in places if longest[place[0]] <= LONGEST_SECONDS]
        return kept if len({item for item, _ in kept}) >= ENOUGH_ITEMS else list(places)

    @staticmethod
    def _key(source: str, place: Place) -> tuple[str, str, int]:
        return source, place[0], place[1] if epoch_of(source) is not None else 0


def quota(kind: str, total: int, *, target: bool, anchor: bool) -> dict[str, int]:
    """How many trials of each role `total` is made of; "test" are those that ask the question."""
    numbers = dict.fromkeys(("identical", "anchor", "natural"), 0)
    if kind in ("ab", "xab"):
        # ABX has none: X is one of the two by construction, so a guess is known to be right half of the time.
        numbers["identical"] = math.ceil(total / 10)
    few = max(1, round(total / 20)) if total >= WITH_ANCHORS else 0
    numbers["anchor"] = few if anchor and kind != "sheet" else 0
    numbers["natural"] = (1 if kind == "sheet" else few) if target and total >= WITH_ANCHORS else 0
    numbers["repeat"] = max(math.ceil(total / 10), round(0.15 * total)) if total >= 5 else 0
    return {"test": total - sum(numbers.values()), **numbers}


def _contenders(pool: _Pool, kind: str, epochs: Sequence[int] | None) -> tuple[str, ...]:
    there = sorted(source for source in pool.sources if epoch_of(source) is not None)
    if BASE not in there or len(there) < 2:
        known = ", ".join(there) or "nothing"
        raise InputUnusable(
            f"a session needs the base and at least one epoch that can be played; there is {known}",
            hint="render and measure them: run.sh probe RUN",
        )
    if kind == "xab" and TARGET not in pool.sources:
        raise InputUnusable(
            "XAB compares with the real speaker, of whom there is no clip here",
            hint="name the target's manifest: run.sh probe RUN --target MANIFEST, or use --kind ab",
        )
    if epochs is None:
        chosen = there[-1:] if kind == "abx" else there
    else:
        chosen = [f"epoch-{number:03d}" for number in sorted(set(epochs))]
    missing = [source for source in chosen if source not in there]
    if missing:
        raise InputUnusable(
            f"cannot be played: {', '.join(missing)}; whole and up to date are {', '.join(there)}",
            hint="render and measure them: run.sh probe RUN",
        )
    contenders = tuple(sorted({BASE, *chosen}))
    if len(contenders) < 2:
        raise UsageError("the base alone leaves nothing to compare", hint="name an epoch after 0: --epochs 3,6")
    return contenders


def _count(kind: str, count: int | None, pool: _Pool, contenders: int) -> int:
    wanted = TRIALS.get(kind) or _total_for(contenders, kind, pool)
    total = wanted if count is None else count
    if not FEWEST_TRIALS <= total <= MOST_TRIALS:
        raise UsageError(
            f"a session has {FEWEST_TRIALS} to {MOST_TRIALS} trials, not {total}",
            hint="all trials count, controls too; below 20 little is decided",
        )
    return total


def _total_for(tests: int, kind: str, pool: _Pool) -> int:
    """The least number of trials of which `tests` ask the question."""
    there = {"target": TARGET in pool.sources, "anchor": ANCHOR in pool.sources}
    return next(
        total for total in range(FEWEST_TRIALS, 20 * tests + 20) if quota(kind, total, **there)["test"] >= tests
    )


def _comparisons(pool: _Pool, contenders: Sequence[str], kind: str, total: int, chance: random.Random) -> list[Draft]:
    numbers = quota(kind, total, target=TARGET in pool.sources, anchor=ANCHOR in pool.sources)
    x = (TARGET,) if kind == "xab" else ()
    pairs = (
        [(BASE, epoch) for epoch in contenders if epoch != BASE] if kind == "abx" else [*combinations(contenders, 2)]
    )
    # The anchor is made of the real speaker's clip, or of the base's: against its own original the answer is certain.
    original = TARGET if TARGET in pool.sources else BASE
    roles = {
        "test": pairs,
        "identical": [(source, source) for source in contenders],
        "anchor": [(original, ANCHOR)],
        "natural": [(TARGET, source) for source in contenders],
    }
    used: Counter[object] = Counter()
    drafts: list[Draft] = []
    for role, of_role in roles.items():
        for pair in _spread(of_role, numbers[role], chance):
            item, seed = _place(pool.short(pool.places(*pair, *x)), pair, used, chance)
            first, second = (pool.get(source, (item, seed)) for source in pair)
            drafts.append(Draft(role, item, seed, first, second, pool.get(TARGET, (item, seed)) if x else None))
    return with_sides(drafts, numbers["repeat"], chance, abx=kind == "abx")


def _sheets(pool: _Pool, contenders: Sequence[str], total: int, chance: random.Random) -> list[Draft]:
    """One sheet per contender on the longest item, which holds most markers; more trials go on with the next one."""
    numbers = quota("sheet", total, target=TARGET in pool.sources, anchor=False)
    places = pool.places(*contenders)
    if not places:
        raise InputUnusable("no item can be heard from every epoch", hint="render all of them: run.sh probe RUN")
    words = {stimulus.item: len(stimulus.text.split()) for stimulus in pool.by_key.values()}
    rounds = sorted(places, key=lambda place: (place[1], -words[place[0]], place[0]))
    drafts = []
    for index in range(numbers["test"]):
        if index % len(contenders) == 0:
            batch = chance.sample(list(contenders), len(contenders))
        item, seed = rounds[index // len(contenders) % len(rounds)]
        drafts.append(Draft("test", item, seed, pool.get(batch[index % len(contenders)], (item, seed))))
    natural = sorted(pool.places(TARGET), key=lambda place: -words[place[0]])
    drafts += [Draft("natural", item, 0, pool.get(TARGET, (item, 0))) for item, _ in natural[: numbers["natural"]]]
    return with_sides(drafts, numbers["repeat"], chance, abx=False)


def _spread(pairs: Sequence[tuple[str, str]], count: int, chance: random.Random) -> list[tuple[str, str]]:
    """`count` pairs, each as often as any other, and their sources too where that leaves a choice."""
    taken: list[tuple[str, str]] = []
    uses: Counter[object] = Counter()
    for _ in range(count):
        pair = min(pairs, key=lambda pair: (uses[pair], sum(uses[source] for source in pair), chance.random()))
        taken.append(pair)
        uses.update((pair, *pair))
    return taken


def _place(places: Sequence[Place], pair: tuple[str, str], used: Counter[object], chance: random.Random) -> Place:
    """The place least used, by this pair first, then by all."""
    if not places:
        raise InputUnusable(
            f"no item can be heard from {' and '.join(dict.fromkeys(pair))} alike", hint="render them: run.sh probe RUN"
        )
    place = min(places, key=lambda at: (used[pair, at], used[pair, at[0]], used[at[0]], used[at], chance.random()))
    used.update(((pair, place), (pair, place[0]), place[0], place))
    return place


def _too_few(pool: _Pool, drafts: Iterable[Draft], contenders: Sequence[str], kind: str) -> list[str]:
    """Whether some epoch is heard too seldom. ABX is decided pair by pair, the others epoch by epoch."""
    asked = [source for source in contenders if kind != "abx" or source != BASE]
    heard = Counter(source for draft in drafts if draft.role == "test" for source in draft.sources)
    least = min(heard[source] for source in asked)
    needed = {"abx": DECIDES * len(asked), "sheet": len(asked)}.get(kind, math.ceil(DECIDES * len(asked) / 2))
    if least >= (1 if kind == "sheet" else DECIDES):
        return []
    told = "get no sheet" if kind == "sheet" else f"are in {least} comparisons, and fewer than {DECIDES} never decide"
    return [f"some epochs {told}: --trials {_total_for(needed, kind, pool)}, more sessions, or fewer --epochs"]


def _missing_controls(pool: _Pool) -> list[str]:
    notes = []
    if TARGET not in pool.sources:
        notes.append("the real speaker did not read these items, so no trial holds a natural clip")
    if ANCHOR not in pool.sources:
        notes.append("there is no low anchor: run.sh probe RUN makes it")
    return notes
