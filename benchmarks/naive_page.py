"""The page that one writes first: every epoch of a run in a player of its own, a form below. For dashboard.py."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

root = Path(os.environ["TTS_TRAIN_WORKSPACE"]) / "artifacts/tts"
run = st.selectbox("Run", sorted(path.parent.name for path in root.glob("*/run.json")), key="run", bind="query-params")
renders = next((root / run / "renders").iterdir())
for folder in [renders / "target", *sorted(renders.glob("epoch-*"))]:
    st.caption(folder.name)
    st.image(folder / "passage.waveform.png")
    st.image(folder / "passage.mel.png")
    st.audio(folder / "matched" / "passage.wav")
with st.form("verdict"):
    st.pills("What do you hear?", ["no difference", "words mangled", "feature missing", "on target"])
    st.text_area("Notes")
    st.form_submit_button("Save verdict")
st.html(f"<output>{run}</output>")
