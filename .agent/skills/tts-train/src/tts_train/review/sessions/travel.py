"""Sessions for listeners elsewhere: the player with its blind plan in one file to send, and the answers that come back.

What is sent holds clips under random names, what is asked of them and a signature, and nothing that tells which clip is
which. What comes back is checked whole before a row is added, and goes in by the same door as answers given here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tts_train.errors import InputUnusable, Problem, UsageError
from tts_train.files import atomic_write_stream, read_json
from tts_train.player import bundle
from tts_train.probe.probe import Probe
from tts_train.review.commandline import command_line, shown
from tts_train.review.record.store import Store, database
from tts_train.review.sessions.answers import Answer, add_answer, check_answer
from tts_train.review.sessions.materials import clip_path
from tts_train.review.sessions.playing import played_trials, probe_of
from tts_train.review.sessions.session_rows import Session, answered_trials, open_reviews, read_session
from tts_train.review.sessions.sheets import sheet_of
from tts_train.review.sessions.signing import is_signed, plan_signature
from tts_train.workspace import Workspace

PAGE = "tts-train-session/1"
ANSWERS = "tts-train-answers/1"
_AT = (2000, 1, 1, 0, 0, 0)
"""Time of every file in an archive: the order of writing is nobody's business."""
_LARGEST_FILE = 8_000_000
"""Bytes of answers to 500 sheets with long notes, several times over."""
_HINT = "ask the listener for the file as the page saved it"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Listener(_Strict):
    name: str = Field(max_length=200)
    region: str | None = Field(None, max_length=64)
    headphones: Literal["yes", "no"] | None = None


class _Given(_Strict):
    """One answer as the page keeps it; `clips` says what was played where."""

    token: str
    clips: dict[str, str]
    answer: str
    sheet: dict[str, Any] | None
    confidence: int | None
    seconds_heard: dict[str, float]
    replays: int
    nonce: str
    at: str


class _Answers(_Strict):
    format: Literal["tts-train-answers/1"]
    session: str
    plan: str
    listener: _Listener
    total: int
    answers: list[_Given]


def export_session(workspace: Workspace, identifier: str, output: Path) -> dict[str, Any]:
    """Write an open blind session's player to `output`: a .zip to unpack, or one .html with everything in it.

    Returns {session, file, listener, trials, clips, megabytes, next, text}. Raises UsageError for another kind of file,
    a closed or a sighted session; InputUnusable when there is no such session or its clips are gone; DiskError.
    """
    if output.suffix not in (".zip", ".html"):
        raise UsageError(f"'{output.name}' is neither .zip nor .html", hint="name it listen.zip, or listen.html")
    session, trials = played_trials(workspace, identifier)
    if session.closed_at or not session.blind:
        why = "closed" if session.closed_at else "sighted: its labels would go with it"
        hint = f"plan another: run.sh session new {session.run} --listener {session.listener}"
        raise UsageError(f"session {session.id} is {why}", hint=hint)
    tokens = sorted(side["token"] for trial in trials for side in trial["sides"].values())
    clips = {token: clip_path(workspace, session.id, token) for token in tokens}
    page = _page(workspace, session, trials)
    if output.suffix == ".zip":
        atomic_write_stream(output, lambda file: _zip(file, session, page, clips))
    else:
        sound = {token: path.read_bytes() for token, path in clips.items()}
        atomic_write_stream(output, lambda file: file.write(bundle.page(page, sound).encode()))
    megabytes = round(output.stat().st_size / 1e6, 2)
    command = command_line(workspace, "session", "import", "ANSWERS.json")
    todo = "unpack it and open listen.html" if output.suffix == ".zip" else "open it in a browser, on a phone too"
    lines = [
        f"{shown(output)} ({megabytes} MB) is for {session.listener}: {todo}.",
        "When the answers come back, type:",
    ]
    return {
        "session": session.id,
        "file": workspace.relative(output),
        "listener": session.listener,
        "trials": session.trials,
        "clips": len(clips),
        "megabytes": megabytes,
        "next": command,
        "text": "\n".join([*lines, f"  {command}"]),
    }


