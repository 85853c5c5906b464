"""Review: every epoch of a run beside the base and the real speaker, knowing which is which, and a verdict on it.

All that listening touches is one fragment: reruns of a fragment wait for each other, while one of the whole page would
stop the one that brings a verdict, whenever the player tells something just then.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import streamlit as st

import clips
import state
from player.component import Source, player
from sheet_keys import sheet_keys
from tts_train.errors import TtsTrainError
from tts_train.probe.material import TARGET
from tts_train.review.commandline import command_line
from tts_train.review.record.store import verdicts_of
from tts_train.review.record.trials import epoch_of
from tts_train.review.record.verdicts import CATEGORIES, MARKS, Verdict
from tts_train.review.recording import record_verdict
from tts_train.review.sessions.sheets import CATEGORY_LABELS
from tts_train.training.run import RunFolder
from views import readings as heard
from views import review as view
from views.names import epoch_name, plain

STYLE = """<style>
:has(> .st-key-review_save) {position: sticky; bottom: 0; z-index: 2}
.st-key-review_save {background: var(--st-background-color); padding: 0.5rem 0; gap: 0.5rem}
.review-said {margin: 0; font-size: 0.875rem; line-height: 1.4; min-height: 2.8em}
.st-key-review_markers [data-testid="stButtonGroup"] button {padding-inline: 0.55rem}
</style>"""
workspace = state.workspace()


@dataclass(frozen=True)
class Desk:
    """What lies before the listener: one text of one run, under one render key."""

    run: str
    key: str
    item: str
    seed: int
    listener: str

    @property
    def sitting(self) -> view.Sitting:
        return st.session_state.setdefault(f"sitting {self.run} {self.listener}", view.Sitting())


@st.fragment
def review(run: str, key: str, listener: str) -> None:
    """The text, the player, and beside it the sheet."""
    # A choice above that comes in one batch with the player's news reruns this fragment only (Streamlit 1.67).
    if (st.session_state.get("run", run), st.session_state.get("listener", listener).strip()) != (run, listener):
        st.rerun()
    left, right = st.columns([11, 8], gap="large")
    with left:
        desk = choose(run, key, listener)
    if desk is None:
        st.info(f"No epoch of {run} can be heard yet. This has them speak the probe, and measures how:")
        st.code(command_line(workspace, "probe", run), language="bash")
        return
    playable, notes = state.playable(desk.run, desk.key), state.readings(desk.run, desk.key)
    there = heard.clips_of(playable, notes, desk.item, desk.seed)
    trained = [number for clip in there if (number := epoch_of(clip.source))]
    judged = view.judged_by(desk.listener, verdicts_of(workspace, desk.run))
    sitting = desk.sitting
    if sitting.epoch not in trained:
        sitting.epoch = view.next_unjudged(trained, judged, None) or next(iter(trained), None)
    timed = next((clip.reading.words for clip in there if clip.words), ())
    words = heard.written_words(there[0].stimulus.text, timed)
    with left:
        source = listen(desk, there, words, judged)
        silent = heard.silent_epochs(
            RunFolder(workspace.run(desk.run)), desk.key, playable, notes, desk.item, desk.seed
        )
        if silent:
            told = "; ".join(f"{epoch_name(number)}: {plain(why)}" for number, why in silent)
            st.warning(
                f"Cannot be heard: {told}. `{command_line(workspace, 'probe', desk.run)}` makes what is missing."
            )
    with right, st.form(f"review {desk.run} {sitting.saves}", enter_to_submit=False, border=False):
        verdict = sheet(desk, source, words, view.progress_text(trained, judged))
        if verdict:
            save(desk, verdict, trained, judged)
    sheet_keys("review_heard", key="review_keys")


def listen(desk: Desk, there: list[heard.Clip], words: list[str], judged: dict[int, Verdict]) -> str | None:
    """The player with all clips; returns the source that is heard."""
    evidence, sitting = state.evidence(desk.run), desk.sitting
    token = sitting.token(desk.run, desk.key, desk.item, desk.seed)
    listened = player(
        [
            Source(
                id=f"{token}/{clip.source}",
                url=clips.register(clip.stimulus.path),
                label=view.clip_label(clip.source, evidence, judged),
                key=view.clip_key(clip.source),
                words=clip.words,
                reference=clip.source == TARGET,
                waveform=clips.register(clip.reading.waveform) if clip.reading.waveform else None,
                mel=clips.register(clip.reading.mel) if clip.reading.mel else None,
                pictured=clip.reading.pictured,
            )
            for clip in there
        ],
        key="review_player",
        token=token,
        transcript=view.transcript(words, state.probe(desk.run)),
        tags=sitting.tagged(token, desk.item, desk.seed),
        current=f"{token}/epoch-{sitting.epoch or 0:03d}",
    )
    st.caption(f"{view.JUDGED} judged by you · {view.FAILED} failed a gate")
    return sitting.listen(listened, desk.item, desk.seed, words)


def sheet(desk: Desk, source: str | None, words: list[str], progress: str) -> Verdict | None:
    """The sheet on the epoch that is heard; returns it filled in when it is to be saved."""
    evidence, sitting, probe = state.evidence(desk.run), desk.sitting, state.probe(desk.run)
    epoch = sitting.epoch or 0
    key = f"sheet {desk.run} {desk.listener} {sitting.saves}"
    st.subheader(f"Verdict on {epoch_name(epoch)}" if epoch else "Verdict", anchor=False)
    st.caption(f"{view.bound_to(sitting.epoch, source)}  \n{view.measured_text(evidence, epoch)}")
    for name, detail in view.failed_gates(evidence, epoch).items():
        st.markdown(f":red[{view.FAILED} {name} gate failed:] {plain(detail)}")
    moves = view.implied_moves(evidence, epoch)
    with st.container(key="review_heard", gap="small"):
        st.markdown("**What do you hear?** More than one may hold. → is the move that follows from it alone.")
        chosen = tuple(
            category
            for category in CATEGORIES
            if st.checkbox(f"{CATEGORY_LABELS[category]} → {moves.get(category, '…')}", key=f"{key} {category}")
        )
        st.caption("Shift+1 to Shift+6 tick a line, Ctrl+S saves.")
    labels, marks = view.marker_labels(probe, words), {}
    if labels:
        with st.expander(f"Markers: {', '.join(labels)}"), st.container(key="review_markers"):
            for name, label in labels.items():
                marks[name] = st.segmented_control(label, MARKS, format_func=spaced, key=f"{key} marker {name}")
    faults = sitting.words()
    tagged = ", ".join(f"{plain(word)} {fault}" for word, fault in faults.items())
    st.caption(f"Words: {tagged or 'choose one in the text, then m mangled, d dropped, s stretched.'}")
    sure = st.segmented_control("How sure are you? 1 is a guess, 5 certain", range(1, 6), key=f"{key} sure")
    note = st.text_area("Notes", key=f"{key} note", height=68)
    with st.container(key="review_save"):
        saved = st.form_submit_button(
            "Save verdict", type="primary", shortcut="Ctrl+S", key=f"{key} save", width="stretch"
        )
        # Until the next try: a rerun that the player causes right after this one would take the answer away.
        sitting.tried = sitting.tried or saved
        lacking = sitting.missing(chosen, desk.listener) if sitting.tried else ""
        # A toast would be gone with the next rerun, which a player that sounds brings at once.
        st.html(f'<p role="status" class="review-said">{escape(sitting.told)} {escape(progress)}</p>')
        if lacking:
            st.warning(lacking)
        elif sitting.refused and not saved:
            st.error(sitting.refused)
    if not saved or lacking:
        return None
    markers = {name: mark for name, mark in marks.items() if mark}
    return Verdict(desk.run, epoch, desk.listener, chosen, markers, faults, note, sure)


def save(desk: Desk, verdict: Verdict, trained: list[int], judged: dict[int, Verdict]) -> None:
    """Record the verdict and go on to the next epoch that waits for one."""
    try:
        record_verdict(workspace, verdict)
    except TtsTrainError as error:
        desk.sitting.refused = " ".join(plain(f"{text}.") for text in (error.message, error.hint) if text)
        st.rerun()
    following = view.next_unjudged(trained, {**judged, verdict.epoch: verdict}, verdict.epoch)
    desk.sitting.save(following, view.saved_text(verdict, following))
    st.rerun()


def spaced(mark: str) -> str:
    return mark.replace("-", " ")


def choose(run: str, key: str, listener: str) -> Desk | None:
    """One of the run's texts that can be heard."""
    playable, probe = state.playable(run, key), state.probe(run)
    items = heard.items_of(playable, probe)
    if not items:
        return None
    texts = {stimulus.item: stimulus.text for stimulus in playable}
    with st.container(horizontal=True):
        item = st.selectbox(
            "Text", items, format_func=lambda name: f"{name}: {texts[name]}", key=f"review_item {run}", width="stretch"
        )
        seeds = heard.seeds_of(playable, item)
        seed = st.selectbox("Seed", seeds, key=f"review_seed {run}", width=120) if len(seeds) > 1 else seeds[0]
    return Desk(run, key, item, seed, listener)


st.html(STYLE)
with st.container(horizontal=True):
    run = state.chosen_run()
    listener = state.listener()
st.caption("Sighted: you see which epoch you hear. What decides between epochs is listening blind, on the Listen page.")
if run:
    review(run, state.evidence(run).render_key or "", listener)
