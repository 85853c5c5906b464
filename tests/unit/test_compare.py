"""compare: a winner, or what is missing for one, with everything else that is known beside each epoch."""

from __future__ import annotations

import hashlib
import wave

import numpy as np
import pytest

from finished_run import CONSTANT, HOT, KEY, make_run, run_script, workspace_in, write_measures
from simulated_listeners import abx_answers, answered, judgement
from tts_train.errors import InputUnusable
from tts_train.probe.material import Stimulus
from tts_train.review import compare as module
from tts_train.review.compare import compare
from tts_train.review.record.store import Store, database
from tts_train.review.record.trials import judgements_of
from tts_train.review.record.verdicts import Verdict
from tts_train.review.sessions import sessions
from tts_train.review.sessions.answers import Answer, record_answer


@pytest.fixture
def workspace(tmp_path):
    return workspace_in(tmp_path)


@pytest.fixture
def run(workspace):
    return make_run(workspace, "demo", CONSTANT)


@pytest.fixture
def judged(monkeypatch, workspace, run):
    """compare() of a run on which these judgements were made."""

    def answer(*judgements):
        monkeypatch.setattr(module, "judgements_of", lambda *_: list(judgements))
        return compare(workspace, "demo")

    return answer


def say(workspace, epoch, *heard, listener="ann", **more):
    with Store(database(workspace)) as store:
        store.add_verdict(Verdict("demo", epoch, listener, heard, **more))


def test_equal_answers_have_no_leader(judged):
    even = answered(1, 2, 6, 6)

    assert judged(*even)["why"].startswith("nobody leads: a tie of ")
    assert "leads, but a tie with" in judged(*even, *answered(1, 2, 2, 0, session="t"))["why"]


def test_without_trials_it_is_undecided_and_everything_else_is_told(workspace, run):
    say(workspace, 3, "good")
    found = compare(workspace, "demo")
    assert found["winner"] is None
    assert found["undecided"]["more_trials"] == 30
    assert "no blind trial" in found["undecided"]["why"]
    assert [row["epoch"] for row in found["epochs"]] == list(range(7))
    third = found["epochs"][3]
    assert third["ab"] is None
    assert third["good"] == ["ann"]
    assert third["speaker_similarity"] == CONSTANT.similarity[3]
    assert third["contrasts"]["foot_strut"]["distance"] == pytest.approx(1.7)
    assert 0 < third["sum_lr"] < found["epochs"][6]["sum_lr"]
    assert "session new demo --kind ab" in found["command"]
    assert "--trials 30" in found["command"]


def test_asking_makes_no_database(workspace, run):
    compare(workspace, "demo")
    assert not database(workspace).exists()


def test_a_winner(judged):
    found = judged(*answered(4, 6, 18, 2), *answered(4, 0, 19, 1), *answered(6, 0, 15, 5))
    assert (found["winner"], found["decided_by"], found["undecided"]) == (4, "ab", None)
    standing = found["epochs"][4]["ab"]
    assert (standing["wins"], standing["losses"], standing["same"], standing["n"]) == (37, 3, 0, 40)
    assert standing["leads"]
    assert standing["strength_low"] > 0
    assert standing["wins_low"] < 37 / 40 < standing["wins_high"]
    assert found["epochs"][0]["ab"]["strength"] < found["epochs"][6]["ab"]["strength"] < standing["strength"]
    assert found["epochs"][6]["ab"]["p_tie_with_leader"] < 0.05
    assert found["epochs"][5]["ab"] is None
    assert found["command"].split()[1:4] == ["ship", "demo", "4"]
    assert "epoch 4 wins" in found["text"]


def test_one_listener_cannot_stand_for_others(judged):
    found = judged(*answered(4, 0, 20, 1))
    assert found["winner"] == 4
    assert found["trials"]["ab"]["generalises_to"] == ["texts"]
    assert any("too few to stand for others" in caution for caution in found["cautions"])


def test_undecided_names_the_number_of_trials(judged):
    found = judged(*answered(4, 6, 13, 7))
    assert found["winner"] is None
    more = found["undecided"]["more_trials"]
    assert more > 8
    assert f"--trials {more}" in found["command"]
    assert f"about {more} more trials" in found["text"]


