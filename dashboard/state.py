"""What pages share: the workspace, the run and the listener they are about, and reads that are kept while files stand.

A read is keyed on the times of the files behind it, so nothing is read twice and nothing old is shown.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from tts_train.files import read_json
from tts_train.probe.material import Stimulus, stimuli
from tts_train.probe.probe import Probe
from tts_train.review.decision.evidence import Evidence, read_evidence
from tts_train.review.sessions.playing import probe_of
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace
from views.readings import Place, Reading, read_readings


def workspace() -> Workspace:
    """The workspace that the dashboard was started with."""
    return Workspace.find()


def run_names() -> list[str]:
    """Names of all runs, the one that was touched last first."""
    names, asked = _run_names(workspace()), st.query_params.get("run")
    if asked and asked not in names:  # perhaps a run that began since the list was read: never open another for it
        _run_names.clear()
        names = _run_names(workspace())
    return names


def remember() -> None:
    """Keep what was chosen, for pages that do not ask for it: there Streamlit drops it. To be called by every rerun."""
    for name in ("run", "listener"):
        if name in st.session_state:
            st.session_state[f"kept_{name}"] = st.session_state[name]


def chosen_run() -> str | None:
    """The run that the page is about, from a selectbox bound to ?run=, at first the newest; None when there is none."""
    names = run_names()
    if not names:
        return None
    _recall("run", names)
    return st.selectbox("Run", names, key="run", bind="query-params", width=320)


def listener() -> str:
    """Who listens, from a text field bound to ?listener=; "" until somebody says so."""
    _recall("listener")
    field = st.text_input(
        "Listener", key="listener", bind="query-params", max_chars=64, placeholder="your name", width=160
    )
    return field.strip()


def _recall(name: str, among: list[str] | None = None) -> None:
    """Set a widget as it was before a page without it, unless the address says something else."""
    kept = st.session_state.get(f"kept_{name}")
    if kept and name not in st.session_state and name not in st.query_params and (among is None or kept in among):
        st.session_state[name] = kept


def evidence(run: str) -> Evidence:
    """A run's evidence. Raises InputUnusable when there is no such run or it has published nothing."""
    folder = workspace().run(run)
    return _evidence(workspace(), run, (*_stamp(folder), *_times(folder)))


def playable(run: str, key: str) -> list[Stimulus]:
    """The loudness-matched copies of a run under a render key that can be played today."""
    folder = workspace().run(run)
    return _playable(folder, key, _stamp(folder))


def readings(run: str, key: str) -> dict[Place, Reading]:
    """What measuring noted of a run's renders under a render key: times of words, pictures."""
    folder = workspace().run(run)
    return _readings(folder / "renders" / key, _stamp(folder))


def probe(run: str) -> Probe | None:
    """The run's probe, None when there is none to read any more."""
    config = RunFolder(workspace().run(run)).config()
    path = workspace().path(config.probe.file) if config.probe else None
    return _probe(workspace(), run, path.stat().st_mtime_ns) if path and path.is_file() else None


def json_file(path: Path) -> dict:
    """A JSON file, read once per version of it. Raises FileNotFoundError, InputUnusable when it is not JSON."""
    return _json_file(path, path.stat().st_mtime_ns)


@st.cache_data(ttl=2, show_spinner=False)
def _run_names(place: Workspace) -> list[str]:
    found = [(max(_times(path.parent)), path.parent.name) for path in place.runs.glob("*/run.json")]
    return [name for _, name in sorted(found, key=lambda item: (-item[0], item[1]))]


def _times(folder: Path) -> list[int]:
    return [path.stat().st_mtime_ns for path in (folder / "run.json", folder / "status.json") if path.is_file()]


@st.cache_resource(max_entries=64, show_spinner=False)
def _evidence(place: Workspace, run: str, stamp: tuple[int, ...]) -> Evidence:  # noqa: ARG001  part of the key
    return read_evidence(place, run)


@st.cache_resource(max_entries=64, show_spinner=False)
def _playable(folder: Path, key: str, stamp: tuple[int, ...]) -> list[Stimulus]:  # noqa: ARG001  part of the key
    return stimuli(RunFolder(folder), key)


@st.cache_resource(max_entries=16, show_spinner=False)
def _readings(renders: Path, stamp: tuple[int, ...]) -> dict[Place, Reading]:  # noqa: ARG001  part of the key
    return read_readings(renders)


@st.cache_resource(max_entries=64, show_spinner=False)
def _probe(place: Workspace, run: str, stamp: int) -> Probe | None:  # noqa: ARG001  part of the key
    return probe_of(place, run)


@st.cache_data(max_entries=2000, show_spinner=False)
def _json_file(path: Path, stamp: int) -> dict:  # noqa: ARG001  part of the key
    return read_json(path)


def _stamp(folder: Path) -> tuple[int, ...]:
    """Changes whenever an epoch is published, rendered or measured; not with the heartbeat of a run at work."""
    seen = [folder / "run.json", folder / "epochs", *folder.glob("renders/*")]
    seen += [*folder.glob("renders/*/*"), *folder.glob("renders/*/*/*.json")]
    return tuple(path.stat().st_mtime_ns for path in seen if path.exists())
