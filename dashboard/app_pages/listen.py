"""Listen: plan a blind session, sit it, close it, and only then see what was what."""

from __future__ import annotations

import contextlib
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException

import clips
import state
from player.component import trial
from tts_train.errors import TtsTrainError
from tts_train.review.commandline import command_line
from tts_train.review.compare import compare
from tts_train.review.decision.next import propose
from tts_train.review.sessions.answers import record_answer
from tts_train.review.sessions.sessions import close_session, list_sessions, new_session, show_session
from views import listen as view
from views.names import epoch_name, plain

LISTED = 12


def told(error: TtsTrainError) -> str:
    return f"{plain(error.message)}. {plain(error.hint)}"


def open_session(identifier: str) -> None:
    st.query_params["session"] = identifier


def leave() -> None:
    st.query_params.pop("session", None)


def shed() -> None:
    """A run or an epoch in the address would tell what is heard."""
    for name in [name for name in st.query_params if name != "session"]:
        # Still bound by the page that was left: Streamlit then drops it itself after this rerun.
        with contextlib.suppress(StreamlitAPIException):
            del st.query_params[name]


def plan() -> None:
    """The form of a new session, and those that are there."""
    st.header("Blind listening", anchor=False)
    names = state.run_names()
    if not names:
        command = command_line(state.workspace(), "demo")
        st.info("There is no run to listen to yet. This makes one in some minutes:")
        st.code(command, language="bash")
        return
    # Not the other pages' bound widgets: what is bound stays in the address, where a listener would read it.
    asked = st.query_params.get("run")
    here, there = st.columns([3, 2], gap="large")
    with here:
        run = st.selectbox("Run", names, names.index(asked) if asked in names else 0, key="listen_run")
        plan_form(run, st.query_params.get("listener", ""))
    with there:
        sessions()


def plan_form(run: str, listener: str) -> None:
    try:
        epochs = [epoch.epoch for epoch in state.evidence(run).epochs if epoch.epoch]
    except TtsTrainError as error:
        st.info(told(error))
        return
    with st.form("plan", enter_to_submit=False):
        who = st.text_input("Listener", listener, max_chars=64, placeholder="one name per person, who listens alone")
        kind = st.radio("Question", list(view.KINDS), format_func=view.KINDS.__getitem__)
        chosen = st.multiselect(
            "Epochs", epochs, format_func=epoch_name, placeholder="all; for ABX the last one", key=f"epochs {run}"
        )
        count = st.number_input(
            "Trials in all, controls too", 4, 500, None, placeholder="as many as the question needs"
        )
        sighted = st.checkbox("Sighted: tell what each clip is. Such answers are never counted.")
        st.caption(
            "Hidden in: the base, the same clip twice, repeats with swapped sides, a low anchor, the real speaker."
        )
        if not st.form_submit_button("Plan the session", type="primary"):
            return
    if not who.strip():
        st.error("Say who listens: a session is one person's.")
        return
    try:
        made = new_session(
            state.workspace(), run, kind=kind, listener=who, epochs=chosen or None, trials=count, sighted=sighted
        )
    except TtsTrainError as error:
        st.error(told(error))
        return
    st.session_state[f"notes {made['session']}"] = made["notes"]
    open_session(made["session"])
    st.rerun()


def sessions() -> None:
    rows = list_sessions(state.workspace())["sessions"]
    for name, button in (("open", "Listen"), ("closed", "Result")):
        there = view.session_rows(rows, name)
        st.subheader(f"{name.capitalize()} sessions", anchor=False)
        if not there:
            st.caption("None.")
        for row in there[:LISTED]:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.button(button, key=f"go {row['session']}", on_click=open_session, args=(row["session"],))
                st.markdown(plain(view.session_line(row)))
        if len(there) > LISTED:
            st.caption(f"The newest {LISTED} of {len(there)}.")


