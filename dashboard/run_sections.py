"""The parts of the Runs page: each reads, asks the views, and places widgets."""

from __future__ import annotations

from functools import partial

import streamlit as st

import reads
import state
from tts_train.dataset_report import dataset_facts
from tts_train.errors import TtsTrainError
from tts_train.review.commandline import command_line, shown
from tts_train.review.decision.evidence import Evidence
from tts_train.review.decision.next import propose
from tts_train.review.record.store import verdicts_of
from tts_train.review.status import run_status
from tts_train.training.run import RunFolder
from views import charts, runs, vowels
from views.names import epoch_name, plain

FIRST = 50
"""Runs in the list before all are asked for."""


def colours() -> charts.Palette:
    """Those of the theme that the reader sees."""
    return charts.palette(dark=st.context.theme.type == "dark")


def show_command(command: str) -> None:
    """A command to copy."""
    st.code(runs.typed(command, state.workspace()), language="bash", wrap_lines=True)


def pick(key: str) -> None:
    """A click on a row of the list is a choice of the run below."""
    chosen = st.session_state[key].selection.rows
    if chosen:
        st.session_state["run"] = st.session_state["runs_listed"][chosen[0]]
        st.session_state["runs_picked"] = True


def show_list() -> None:
    workspace = state.workspace()
    if st.session_state.pop("runs_picked", False):
        st.rerun(scope="app")
    names = state.run_names()
    every = st.toggle(f"all {len(names)} runs", key="runs_all") if len(names) > FIRST else False
    rows = runs.run_rows(reads.rows(workspace, names if every else names[:FIRST]))
    st.session_state["runs_listed"] = listed = [row["run"] for row in rows]
    run = st.session_state.get("run") or st.query_params.get("run")
    # A list of its own for each choice: the row that is ticked is that of the run below, however it was chosen.
    key = f"runs_list {run}"
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="–",
        height=min(290, 35 * len(rows) + 38),
        key=key,
        on_select=partial(pick, key),
        selection_mode="single-row",
        selection_default={"selection": {"rows": [listed.index(run)]}} if run in listed else None,
        column_config={
            "run": st.column_config.TextColumn(pinned=True),
            "lr": st.column_config.NumberColumn(format="%.1e"),
            "similarity": st.column_config.NumberColumn(format="%.3f"),
            "WER %": st.column_config.NumberColumn(format="%.1f"),
        },
        alt="all runs with their state, settings, measures and verdicts",
    )


def is_readable(run: str) -> bool:
    """Whether the run's files can be read; what is wrong with them is told."""
    (row,) = reads.rows(state.workspace(), [run])
    if row["state"] != "unreadable":
        return True
    st.error(plain(f"The files of run '{run}' cannot be read: {row.get('reason') or 'status.json is damaged'}."))
    st.caption("Restore them from a copy, or remove the run's folder. What was said of it is on the Verdicts page.")
    return False


def show_status(run: str) -> None:
    try:
        told = runs.status_of(run_status(state.workspace(), run))
    except TtsTrainError as error:
        st.warning(plain(error.message))
        return
    box = {"success": st.markdown, "info": st.info, "warning": st.warning, "error": st.error}[told.level]
    box(plain(told.line))
    if told.share is not None:
        st.progress(min(told.share, 1.0))


def show_curves(run: str) -> None:
    workspace = state.workspace()
    drawn = reads.curves(workspace, run)
    if not drawn.lr and not drawn.drift:
        st.caption("No optimizer step is on record: the run has not begun, or was trained elsewhere.")
        return
    places = st.columns(4)
    with places[0]:
        st.caption("Loss: steps thin, epochs bold")
        st.altair_chart(charts.loss(drawn, colours()), key="loss", alt="loss over steps")
    lines = (
        ("lr", "Learning rate", drawn.lr, ".0e"),
        ("sum-lr", "Σlr: sum of the rates", drawn.sum_lr, "~g"),
        ("drift", "Drift: ‖w−w₀‖ / ‖w₀‖", drawn.drift, ".1%"),
    )
    for place, (name, told, points, form) in zip(places[1:], lines, strict=True):
        with place:
            st.caption(told)
            chart = charts.over_steps(points, name, colours(), dots=name != "lr", form=form)
            st.altair_chart(chart, key=name, alt=f"{told}, over steps")


