"""A minimal Streamlit app around the player, for test_component.py: clips in static/, what Python sees as text."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import streamlit as st

sys.path.insert(0, str(Path(__file__).parents[2] / "dashboard"))

from player.component import Source, TranscriptWord, player, trial

CLIPS = json.loads(Path(os.environ["CLIPS"]).read_text())


def source(name: str, **more: object) -> Source:
    return Source(id=name, url=f"app/static/{name}.wav", words=CLIPS[name], **more)


def transcript() -> list[TranscriptWord]:
    return [TranscriptWord(word["word"], "BATH" if k == 1 else None) for k, word in enumerate(CLIPS["s0"])]


def shown(name: str, value: object) -> None:
    """As text that a browser finds; the count tells one rerun from the next."""
    st.html(f'<output data-name="{name}">{json.dumps(value)}</output>')


def count(name: str) -> int:
    st.session_state[name] = st.session_state.get(name, 0) + 1
    return st.session_state[name]


@st.fragment
def review() -> None:
    blind = st.toggle("blind")
    token = st.pills("content", ["one", "two"], default="one", required=True)
    sources = [source(f"s{k}", label=f"epoch {k}", reference=k == 2) for k in range(3)]
    # Other data at every rerun: the component is called again, and must go on with what it has.
    first = sources[(count("mounts") - 1) % 3].id
    listened = player(
        sources, key="player", token=f"{token} {blind}", transcript=transcript(), blind=blind, current=first
    )
    with st.form("verdict", enter_to_submit=False):
        st.text_area("notes", key="notes")
        if st.form_submit_button("Save", shortcut="Ctrl+S"):
            st.session_state["saved"] = {"current": listened.current, "notes": st.session_state["notes"]}
    shown("saved", st.session_state.get("saved"))
    shown("listened", asdict(listened))
    shown("reruns", count("reruns"))


def session() -> None:
    answers = st.session_state.setdefault("answers", [])
    if len(answers) < 2:
        number = len(answers)
        given = trial(
            f"trial{number}",
            "ab",
            {"first": source("s0"), "second": source("s1")},
            key="trial",
            question=f"Trial {number}: which do you prefer?",
            transcript=transcript(),
        )
        if given:
            answers.append(asdict(given))
            st.rerun()
    shown("answers", answers)
    shown("reruns", count("session reruns"))


pages = [st.Page(review, title="Review", default=True), st.Page(session, title="Session", url_path="session")]
st.navigation(pages, position="top").run()
shown("pages", count("pages"))
