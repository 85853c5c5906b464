"""Listeners with known preferences, for tests and benchmarks: they answer balanced blind trials at random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from tts_train.review.record.trials import Judgement

KEY = "0123456789abcdef"


@dataclass(frozen=True)
class World:
    """What is true. `strengths` are log-odds per epoch from 0; spreads are standard deviations of them."""

    strengths: tuple[float, ...] = (0.0, 0.0)
    texts: int = 8
    text_spread: float = 0.0
    listeners: int = 1
    listener_spread: float = 0.0
    same: float = 0.0
    """Share of "same" answers."""


def two(share: float, **more: Any) -> World:
    """Two epochs, of which the first is preferred with probability `share`."""
    return World((logit(share), 0.0), **more)


def logit(share: float) -> float:
    return math.log(share / (1.0 - share)) if share < 1.0 else 50.0


def trials(world: World, n: int, rng: np.random.Generator, session: str = "s", kind: str = "ab") -> list[Judgement]:
    """n test trials per listener: pairs in turn, texts in turn, sides at random."""
    k = len(world.strengths)
    pairs = list(combinations(range(k), 2))
    by_text = rng.normal(0.0, world.text_spread, (world.texts, k))
    found = []
    for who in range(world.listeners):
        own = rng.normal(0.0, world.listener_spread, k)
        texts = rng.permutation(np.arange(n) % world.texts)
        for number, place in enumerate(rng.permutation(np.arange(n) % len(pairs))):
            first, second = rng.permutation(pairs[place])
            true = np.array(world.strengths) + by_text[texts[number]] + own
            prefers_first = rng.random() < 1.0 / (1.0 + math.exp(true[second] - true[first]))
            answer = "same" if rng.random() < world.same else "first" if prefers_first else "second"
            found.append(
                judgement(
                    number + 1, first, second, answer, f"listener-{who}", f"text-{texts[number]}", session=session
                )
            )
    return found


def judgement(
    number: int,
    first: int | str,
    second: int | str,
    answer: str,
    listener: str = "ann",
    item: str = "text-0",
    **more: Any,
) -> Judgement:
    """One answer of a closed blind session; epochs by number."""
    fields: dict[str, Any] = {
        "session": "s",
        "number": number,
        "kind": "ab",
        "role": "test",
        "listener": listener,
        "region": "",
        "item": item,
        "seed": 0,
        "first": named(first),
        "second": named(second),
        "x": None,
        "answer": answer,
        "blind": True,
        "confidence": None,
        "render_key": KEY,
        "closed": True,
    }
    return Judgement(**{**fields, **more})


def named(source: int | str) -> str:
    return source if isinstance(source, str) else f"epoch-{source:03d}"


def answered(preferred: int, other: int, wins: int, losses: int, **more: Any) -> list[Judgement]:
    """`wins` answers for one epoch and `losses` for another, on eight texts in turn, sides alternating."""
    answers = [True] * wins + [False] * losses
    found = []
    for number, won in enumerate(answers):
        first, second = (preferred, other) if number % 2 else (other, preferred)
        answer = "first" if (first == preferred) == won else "second"
        found.append(judgement(number + 1, first, second, answer, **{"item": f"text-{number % 8}", **more}))
    return found


def abx_answers(epoch: int, correct: int, wrong: int, **more: Any) -> list[Judgement]:
    """ABX trials of an epoch against the base."""
    found = []
    for number, right in enumerate([True] * correct + [False] * wrong):
        x = named(epoch if number % 2 else 0)
        answer = "first" if (x == named(epoch)) == right else "second"
        found.append(judgement(number + 1, epoch, 0, answer, **{"kind": "abx", "x": x, **more}))
    return found


def shares(values: Sequence[bool]) -> float:
    return sum(values) / len(values)