def sit(shown: dict[str, Any]) -> None:
    """One trial after the other."""
    place = state.workspace()
    sitting = view.sitting_of(place, shown)
    st.progress(sitting.share, text=f"{plain(sitting.listener)} · {sitting.progress}")
    if sitting.trial is None:
        st.success("Every trial is answered. Closing is for good; then it is told what was what.")
        st.button("Close and reveal", type="primary", on_click=close, args=(sitting.session,))
    else:
        if not sitting.answered:
            st.caption(view.opening(sitting.kind, sitting.trials))
            for note in st.session_state.get(f"notes {sitting.session}", ()):
                st.caption(f"To whoever planned it: {plain(note)}.")
        listen(sitting)
    with st.expander("Stop, or listen elsewhere"):
        st.button("All sessions", on_click=leave, help="What was answered is kept; the session goes on where you left.")
        if sitting.trial is not None:
            st.button("End for good, with trials left", on_click=close, args=(sitting.session, True))
        if sitting.blind:
            st.caption("For a listener elsewhere: one file to send, and one that comes back.")
            st.code(
                command_line(place, "session", "export", sitting.session, "listen.zip")
                + "\n"
                + command_line(place, "session", "import", "answers.json"),
                language="bash",
            )


def listen(sitting: view.Sitting) -> None:
    place, coming = state.workspace(), sitting.trial
    assert coming is not None
    if sitting.labels:
        st.warning(f"Sighted, never counted. {plain(sitting.labels)}")
    given = trial(
        coming["token"],
        coming["kind"],
        view.sides(place, sitting, clips.register),
        key="trial",
        question=coming["question"],
        transcript=view.transcript(coming),
        questions=coming["questions"],
        note=coming["note"],
        refused=st.session_state.pop("refused", None),
    )
    if given is None:
        return
    try:
        record_answer(place, view.answer_of(sitting, given))
    except TtsTrainError as error:
        st.session_state["refused"] = f"Not recorded: {error.message}. {error.hint}."
    st.rerun()


def close(identifier: str, early: bool = False) -> None:
    try:
        close_session(state.workspace(), identifier, early=early)
    except TtsTrainError as error:
        st.session_state["trouble"] = told(error)


def reveal(shown: dict[str, Any]) -> None:
    """What was what, what it amounts to, and what to do next."""
    place, run = state.workspace(), shown["run"]
    st.header(f"{plain(shown['listener'])} on {plain(run)}", anchor=False)
    closed = shown["closed"][:16].replace("T", " ")
    st.caption(f"{shown['kind']} · {shown['answered']} of {shown['trials']} trials answered · closed {closed} UTC")
    try:
        compared, move = compare(place, run), propose(place, run)
    except TtsTrainError as error:
        st.error(told(error))
        return
    st.subheader("All blind sessions on this run", anchor=False)
    st.markdown(plain(view.headline(compared)))
    for line in view.abx_lines(compared):
        st.markdown(plain(line))
    standing = view.standing_rows(compared)
    if standing:
        st.dataframe(standing, hide_index=True, width="stretch")
    for caution in [*(item["said"] for item in compared["conflicts"]), *compared["cautions"]]:
        st.warning(plain(caution))
    for line in view.uncounted(compared):
        st.caption(plain(line))
    st.subheader(f"Suggested move: {plain(move['move'])}, epoch {move['epoch']}", anchor=False)
    st.markdown(plain(f"{move['diagnosis']} {move['because']}"))
    st.caption(plain(f"Confidence: {move['confidence']['level']}"))
    st.code(move["command"], language="bash")
    with st.expander("Trial by trial", expanded=True):
        st.dataframe(view.revealed_rows(shown), hide_index=True, width="stretch")
    st.button("All sessions", on_click=leave)


identifier = st.query_params.get("session")
if identifier is None:
    plan()
else:
    shed()
    if "trouble" in st.session_state:
        st.error(st.session_state.pop("trouble"))
    try:
        found = show_session(state.workspace(), identifier)
        if found["closed"]:
            reveal(found)
        else:
            sit(found)
    except TtsTrainError as problem:
        st.error(told(problem))
        st.button("All sessions", on_click=leave)
