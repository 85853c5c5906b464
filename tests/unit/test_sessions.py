"""Blind sessions: what is planned, what a listener can find out, which answers are taken, what survives."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import wave
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kills
from finished_run import KEY, run_script, workspace_in
from playable_run import TEXTS, make_playable, retrain
from tts_train.errors import ConfigError, InputUnusable, UsageError
from tts_train.probe.material import Stimulus, stimuli
from tts_train.review.record.database import Database, database
from tts_train.review.record.store import Store, verdicts_of
from tts_train.review.record.trials import Judgement, epoch_of, judgements_of
from tts_train.review.sessions.answers import Answer, record_answer
from tts_train.review.sessions.materials import clip_path
from tts_train.review.sessions.planning import Plan, plan_trials, quota
from tts_train.review.sessions.sessions import close_session, list_sessions, new_session, show_session
from tts_train.workspace import Workspace

COMPARISONS = ("abx", "ab", "xab")


def pool(
    epochs: int = 6, seeds: int = 2, items: int = 4, *, target: bool = True, anchor: bool = True
) -> list[Stimulus]:
    def clip(source: str, item: int, seed: int) -> Stimulus:
        path = Path(f"renders/{KEY}/{source}/matched/{item}.seed-{seed}.wav")
        return Stimulus(source, f"item{item}", seed, path, "0" * 64, 0.0, 2.0 + item, f"the words of item {item}")

    spoken = [f"epoch-{number:03d}" for number in range(epochs + 1)]
    found = [clip(source, item, seed) for source in spoken for item in range(items) for seed in range(seeds)]
    others = ["target"] * target + ["anchor"] * anchor
    return found + [clip(source, item, 0) for source in others for item in range(items)]


def roles(plan: Plan) -> Counter[str]:
    return Counter(trial.role for trial in plan.trials)


@given(
    kind=st.sampled_from((*COMPARISONS, "sheet")),
    epochs=st.integers(1, 7),
    count=st.integers(4, 60),
    seed=st.integers(0, 2**32),
    seeds=st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_every_plan_keeps_the_rules(kind: str, epochs: int, count: int, seed: int, seeds: int):
    playable = pool(epochs, seeds)
    plan = plan_trials(playable, kind, None, count, seed)
    assert plan == plan_trials(playable, kind, None, count, seed)
    assert len(plan.trials) == count
    told = roles(plan)
    assert told == Counter({role: n for role, n in quota(kind, count, target=True, anchor=True).items() if n})
    assert told["test"] > 0
    if kind in ("ab", "xab"):
        assert told["identical"] >= count / 10
    if count >= 5:
        assert 0.1 <= told["repeat"] / count <= 0.2
    for number, trial in enumerate(plan.trials, 1):
        heard = [clip for clip in (trial.first, trial.second, trial.x) if clip is not None]
        assert {clip.item for clip in heard} == {trial.item}
        assert {clip.seed for clip in heard if epoch_of(clip.source) is not None} <= {trial.seed}
        assert (trial.second is None) == (kind == "sheet")
        if kind == "xab":
            assert trial.x is not None
            assert trial.x.source == "target"
        if kind == "abx":
            assert trial.x in (trial.first, trial.second)
        if trial.role == "identical":
            assert trial.first == trial.second
        if trial.role == "repeat":
            assert trial.repeat_of is not None
            assert trial.repeat_of < number
            origin = plan.trials[trial.repeat_of - 1]
            assert origin.role == "test"
            assert origin.x == trial.x
            sides = (trial.first,) if kind == "sheet" else (trial.second, trial.first)
            assert sides == ((origin.first,) if kind == "sheet" else (origin.first, origin.second))
        else:
            assert trial.repeat_of is None


@pytest.mark.parametrize("kind", COMPARISONS)
@pytest.mark.parametrize("seed", range(5))
def test_sides_items_and_seeds_are_balanced(kind: str, seed: int):
    plan = plan_trials(pool(), kind, [2, 4, 6], 100, seed)
    tests = [trial for trial in plan.trials if trial.role == "test"]
    sides: dict[frozenset[str], Counter[str]] = {}
    for trial in tests:
        sides.setdefault(frozenset(trial.sources), Counter())[trial.first.source] += 1
    assert len(sides) == (3 if kind == "abx" else 6)
    for pair, firsts in sides.items():
        one, two = (firsts[source] for source in pair)
        assert abs(one - two) <= 1
    assert (
        max(sum(firsts.values()) for firsts in sides.values()) - min(sum(firsts.values()) for firsts in sides.values())
        <= 1
    )
    for used in (Counter(trial.item for trial in tests), Counter(trial.seed for trial in tests)):
        assert max(used.values()) - min(used.values()) <= 4
    if kind == "abx":
        for pair in sides:
            xs = Counter(trial.x == trial.first for trial in tests if set(trial.sources) == pair)
            assert abs(xs[True] - xs[False]) <= 1


@pytest.mark.parametrize("seed", range(20))
def test_no_source_twice_in_a_row_where_it_can_be_avoided(seed: int):
    # Seven epochs and the base: of any pair there are many that share nothing with it.
    plan = plan_trials(pool(7), "ab", None, 30, seed)
    for before, after in pairwise(plan.trials):
        assert not set(before.sources) & set(after.sources)
        assert before.item != after.item
    for number, trial in enumerate(plan.trials, 1):
        assert trial.repeat_of is None or number - trial.repeat_of > 2


def test_seeds_make_other_plans():
    plans = {tuple(trial.sources for trial in plan_trials(pool(), "ab", None, 30, seed).trials) for seed in range(10)}
    assert len(plans) == 10


def test_the_base_is_hidden_in_and_the_last_epoch_is_what_abx_asks_about():
    assert plan_trials(pool(), "abx", None, None, 1).contenders == ("epoch-000", "epoch-006")
    assert plan_trials(pool(), "ab", [5], None, 1).contenders == ("epoch-000", "epoch-005")
    assert len(plan_trials(pool(), "xab", None, None, 1).contenders) == 7


def test_sheets_are_on_the_longest_text_first_and_on_every_epoch():
    playable = [Stimulus(**{**vars(clip), "text": "many more words" * (clip.item == "item2")}) for clip in pool()]
    plan = plan_trials(playable, "sheet", None, None, 1)
    tests = [trial for trial in plan.trials if trial.role == "test"]
    assert sorted(trial.first.source for trial in tests) == [f"epoch-{number:03d}" for number in range(7)]
    assert {trial.item for trial in plan.trials} == {"item2"}
    assert len({trial.seed for trial in tests}) == 1


def test_long_items_are_left_to_sheets():
    playable = [
        Stimulus(**{**vars(clip), "audio_seconds": 40.0 if clip.item == "item0" else 2.0}) for clip in pool(items=5)
    ]
    assert "item0" not in {trial.item for trial in plan_trials(playable, "ab", None, 60, 1).trials}
    few = [clip for clip in playable if clip.item in ("item0", "item1", "item2")]
    assert "item0" in {trial.item for trial in plan_trials(few, "ab", None, 60, 1).trials}


def test_anchor_and_natural_pairs_have_a_certain_answer():
    plan = plan_trials(pool(), "xab", None, 60, 1)
    assert {frozenset(trial.sources) for trial in plan.trials if trial.role == "anchor"} == {
        frozenset(("target", "anchor"))
    }
    assert all("target" in trial.sources for trial in plan.trials if trial.role == "natural")
    without = plan_trials(pool(target=False), "ab", None, 60, 1)
    assert {frozenset(trial.sources) for trial in without.trials if trial.role == "anchor"} == {
        frozenset(("epoch-000", "anchor"))
    }
    assert roles(without)["natural"] == 0
    assert any("real speaker" in note for note in without.notes)


def test_too_few_trials_are_said_with_the_number_that_decides():
    (note,) = plan_trials(pool(), "ab", None, 30, 1).notes
    told = int(note.partition("--trials ")[2].partition(",")[0])
    plan = plan_trials(pool(), "ab", None, told, 1)
    heard = Counter(source for trial in plan.trials if trial.role == "test" for source in trial.sources)
    assert plan.notes == ()
    assert min(heard.values()) >= 8


@pytest.mark.parametrize(
    ("playable", "kind", "epochs", "count", "error", "message"),
    [
        (pool(target=False), "xab", None, None, InputUnusable, "no clip"),
        (pool(), "ab", [9], None, InputUnusable, "epoch-009"),
        (pool(), "ab", [0], None, UsageError, "nothing to compare"),
        (pool(0), "ab", None, None, InputUnusable, "at least one epoch"),
        ([], "ab", None, None, InputUnusable, "there is nothing"),
        (pool(), "ab", None, 3, UsageError, "4 to 500"),
    ],
)
def test_what_cannot_be_planned(playable, kind, epochs, count, error, message):
    with pytest.raises(error, match=message):
        plan_trials(playable, kind, epochs, count, 1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = workspace_in(tmp_path)
    make_playable(place)
    return place


def plan_rows(workspace: Workspace, session: str) -> list[dict]:
    connection = sqlite3.connect(database(workspace))
    connection.row_factory = sqlite3.Row
    return [dict(row) for row in connection.execute("SELECT * FROM stimuli WHERE session_id = ?", (session,))]


def samples(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(int)


@pytest.mark.parametrize("kind", [*COMPARISONS, "sheet"])
def test_a_session_folder_holds_the_clips_and_tells_nothing(workspace: Workspace, kind: str):
    planned = new_session(workspace, "demo", kind=kind, listener="ann", seed=98765432109876)
    folder = workspace.root / planned["folder"]
    playable = {(clip.source, clip.item, clip.seed): clip for clip in stimuli(run_of(workspace), KEY)}
    rows = plan_rows(workspace, planned["session"])
    items = {row["item"] for row in trial_rows(workspace)}
    assert {path.name for path in folder.iterdir()} == {"session.json", *(f"{row['token']}.wav" for row in rows)}
    by_number = {row["number"]: row for row in trial_rows(workspace)}
    for row in rows:
        original = playable[row["source"], by_number[row["trial"]]["item"], row["seed"]]
        path = clip_path(workspace, planned["session"], row["token"])
        sound, measured = samples(path), samples(original.path)
        assert 0 <= len(sound) - len(measured) <= 0.06 * 24000
        assert np.abs(sound[: len(measured)] - measured).max() == 1
        assert np.abs(sound[len(measured) :]).max(initial=0) <= 1
        assert (row["sha256"], row["gain_db"]) == (original.sha256, original.gain_db)
    content = (folder / "session.json").read_text()
    shown = json.dumps([planned, show_session(workspace, planned["session"])])
    secrets_ = [
        "epoch-",
        "epoch 0",
        "anchor",
        "natural",
        "identical",
        "repeat",
        "98765432109876",
        KEY,
        "gain",
        "sha256",
        "loss",
    ]
    for secret in [*secrets_, *(f'"{item}"' for item in items)]:
        assert secret not in content, secret
        assert secret not in shown.replace(str(workspace.root), ""), secret
    tokens = {token for trial in json.loads(content)["trials"] for token in trial.values()}
    assert {row["token"] for row in rows} < tokens
    assert {path.stat().st_mtime for path in folder.iterdir()} == {946_684_800.0}
    every = [samples(path) for path in folder.glob("*.wav")]
    starts = {sound[: len(sound) // 2].tobytes() for sound in every}
    assert len(starts) == len(every), "equal clips have equal samples"
    assert len({len(sound) for sound in every}) > len(every) / 2


def run_of(workspace: Workspace):
    from tts_train.training.run import RunFolder

    return RunFolder(workspace.run("demo"))


def trial_rows(workspace: Workspace) -> list[dict]:
    connection = sqlite3.connect(database(workspace))
    connection.row_factory = sqlite3.Row
    return [dict(row) for row in connection.execute("SELECT * FROM trials")]


def test_tokens_follow_from_no_seed(workspace: Workspace):
    one, two = (new_session(workspace, "demo", kind="ab", listener="ann", seed=1)["session"] for _ in range(2))
    first, second = plan_rows(workspace, one), plan_rows(workspace, two)
    assert [row["source"] for row in first] == [row["source"] for row in second]
    assert not {row["token"] for row in first} & {row["token"] for row in second}


def test_sighted_sessions_are_labelled_and_said_so(workspace: Workspace):
    planned = new_session(workspace, "demo", kind="ab", listener="ann", epochs=[6], sighted=True)
    content = json.loads((workspace.root / planned["folder"] / "session.json").read_text())
    assert {label for trial in content["trials"] for label in trial["labels"].values()} == {
        "the base",
        "epoch 6",
        "the real speaker",
        "the low anchor",
    }
    assert "never counted" in planned["text"]
    record_answer(workspace, Answer(planned["session"], 1, "ann", "first"))
    assert [judgement.blind for judgement in judgements_of(workspace, "demo")] == [False]


@pytest.mark.parametrize("token", ["../../demo/run", "session.json", "0" * 16, "", "x" * 16, "/etc/passwd", "..%2f"])
def test_a_token_is_a_token_and_no_path(workspace: Workspace, token: str):
    session = new_session(workspace, "demo", kind="ab", listener="ann")["session"]
    with pytest.raises(InputUnusable):
        clip_path(workspace, session, token)


def test_a_path_that_would_lead_to_a_clip_is_none(workspace: Workspace):
    session = new_session(workspace, "demo", kind="ab", listener="ann")["session"]
    token = plan_rows(workspace, session)[0]["token"]
    assert clip_path(workspace, session, token).is_file()
    for name, clip in (
        (session, f"../{session}/{token}"),
        (session, f"../../demo/renders/{KEY}/epoch-003/matched/one"),
        (f"../sessions/{session}", token),
    ):
        assert (workspace.runs / "sessions" / name / f"{clip}.wav").is_file()
        with pytest.raises(InputUnusable):
            clip_path(workspace, name, clip)


def test_copies_of_another_render_key_are_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    from tts_train.review.sessions import sessions

    found = stimuli(run_of(workspace), KEY)
    other = Path(str(found[-1].path).replace(KEY, "f" * 16))
    mixed = [*found[:-1], Stimulus(**{**vars(found[-1]), "path": other})]
    monkeypatch.setattr(sessions, "stimuli", lambda _run, _key: mixed)
    with pytest.raises(ConfigError, match="not comparable"):
        new_session(workspace, "demo", kind="ab", listener="ann")
    assert list_sessions(workspace)["sessions"] == []


def test_a_copy_that_changes_meanwhile_makes_no_session(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    from tts_train.review.sessions import sessions

    found = stimuli(run_of(workspace), KEY)
    for clip in found:
        clip.path.write_bytes(clip.path.read_bytes() + b"\0\0")
    monkeypatch.setattr(sessions, "stimuli", lambda _run, _key: found)
    with pytest.raises(InputUnusable, match="changed meanwhile"):
        new_session(workspace, "demo", kind="ab", listener="ann")
    assert list((workspace.runs / "sessions").iterdir()) == []


def test_an_epoch_that_was_trained_again_cannot_be_played_and_its_answers_are_stale(workspace: Workspace):
    session = new_session(workspace, "demo", kind="abx", listener="ann", epochs=[6])["session"]
    sheet = new_session(workspace, "demo", kind="sheet", listener="ann", epochs=[6])["session"]
    for number in range(1, 25):
        record_answer(workspace, Answer(session, number, "ann", "first"))
    for number in range(1, show_session(workspace, sheet)["trials"] + 1):
        record_answer(workspace, Answer(sheet, number, "ann", "sheet", sheet={"heard": ["good"]}))
    close_session(workspace, sheet)
    before = judgements_of(workspace, "demo")
    assert len(before) == 24
    assert [verdict.epoch for verdict in verdicts_of(workspace, "demo")] == [0, 6]
    retrain(run_of(workspace), 6)
    with pytest.raises(InputUnusable, match="epoch-006"):
        new_session(workspace, "demo", kind="ab", listener="ann", epochs=[6])
    about_6 = [item for item in before if "epoch-006" in (item.first, item.second)]
    assert judgements_of(workspace, "demo") == [item for item in before if item not in about_6]
    assert judgements_of(workspace, "demo", stale=True) == before
    assert [verdict.epoch for verdict in verdicts_of(workspace, "demo")] == [0]
    assert [verdict.epoch for verdict in verdicts_of(workspace, "demo", stale=True)] == [0, 6]


def answered(workspace: Workspace, kind: str = "ab", **choices) -> str:
    session = new_session(workspace, "demo", kind=kind, listener="ann", **choices)["session"]
    for number in range(1, show_session(workspace, session)["trials"] + 1):
        record_answer(workspace, Answer(session, number, "ann", "second"))
    return session


def test_the_last_answer_counts_until_the_session_is_closed(workspace: Workspace):
    session = answered(workspace, trials=10)
    record_answer(workspace, Answer(session, 4, "ann", "first", confidence=2))
    record_answer(workspace, Answer(session, 4, "ann", "same", confidence=5, heard_seconds={"first": 1.5}, replays=2))
    judgements = judgements_of(workspace, "demo")
    assert [judgement.number for judgement in judgements] == list(range(1, 11))
    assert (judgements[3].answer, judgements[3].confidence, judgements[3].closed) == ("same", 5, False)
    revealed = close_session(workspace, session)["revealed"]
    with pytest.raises(UsageError, match="closed"):
        record_answer(workspace, Answer(session, 4, "ann", "first"))
    closed = judgements_of(workspace, "demo")
    assert closed == [Judgement(**{**vars(judgement), "closed": True}) for judgement in judgements]
    for row, judgement in zip(revealed, closed, strict=True):
        assert {name: row[name] for name in ("number", "role", "item", "seed", "first", "second", "x", "answer")} == {
            name: getattr(judgement, name)
            for name in ("number", "role", "item", "seed", "first", "second", "x", "answer")
        }
    assert close_session(workspace, session)["closed"] == close_session(workspace, session)["closed"]


def test_even_the_database_itself_takes_no_answer_to_a_closed_session(workspace: Workspace):
    session = answered(workspace, trials=10)
    close_session(workspace, session)
    other = sqlite3.connect(database(workspace))
    with pytest.raises(sqlite3.IntegrityError, match="closed"):
        other.execute(
            "INSERT INTO answers (session_id, trial, answer, nonce, at) VALUES (?, 1, 'first', 'x', '')", (session,)
        )
    with pytest.raises(sqlite3.IntegrityError, match="planned with"):
        other.execute("INSERT INTO trials VALUES (?, 11, 'test', 'one', 0, NULL)", (session,))


def test_a_double_submit_is_one_row_and_a_nonce_is_one_answer(workspace: Workspace):
    session = new_session(workspace, "demo", kind="ab", listener="ann")["session"]
    sent = Answer(session, 1, "ann", "first", nonce="n1")
    assert record_answer(workspace, sent)["recorded"] is True
    assert record_answer(workspace, sent)["recorded"] is False
    record_answer(workspace, Answer(session, 1, "ann", "second"))
    assert record_answer(workspace, sent)["recorded"] is False, "a late repetition must not bring the old answer back"
    assert [judgement.answer for judgement in judgements_of(workspace, "demo")] == ["second"]
    with pytest.raises(UsageError, match="nonce"):
        record_answer(workspace, Answer(session, 2, "ann", "first", nonce="n1"))
    replacement = (
        "INSERT OR REPLACE INTO answers (session_id, trial, answer, nonce, at) VALUES (?, 1, 'same', 'n1', '')"
    )
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        sqlite3.connect(database(workspace)).execute(replacement, (session,))


@pytest.mark.parametrize(
    ("kind", "answer", "message"),
    [
        ("abx", Answer("", 1, "ann", "same"), "no answer to abx"),
        ("ab", Answer("", 1, "bob", "first"), "another listener's"),
        ("ab", Answer("", 31, "ann", "first"), "trials 1 to 30"),
        ("ab", Answer("", 0, "ann", "first"), "trials 1 to 30"),
        ("ab", Answer("", 1, "ann", "first", confidence=6), "confidence"),
        ("ab", Answer("", 1, "ann", "first", heard_seconds={"x": 1.0}), "positions"),
        ("ab", Answer("", 1, "ann", "first", heard_seconds={"first": float("nan")}), "numbers"),
        ("ab", Answer("", 1, "ann", "first", replays=-1), "replays"),
        ("ab", Answer("", 1, "ann", "first", nonce=""), "nonce"),
        ("ab", Answer("", 1, "ann", "sheet", sheet={"heard": ["good"]}), "no answer to ab"),
        ("sheet", Answer("", 1, "ann", "first"), "no answer to sheet"),
        ("sheet", Answer("", 1, "ann", "sheet", sheet={"heard": []}), "what was heard"),
        ("sheet", Answer("", 1, "ann", "sheet", sheet={"heard": ["good"], "markers": {"BAHT": "target"}}), "BATH"),
    ],
)
def test_answers_that_are_none(workspace: Workspace, kind: str, answer: Answer, message: str):
    session = new_session(workspace, "demo", kind=kind, listener="ann")["session"]
    with pytest.raises(UsageError, match=message):
        record_answer(workspace, Answer(**{**vars(answer), "session": session}))
    assert show_session(workspace, session)["answered"] == 0


def test_an_answer_for_another_run_or_no_session(workspace: Workspace):
    session = new_session(workspace, "demo", kind="ab", listener="ann")["session"]
    with pytest.raises(UsageError, match="not about run"):
        record_answer(workspace, Answer(session, 1, "ann", "first"), run="other")
    with pytest.raises(InputUnusable, match="no session"):
        record_answer(workspace, Answer("0123456789", 1, "ann", "first"))


def test_a_session_can_be_taken_up_again_where_it_was_left(workspace: Workspace):
    session = new_session(workspace, "demo", kind="ab", listener="ann", trials=10)["session"]
    for number in (1, 2, 5):
        told = record_answer(workspace, Answer(session, number, "ann", "first"))
    assert told["next"] == 3
    shown = show_session(workspace, session)
    assert (shown["left"], shown["next"]["number"]) == ([3, 4, 6, 7, 8, 9, 10], 3)
    assert shown["answers"] == {"1": "first", "2": "first", "5": "first"}
    assert Path(shown["next"]["first"]).name == f"{plan_rows(workspace, session)[4]['token']}.wav"


def test_trials_left_need_a_word_before_a_session_is_closed(workspace: Workspace):
    session = new_session(workspace, "demo", kind="ab", listener="ann", trials=10)["session"]
    record_answer(workspace, Answer(session, 1, "ann", "first"))
    with pytest.raises(UsageError, match="9 of 10") as refused:
        close_session(workspace, session)
    assert "--early" in refused.value.hint
    revealed = close_session(workspace, session, early=True)["revealed"]
    assert [row["answer"] for row in revealed] == ["first", *([None] * 9)]
    assert len(judgements_of(workspace, "demo")) == 1


def test_sheets_become_verdicts_on_their_epochs_when_the_session_is_closed(workspace: Workspace):
    session = new_session(workspace, "demo", kind="sheet", listener="ann", epochs=[3], trials=10)["session"]
    rows = {row["trial"]: row["source"] for row in plan_rows(workspace, session)}
    said = {
        "epoch-000": {"heard": ["no-difference"]},
        "epoch-003": {"heard": ["good"], "markers": {"BATH": "target", "FOOT": "baseline"}, "note": "fine"},
        "target": {"heard": ["good"]},
    }
    of_3 = [number for number, source in rows.items() if source == "epoch-003"]
    for number, source in rows.items():
        sheet = said[source]
        if number == of_3[-1]:
            sheet = {"heard": ["mangled", "no-difference"], "markers": {"BATH": "mangled", "FOOT": "target"}}
            sheet["words"] = {"cup": "dropped"}
        record_answer(
            workspace, Answer(session, number, "ann", "sheet", sheet=sheet, confidence=5 - (number == of_3[-1]))
        )
    assert verdicts_of(workspace, "demo") == [], "an open session tells nothing"
    close_session(workspace, session)
    base, three = verdicts_of(workspace, "demo")
    assert (base.epoch, base.heard, base.session, base.blind) == (0, ("no-difference",), session, True)
    assert (three.epoch, three.heard, three.confidence) == (3, ("mangled", "good"), 4)
    assert three.markers == {"BATH": "mangled", "FOOT": "baseline"}
    assert three.words == {"cup": "dropped"}
    assert "fine" in three.note
    assert three.render_key == KEY
    close_session(workspace, session)
    assert len(verdicts_of(workspace, "demo")) == 2
    assert judgements_of(workspace, "demo") == []


def test_the_commands_do_it_all(workspace: Workspace):
    at = ["--workspace", workspace.root]
    new = run_script(
        "session", "new", "demo", "--kind", "ab", "--listener", "ann", "--trials", "4", "--epochs", "5-6", *at
    )
    session = new["session"]
    for number in range(1, 5):
        coming = run_script("session", "show", session, *at)["next"]
        assert coming["number"] == number
        said = ["--session", session, "--trial", str(number), "--answer", "first", "--listener", "ann"]
        more = ["--confidence", "4", "--listened", "first=2.5", "--listened", "second=3", "--replays", "1"]
        result = run_script("verdict", "demo", *said, *more, "--region", "Bolton", "--headphones", *at)
    assert "session close" in result["next"]
    assert result["profile"] == {"region": "Bolton", "headphones": True}
    closed = run_script("session", "close", session, *at)
    assert len(closed["revealed"]) == 4
    assert run_script("session", "list", "demo", *at)["sessions"][0]["state"] == "closed"
    assert {item.region for item in judgements_of(workspace, "demo")} == {"Bolton"}
    error = run_script("verdict", "demo", *said, *at, code=2)
    assert "closed" in error["message"]
    assert run_script("session", "show", "0123456789", *at, code=65)["kind"] == "input-unusable"
    sheet = run_script("session", "new", "demo", "--kind", "sheet", "--listener", "ann", *at)["session"]
    said = ["--session", sheet, "--trial", "1", "--heard", "good", "--marker", "BATH=target", "--listener", "ann"]
    assert run_script("verdict", "demo", *said, *at)["answer"] == "sheet"
    assert "epoch" in run_script("verdict", "demo", *said, "--epoch", "3", *at, code=2)["message"]
    lone = ["--epoch", "3", "--trial", "1", "--heard", "good", "--listener", "ann"]
    assert "--trial" in run_script("verdict", "demo", *lone, *at, code=2)["message"]


ANSWERER = """
import sys
from pathlib import Path
from tts_train.review.sessions.answers import Answer, add_answer
from tts_train.review.record.database import Database, database
from tts_train.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
with Database(database(workspace)) as opened:
    for number in range(1, int(sys.argv[4]) + 1):
        nonce = f"{sys.argv[3]} {number}"
        add_answer(opened, workspace, Answer(sys.argv[2], number, sys.argv[3], "first", nonce=nonce))
        print(number, flush=True)
