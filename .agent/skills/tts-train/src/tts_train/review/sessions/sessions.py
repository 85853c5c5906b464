"""Listening sessions: planned, listened to blind, closed, and only then told.

The plan is in the database alone, fixed before the first answer. What a listener gets is a folder of clips under random
names (materials.py). While a session is open nothing here tells which clip is which, nor how the answers stand.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from tts_train import __version__
from tts_train.errors import InputUnusable, UsageError
from tts_train.files import read_json
from tts_train.probe.keys import require_one_key
from tts_train.probe.material import Stimulus, stimuli
from tts_train.review.commandline import command_line, shown
from tts_train.review.decision.evidence import newest_render_key
from tts_train.review.record.database import Database, database
from tts_train.review.record.store import insert_verdict, listener_id
from tts_train.review.record.trials import POSITIONS, epoch_of
from tts_train.review.record.verdicts import checked_listener
from tts_train.review.record.weights import present_weights
from tts_train.review.sessions.answers import verdicts_from_sheets
from tts_train.review.sessions.materials import SESSION, described, new_token, publish_materials, session_folder
from tts_train.review.sessions.ordering import Draft
from tts_train.review.sessions.planning import Plan, plan_trials
from tts_train.review.sessions.session_rows import (
    Session,
    answers_of,
    insert_session,
    open_reviews,
    plan_of,
    read_session,
    read_sessions,
)
from tts_train.review.sessions.session_text import planned_text, sessions_text, shown_text
from tts_train.training.run import RunFolder
from tts_train.training.status import now
from tts_train.workspace import Workspace

WITHIN_A_TRIAL = 1.5
"""Listening time per second of sound: some clips are heard again, and an answer takes its time."""


def new_session(
    workspace: Workspace,
    run: str,
    *,
    kind: str,
    listener: str,
    epochs: Sequence[int] | None = None,
    trials: int | None = None,
    seed: int | None = None,
    sighted: bool = False,
) -> dict[str, Any]:
    """Plan a session for one listener and publish its folder. `kind` is abx, ab, xab or sheet.

    `epochs` None: all that can be played, for ABX the last one; `trials` counts controls too; `seed` None: drawn.
    Returns {session, run, kind, blind, listener, trials, folder, listening_minutes, notes, next, text}, which tells
    nothing of the plan. Raises InputUnusable when something cannot be played, UsageError for a number out of range.
    """
    who, blind = checked_listener(listener), not sighted
    folder = RunFolder(workspace.run(run))
    weights = present_weights(workspace, run)  # before the clips: weights that change now make the answers stale
    key, playable = _playable(folder)
    number = secrets.randbits(32) if seed is None else seed
    plan = plan_trials(playable, kind, epochs, trials, number)
    identifier = secrets.token_hex(5)
    tokens = [{position: new_token() for position in _heard(draft)} for draft in plan.trials]
    clips = {
        names[at]: clip for names, draft in zip(tokens, plan.trials, strict=True) for at, clip in _heard(draft).items()
    }
    told = [_told(index, draft, tokens[index - 1], blind=blind) for index, draft in enumerate(plan.trials, 1)]
    content = described(identifier, kind, who, told, blind=blind)
    place = session_folder(workspace, identifier)
    materials = publish_materials(place, content, clips)
    at = now()
    with Database(database(workspace)) as opened, opened.writing() as connection:
        row = Session(
            id=identifier,
            run=run,
            render_key=key,
            kind=kind,
            blind=blind,
            listener=who,
            seed=number,
            trials=len(plan.trials),
            materials_sha256=materials,
            facts=_facts(plan),
            at=at,
        )
        insert_session(connection, row, listener_id(connection, who, at), plan.trials, tokens, weights)
    seconds = sum(stimulus.audio_seconds for stimulus in clips.values())
    result = {
        "session": identifier,
        "run": run,
        "kind": kind,
        "blind": blind,
        "listener": who,
        "trials": len(plan.trials),
        "folder": workspace.relative(place),
        "listening_minutes": round(WITHIN_A_TRIAL * seconds / 60, 1),
        "notes": list(plan.notes),
        "next": command_line(workspace, "session", "show", identifier),
    }
    return {**result, "text": planned_text(result)}


def show_session(workspace: Workspace, identifier: str) -> dict[str, Any]:
    """What is left of a session; of a closed one what was what.

    Returns {session, run, kind, blind, listener, trials, answered, left [number], answers {number: answer}, next
    {number, text, first, second, x} of clips' paths or None, closed, folder, question, text}, and once it is closed
    `revealed` [{number, role, item, seed, first, second, x, repeat_of, answer}]. Raises InputUnusable for none of ours.
    """
    with open_reviews(workspace) as opened, opened.reading() as connection:
        session = read_session(connection, identifier)
        given = answers_of(connection, identifier)
        plan = plan_of(connection, identifier) if session.closed_at else []
    return _shown(workspace, session, given, plan)


def close_session(workspace: Workspace, identifier: str, *, early: bool = False) -> dict[str, Any]:
    """Close a session for good and tell what was what; sheets become verdicts on their epochs.

    Closing a closed session tells again. Raises UsageError when trials are left and `early` is not set.
    """
    with open_reviews(workspace) as opened, opened.writing() as connection:
        session = read_session(connection, identifier)
        given = answers_of(connection, identifier)
        left = session.trials - len(given)
        if left and not early and not session.closed_at:
            raise UsageError(
                f"{left} of {session.trials} trials are not answered yet",
                hint="answer them, or end it for good with --early: what was answered is kept",
            )
        if not session.closed_at:
            at = now()
            connection.execute("INSERT INTO closings VALUES (?, ?, ?)", (identifier, len(given), at))
            for verdict in verdicts_from_sheets(session, plan_of(connection, identifier), given):
                insert_verdict(connection, verdict, at)
    return show_session(workspace, identifier)


def list_sessions(workspace: Workspace, run: str | None = None) -> dict[str, Any]:
    """Sessions of a run, or of all. Returns {sessions [{session, run, kind, …, answered, state, at}], text}."""
    sessions: list[Session] = []
    if database(workspace).is_file():
        with Database(database(workspace)) as opened, opened.reading() as connection:
            sessions = read_sessions(connection, run)
    rows = [
        {
            "session": session.id,
            "run": session.run,
            "kind": session.kind,
            "blind": session.blind,
            "listener": session.listener,
            "trials": session.trials,
            "answered": session.answered,
            "state": "closed" if session.closed_at else "open",
            "at": session.at,
        }
        for session in sessions
    ]
    return {"sessions": rows, "text": sessions_text(rows)}


def _playable(run: RunFolder) -> tuple[str, list[Stimulus]]:
    key = newest_render_key(run.path)
    found = stimuli(run, key) if key else []
    if not found or key is None:
        raise InputUnusable(
            f"run '{run.name}' has nothing to listen to", hint=f"render and measure it: run.sh probe {run.name}"
        )
    # renders/<key>/<source>/matched/<file>: a copy from elsewhere would let a setting pass for the training.
    return require_one_key({key, *(stimulus.path.parents[2].name for stimulus in found)}), found


def _heard(draft: Draft) -> dict[str, Stimulus]:
    """Position → stimulus."""
    there = zip(POSITIONS, (draft.first, draft.second, draft.x), strict=True)
    return {position: stimulus for position, stimulus in there if stimulus is not None}


def _told(number: int, draft: Draft, tokens: Mapping[str, str], *, blind: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"number": number, **tokens, "text": draft.first.text}
    if not blind:
        told["labels"] = {position: _label(stimulus.source) for position, stimulus in _heard(draft).items()}
    return told


def _label(source: str) -> str:
    epoch = epoch_of(source)
    if epoch is None:
        return {"target": "the real speaker", "anchor": "the low anchor"}.get(source, source)
    return f"epoch {epoch}" if epoch else "the base"


def _facts(plan: Plan) -> dict[str, Any]:
    """What the methods paragraph needs and nothing else holds."""
    from tts_train.probe.loudness import CEILING_DBTP, RATE, TARGET_LUFS

    return {
        "contenders": list(plan.contenders),
        "loudness_lufs": TARGET_LUFS,
        "true_peak_dbtp": CEILING_DBTP,
        "rate": RATE,
        "tts_train": __version__,
    }


def _shown(
    workspace: Workspace, session: Session, given: Mapping[int, Mapping[str, Any]], plan: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    folder = session_folder(workspace, session.id)
    content: dict[str, Any] = {"trials": [], "question": ""}
    if (folder / SESSION).is_file():  # a closed session is told also when its clips were cleared away
        content = read_json(folder / SESSION)
    left = [number for number in range(1, session.trials + 1) if number not in given]
    result: dict[str, Any] = {
        "session": session.id,
        "run": session.run,
        "kind": session.kind,
        "blind": session.blind,
        "listener": session.listener,
        "trials": session.trials,
        "answered": len(given),
        "left": [] if session.closed_at else left,
        "answers": {str(number): answer["answer"] for number, answer in sorted(given.items())},
        "next": None if session.closed_at else _next(workspace, session, content["trials"], left),
        "closed": session.closed_at,
        "folder": workspace.relative(folder),
        "question": content["question"],
    }
    if session.closed_at:
        result["revealed"] = [{**trial, "answer": given.get(trial["number"], {}).get("answer")} for trial in plan]
    return {**result, "text": shown_text(workspace, result)}


def _next(
    workspace: Workspace, session: Session, trials: Sequence[Mapping[str, Any]], left: Sequence[int]
) -> dict[str, Any] | None:
    folder = session_folder(workspace, session.id)
    for trial in trials:
        if trial["number"] in left:
            clips = {name: shown(folder / f"{trial[name]}.wav") for name in POSITIONS if name in trial}
            return {"number": trial["number"], "text": trial["text"], "labels": trial.get("labels"), **clips}
    return None
