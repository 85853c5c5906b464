"""The frame of every page: navigation, what there is when there is nothing, and errors as sentences."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

import state
from tts_train.errors import TtsTrainError

HERE = Path(__file__).parent
STYLE = """<style>
[data-testid="stApp"] {--st-background-color: light-dark(LIGHT, DARK)}
[data-testid="stMainBlockContainer"] {padding-top: 4.5rem; padding-bottom: 2rem}
[data-testid^="stBaseButton-primary"], [data-testid^="stBaseButton-primary"] * {color: var(--st-background-color)}
</style>"""
PAGES = {"review": "Review", "listen": "Listen", "runs": "Runs", "verdicts": "Verdicts"}


def frame() -> None:
    st.set_page_config("tts-train", layout="wide", initial_sidebar_state="collapsed")
    pages = [st.Page(HERE / "app_pages" / f"{name}.py", title=title) for name, title in PAGES.items()]
    page = st.navigation(pages, position="top")
    st.html(styled(STYLE))
    state.remember()
    try:
        if state.run_names():
            page.run()
        else:
            nothing_yet()
    except TtsTrainError as error:
        st.error(error.message)
        for problem in error.problems:
            st.text(str(problem))
        if error.hint:
            st.markdown("Try:")
            st.code(error.hint, language=None, wrap_lines=True)


def styled(style: str) -> str:
    for name in ("light", "dark"):
        style = style.replace(name.upper(), st.get_option(f"theme.{name}.backgroundColor"))
    return style


def nothing_yet() -> None:
    st.header("No runs yet")
    st.markdown(f"There is no training run in `{state.workspace().runs}`.")
    st.markdown("The demo makes some: the whole loop on the packaged audiobook, in minutes, on a CPU.")
    st.code("./run.sh demo\n./run.sh dashboard --workspace artifacts/demo", language=None, wrap_lines=True)
    st.markdown("Or train a voice of your own; its epochs are rendered and measured at the end.")
    st.code("./run.sh train-local configs/tts/VOICE.yaml", language=None, wrap_lines=True)


frame()
