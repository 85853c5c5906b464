"""The Listen page's view: an open session tells nothing, a closed one what was what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finished_run import KEY, workspace_in
from playable_run import make_playable
from player.component import Answer as Given
from tts_train.review.compare import compare
from tts_train.review.sessions.answers import Answer, record_answer
from tts_train.review.sessions.sessions import close_session, list_sessions, new_session, show_session
from tts_train.workspace import Workspace
from views import listen as view


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = workspace_in(tmp_path)
    make_playable(place, epochs=2)
    return place


def sitting(workspace: Workspace, session: str) -> view.Sitting:
    return view.sitting_of(workspace, show_session(workspace, session))


def given(current: view.Sitting, **more: object) -> Given:
    said = {"answer": "first", "sheet": None, "confidence": 4, "seconds_heard": {"first": 1.5}, "replays": 2}
    return Given(**{"token": current.trial["token"], "nonce": "n1", **said, **more})


@pytest.mark.parametrize("kind", ["ab", "abx", "xab", "sheet"])
def test_an_open_session_holds_nothing_that_tells(workspace: Workspace, kind: str) -> None:
    session = new_session(workspace, "demo", kind=kind, listener="ann", trials=10)["session"]
    current = sitting(workspace, session)
    clips = view.sides(workspace, current, lambda path: f"/clips/{path.stem}")
    told = json.dumps([vars(current), {side: clip.data(blind=True) for side, clip in clips.items()}])
    for word in ("epoch", "anchor", "demo", "passage", KEY, "identical", "natural", "repeat"):
        assert word not in told, word
    assert current.progress == "Trial 1 of 10"
    assert current.labels == ""
    assert {clip.url for clip in clips.values()} == {f"/clips/{clip.id}" for clip in clips.values()}
    assert all(word.text for word in view.transcript(current.trial))


def test_a_sighted_session_is_labelled(workspace: Workspace) -> None:
    session = new_session(workspace, "demo", kind="ab", listener="ann", trials=4, sighted=True)["session"]
    assert sitting(workspace, session).labels.startswith("A: ")


def test_an_answer_goes_to_the_trial_that_was_shown(workspace: Workspace) -> None:
    session = new_session(workspace, "demo", kind="ab", listener="ann", trials=4)["session"]
    current = sitting(workspace, session)
    record_answer(workspace, view.answer_of(current, given(current)))
    following = sitting(workspace, session)
    assert (following.trial["number"], following.share) == (2, 0.25)
    answer = view.answer_of(following, given(following))
    assert (answer.trial, answer.confidence, answer.replays, answer.nonce) == (2, 4, 2, "n1")
    assert answer.heard_seconds == {"first": 1.5}


def test_a_sheet_names_words_and_not_their_places(workspace: Workspace) -> None:
    session = new_session(workspace, "demo", kind="sheet", listener="ann")["session"]
    current = sitting(workspace, session)
    sheet = {"heard": ["mangled"], "marker BATH": "overshot", "words": {"6": "mangled"}, "note": "odd"}
    answer = view.answer_of(current, given(current, answer="sheet", sheet=sheet))
    assert answer.sheet == {
        "heard": ["mangled"],
        "markers": {"BATH": "overshot"},
        "words": {"path": "mangled"},
        "note": "odd",
    }


def answered(workspace: Workspace, kind: str, answer: str = "first", **more: object) -> dict:
    session = new_session(workspace, "demo", kind=kind, listener="ann", seed=3, **more)["session"]
    shown = show_session(workspace, session)
    sheet = {"heard": ["good"]} if kind == "sheet" else None
    for number in shown["left"]:
        said = ("first", "second")[number % 2] if answer == "either" else answer
        record_answer(workspace, Answer(session, number, "ann", said, sheet=sheet))
    assert sitting(workspace, session).trial is None
    return close_session(workspace, session)


def test_once_closed_every_trial_is_told(workspace: Workspace) -> None:
    shown = answered(workspace, "abx")
    rows = view.revealed_rows(shown)
    for row, trial in zip(rows, shown["revealed"], strict=True):
        assert row["answer"] == ("X is A: right" if trial["x"] == trial["first"] else "X is A: wrong")
        assert {row["A"], row["B"]} <= {"the base", "epoch 2", "the real speaker", "the low anchor"}
    shown = answered(workspace, "ab", "same", trials=8)
    assert {row["answer"] for row in view.revealed_rows(shown)} == {"no difference"}
    assert list(view.revealed_rows(shown)[0]) == ["trial", "what it was", "item", "A", "B", "answer"]
    shown = answered(workspace, "xab", "second", trials=8)
    assert {row["X"] for row in view.revealed_rows(shown)} == {"the real speaker"}
    assert [row["answer"] for row in view.revealed_rows(shown)] == [
        f"B: {row['B']}" for row in view.revealed_rows(shown)
    ]
    rows = view.revealed_rows(answered(workspace, "sheet", "sheet"))
    assert not {"B", "X"} & set(rows[0])
    assert {row["answer"] for row in rows} == {"sheet"}


def test_the_statistics_are_those_of_compare(workspace: Workspace) -> None:
    answered(workspace, "abx")
    answered(workspace, "ab", "either", trials=20)
    answered(workspace, "sheet", "sheet")
    compared = compare(workspace, "demo")
    rows = {row["epoch"]: row for row in view.standing_rows(compared)}
    found = {view.epoch_name(row["epoch"]): row for row in compared["epochs"]}
    assert list(rows) == ["the base", "epoch 1", "epoch 2"]
    wins = found["epoch 2"]["ab"]
    assert rows["epoch 2"]["preferred"].startswith(f"{wins['wins'] + wins['same'] / 2:g} of {wins['n']} (")
    heard = found["epoch 2"]["abx"]
    assert rows["epoch 2"]["told from the base"].startswith(f"{heard['correct']} of {heard['n']} right")
    assert "told from the base" not in rows["epoch 1"]
    assert rows["epoch 1"]["sheets"] == "good: ann"
    assert view.headline(compared).startswith("Undecided, about")
    assert [line.partition(":")[0] for line in view.abx_lines(compared)] == ["Epoch 2 against the base"]
    won = {**compared, "undecided": None, "winner": 2, "why": "so"}
    assert view.headline(won) == "Epoch 2 wins: so."


def test_what_does_not_count_is_told(workspace: Workspace) -> None:
    answered(workspace, "ab", trials=30)  # always the first: no ears were needed
    told = view.uncounted(compare(workspace, "demo"))
    assert told[0].startswith("ann is left out: ")
    assert told[1] == "Not counted, listener excluded: 30 answers."


def test_sessions_are_listed_by_state_newest_first(workspace: Workspace) -> None:
    closed = answered(workspace, "ab", trials=4)["session"]
    one, two = (new_session(workspace, "demo", kind="ab", listener=name)["session"] for name in ("bob", "cat"))
    rows = list_sessions(workspace)["sessions"]
    assert [row["session"] for row in view.session_rows(rows, "open")] == [two, one]
    (row,) = view.session_rows(rows, "closed")
    assert row["session"] == closed
    assert view.session_line(row) == "ann on demo: ab, 4 of 4 answered"
