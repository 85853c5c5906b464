"""verdict: check what a listener says against the run, its probe or their session, then record it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tts_train.errors import UsageError
from tts_train.probe.render import weights_sha256
from tts_train.review.commandline import command_line
from tts_train.review.decision.evidence import newest_render_key
from tts_train.review.record.store import Store, database
from tts_train.review.record.verdicts import (
    MARKS,
    WORD_FAULTS,
    Verdict,
    check_against_probe,
    checked,
    checked_listener,
    checked_region,
    parse_marks,
)
from tts_train.review.sessions.answers import SHEET, Answer, record_answer
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace


@dataclass(frozen=True)
class Said:
    """What was typed: a sheet on an epoch, or with `session` and `trial` the answer to a trial."""

    run: str
    listener: str
    epoch: int | None = None
    session: str | None = None
    trial: int | None = None
    answer: str | None = None
    heard: tuple[str, ...] = ()
    marker: tuple[str, ...] = ()
    word: tuple[str, ...] = ()
    note: str = ""
    confidence: int | None = None
    listened: tuple[str, ...] = ()
    replays: int | None = None
    nonce: str | None = None
    region: str | None = None
    headphones: bool | None = None


def record(workspace: Workspace, said: Said) -> dict[str, Any]:
    """Record a verdict or an answer, and what the listener said of themselves.

    Returns what record_verdict or record_answer returns, with {next, text}. Raises UsageError when it is neither or
    both, and what those raise.
    """
    checked_region(said.region)
    result = _sheet(workspace, said) if said.session is None else _answer(workspace, said, said.session)
    if said.region is not None or said.headphones is not None:
        with Store(database(workspace)) as store:
            profile = store.add_profile(said.listener, said.region, said.headphones)
        result = {**result, "profile": vars(profile)}
    return result


def record_verdict(workspace: Workspace, verdict: Verdict) -> dict[str, Any]:
    """Add a verdict on an epoch the listener knows. Returns {verdict, next, text}.

    Raises InputUnusable for an unknown run, ConfigError for an epoch that is not published, UsageError for a category,
    marker or word that does not exist.
    """
    checked_listener(verdict.listener)
    run = RunFolder(workspace.run(verdict.run))
    epoch = run.epoch(verdict.epoch)
    new = checked(verdict)
    check_against_probe(new, run.config(), workspace)
    bound = {"render_key": newest_render_key(run.path), "weights_sha256": weights_sha256(run, epoch)}
    with Store(database(workspace)) as store:
        recorded = store.add_verdict(Verdict(**{**vars(new), **bound}))
    command = command_line(workspace, "next", run.name)
    return {"verdict": recorded.as_row(), "next": command, "text": f"{recorded.quoted()}\nType:\n  {command}"}


def _sheet(workspace: Workspace, said: Said) -> dict[str, Any]:
    given = {name: getattr(said, name) for name in ("trial", "answer", "replays", "nonce")}
    stray = [name for name, value in given.items() if value is not None] + ["listened"] * bool(said.listened)
    if stray:
        raise UsageError(f"--{stray[0]} belongs to a trial", hint="name its session: --session ID --trial N")
    if said.epoch is None:
        raise UsageError("say what was judged", hint="--epoch N, or in a session --session ID --trial N")
    markers, words = _marks(said)
    names = ("run", "epoch", "heard", "listener", "note", "confidence")
    return record_verdict(
        workspace, Verdict(**{name: getattr(said, name) for name in names}, markers=markers, words=words)
    )


def _answer(workspace: Workspace, said: Said, session: str) -> dict[str, Any]:
    if said.epoch is not None or said.trial is None:
        raise UsageError("in a session a trial is judged, and nobody knows its epoch", hint="--session ID --trial N")
    markers, words = _marks(said)
    is_sheet = bool(said.heard or markers or words or said.note)
    if is_sheet and said.answer is not None:
        raise UsageError("--answer is for ABX, AB and XAB, --heard and what goes with it for sheets", hint="give one")
    nonce = {} if said.nonce is None else {"nonce": said.nonce}
    answer = Answer(
        session=session,
        trial=said.trial,
        listener=said.listener,
        answer=said.answer or (SHEET if is_sheet else ""),
        sheet={"heard": said.heard, "markers": markers, "words": words, "note": said.note} if is_sheet else None,
        confidence=said.confidence,
        heard_seconds=_seconds(said.listened),
        replays=said.replays,
        **nonce,
    )
    result = record_answer(workspace, answer, said.run)
    step = "show" if result["next"] else "close"
    command = command_line(workspace, "session", step, session)
    told = "Recorded" if result["recorded"] else "It was recorded before"
    text = f"{told}; {result['answered']} of {result['trials']} trials have an answer.\nType:\n  {command}"
    return {**result, "next_trial": result["next"], "next": command, "text": text}


def _marks(said: Said) -> tuple[dict[str, str], dict[str, str]]:
    return parse_marks(said.marker, "--marker", MARKS), parse_marks(said.word, "--word", WORD_FAULTS)


def _seconds(listened: tuple[str, ...]) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for item in listened:
        position, _, seconds = item.partition("=")
        try:
            found[position.strip()] = float(seconds)
        except ValueError as error:
            raise UsageError(f"--listened {item!r} must read POSITION=SECONDS", hint="--listened first=2.5") from error
    return found
