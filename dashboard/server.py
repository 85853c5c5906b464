"""The dashboard's server: `streamlit run server.py`, which is what `run.sh dashboard` does."""

from __future__ import annotations

import os

# Half of a first visit's wait is for altair and pandas: they are loaded before anybody comes.
import altair as alt  # noqa: F401
import pandas as pd  # noqa: F401
import streamlit as st
from starlette.middleware import Middleware

import clips
from security import OwnPagesOnly


def tell(error: Exception) -> bool:
    """A bug as a sentence; Streamlit has written where it is to the terminal: a listener can do nothing about it."""
    st.error(
        f"This page broke ({type(error).__name__}). That is a bug: the terminal of the dashboard has its traceback."
    )
    return True


app = st.App(
    "main.py",
    on_script_error=tell,
    routes=[clips.route],
    middleware=[Middleware(OwnPagesOnly, token=os.environ.get("TTS_TRAIN_SHARE_TOKEN") or None)],
)
