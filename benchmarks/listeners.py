"""The decision rule on simulated listeners: `python benchmarks/listeners.py` in the core environment (README,
"Benchmarks"). Coverage of the intervals by number of trials and true preference, false winners, power, and what the
customary rules do on the same answers. Everything is simulated from one seed, but for what can be enumerated exactly.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]

from simulated_listeners import World, logit, trials, two
from tts_train.review.statistics.bradley_terry import BradleyTerry, comparisons
from tts_train.review.statistics.intervals import Interval, clopper_pearson, decides, needed, power, wilson
from tts_train.review.statistics.preference import prefer
from tts_train.table import table

SIZES = (5, 8, 10, 12, 15, 20, 30, 50)
SHARES = (0.5, 0.6, 0.75, 0.9, 0.97)
NULLS = {
    "2 equal": World((0.0,) * 2),
    "4 equal": World((0.0,) * 4),
    "6 equal": World((0.0,) * 6),
    "2 equal, 2 far below": World((3.0, 3.0, 0.0, 0.0)),
    "2 equal, texts differ (1 logit)": two(0.5, text_spread=1.0),
    "4 equal, texts differ (1 logit)": World((0.0,) * 4, text_spread=1.0),
    "2 equal, 6 listeners differ (0.7 logit)": two(0.5, listeners=6, listener_spread=0.7),
    "4 equal, a third “same”": World((0.0,) * 4, same=1 / 3),
}
BEST = {
    "75 % against one other": World((logit(0.75), 0.0)),
    "90 % against one other": World((logit(0.9), 0.0)),
    "75 % against three others": World((logit(0.75), 0.0, 0.0, 0.0)),
    "90 % against three others": World((logit(0.9), 0.0, 0.0, 0.0)),
    "90 % against five others": World((logit(0.9), *(0.0,) * 5)),
}


def exact_coverage(interval: Callable[[int, int], Interval], n: int, share: float) -> float:
    """Probability that the interval of n answers holds the true share."""
    return float(sum(binom.pmf(k, n, share) for k in range(n + 1) if not interval(k, n).excludes(share)))


def model_coverage(world: World, n: int, simulations: int, rng: np.random.Generator, replicates: int) -> float:
    """The same for the Bradley-Terry interval of the first epoch against the second."""
    true = 1.0 / (1.0 + np.exp(world.strengths[1] - world.strengths[0]))
    held = 0
    for _ in range(simulations):
        model = BradleyTerry(comparisons(trials(world, n, rng)), replicates=replicates)
        if {"epoch-000", "epoch-001"} <= set(model.names):
            held += not model.against("epoch-000", "epoch-001").interval.excludes(true)
        else:
            held += 1  # one of the two was not heard: nothing is claimed
    return held / simulations


def winners(world: World, n: int, simulations: int, rng: np.random.Generator, replicates: int) -> tuple[float, float]:
    """(Share of simulated runs with a winner, share in which more answers for the leader than 1/2 would have done)."""
    found = customary = 0
    for _ in range(simulations):
        given = trials(world, n, rng)
        told = prefer("ab", given, replicates)
        found += told.winner is not None
        if told.model is not None and told.leader is not None:
            wins, losses, _ = told.model.record(told.leader)
            customary += wins > losses
    return found / simulations, customary / simulations


def looks(n: int, most: int, simulations: int, rng: np.random.Generator, replicates: int) -> list[float]:
    """False winners among two equal epochs when a listener goes on, n trials a session, until there is a winner."""
    first = np.zeros(most + 1)
    for _ in range(simulations):
        given: list[Any] = []
        for look in range(most):
            given += trials(two(0.5), n, rng, f"session-{look}")
            if prefer("ab", given, replicates).winner:
                first[look] += 1
                break
    return [float(share) for share in np.cumsum(first)[:most] / simulations]


def rows_of_coverage(arguments: argparse.Namespace, rng: np.random.Generator) -> list[dict[str, Any]]:
    found = []
    for n in SIZES:
        for share in SHARES:
            row: dict[str, Any] = {"n": n, "share": share}
            row["clopper_pearson"] = exact_coverage(clopper_pearson, n, share)
            row["wilson"] = exact_coverage(wilson, n, share)
            for contenders in (2, 4):
                world = World((logit(share), *(0.0,) * (contenders - 1)))
                row[f"bradley_terry_{contenders}"] = model_coverage(
                    world, n, arguments.simulations, rng, arguments.replicates
                )
            found.append(row)
    return found


def rows_of_winners(worlds: dict[str, World], arguments: argparse.Namespace, rng: np.random.Generator) -> list[Any]:
    """By trials of each listener."""
    return [
        {
            "world": name,
            "shares": {
                n: winners(world, n, arguments.simulations, rng, arguments.replicates)
                for n in (7, 8, 12, 20, 50, 100)
                if n <= arguments.most
            },
        }
        for name, world in worlds.items()
    ]


def rows_of_power() -> list[dict[str, Any]]:
    return [
        {
            "n": n,
            "one_sided": decides(n, 0.9),
            "ours": decides(n),
            **{f"power_{share}": [power(n, share, 0.9), power(n, share)] for share in (0.6, 0.75, 0.9)},
        }
        for n in SIZES
    ]


def text(result: dict[str, Any]) -> str:
    """All tables as markdown."""
    lines = ["Answers out of n that decide, and power: customary one-sided 5 % / ours, two-sided 5 %", ""]
    lines += table(
        ("n", "one-sided", "ours", "power at 60 %", "75 %", "90 %"),
        [
            (row["n"], row["one_sided"], row["ours"], *(_pair(row[f"power_{share}"]) for share in (0.6, 0.75, 0.9)))
            for row in result["power"]
        ],
    )
    shares = ", ".join(f"{share:.0%}: {n or 'more than 500'}" for share, n in result["needed"].items())
    lines += ["", f"Trials for a power of 80 % at a true preference of {shares}"]
    lines += ["", f"Coverage of 95 % intervals ({result['simulations']} simulations; the first two exact)", ""]
    names = ("clopper_pearson", "wilson", "bradley_terry_2", "bradley_terry_4")
    lines += table(
        ("n", "share", *names), [(row["n"], row["share"], *(row[name] for name in names)) for row in result["coverage"]]
    )
    for title, key in (("Winners where there is none", "false_winners"), ("Winners where there is one", "winners")):
        lines += ["", f"{title}: ours / whoever has more wins, by trials of each listener", ""]
        lines += table(
            ("listeners think", *map(str, result[key][0]["shares"])),
            [(row["world"], *map(_pair, row["shares"].values())) for row in result[key]],
        )
    lines += ["", "False winners when a listener goes on, 20 trials a session, until there is a winner", ""]
    lines += table(("sessions", "false winners"), enumerate(result["looks"], 1))
    return "\n".join(lines)


def _pair(pair: Sequence[float]) -> str:
    return " / ".join(f"{value:.2f}" for value in pair)


def main(given: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--replicates", type=int, default=100, help="of each bootstrap")
    parser.add_argument("--most", type=int, default=100, help="largest number of trials simulated for winners")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write all numbers there")
    arguments = parser.parse_args(None if given is None else list(given))
    rng = np.random.default_rng(arguments.seed)
    result = {
        "simulations": arguments.simulations,
        "power": rows_of_power(),
        "needed": {share: needed(share) for share in (0.6, 0.65, 0.7, 0.75, 0.8, 0.9)},
        "coverage": rows_of_coverage(arguments, rng),
        "false_winners": rows_of_winners(NULLS, arguments, rng),
        "winners": rows_of_winners(BEST, arguments, rng),
        "looks": looks(20, 5, arguments.simulations, rng, arguments.replicates),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))
    print(text(result))


if __name__ == "__main__":
    main()
