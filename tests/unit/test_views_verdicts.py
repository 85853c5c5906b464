"""The Verdicts page: who said what, filters, and files to take away; nothing of sessions that are open."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from finished_run import CONSTANT, make_run, workspace_in
from playable_run import make_playable, retrain
from tts_train.errors import InputUnusable
from tts_train.review.record.database import database
from tts_train.review.record.verdicts import Verdict
from tts_train.review.recording import record_verdict
from tts_train.review.sessions.answers import Answer, record_answer
from tts_train.review.sessions.sessions import close_session, new_session
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace
from views import verdicts
from views.verdicts import Filter, answer_rows, counts, everything, exported, gone, judged_runs, verdict_rows


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = workspace_in(tmp_path)
    make_playable(place)
    make_run(place, "other", CONSTANT)
    return place


def listened(workspace: Workspace, kind: str, listener: str = "ann", answered: int = 8, **said: Any) -> str:
    session = new_session(workspace, "demo", kind=kind, listener=listener, trials=8, epochs=[6])["session"]
    for number in range(1, answered + 1):
        record_answer(workspace, Answer(session, number, listener, **said))
    return str(session)


def test_nothing_was_said_and_looking_makes_no_database(workspace: Workspace):
    assert everything(workspace) == []
    assert counts([]) == {"verdicts": 0, "closed": 0, "open": 0, "unanswered": 0}
    assert not database(workspace).exists()


def test_verdicts_come_newest_first_with_markers_words_and_staleness(workspace: Workspace):
    record_verdict(workspace, Verdict("demo", 3, "ann", ("mangled", "good"), {"BATH": "target"}, {"cup": "dropped"}))
    record_verdict(workspace, Verdict("other", 6, "bob", ("good",), confidence=4))
    rows = verdict_rows(everything(workspace))
    assert [(row["run"], row["listener"]) for row in rows] == [("other", "bob"), ("demo", "ann")]
    assert rows[1]["heard"] == ["mangled", "good"]
    assert (rows[1]["markers"], rows[1]["words"]) == (["BATH: target"], ["cup: dropped"])
    assert [row["stale"] for row in rows] == [False, False]
    retrain(RunFolder(workspace.runs / "demo"), 3)
    assert [row["stale"] for row in verdict_rows(everything(workspace))] == [False, True]


def test_open_sessions_are_counted_and_not_told(workspace: Workspace):
    session = listened(workspace, "ab", answer="first")
    said = everything(workspace)
    assert answer_rows(said) == []
    assert counts(said)["open"] == 1
    assert session not in json.dumps([verdict_rows(said), answer_rows(said)])
    close_session(workspace, session)
    said = everything(workspace)
    assert [row["trial"] for row in answer_rows(said)] == list(range(1, 9))
    assert (counts(said)["closed"], counts(said)["open"], counts(said)["unanswered"]) == (1, 0, 0)


def test_answers_name_what_was_chosen(workspace: Workspace):
    close_session(workspace, listened(workspace, "ab", answer="second"))
    for row in answer_rows(everything(workspace)):
        assert row["answer"] == f"prefers {row['second']}"
        assert row["blind"] is True


def test_abx_answers_are_right_or_wrong_but_for_identical_clips(workspace: Workspace):
    close_session(workspace, listened(workspace, "abx", answer="first"))
    rows = answer_rows(everything(workspace))
    assert rows
    for row in rows:
        verdict = "right" if row["first"] == row["x"] else "wrong"
        assert row["role"] == "identical" or row["answer"] == f"x is first ({verdict})"
    assert {row["answer"] for row in rows if row["role"] == "test"} == {"x is first (right)", "x is first (wrong)"}
    same = {
        "kind": "abx",
        "role": "identical",
        "answer": "second",
        "chosen": "epoch-001",
        "x": "epoch-001",
        "sheet": None,
    }
    assert verdicts._told(same) == "x is second"


def test_no_difference_and_what_nobody_answered(workspace: Workspace):
    close_session(workspace, listened(workspace, "xab", answered=3, answer="same"), early=True)
    said = everything(workspace)
    assert {row["answer"] for row in answer_rows(said)} == {"no difference"}
    assert (len(answer_rows(said)), counts(said)["unanswered"]) == (3, 5)


def test_sheets_say_what_was_heard_and_become_verdicts(workspace: Workspace):
    sheet = {"heard": ["good"], "markers": {}, "words": {}, "note": ""}
    close_session(workspace, listened(workspace, "sheet", answer="sheet", sheet=sheet))
    said = everything(workspace)
    assert {row["answer"] for row in answer_rows(said)} == {"heard good"}
    assert all(row["second"] is None for row in answer_rows(said))
    assert verdict_rows(said)
    assert all(row["session"] and row["blind"] for row in verdict_rows(said))


def test_filters_hold_together():
    row = {"run": "demo", "listener": "ann", "heard": ["good", "mangled"], "blind": False, "stale": True}
    assert Filter().passes(row)
    assert Filter(["demo"], ["ann", "bob"], ["mangled"], blind=False).passes(row)
    for wrong in (
        Filter(runs=["other"]),
        Filter(listeners=["bob"]),
        Filter(heard=["overshot"]),
        Filter(blind=True),
        Filter(stale=False),
    ):
        assert not wrong.passes(row)
    assert not Filter(blind=False).passes({**row, "blind": True})
    answer = {name: row[name] for name in ("run", "listener", "blind", "stale")}
    assert Filter(heard=["overshot"]).passes(answer), "an answer to a trial has no category"
    assert not Filter(listeners=["bob"]).passes(answer)


def test_files_to_take_away_are_those_of_the_command(workspace: Workspace):
    record_verdict(workspace, Verdict("demo", 3, "ann", ("good",), note="=1+1"))
    record_verdict(workspace, Verdict("other", 6, "bob", ("overshot",)))
    assert judged_runs(workspace) == ["demo", "other"]
    with zipfile.ZipFile(io.BytesIO(exported(workspace, ["demo", "other"]))) as archive:
        assert sorted(archive.namelist()) == sorted(
            f"{run}/{name}"
            for run in ("demo", "other")
            for name in ("verdicts.csv", "trials.csv", "reviews.json", "methods.md")
        )
        (row,) = csv.DictReader(io.StringIO(archive.read("demo/verdicts.csv").decode()))
    assert (row["heard"], row["note"]) == ("good", "'=1+1")


def test_runs_that_are_gone_are_named(workspace: Workspace):
    record_verdict(workspace, Verdict("other", 6, "bob", ("overshot",)))
    shutil.rmtree(workspace.runs / "other")
    assert gone(workspace, judged_runs(workspace)) == ["other"]
    assert [row["run"] for row in verdict_rows(everything(workspace))] == ["other"]
    with pytest.raises(InputUnusable, match="other"):
        exported(workspace, ["other"])
