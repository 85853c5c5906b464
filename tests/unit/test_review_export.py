"""What was said of a run as CSV, JSON and a methods text."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from finished_run import KEY, run_script, workspace_in
from playable_run import make_playable, retrain
from tts_train.review.export import export_reviews
from tts_train.review.record.store import Store, database
from tts_train.review.record.verdicts import Verdict
from tts_train.review.recording import record_verdict
from tts_train.review.sessions.answers import Answer, record_answer
from tts_train.review.sessions.sessions import close_session, new_session
from tts_train.training.run import RunFolder
from tts_train.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = workspace_in(tmp_path)
    make_playable(place)
    return place


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def listened(workspace: Workspace, listener: str, *, answer: str = "first", **choices: Any) -> str:
    """A session of 10 AB trials, answered and left open."""
    session = new_session(workspace, "demo", kind="ab", listener=listener, trials=10, epochs=[6], **choices)["session"]
    for number in range(1, 11):
        record_answer(workspace, Answer(session, number, listener, answer, heard_seconds={"first": 1.5}))
    return session


def test_everything_said_comes_out_and_open_sessions_stay_blind(workspace: Workspace, tmp_path: Path):
    note = '=HYPERLINK("http://evil", "x"), "quoted"\nand é'
    record_verdict(workspace, Verdict("demo", 6, "ann", ("good",), {"BATH": "target"}, {"cup": "dropped"}, note))
    closed = listened(workspace, "ann", seed=5)
    record_answer(workspace, Answer(closed, 3, "ann", "same"))
    close_session(workspace, closed)
    waiting = listened(workspace, "bob", seed=424242)
    with Store(database(workspace)) as store:
        store.add_profile("ann", region="Bolton, Lancashire", headphones=True)
    result = export_reviews(workspace, "demo", tmp_path / "out")
    assert (result["verdicts"], result["trials"], result["sessions"]) == (1, 10, 2)

    (verdict,) = rows(tmp_path / "out/verdicts.csv")
    assert verdict["note"] == f"'{note}", "a spreadsheet must not run it"
    assert (verdict["heard"], json.loads(verdict["markers"])) == ("good", {"BATH": "target"})
    assert (verdict["region"], verdict["headphones"], verdict["stale"]) == ("Bolton, Lancashire", "true", "false")

    trials = rows(tmp_path / "out/trials.csv")
    assert [trial["number"] for trial in trials] == [str(number) for number in range(1, 11)]
    assert {trial["session"] for trial in trials} == {closed}
    assert (trials[2]["answer"], trials[2]["chosen"]) == ("same", "")
    assert all(trial["chosen"] == trial["first"] for trial in trials if trial["answer"] == "first")
    assert all(len(trial["first_sha256"]) == 64 and float(trial["first_gain_db"]) >= 0 for trial in trials)
    assert {trial["first_heard_seconds"] for trial in trials} == {"1.5", ""}

    document = json.loads((tmp_path / "out/reviews.json").read_text())
    assert document["verdicts"][0]["note"] == note
    assert document["answers_replaced"] == 1
    assert [session["state"] for session in document["sessions"]] == ["closed", "open"]
    for name in result["files"]:
        text = (tmp_path / "out" / name).read_text()
        assert "424242" not in text, "the seed of an open session gives its plan away"
        assert waiting not in text or name == "reviews.json"


def test_the_methods_say_what_a_reader_has_to_know(workspace: Workspace, tmp_path: Path):
    close_session(workspace, listened(workspace, "ann", answer="same", seed=77))
    close_session(workspace, listened(workspace, "bob", sighted=True))
    early = new_session(workspace, "demo", kind="abx", listener="ann", trials=10)["session"]
    record_answer(workspace, Answer(early, 1, "ann", "first"))
    close_session(workspace, early, early=True)
    new_session(workspace, "demo", kind="ab", listener="eve")
    record_verdict(workspace, Verdict("demo", 3, "ann", ("good",)))
    with Store(database(workspace)) as store:
        store.add_profile("ann", region="Bolton", headphones=False)
    export_reviews(workspace, "demo", tmp_path / "out")
    text = (tmp_path / "out/methods.md").read_text()
    for fact in (
        "3 sessions were planned and closed",
        "1 session was closed before all trials were answered",
        "2 sessions were blind",
        "1 session was sighted",
        "-23 LUFS",
        "-1 dBTP",
        "24 kHz",
        KEY,
        "ann (Bolton; loudspeakers)",
        "bob (region not told",
        "21 of 30 planned trials were answered",
        "1 verdict sheet was given on epochs the listener knew",
        "10 (sighted)",
        "1 session is still open",
        "| 77 ",
        "tts-train 0.1",
    ):
        assert fact in text, fact


def test_what_was_said_of_other_weights_is_told_as_such(workspace: Workspace, tmp_path: Path):
    record_verdict(workspace, Verdict("demo", 6, "ann", ("good",)))
    record_verdict(workspace, Verdict("demo", 5, "ann", ("good",)))
    close_session(workspace, listened(workspace, "ann"))
    retrain(RunFolder(workspace.run("demo")), 6)
    export_reviews(workspace, "demo", tmp_path / "out")
    assert [row["stale"] for row in rows(tmp_path / "out/verdicts.csv")] == ["true", "false"]
    trials = rows(tmp_path / "out/trials.csv")
    assert all((trial["stale"] == "true") == ("epoch-006" in (trial["first"], trial["second"])) for trial in trials)
    stale = 1 + sum(trial["stale"] == "true" for trial in trials)
    assert f"{stale} verdicts or trials are on weights" in (tmp_path / "out/methods.md").read_text()


def test_the_command_writes_them_beside_the_report(workspace: Workspace, tmp_path: Path):
    at = ["--workspace", workspace.root]
    result = run_script("report", "demo", "--reviews", tmp_path / "out", *at)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(result["reviews"]["files"])
    assert "No session was planned" in (tmp_path / "out/methods.md").read_text()
    assert not database(workspace).exists(), "asking does not make a database"
    error = run_script("report", "datasets/demo", "--reviews", tmp_path / "other", *at, code=2)
    assert "for a run" in error["message"]
    assert not (tmp_path / "other").exists()