def test_sighted_and_open_answers_are_listed_never_counted(judged):
    sighted = answered(6, 4, 30, 0, session="b", blind=False)
    unfinished = answered(6, 4, 9, 0, session="c", closed=False)
    found = judged(*answered(4, 6, 20, 1), *sighted, *unfinished)
    assert found["winner"] == 4
    assert found["left_out"] == {"sighted": 30, "session still open": 9}
    assert "sighted: 30 answers" in found["text"]
    alone = judged(*sighted)
    assert alone["winner"] is None
    assert alone["epochs"][6]["ab"] is None


def test_an_excluded_listener_is_shown_with_the_rule(judged):
    bad = answered(6, 4, 15, 0, listener="bob", session="t")
    bad += [judgement(50 + n, 4, "anchor", "second", "bob", role="anchor", session="t") for n in range(4)]
    found = judged(*answered(4, 6, 20, 1), *bad)
    assert found["winner"] == 4
    assert [row["listener"] for row in found["excluded"]] == ["bob"]
    assert "0 of 4 trials only" in found["excluded"][0]["why"]
    assert found["left_out"] == {"listener excluded": 19}
    assert "EXCLUDED" in found["text"]


def test_listeners_who_disagree_are_a_conflict(judged):
    found = judged(*answered(4, 6, 40, 2), *answered(6, 4, 15, 0, listener="bob", session="t"))
    assert found["winner"] is None
    assert "bob" in found["undecided"]["why"]
    assert [item["said"] for item in found["conflicts"]] == [
        "ann prefers epoch-004 to epoch-006, bob the other way round"
    ]
    assert "Conflicts:" in found["text"]


def test_sheets_that_disagree_are_a_conflict(workspace, run):
    say(workspace, 5, "good")
    say(workspace, 5, "mangled", listener="bob", words={"grass": "mangled"})
    found = compare(workspace, "demo")
    assert found["epochs"][5]["good"] == ["ann"]
    assert found["epochs"][5]["harm"] == {"mangled": ["bob"]}
    (conflict,) = found["conflicts"]
    assert "ann heard epoch 5 as good" in conflict["said"]
    assert "bob heard epoch 5 as mangled" in conflict["said"]


def test_failed_gates_and_harm_do_not_drop_a_winner_but_are_told(monkeypatch, workspace):
    make_run(workspace, "demo", HOT)
    say(workspace, 4, "mangled", listener="bob")
    monkeypatch.setattr(module, "judgements_of", lambda *_: answered(4, 6, 20, 1))
    found = compare(workspace, "demo")
    assert found["winner"] == 4
    assert found["epochs"][4]["gates_failed"] == {"wer": "WER 79.0%"}
    assert "epoch 4 fails the gates wer" in found["cautions"]
    assert "epoch 4 was heard as mangled by bob" in found["cautions"]


def test_the_base_may_win(judged):
    found = judged(*answered(0, 6, 20, 1))
    assert found["winner"] == 0
    assert "training made it worse" in " ".join(found["cautions"])
    assert "next demo" in found["command"]


def test_closeness_to_the_speaker_is_another_question(judged):
    def closer(*numbers):
        return answered(*numbers, kind="xab", x="target", session="x")

    alone = judged(*closer(5, 6, 20, 1))
    assert (alone["winner"], alone["decided_by"]) == (5, "xab")
    agreed = judged(*answered(5, 6, 20, 1), *closer(5, 6, 20, 1))
    assert (agreed["winner"], agreed["decided_by"]) == (5, "ab")
    opposed = judged(*answered(6, 5, 20, 1), *closer(5, 6, 20, 1))
    assert opposed["winner"] is None
    assert "XAB" in opposed["why"]
    assert [item["kind"] for item in opposed["conflicts"]] == ["ab-xab"]
    open_ab = judged(*answered(5, 6, 6, 5), *closer(5, 6, 20, 1))
    assert open_ab["winner"] is None
    assert "epoch-005 is closest to the real speaker" in open_ab["why"]


def test_the_real_speaker_and_removed_epochs_are_no_contenders(judged):
    natural = [judgement(60 + n, "target", 4, "first", item=f"text-{n}") for n in range(12)]
    removed = [judgement(80 + n, 9, 4, "first", item=f"text-{n}") for n in range(12)]
    found = judged(*answered(4, 6, 20, 1), *natural, *removed)
    assert found["winner"] == 4
    assert found["trials"]["ab"]["trials"] == 21


