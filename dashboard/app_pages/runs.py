"""Runs: what each is doing and has become, its evidence, and the move that follows. Training is started elsewhere."""

from __future__ import annotations

import streamlit as st

import reads
import run_sections as sections
import state
from tts_train.errors import TtsTrainError
from views.names import plain

# Seconds between looks, while a run trains and while none does.
LIVE, QUIET = 5, 30
TABS = ("Training", "Evidence", "Vowels", "Next move", "Lineage", "Dataset")

names = state.run_names()
pace = LIVE if reads.is_live(state.workspace(), names[: sections.FIRST]) else QUIET
st.fragment(sections.show_list, run_every=pace)()
run = state.chosen_run() or ""
if not sections.is_readable(run):
    st.stop()
st.fragment(sections.show_status, run_every=pace)(run)

# Only the open tab is worked out.
training, evidence, vowels, move, lineage, dataset = st.tabs(TABS, key="part", on_change="rerun", bind="query-params")
try:
    known, missing = state.evidence(run), ""
except TtsTrainError as error:
    known, missing = None, error.message

if training.open:
    with training:
        st.fragment(sections.show_curves, run_every=pace)(run)
if move.open:
    with move:
        sections.show_next(run)
if lineage.open:
    with lineage:
        st.code(reads.family(state.workspace(), run), language=None)
if dataset.open:
    with dataset:
        sections.show_dataset(run)
for tab, show in ((training, sections.show_epochs), (evidence, sections.show_evidence), (vowels, sections.show_vowels)):
    if tab.open:
        with tab:
            if known:
                show(run, known)
            else:
                st.info(plain(missing))