def show_epochs(run: str, evidence: Evidence) -> None:
    workspace = state.workspace()
    st.dataframe(
        runs.epoch_rows(evidence, verdicts_of(workspace, run)),
        hide_index=True,
        placeholder="–",
        key="epochs",
        column_config={
            "epoch": st.column_config.NumberColumn(pinned=True, help="0 is the untouched base"),
            "loss": st.column_config.NumberColumn(format="%.3f"),
            "Σlr": st.column_config.NumberColumn(format="%.1e"),
            "drift %": st.column_config.NumberColumn(format="%.2f"),
            "WER %": st.column_config.NumberColumn(format="%.1f"),
            "similarity": st.column_config.NumberColumn(format="%.3f"),
            "mel dB": st.column_config.NumberColumn(format="%.2f"),
            "pace": st.column_config.NumberColumn(format="%.2f", help="words per second"),
            "shown": st.column_config.TextColumn(help="accent evidence that is shown against the base"),
        },
        alt="one row per epoch: training, measures, gates, verdicts",
    )
    failed = runs.gate_lines(evidence)
    if failed:
        st.markdown("\n".join(["**Gates that failed**", "", *(f"- {plain(line)}" for line in failed)]))
    elif not evidence.measured:
        st.caption("Nothing was measured yet. Type this, then the epochs can be heard and compared:")
        show_command(command_line(workspace, "probe", run))


def show_evidence(_run: str, evidence: Evidence) -> None:
    rows = runs.contrast_rows(evidence)
    if not rows:
        st.info("No accent evidence: the probe asks for no contrast, its vowels were not measured, or nothing was yet.")
        return
    placed = runs.progress_points(evidence)
    plot, table = st.columns([2, 3], gap="medium")
    with plot:
        st.caption("Where each epoch stands between the base (t = 0) and the real speaker (t = 1), with 95 % intervals")
        if placed:
            st.altair_chart(charts.progress(placed, colours()), key="progress", alt="t of each contrast over epochs")
        else:
            st.caption("Base and real speaker differ on none of them beyond noise: there is no line to stand on.")
    with table:
        st.dataframe(
            rows,
            hide_index=True,
            placeholder="–",
            key="contrasts",
            alt="contrasts and glides of each epoch with intervals",
        )
        st.caption("Evidence informs, ears decide. “Not shown” is an answer: of many looks some will be wrong.")


def show_vowels(run: str, evidence: Evidence) -> None:
    workspace = state.workspace()
    spaces = vowels.read_spaces(RunFolder(workspace.run(run)), evidence, reads.vowel_space)
    epochs = [name for name in spaces if name not in (vowels.BASE, vowels.SPEAKER)]
    if not epochs:
        st.info("No vowel was measured: the probe marks no words, or no epoch was measured yet.")
        return
    known, judged = vowels.known_sets(spaces), vowels.judged_sets(evidence)
    pick_epochs, pick_sets, pick_space = st.columns([2, 3, 1])
    asked = st.query_params.get("epoch", "")
    middle = vowels.starting_epochs(spaces, int(asked) if asked.isdecimal() else None)
    shown = pick_epochs.multiselect("Epochs", epochs, default=middle, max_selections=charts.MOST_EPOCHS)
    sets = pick_sets.multiselect("Lexical sets", known, default=[name for name in known if name in judged] or known)
    space = pick_space.segmented_control(
        "Scale", list(vowels.UNITS), format_func=vowels.UNITS.get, default="z", required=True, key="scale"
    )
    sources = [name for name in spaces if name in (vowels.BASE, vowels.SPEAKER, *shown)]
    drawn = vowels.plot(spaces, sources, sets, vowels.glide_sets(evidence), space or "z")
    if not drawn.means:
        st.info("Nothing to draw: choose a lexical set, or Hz (too few sets were measured to normalise).")
        return
    picture, numbers = st.columns([5, 3], gap="medium")
    with picture:
        st.altair_chart(charts.vowels(drawn, space or "z", colours()), key="vowels", alt=vowels.told(drawn))
    with numbers:
        st.caption(
            "Shape and colour say who speaks. A dashed line joins one set from the base to the real speaker. Outlines"
            " are one standard deviation over words. A line that thickens is a glide, from 20 % to 80 % of the vowel."
        )
        form = st.column_config.NumberColumn(format="%.2f" if space == "z" else "%.0f")
        st.dataframe(
            list(drawn.means),
            hide_index=True,
            height=400,
            key="means",
            column_config={"F1": form, "F2": form},
            alt="means of each lexical set",
        )