def test_abx_stands_beside_each_epoch(judged):
    found = judged(*abx_answers(2, 10, 10), *abx_answers(5, 18, 2))
    assert found["epochs"][2]["abx"]["heard"] == "no-difference"
    assert found["epochs"][5]["abx"]["heard"] == "difference"
    assert found["epochs"][4]["abx"] is None
    assert "18/20 correct" in found["text"]


def test_answers_on_an_older_key_are_used_and_told(judged):
    found = judged(*answered(4, 6, 20, 1, render_key="f" * 16))
    assert (found["winner"], found["render_key"]) == (4, "f" * 16)
    assert any("measures are of" in caution for caution in found["cautions"])
    both = judged(*answered(4, 6, 20, 1, render_key="f" * 16), *answered(6, 4, 3, 1))
    assert both["render_key"] == KEY
    assert both["left_out"] == {"other render key": 21}


def test_agreement(judged):
    alone = judged(*answered(4, 6, 12, 2))["agreement"]["trials"]
    assert alone["measure"] is None
    assert "two of them, not 1" in alone["why"]
    both = judged(*answered(4, 6, 8, 0), *answered(4, 6, 4, 4, listener="bob", session="t"))["agreement"]["trials"]
    assert both["measure"] == "alpha"
    assert both["n"] == 8


def test_what_was_not_measured_is_a_dash(workspace):
    make_run(workspace, "demo", CONSTANT, measured=False)
    found = compare(workspace, "demo")
    assert found["epochs"][3]["gates_failed"] is None
    assert found["epochs"][3]["wer"] is None
    assert "–" in found["text"]


def test_no_such_run(workspace):
    with pytest.raises(InputUnusable):
        compare(workspace, "nobody")


def test_closed_blind_sessions_of_the_store_decide(monkeypatch, workspace, run):
    """From a planned session through its answers to the winner, as a listener would."""
    clips = made_clips(workspace.root / "clips", epochs=(0, 4), items=10)
    monkeypatch.setattr(sessions, "stimuli", lambda *_: clips)
    told = sessions.new_session(workspace, "demo", kind="ab", listener="ann", trials=30, seed=3)
    with Store(database(workspace)) as store:
        rows = store._connection.execute(
            "SELECT number, stimuli.source FROM trials JOIN stimuli ON stimuli.session_id = trials.session_id "
            "AND stimuli.trial = trials.number AND position = 'first' ORDER BY number"
        ).fetchall()
        second = dict(
            store._connection.execute("SELECT trial, source FROM stimuli WHERE position = 'second'").fetchall()
        )
    quality = {"epoch-004": 3, "target": 2, "epoch-000": 1, "anchor": 0}
    for number, first in rows:
        better = quality[first] - quality[second[number]]
        answer = "same" if not better else "first" if better > 0 else "second"
        record_answer(workspace, Answer(told["session"], number, "ann", answer))
    assert compare(workspace, "demo")["left_out"] == {"session still open": 30}
    sessions.close_session(workspace, told["session"])
    found = compare(workspace, "demo")
    assert (found["winner"], found["decided_by"]) == (4, "ab")
    assert found["epochs"][4]["ab"]["losses"] == 0
    assert {item.role for item in judgements_of(workspace, "demo")} >= {"test", "repeat", "identical", "anchor"}
    (ann,) = found["listeners"]
    assert ann["consistent"] == ann["repeats"] > 0
    assert ann["anchor_hits"] == ann["anchors"] > 0
    assert ann["false_alarms"] == 0
    assert found["agreement"]["trials"]["measure"] == "test-retest"


def made_clips(folder, epochs, items):
    """A stimulus per epoch and item, and the target's and anchor's, each a wav of its own."""
    found = []
    for source in (*(f"epoch-{number:03d}" for number in epochs), "target", "anchor"):
        for number in range(items):
            path = folder / KEY / source / "matched" / f"item-{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.frombuffer(hashlib.sha256(str(path).encode()).digest() * 50, dtype=np.int16)
            with wave.open(str(path), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(24000)
                file.writeframes(noise.tobytes())
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            found.append(Stimulus(source, f"item-{number}", 0, path, sha256, -1.0, 1.0, "A text."))
    return found


def test_the_command(workspace, run):
    write_measures(run, 6, HOT)
    found = run_script("compare", "demo", "--workspace", workspace.root)
    assert found["epochs"][6]["gates_failed"] == {"wer": "WER 100.0%"}
    assert run_script("compare", "nobody", "--workspace", workspace.root, code=65)["kind"] == "input-unusable"
    assert run_script("compare", code=2)["kind"] == "usage"