"""


def answerer(workspace: Workspace, session: str, listener: str, count: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", ANSWERER, str(workspace.root), session, listener, str(count)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_two_processes_of_400_answers_and_a_third_that_reads(workspace: Workspace):
    sessions = {
        name: new_session(workspace, "demo", kind="ab", listener=name, trials=400)["session"] for name in ("ann", "bob")
    }
    writers = [answerer(workspace, session, name, 400) for name, session in sessions.items()]
    seen, reads = 0, 0
    while any(writer.poll() is None for writer in writers):
        found = len(judgements_of(workspace, "demo"))
        assert found >= seen
        seen, reads = found, reads + 1
        time.sleep(0.02)
    for writer in writers:
        assert writer.communicate()[0].split()[-1] == "400"
        assert writer.returncode == 0
    assert reads > 3
    rows = (
        sqlite3.connect(database(workspace)).execute("SELECT count(*), count(DISTINCT nonce) FROM answers").fetchone()
    )
    assert rows == (800, 800)
    assert len(judgements_of(workspace, "demo")) == 800


@pytest.mark.parametrize("after", [1, 2, 7, 20, 45])
def test_a_kill_loses_at_most_the_answer_in_flight(workspace: Workspace, after: int):
    session = new_session(workspace, "demo", kind="ab", listener="ann", trials=100)["session"]
    writer = answerer(workspace, session, "ann", 100)
    assert writer.stdout is not None
    for _ in range(after):
        told = int(writer.stdout.readline())
    # Answers take some milliseconds: the kill falls into another part of one each time.
    time.sleep(0.0007 * after)
    writer.send_signal(signal.SIGKILL)
    told = max([told, *map(int, writer.communicate()[0].split())])
    assert writer.returncode == -signal.SIGKILL
    kept = [judgement.number for judgement in judgements_of(workspace, "demo")]
    assert kept in (list(range(1, told + 1)), list(range(1, told + 2)))
    connection = sqlite3.connect(database(workspace))
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert record_answer(workspace, Answer(session, 100, "ann", "first"))["recorded"]


def test_a_session_is_planned_whole_or_not_at_all(workspace: Workspace):
    def plan() -> object:
        return new_session(workspace, "demo", kind="ab", listener="ann", trials=4)

    status, calls = kills.in_child(plan)
    assert os.waitstatus_to_exitcode(status) == 0
    assert calls > 20
    for point in kills.points(1, calls):
        status, _ = kills.in_child(plan, crash_at=point)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    for row in list_sessions(workspace)["sessions"]:
        shown = show_session(workspace, row["session"])
        assert Path(shown["next"]["first"]).is_file()
        assert len(plan_rows(workspace, row["session"])) == 8
    with Database(database(workspace)) as opened, opened.reading() as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_profiles_are_kept_and_the_last_counts(tmp_path: Path):
    with Store(tmp_path / "reviews.db") as store:
        store.add_profile("ann", region="Bolton")
        store.add_profile("ann", headphones=True)
        store.add_profile("ann", headphones=True)
        store.add_profile("bob", region="Hull", headphones=False)
        store.add_profile("bob", region="York")
        found = {name: (profile.region, profile.headphones) for name, profile in store.profiles().items()}
        assert found == {"ann": ("Bolton", True), "bob": ("York", False)}
        with store.reading() as connection:
            assert connection.execute("SELECT count(*) FROM profiles").fetchone()[0] == 4


def test_texts_of_the_stand_in_run_are_those_of_its_probe():
    assert TEXTS["passage"] in (Path(__file__).parents[1] / "finished_run.py").read_text()
