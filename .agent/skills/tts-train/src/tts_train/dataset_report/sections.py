"""The page's sections as HTML. Every text that comes from a dataset goes through `escape`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from tts_train.dataset_report import charts
from tts_train.dataset_report.measures import BY_NAME
from tts_train.dataset_report.rows import Dataset

NO_CARD = "dataset.yaml is missing or wrong: training refuses a dataset without source, licence and consent."
_LEGEND = {
    "kept": "in kept clips",
    "rejected": "in rejected clips",
    "skipped": "skipped on purpose",
    "missing": "nowhere",
}


def content(data: Dataset, facts: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    """Header, navigation and sections."""
    lost = len(data.rejected) + len(data.unaligned)
    sections = [
        ("numbers", "Numbers", None, _numbers(facts)),
        ("measures", "Measures", None, _measures(facts)),
        ("rejected", "Rejected", lost, _rejected(data, notes)),
        ("outliers", "Worth a listen", len(facts["outliers"]), _outliers(facts)),
        ("chapters", "Chapters", len(facts["chapter_table"]), _chapters(facts["chapter_table"])),
        ("clips", "Clips and texts", len(data.kept), _clips(data, notes)),
    ]
    there = [section for section in sections if section[3]]
    links = "".join(
        f'<li><a href="#{name}">{title}{"" if count is None else f" <span class=count>{count:,}</span>"}</a></li>'
        for name, title, count, _ in there
    )
    body = "".join(f'<section id="{name}"><h2>{title}</h2>{inner}</section>' for name, title, _, inner in there)
    head = f'{_header(data, facts, notes)}<nav aria-label="Sections"><ul>{links}</ul></nav>'
    return f"{head}<main>{body}</main>{_footer(data)}"


def share(part: float) -> str:
    """99.98 %: rounded down, so that only all is 100 %."""
    return f"{math.floor(part * 10_000 + 1e-6) / 100:.10g} %"


def length(seconds: float) -> str:
    """1.4 s, 3 min 18 s, 12 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    larger, smaller, names = (whole // 60, whole % 60, ("min", "s"))
    if larger >= 60:
        larger, smaller, names = (larger // 60, larger % 60, ("h", "min"))
    return f"{larger:,} {names[0]} {smaller} {names[1]}"


def _header(data: Dataset, facts: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    voices = len(facts["speakers"])
    whose = "one voice" if voices == 1 else f"{voices} voices"
    lead = f"{length(facts['audio_seconds'])} of {whose} in {_count(facts['clips'], 'clip')}."
    card = facts["card"]
    return (
        f'<header><p class="eyebrow">Dataset</p><h1>{escape(data.folder.resolve().name)}</h1>'
        f'<p class="lead">{escape(lead if facts["clips"] else "No clip was kept.")}</p>'
        f"{_card(card) if card else _warning(NO_CARD)}{_note(notes, 'page')}</header>"
    )


def _warning(text: str) -> str:
    return f'<p class="warning">{escape(text)}</p>'


def _card(card: Mapping[str, Any]) -> str:
    names = ("speaker", "language", "consent_basis", "licence", "source")
    pairs = ((name.replace("_basis", "").capitalize(), str(card[name])) for name in names)
    return _pairs("facts", ((label, [value]) for label, value in pairs))


def _pairs(kind: str, pairs: Iterable[tuple[str, Sequence[str]]]) -> str:
    rows = (
        f"<div><dt>{escape(label)}</dt>{''.join(f'<dd>{escape(value)}</dd>' for value in values)}</div>"
        for label, values in pairs
    )
    return f'<dl class="{kind}">{"".join(rows)}</dl>'


def _numbers(facts: Mapping[str, Any]) -> str:
    kept, lost = facts["audio_seconds"], sum(facts["rejected_seconds"].values())
    rejected = sum(facts["rejected"].values())
    lengths = facts["clip_seconds"]
    span = f"{lengths['shortest']:.1f} to {lengths['longest']:.1f} s each" if facts["clips"] else ""
    back = f"{facts['restored']} of them taken back" if facts["restored"] else ""
    tiles = [
        ("Kept", [_count(facts["clips"], "clip"), ", ".join(part for part in (span, back) if part)]),
        ("Audio", [length(kept), f"{share(kept / (kept + lost))} of what was cut" if kept + lost else ""]),
        ("Rejected", [_count(rejected, "clip"), length(lost) if rejected else "nothing was refused"]),
    ]
    coverage = facts["coverage"]
    if coverage:
        spoken = f"of {length(coverage['speech_seconds'])} of speech accounted for"
        tiles.append(("Coverage", [share(coverage["share"]), spoken]))
    if facts["aligned"]:
        without = (
            f"{_count(sum(facts['unaligned'].values()), 'clip')} could not be aligned" if facts["unaligned"] else ""
        )
        tiles.append(("With word times", [_count(facts["aligned"], "clip"), without]))
    return _pairs("tiles", tiles) + (_coverage(facts) if coverage else "") + _speakers(facts)


def _coverage(facts: Mapping[str, Any]) -> str:
    coverage = facts["coverage"]
    seconds = {name: coverage[f"{name}_seconds"] for name in charts.PARTS}
    told = [
        f"<li>{charts.bar({name: 1.0}, 1.0)}{escape(f'{seconds[name]:,.1f} s')} {label}</li>"
        for name, label in _LEGEND.items()
        if seconds[name] > 0 or name in ("kept", "rejected")
    ]
    label = ", ".join(f"{seconds[name]:.1f} s {words}" for name, words in _LEGEND.items())
    bar = charts.bar(seconds, coverage["speech_seconds"], f"Speech: {label}")
    gaps = [f"<li>{escape(gap['source'])}, {gap['start']:.1f} to {gap['end']:.1f} s</li>" for gap in facts["gaps"]]
    lost = f"<details><summary>Speech that is nowhere</summary><ul>{''.join(gaps)}</ul></details>" if gaps else ""
    return f'<div class="spoken">{bar}<ul class="legend">{"".join(told)}</ul>{lost}</div>'


def _speakers(facts: Mapping[str, Any]) -> str:
    if len(facts["speakers"]) < 2:
        return ""
    rows = [(name, f"{count:,}", length(facts["speaker_seconds"][name])) for name, count in facts["speakers"].items()]
    return f'<div class="numbers">{_table("Speakers", ("Speaker", "Clips", "Audio"), rows)}</div>'


def _measures(facts: Mapping[str, Any]) -> str:
    measures: Mapping[str, Any] = facts["measures"]
    drawn = [charts.figure(name, row) for name, row in measures.items() if "histogram" in row]
    if not drawn:
        return ""
    hint = "Above the line: kept clips; below it, hatched: rejected ones. A dashed line is a limit."
    rows = [(BY_NAME[name].label, *_spread(name, row)) for name, row in measures.items()]
    head = ("Measure", "Least", "5 %", "Median", "95 %", "Greatest", "Rejected, median")
    numbers = _table("Measures of kept clips", head, rows)
    details = f'<details class="numbers"><summary>As a table</summary>{numbers}</details>'
    return f'<p class="hint">{hint}</p><div class="charts">{"".join(drawn)}</div>{details}'


def _spread(name: str, row: Mapping[str, Any]) -> list[str]:
    measure = BY_NAME[name]
    values = [row["kept"][key] for key in ("least", "p05", "median", "p95", "greatest")] + [row["rejected"]["median"]]
    return ["–" if value is None else measure.shown(value) for value in values]


def _rejected(data: Dataset, notes: Mapping[str, str]) -> str:
    if not data.rejected and not data.unaligned:
        return "<p>Nothing was rejected.</p>"
    hint = "Each can be heard. What was refused wrongly can be taken back: its command is under its numbers."
    if data.unaligned:
        hint += " Clips that could not be aligned are among them: they stay in the manifest."
    return f'<p class="hint">{hint}</p>{_note(notes, "rejected")}{_list("rejected")}'


def _outliers(facts: Mapping[str, Any]) -> str:
    if not facts["outliers"]:
        return ""
    hint = "Kept clips that are least like the others, the furthest first. Unlike is not wrong: listen."
    return f'<p class="hint">{hint}</p>{_list("outliers")}'


def _chapters(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    several = len({row["source"] for row in rows}) > 1
    head = ("Chapter", "Clips", "Audio", "Rejected", "Coverage", "")
    lines = []
    for row in rows:
        coverage = row["coverage"] or {}
        parts = {name: coverage.get(f"{name}_seconds", 0.0) for name in charts.PARTS}
        told = share(coverage["share"]) if coverage else "–"
        source = f'<span class="place">{escape(row["source"])}</span>' if several else ""
        cells = [(escape(row["chapter"]) or "outside all chapters") + source]
        cells += [f"{row['clips']:,}", length(row["audio_seconds"]), f"{row['rejected']:,}", told]
        cells.append(charts.bar(parts, coverage["speech_seconds"]) if coverage else "")
        lines.append(cells)
    return _raw_table("Chapters", head, lines)


def _clips(data: Dataset, notes: Mapping[str, str]) -> str:
    return _note(notes, "clips") + _list("kept") if data.kept else ""


def _note(notes: Mapping[str, str], name: str) -> str:
    return f'<p class="notes">{escape(notes[name])}</p>' if notes.get(name) else ""


def _list(name: str) -> str:
    return f'<div data-list="{name}"><noscript>This list needs JavaScript.</noscript></div>'


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return _raw_table(caption, head, ([escape(cell) for cell in row] for row in rows))


def _raw_table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    top = "".join(f"<th scope=col>{escape(name)}</th>" if name else "<td></td>" for name in head)
    body = "".join(
        f"<tr><th scope=row>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>" for row in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _footer(data: Dataset) -> str:
    files = "train_manifest.jsonl lists the clips, rejections.jsonl what was refused, and parts/ how it came about."
    where = f"Commands are run where {escape(data.name)} is found, mostly the workspace."
    return f"<footer><p>{files} {where}</p></footer>"
