"""Verdicts: all that was said of all runs, filtered, and as files to take away."""

from __future__ import annotations

import streamlit as st

import reads
import state
from tts_train.review.record.verdicts import CATEGORIES
from views import verdicts
from views.names import listed, plain

SIGHT = {"all": None, "blind": True, "sighted": False}

said = reads.said(state.workspace())
sheets, answers, counted = verdicts.verdict_rows(said), verdicts.answer_rows(said), verdicts.counts(said)
if not sheets and not answers:
    st.header("Nobody has said anything yet")
    st.markdown("Judge an epoch on the Review page, or plan a blind session on the Listen page; it is told here.")
    if counted["open"]:
        st.caption(f"Sessions under way: {counted['open']}. Their answers are told when they are closed.")
    st.stop()

everybody = sorted({row["listener"] for row in (*sheets, *answers)})
names = [item.run for item in said]
by_run, by_listener, by_category, by_sight = st.columns([3, 2, 3, 2])
with by_run:
    runs = st.multiselect("Runs", names, key="of_runs", bind="query-params", placeholder="all runs")
with by_listener:
    listeners = st.multiselect("Listeners", everybody, key="of_listeners", bind="query-params", placeholder="everybody")
with by_category:
    heard = st.multiselect("Heard", CATEGORIES, key="of_heard", bind="query-params", placeholder="anything")
with by_sight:
    sight = st.segmented_control("Sight", list(SIGHT), default="all", required=True, key="of_sight")
stale = st.toggle("with stale ones: said of weights that the epoch no longer has", value=True, key="of_stale")
chosen = verdicts.Filter(runs, listeners, heard, SIGHT[sight or "all"], stale)

shown = [row for row in sheets if chosen.passes(row)]
st.subheader(f"Verdicts: {len(shown)} of {len(sheets)}", anchor="verdicts")
if shown:
    st.dataframe(
        shown,
        hide_index=True,
        placeholder="–",
        key="verdicts",
        column_order=[name for name in shown[0] if name != "id"],
        column_config={
            "at": st.column_config.DatetimeColumn("when (UTC)", format="YYYY-MM-DD HH:mm"),
            "heard": st.column_config.ListColumn(),
            "markers": st.column_config.ListColumn(),
            "words": st.column_config.ListColumn(),
            "confidence": st.column_config.NumberColumn(help="1, a guess, to 5, certain"),
            "stale": st.column_config.CheckboxColumn(help="said of weights that the epoch no longer has"),
        },
        alt="verdicts on epochs",
    )
else:
    st.caption("None that fits." if sheets else "No verdict on an epoch yet: the Review page takes them.")

shown = [row for row in answers if chosen.passes(row)]
st.subheader(f"Answers of closed sessions: {len(shown)} of {len(answers)}", anchor="answers")
if shown:
    st.dataframe(
        shown,
        hide_index=True,
        placeholder="–",
        key="answers",
        column_config={"at": st.column_config.DatetimeColumn("when (UTC)", format="YYYY-MM-DD HH:mm")},
        alt="answers to the trials of closed sessions",
    )
else:
    st.caption("None that fits." if answers else "No session was closed yet: the Listen page plans and closes them.")
if counted["unanswered"]:
    st.caption(f"Trials of closed sessions that nobody answered: {counted['unanswered']}.")
if counted["open"]:
    st.caption(f"Sessions under way: {counted['open']}. Their answers are told when they are closed.")

st.subheader("Take away", anchor="export")
lost = verdicts.gone(state.workspace(), runs or names)
kept = [run for run in runs or names if run not in lost]
st.caption(
    "For each run: verdicts.csv, trials.csv, reviews.json and methods.md, a draft of a paper's methods section."
    " The filter on runs counts, the others do not: who picks answers finds what he likes."
)
if kept:
    st.download_button(
        f"Download {len(kept)} run{'s' if len(kept) > 1 else ''} (zip)",
        lambda: verdicts.exported(state.workspace(), kept),
        file_name="reviews.zip",
        mime="application/zip",
        key="export",
        on_click="ignore",
    )
if lost:
    st.caption(plain(f"Of runs whose folder is gone nothing can be exported: {listed(lost)}."))
