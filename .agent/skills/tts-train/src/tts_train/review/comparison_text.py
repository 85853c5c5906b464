"""The answer of compare as text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tts_train.table import cell, table

Row = Mapping[str, Any]


def comparison_text(result: Row) -> str:
    """The answer first, then a row per epoch, then who listened and what did not count."""
    lines = [f"{result['run']}: {_answer(result)}", ""]
    asked = [kind for kind, told in result["trials"].items() if told["trials"]]
    lines += table(_head(result, asked), [_cells(row, asked, _contrasts(result)) for row in result["epochs"]])
    lines += _section("Conflicts", [item["said"] for item in result["conflicts"]])
    lines += _section("Mind", result["cautions"])
    lines += _section("Trials", [*_trials(result), *_heard(result)])
    lines += _section("Listeners", [_listener(row) for row in result["listeners"]])
    lines += _section("Not counted", [f"{why}: {n} answers" for why, n in sorted(result["left_out"].items())])
    lines += ["", "Type:", f"  {result['command']}"]
    return "\n".join(lines)


def _answer(result: Row) -> str:
    if result["undecided"] is None:
        return f"epoch {result['winner']} wins. {_sentence(result['why'])}"
    more = result["undecided"]["more_trials"]
    return f"undecided{f', about {more} more trials' if more else ''}. {_sentence(result['why'])}"


def _head(result: Row, asked: list[str]) -> list[str]:
    head = ["epoch"]
    for kind in asked:
        head += [f"{kind.upper()} strength [95 %]", "wins/n [Wilson 95 %]"]
    return [*head, "sheets", "gates failed", "similarity", "WER", *_contrasts(result), "Σlr"]


def _cells(row: Row, asked: list[str], contrasts: list[str]) -> list[str]:
    cells = [str(row["epoch"])]
    for kind in asked:
        cells += _standing(row[kind])
    gates = row["gates_failed"]
    return [
        *cells,
        _sheets(row),
        "stale" if row["stale"] else "–" if gates is None else ", ".join(gates) or "none",
        cell(row["speaker_similarity"]),
        cell(None if row["wer"] is None else f"{row['wer']:.1%}"),
        *(_contrast(row["contrasts"].get(name)) for name in contrasts),
        cell(row["sum_lr"]),
    ]


def _standing(standing: Row | None) -> list[str]:
    if standing is None:
        return ["–", "–"]
    low, high = (
        bound if standing[name] is None else f"{standing[name]:+.1f}"
        for name, bound in (("strength_low", "-∞"), ("strength_high", "+∞"))
    )
    wins = standing["wins"] + standing["same"] / 2
    return [
        f"{standing['strength']:+.2f} [{low}, {high}]",
        f"{wins:g}/{standing['n']} [{standing['wins_low']:.0%}, {standing['wins_high']:.0%}]",
    ]


def _sheets(row: Row) -> str:
    told = [f"good: {', '.join(row['good'])}"] if row["good"] else []
    told += [f"{name}: {', '.join(who)}" for name, who in row["harm"].items()]
    return "; ".join(told) or (f"{len(row['verdicts'])} without a win or harm" if row["verdicts"] else "–")


def _contrasts(result: Row) -> list[str]:
    return sorted({name for row in result["epochs"] for name in row["contrasts"]})


def _contrast(contrast: Row | None) -> str:
    if contrast is None:
        return "–"
    place = "" if contrast["t"] is None else f" t {contrast['t']:.2f}"
    return f"{contrast['distance']:.2f}{place}{' overshot' if contrast['overshot'] else ''}"


def _trials(result: Row) -> list[str]:
    lines = []
    for kind, told in result["trials"].items():
        if not told["trials"]:
            continue
        scope = " and ".join(told["generalises_to"]) or "these listeners and texts alone"
        lines.append(
            f"{kind.upper()} ({told['question']}): {told['trials']} trials by {', '.join(told['listeners'])}, "
            f"{told['rounds']} round(s), level {told['level']:.1%}, intervals over {scope}: {told['why']}"
        )
    if lines:
        lines.append(f"strengths are log-odds against the mean of the others; prior: {result['prior']}")
    return lines


def _heard(result: Row) -> list[str]:
    return [
        f"ABX, epoch {row['epoch']} against the base: {row['abx']['correct']}/{row['abx']['n']} correct "
        f"[{row['abx']['low']:.0%}, {row['abx']['high']:.0%}]: {row['abx']['heard']}"
        for row in result["epochs"]
        if row["abx"]
    ] + [
        f"agreement on {what}: {found['measure']} {found['value']:.2f} over {found['n']}"
        + ("" if found["low"] is None else f" [{found['low']:.2f}, {found['high']:.2f}]")
        for what, found in result["agreement"].items()
        if found["value"] is not None
    ]


def _listener(row: Row) -> str:
    checks = [
        f"{row[hits]}/{row[n]} {name}"
        for name, hits, n in (
            ("anchors told", "anchor_hits", "anchors"),
            ("natural clips preferred", "natural_hits", "naturals"),
            ("false alarms on identical pairs", "false_alarms", "identical"),
            ("repeats consistent", "consistent", "repeats"),
        )
        if row[n]
    ]
    where = f" ({row['region']})" if row["region"] else ""
    out = f"; EXCLUDED: {row['excluded']}" if row["excluded"] else ""
    return f"{row['listener']}{where}: {row['trials']} answers; {', '.join(checks) or 'no controls'}{out}"


def _section(title: str, items: list[str]) -> list[str]:
    return ["", f"{title}:", *(f"  - {item}" for item in items)] if items else []


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