def write_child(run: str) -> None:
    """The one button that writes: looked at again when pressed, so that two presses or two tabs make one child."""
    workspace = state.workspace()
    try:
        proposal = propose(workspace, run)
        if not child_of(run, proposal):
            propose(workspace, run, write=True)
    except TtsTrainError as error:
        st.session_state["runs_refused"] = f"{error.message}. {error.hint}"


def child_of(run: str, proposal: dict) -> dict | None:
    """The child that this proposal has already."""
    workspace = state.workspace()
    configs = {workspace.relative(path) for path in workspace.configs.glob("*.yaml")}
    return runs.written_before(proposal, reads.moves(workspace, run), configs)


def show_next(run: str) -> None:
    workspace = state.workspace()
    try:
        proposal = propose(workspace, run)
    except TtsTrainError as error:
        st.info(plain(error.message))
        if error.hint:
            st.caption(plain(error.hint))
        return
    moves = " + ".join([proposal["move"], *proposal["also"]])
    st.markdown(f"#### {moves}\n\n{plain(proposal['diagnosis'])} {plain(proposal['because'])}")
    sure = proposal["confidence"]
    st.caption(
        f"Speaks of {epoch_name(proposal['epoch'])}, from {proposal['basis']}. Confidence: {sure['level']}"
        f" ({plain('; '.join(sure['because']))})."
    )
    grounds, change = st.columns([3, 2], gap="medium")
    with grounds:
        st.markdown("\n".join(["**Evidence**", "", *(f"- {plain(quote['text'])}" for quote in proposal["evidence"])]))
        told = [runs.conflict_line(conflict) for conflict in proposal["conflicts"]]
        if told:
            st.markdown("\n".join(["**Conflicts**", "", *(f"- {plain(line)}" for line in told)]))
        minds = proposal["would_change_its_mind"]
        st.markdown("\n".join(["**What would change this**", "", *(f"- {plain(text)}" for text in minds)]))
    with change:
        show_child(run, proposal)


def show_child(run: str, proposal: dict) -> None:
    workspace = state.workspace()
    child = proposal["child"]
    if child is None:
        st.markdown("**Nothing to train.** Type:")
        show_command(proposal["command"])
        return
    st.markdown(f"**What it changes** in the config\n\n{plain(child['summary'])}")
    st.dataframe(
        runs.diff_rows(proposal),
        hide_index=True,
        placeholder="–",
        key="diff",
        alt="settings that the child run changes",
    )
    written = child_of(run, proposal)
    if written is None:
        st.button("Write the child config", type="primary", key="write_child", on_click=write_child, args=(run,))
        st.caption(f"Writes {plain(child['config'])} with its lineage. Nothing is trained by this page.")
    else:
        st.success(f"Written: {plain(written['config'])}")
        st.caption("Nothing was trained. To train it, type:")
        show_command(command_line(workspace, "train-local", shown(workspace.path(written["config"]))))
    refused = st.session_state.pop("runs_refused", None)
    if refused:
        st.error(plain(refused))


def show_dataset(run: str) -> None:
    workspace = state.workspace()
    config = RunFolder(workspace.run(run)).config()
    folder = workspace.path(config.dataset).parent
    if not folder.is_dir():
        st.info(plain(f"The dataset {config.dataset} is not on this machine."))
        return
    facts = dataset_facts(folder)
    numbers = runs.dataset_numbers(facts)
    for place, (name, value) in zip(st.columns(len(numbers)), numbers.items(), strict=True):
        place.metric(name, value)
    card = facts["card"]
    if card:
        st.markdown(
            plain(f"{card['speaker']}, {card['language']}. {card['licence']}; consent: {card['consent_basis']}.")
        )
    else:
        st.warning("dataset.yaml is missing or wrong: training refuses a dataset without source, licence and consent.")
    rejected = runs.rejected_rows(facts)
    if rejected:
        st.dataframe(rejected, hide_index=True, placeholder="–", key="rejected", alt="why clips were rejected")
    else:
        st.caption("Nothing was rejected.")
