"""What the Runs and Verdicts pages read, kept while the files behind it stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from tts_train.errors import TtsTrainError
from tts_train.files import read_json
from tts_train.review.export import Said
from tts_train.review.lineage import lineage
from tts_train.review.overview import run_row
from tts_train.review.record.store import Store, database
from tts_train.training.metrics import read_metrics
from tts_train.training.status import ALIVE, read_status
from tts_train.workspace import Workspace
from views.runs import Curves, curves_of
from views.verdicts import everything


def is_live(workspace: Workspace, names: Iterable[str]) -> bool:
    """Whether any of these runs trains."""
    return any(_state(workspace.runs / name) in ALIVE for name in names)


def rows(workspace: Workspace, names: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of `list_runs` for these runs; whether a run's process still lives is asked each time."""
    judged: dict[str, int] = {}
    for run in _judged(workspace, _times(_database_files(workspace))):
        judged[run] = judged.get(run, 0) + 1
    found = []
    for name in names:
        row = _row(workspace, name, judged.get(name, 0), _stamp(workspace.runs / name))
        readable = row["state"] != "unreadable"
        found.append({**row, "state": _state(workspace.runs / name)} if readable else row)
    return found


def curves(workspace: Workspace, run: str) -> Curves:
    """A run's curves."""
    path = workspace.runs / run / "metrics.jsonl"
    return _curves(path, _times([path]))


def vowel_space(path: Path) -> Mapping[str, Any] | None:
    """The `vowel_space` of a measures.json; None without the file or without vowels."""
    return _vowel_space(path, _times([path])) if path.is_file() else None


def family(workspace: Workspace, run: str) -> str:
    """The lineage of a run as a tree of text."""
    files = [*workspace.configs.glob("*.yaml"), *workspace.voices.glob("*/voice.json"), *_database_files(workspace)]
    for folder in workspace.runs.glob("*/run.json"):
        files += [folder, folder.parent / "status.json", folder.parent / "epochs"]
    return _family(workspace, run, _times(files))


def moves(workspace: Workspace, run: str) -> list[dict[str, Any]]:
    """Moves on a run whose child config was written; asking does not create the database."""
    if not database(workspace).is_file():
        return []
    with Store(database(workspace)) as store:
        return store.moves(run)


def said(workspace: Workspace) -> list[Said]:
    """All that was said, run by run."""
    epochs = [path.parent / "epochs" for path in workspace.runs.glob("*/run.json")]
    return _said(workspace, _times([*_database_files(workspace), *epochs]))


@st.cache_data(max_entries=4, show_spinner=False)
def _judged(workspace: Workspace, stamp: tuple[int, ...]) -> list[str]:  # noqa: ARG001  part of the key
    if not database(workspace).is_file():
        return []
    with Store(database(workspace)) as store:
        return [verdict.run for verdict in store.verdicts()]


@st.cache_data(max_entries=2000, show_spinner=False)
def _row(workspace: Workspace, name: str, verdicts: int, stamp: tuple[int, ...]) -> dict[str, Any]:  # noqa: ARG001  part of the key
    return run_row(workspace.runs / name, verdicts)


@st.cache_resource(max_entries=32, show_spinner=False)
def _curves(path: Path, stamp: tuple[int, ...]) -> Curves:  # noqa: ARG001  part of the key
    return curves_of(read_metrics(path))


@st.cache_data(max_entries=400, show_spinner=False)
def _vowel_space(path: Path, stamp: tuple[int, ...]) -> Mapping[str, Any] | None:  # noqa: ARG001  part of the key
    space: Mapping[str, Any] | None = read_json(path).get("vowel_space")
    return space


@st.cache_data(max_entries=16, show_spinner=False)
def _family(workspace: Workspace, run: str, stamp: tuple[int, ...]) -> str:  # noqa: ARG001  part of the key
    return str(lineage(workspace, run)["text"])


@st.cache_resource(max_entries=2, show_spinner=False)
def _said(workspace: Workspace, stamp: tuple[int, ...]) -> list[Said]:  # noqa: ARG001  part of the key
    return everything(workspace)


def _state(folder: Path) -> str:
    """A run's state; "unreadable" when status.json is no status."""
    try:
        return str(read_status(folder)["state"])
    except (TtsTrainError, OSError, ValueError, KeyError, TypeError):
        return "unreadable"


def _database_files(workspace: Workspace) -> list[Path]:
    path = database(workspace)
    return [path, path.with_name(f"{path.name}-wal")]


def _stamp(folder: Path) -> tuple[int, ...]:
    """Changes whenever the run goes on, or an epoch is published, rendered or measured."""
    files = [folder / "run.json", folder / "status.json", folder / "epochs"]
    return _times([*files, *folder.glob("renders/*"), *folder.glob("renders/*/*/measures.json")])


def _times(paths: Iterable[Path]) -> tuple[int, ...]:
    found = []
    for path in paths:
        try:
            about = path.stat()
        except FileNotFoundError:
            found.append(0)
        else:
            found += [about.st_mtime_ns, about.st_size]
    return tuple(found)
