"""The probe's result as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def epochs_table(target: Row | None, epochs: Sequence[Row], accent: Row) -> str:
    """One row per epoch under the target's own, then what failed, and what the accent did by its intervals."""
    judged = [name for name, value in epochs[0].items() if isinstance(value, Mapping) and "verdict" in value]
    glides = [name for name in judged if epochs[0][name].get("kind") == "glide"]
    contrasts = [name for name in judged if name not in glides]
    header = ["epoch", "WER", "similarity", "mel dB", "pace", *(name.replace("_", "-") for name in contrasts), "gates"]
    rows = [_cells("target", target, contrasts)] if target else []
    rows += [_cells(str(row["epoch"]), row, contrasts) for row in epochs]
    lines = aligned([header, *rows])
    lines += [f"epoch {row['epoch']}: {detail}" for row in epochs for detail in row["gate_details"]]
    if not accent["available"]:
        return "\n".join([*lines, f"accent not measured: {accent['reason']}"])
    if glides:
        lines += _glides(target, epochs, glides)
    lines += [_told(name, epochs[-1]) for name in judged if epochs[-1]["epoch"]]
    if judged:
        lines.append(
            "distances of set means, and how far a vowel glides from 20 % to 80 % of its length, in z (Lobanov)"
        )
        lines.append("with 95 % intervals over words, each looked at by itself: of many looks some will be wrong;")
        lines.append("evidence informs, ears decide")
    return "\n".join(lines)


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns of equal width, the last one left as it is."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _cells(name: str, row: Row, contrasts: Sequence[str]) -> list[str]:
    return [
        name,
        f"{row['wer']:.1%}",
        _number(row["speaker_similarity"], 3),
        _number(row["mel_distance"], 2),
        _number(row["pace"], 2),
        *(_contrast(row[contrast]) for contrast in contrasts),
        ("ok" if not row["gates"] else "FAILED " + ", ".join(row["gates"])) if "gates" in row else "",
    ]


def _glides(target: Row | None, epochs: Sequence[Row], names: Sequence[str]) -> list[str]:
    rows = [("target", target)] if target else []
    rows += [(str(row["epoch"]), row) for row in epochs]
    header = ["epoch", *(name.replace("_", "-") for name in names)]
    return aligned([header, *([title, *(_contrast(row[name]) for name in names)] for title, row in rows)])


def _contrast(value: Row) -> str:
    if "distance" not in value:
        return "-"
    return f"{value['distance']:.2f}{_interval(value['low'], value['high'])}"


def _told(name: str, row: Row) -> str:
    value, title = row[name], f"{name.replace('_', '-')}, epoch {row['epoch']} against the base"
    verdict = f"{value['verdict']} ({value['why']})"
    if "change" not in value:
        return f"{title}: {verdict}"
    change = f"{value['change']:+.2f}{_interval(value['change_low'], value['change_high'])}"
    reached = "" if value["t"] is None else f"; t = {value['t']:.2f}{_interval(value['t_low'], value['t_high'])}"
    reached += ", past the target" if value.get("overshot") else ""
    return f"{title}: {change}{reached}: {verdict}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
