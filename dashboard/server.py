"""The dashboard's server: `streamlit run server.py`, which is what `run.sh dashboard` does."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading

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


def end_with_the_command() -> None:
    """Wait for the other end of stdin, which `run.sh dashboard` holds: killed or not, it leaves no server behind."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if stat.S_ISFIFO(os.fstat(0).st_mode):
    threading.Thread(target=end_with_the_command, daemon=True).start()

app = st.App(
    "main.py",
    on_script_error=tell,
    routes=[clips.route],
    middleware=[Middleware(OwnPagesOnly, token=os.environ.get("TTS_TRAIN_SHARE_TOKEN") or None)],
)
