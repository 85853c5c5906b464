"""The model card and the licences of a voice package, written from facts alone: front matter as Hugging Face reads it.

What people wrote (names, notes, reasons) is quoted on one line each, so that it cannot become another heading or field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from tts_train.backends.licences import Licence
from tts_train.dataset import Card
from tts_train.review.decision.measured import measures_from, number
from tts_train.table import table

_ROWS = {
    "wer": "word error rate",
    "speaker_similarity": "speaker similarity to the target",
    "mel_distance": "mel distance to the target",
    "pace": "words a second",
}


@dataclass(frozen=True)
class Story:
    """What a card tells: `manifest` is voice.json's content, `metrics` metrics.json's."""

    manifest: Mapping[str, Any]
    metrics: Mapping[str, Any]
    verdicts: Sequence[str]
    """Each as a sentence."""
    trials: int
    """Blind comparisons with this epoch in them."""
    card: Card | None
    licence: Licence
    """Of the base."""


def model_card(story: Story) -> str:
    """README.md."""
    manifest = story.manifest
    day = manifest["created"][:10]
    lines = [
        *_front_matter(story),
        f"# {manifest['name']}",
        "",
        *_warnings(manifest),
        f"A {manifest['backend']} voice: epoch {manifest['epoch']} of the training run `{manifest['run']}`.",
        f"Fine-tuned from {_line(manifest['base']['name'])}; packed by tts-train {manifest['tts_train']} on {day}.",
        "",
        "## Speak",
        "",
        "```console",
        f'$ ./run.sh infer {manifest["name"]} hello.wav --text "Hello."',
        "```",
        "",
        "`infer` takes this folder, wherever it lies. It checks every file first.",
        "It speaks with the settings that were judged:",
        "",
        *(f"- `{name}`: {value}" for name, value in manifest["knobs"].items()),
        f"- seeds {', '.join(map(str, manifest['seeds']))}; {manifest['threads']} threads; {manifest['dtype']}"
        + (f"; on a {manifest['voice']['device']} device" if manifest["voice"].get("device") else ""),
        "",
        _verification(manifest),
        "",
        "## What was measured",
        "",
        *_measured(story.metrics),
        "## What listeners said",
        "",
        *([f"- {_line(verdict)}" for verdict in story.verdicts] or ["Nobody has left a verdict on this epoch."]),
        "",
        f"Comparisons with this epoch in closed listening sessions: {story.trials}. `verdicts.json` holds all answers.",
        "It names the listeners.",
        "",
        "## Licence and consent",
        "",
        *_terms(story),
        "## Whole or not",
        "",
        "`sha256sum -c SHA256SUMS` checks the files, `config.yaml` says how the voice was trained.",
    ]
    return "\n".join(lines) + "\n"


def licences(story: Story) -> str:
    """LICENSE.md: a fine-tuned voice stands under its base's terms and its recordings' at once."""
    return "\n".join(
        [
            f"# Licences of {story.manifest['name']}",
            "",
            "The weights come from a base model and from recordings. The terms of both hold.",
            "",
            *_terms(story),
        ]
    )


def _front_matter(story: Story) -> Iterator[str]:
    manifest = story.manifest
    named = story.licence.name.lower().replace(" ", "-")
    fields: dict[str, Any] = {
        "license": "other",
        "license_name": f"{named}-and-recordings",
        "license_link": "LICENSE.md",
        "pipeline_tag": "text-to-speech",
        "tags": ["text-to-speech", "tts-train", manifest["backend"]],
    }
    if story.card:
        fields["language"] = [story.card.language.partition("-")[0].lower()]
    if manifest["base"].get("hub"):
        fields["base_model"] = manifest["base"]["hub"]
    yield "---"
    yield from yaml.safe_dump(fields, sort_keys=True, allow_unicode=True).splitlines()
    yield "---"


def _warnings(manifest: Mapping[str, Any]) -> Iterator[str]:
    if not manifest["confirmed"]:
        yield "> **Not confirmed by ears.** No listener judged this epoch as good before it was shipped."
        yield ""
    if manifest["overrides"]:
        because, refusals = manifest["overrides"]["because"], manifest["overrides"]["refusals"]
        yield f"> **Shipped although {len(refusals)} thing(s) spoke against it.** The reason given: “{_line(because)}”"
        yield ">"
        yield from (f"> - {item['kind']}: {_line(item['message'])}" for item in refusals)
        yield ""


def _verification(manifest: Mapping[str, Any]) -> str:
    checked = manifest["verification"]
    if manifest["verified"]:
        return (
            f"Verified: from this package the probe item `{checked['item']}` came out sample for sample as it was when "
            "it was judged."
        )
    return f"**Not verified** against the render that was judged: {_line(checked['why'])}."


def _measured(metrics: Mapping[str, Any]) -> Iterator[str]:
    here = metrics["epoch"]
    if here is None:
        yield from ("Nothing was measured.", "")
        return
    columns = {"this epoch": here, "untouched base": metrics["base"] or {}, "target speaker": metrics["target"] or {}}
    rows = [(label, *(number(column.get(name)) for column in columns.values())) for name, label in _ROWS.items()]
    yield from table(("measure", *columns), rows)
    yield ""
    measures = measures_from(here)
    if measures.contrasts:
        found = [(name, item.distance, item.placed(), item.verdict) for name, item in measures.contrasts.items()]
        yield from table(("accent", "distance", "base 0 → target 1", "change"), found)
        yield ""
    for name, gate in measures.gates.items():
        told = f": {_line(gate.detail)}" if gate.detail else ""
        yield f"- gate `{name}` {'passed' if gate.passed else '**failed**'}{told}"
    yield ""


def _terms(story: Story) -> Iterator[str]:
    licence, base = asdict(story.licence), _line(story.manifest["base"]["name"])
    link = f" ({licence['link']})" if licence["link"] else ""
    use = {True: "commercial use allowed", False: "**non-commercial use only**", None: "commercial use: look it up"}
    yield f"- base {base}: {licence['name']}{link}; {use[licence['commercial']]}. {_line(licence['note'])}".rstrip()
    if story.card is None:
        yield "- recordings: **no card names their licence or anybody's consent**"
    else:
        card = story.card
        yield f"- recordings of {_line(card.speaker)}: {_line(card.licence)}; consent: **{card.consent_basis}**"
        yield f"- source: {_line(card.source)}"
    yield ""


def _line(text: object) -> str:
    """Text on one line, unable to open HTML."""
    return " ".join(str(text).split()).replace("<", "&lt;")
