"""`report` of a dataset: facts on stdout, and files of the kinds that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tts_train.dataset_report.batch import write_batch_state
from tts_train.dataset_report.facts import dataset_facts
from tts_train.dataset_report.page import PAGE, write_page
from tts_train.dataset_report.rows import MANIFEST, REJECTIONS
from tts_train.dataset_report.text import markdown
from tts_train.errors import DiskError, UsageError
from tts_train.files import write_json, write_text
from tts_train.output import progress

HTML = ".html"
_KINDS = (".md", ".json", HTML)


def kind_of(output: Path) -> str:
    """By its ending. Raises UsageError for an unknown one."""
    if output.suffix not in _KINDS:
        raise UsageError(f"{output} has no ending that says what it is to be", hint=f"end it in {', '.join(_KINDS)}")
    return output.suffix


def report_dataset(folder: Path, outputs: Sequence[Path], *, embed: bool = False) -> dict[str, Any]:
    """A dataset's facts, its files written. Returns `dataset_facts` and {page, batch_state, text, outputs}."""
    pages = [output for output in outputs if kind_of(output) == HTML]
    if embed and not pages:
        raise UsageError("--embed is for a page to hand on", hint="add --output FILE.html")
    facts = dataset_facts(folder)
    facts |= {
        # A card alone, as of a dataset that is still to be made, gives no page.
        "page": _kept_up(PAGE, lambda: write_page(folder)) if _has_clips(folder) else None,
        "batch_state": _kept_up(".batch_state.json", lambda: write_batch_state(folder)),
    }
    facts["text"] = markdown(facts)
    for output in pages:
        write_page(folder, output=output, embed=embed)
    return {**facts, "outputs": write_outputs(facts, outputs)}


def write_outputs(facts: Mapping[str, Any], outputs: Sequence[Path]) -> list[str]:
    """Write the markdown and JSON ones; returns the names of all."""
    for output in outputs:
        if kind_of(output) == ".md":
            write_text(output, facts["text"])
        elif kind_of(output) == ".json":
            write_json(output, {name: value for name, value in facts.items() if name != "text"})
    return [str(output) for output in outputs]


def _has_clips(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (MANIFEST, REJECTIONS))


def _kept_up(name: str, write: Callable[[], Path]) -> str | None:
    """A dataset's own file, renewed where that is possible: a report of a read-only dataset is still a report."""
    try:
        return str(write())
    except DiskError as error:
        progress(f"{name} was not written: {error.message}")
        return None