def import_answers(workspace: Workspace, file: Path) -> dict[str, Any]:
    """Add the answers of a file that a page handed out. The same file twice, or grown meanwhile, adds what is new.

    Returns {session, run, listener, added, known (were here already), replaced (of those added: answers to trials that
    had one), answered, trials, next, text}. Raises InputUnusable for a file that is none of ours, is damaged or answers
    another plan; UsageError for another listener's name, or new answers to a closed session.
    """
    given = _read(file)
    with open_reviews(workspace) as opened, opened.reading() as connection:
        session = read_session(connection, given.session)
        before = answered_trials(connection, session.id)
    if not is_signed(workspace, session, given.plan) or given.total != session.trials:
        raise InputUnusable(f"{file} answers another plan than that of session {session.id}", hint=_HINT)
    answers = _answers(workspace, given)
    with Store(database(workspace)) as store:
        for answer in answers:
            check_answer(store, workspace, answer)
        results = [add_answer(store, workspace, answer) for answer in answers]
        if given.listener.region or given.listener.headphones:
            headphones = {"yes": True, "no": False, None: None}[given.listener.headphones]
            store.add_profile(session.listener, given.listener.region or None, headphones)
    added = [answer.trial for answer, result in zip(answers, results, strict=True) if result["recorded"]]
    answered = len(before | {answer.trial for answer in answers})
    step = "close" if answered == session.trials else "show"
    command = command_line(workspace, "session", step, session.id)
    told = {
        "session": session.id,
        "run": session.run,
        "listener": session.listener,
        "added": len(added),
        "known": len(answers) - len(added),
        "replaced": sum(number in before for number in added),
        "answered": answered,
        "trials": session.trials,
        "next": command,
    }
    lines = ["{added} answers of {listener} added, {known} were here already.".format(**told)]
    lines += ["{answered} of {trials} trials have an answer. Type:".format(**told), f"  {command}"]
    return {**told, "text": "\n".join(lines)}


def _page(workspace: Workspace, session: Session, trials: list[dict[str, Any]]) -> dict[str, Any]:
    """The plan in the form that player/static.js reads."""
    headphones = [{"value": "yes", "label": "headphones"}, {"value": "no", "label": "loudspeakers"}]
    return {
        "format": PAGE,
        "session": session.id,
        "plan": plan_signature(workspace, session),
        "title": "Listening to a voice",
        "introduction": _introduction(session, probe_of(workspace, session.run)),
        "listener": session.listener,
        "profile": [{"id": "headphones", "label": "You listen with", "options": headphones}],
        "trials": [
            {name: value for name, value in trial.items() if name not in ("number", "labels")} for trial in trials
        ],
    }


def _introduction(session: Session, probe: Probe | None) -> str:
    played = "one clip" if session.kind == "sheet" else "two clips of the same words"
    text = (
        f"You will hear {played} at a time, {session.trials} times, and say what you heard. There are no wrong answers."
    )
    accent = probe.accent.strip() if probe and session.kind == "sheet" else ""
    return f"{text} The accent meant: {accent}" if accent else text


def _zip(file: Any, session: Session, page: Mapping[str, Any], clips: Mapping[str, Path]) -> None:
    folder = f"listen-{session.id}"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in bundle.files(page, _sounds(clips)):
            about = zipfile.ZipInfo(f"{folder}/{name}", _AT)
            about.compress_type, about.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(about, data)


def _sounds(clips: Mapping[str, Path]) -> Iterator[tuple[str, bytes]]:
    for token, path in clips.items():
        yield token, path.read_bytes()


def _read(file: Path) -> _Answers:
    if file.is_file() and file.stat().st_size > _LARGEST_FILE:
        raise InputUnusable(f"{file} is too large to be answers", hint=_HINT)
    try:
        return _Answers.model_validate(read_json(file))
    except ValidationError as error:
        problems = [
            Problem(f"{'.'.join(map(str, item['loc']))}: {item['msg']}", str(file)) for item in error.errors()[:20]
        ]
        raise InputUnusable(f"{file} is no answers file of ours", hint=_HINT, problems=problems) from error


def _answers(workspace: Workspace, given: _Answers) -> list[Answer]:
    """The file's answers as rows to add. Raises InputUnusable for a trial, clip or word that is not the plan's."""
    _, trials = played_trials(workspace, given.session)
    known = {trial["token"]: trial for trial in trials}
    return [_answer(given, one, known.get(one.token)) for one in given.answers]


def _answer(given: _Answers, one: _Given, trial: Mapping[str, Any] | None) -> Answer:
    played = {position: side["token"] for position, side in trial["sides"].items()} if trial else None
    if trial is None or one.clips != played:
        raise InputUnusable(f"the file answers a trial that session {given.session} does not have", hint=_HINT)
    words = [word["text"] for word in trial["transcript"]]
    return Answer(
        session=given.session,
        trial=trial["number"],
        listener=given.listener.name,
        answer=one.answer,
        sheet=None if one.sheet is None else sheet_of(one.sheet, words),
        confidence=one.confidence,
        heard_seconds=one.seconds_heard,
        replays=one.replays,
        nonce=one.nonce,
        at=_time(one.at),
    )


def _time(text: str) -> str:
    """A browser's ISO 8601 time as ours: UTC, seconds. The listener's clock may be wrong; it is theirs."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputUnusable(f"'{text}' is no time of an answer", hint=_HINT) from error
    if when.tzinfo is None:
        raise InputUnusable(f"'{text}' has no time zone", hint=_HINT)
    return when.astimezone(UTC).isoformat(timespec="seconds")
