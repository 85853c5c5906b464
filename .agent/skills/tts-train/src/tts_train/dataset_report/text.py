"""A dataset's facts as markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tts_train.dataset_report.measures import BY_NAME
from tts_train.dataset_report.sections import NO_CARD, share
from tts_train.table import duration, table


def markdown(facts: Mapping[str, Any]) -> str:
    """Headline, card, coverage, rejections, measures, chapters and what to listen to first."""
    lines = [f"# Dataset {Path(facts['dataset']).name}", "", *_headline(facts), "", "## Rejected", ""]
    if facts["rejected"]:
        seconds = facts["rejected_seconds"]
        rows = [(name, n, seconds.get(name, 0.0)) for name, n in facts["rejected"].items()]
        lines += table(("reason", "clips", "seconds"), rows)
    else:
        lines.append("Nothing was rejected.")
    return "\n".join([*lines, *_measures(facts), *_chapters(facts), *_outliers(facts)]) + "\n"


def _headline(facts: Mapping[str, Any]) -> list[str]:
    kept, lost = facts["audio_seconds"], sum(facts["rejected_seconds"].values())
    part = f", {kept / (kept + lost):.0%} of the speech" if kept + lost else ""
    lines = [f"- clips: {facts['clips']}, {duration(kept)} of audio{part}; with word times: {facts['aligned']}"]
    if facts["clips"]:
        lengths = facts["clip_seconds"]
        lines.append(f"- shortest clip {lengths['shortest']:.1f} s, longest {lengths['longest']:.1f} s")
    if coverage := facts["coverage"]:
        parts = ", ".join(
            f"{coverage[f'{name}_seconds']:.1f} s {name}" for name in ("kept", "rejected", "skipped", "missing")
        )
        spoken = duration(coverage["speech_seconds"])
        lines.append(f"- coverage: {share(coverage['share'])} of {spoken} of speech accounted for ({parts})")
    if facts["restored"]:
        lines.append(f"- taken back from the rejections: {facts['restored']}")
    if facts["unaligned"]:
        told = ", ".join(f"{reason}: {count}" for reason, count in facts["unaligned"].items())
        lines.append(f"- without word times, but kept: {told}")
    card = facts["card"]
    if not card:
        return [*lines, f"- {NO_CARD.rstrip('.')}"]
    told = f"speaker {card['speaker']}, {card['language']}; {card['licence']}; consent: {card['consent_basis']}"
    return [*lines, f"- {told}"]


def _measures(facts: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, row in facts["measures"].items():
        values = [row["kept"][key] for key in ("least", "p05", "median", "p95", "greatest")]
        shown = BY_NAME[name].shown
        rows.append((BY_NAME[name].label, *(None if value is None else shown(value) for value in values)))
    head = ("measure", "least", "5 %", "median", "95 %", "greatest")
    return ["", "## Measures of kept clips", "", *table(head, rows)] if rows else []


def _chapters(facts: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            row["chapter"] or None,
            row["source"],
            row["clips"],
            duration(row["audio_seconds"]),
            row["rejected"],
            _share(row),
        )
        for row in facts["chapter_table"]
    ]
    head = ("chapter", "source", "clips", "audio", "rejected", "coverage")
    return ["", "## Chapters", "", *table(head, rows)] if rows else []


def _share(row: Mapping[str, Any]) -> str | None:
    return share(row["coverage"]["share"]) if row["coverage"] else None


def _outliers(facts: Mapping[str, Any]) -> list[str]:
    rows = []
    for row in facts["outliers"]:
        measure = BY_NAME[row["measure"]]
        rows.append(
            (row["id"], measure.label, measure.shown(row["value"]), measure.shown(row["median"]), row["deviations"])
        )
    head = ("clip", "measure", "value", "median", "deviations")
    return ["", "## Worth a listen", "", *table(head, rows)] if rows else []
