"""next: the proposal, its config diff, its command, and the child config it writes."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from finished_run import (
    CONSTANT,
    DECAY,
    HOT,
    KEY,
    SETTLED,
    TIMID,
    Story,
    make_run,
    run_raw,
    run_script,
    workspace_in,
    write_measures,
    write_render,
)
from playable_run import make_playable, retrain
from tts_train.config import TrainConfig, load_train_config
from tts_train.errors import ConfigError, InputUnusable, UsageError
from tts_train.files import write_json
from tts_train.review.decision import child as module
from tts_train.review.decision.ears import read_ears
from tts_train.review.decision.evidence import newest_render_key, read_evidence
from tts_train.review.decision.measured import measures_from
from tts_train.review.decision.next import propose
from tts_train.review.record.store import Store, database
from tts_train.review.record.verdicts import Verdict
from tts_train.review.sessions.answers import Answer, record_answer
from tts_train.review.sessions.sessions import close_session, new_session
from tts_train.workspace import Workspace, skill_root


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_in(tmp_path / "my work")


def judge(workspace: Workspace, epoch: int, *heard: str, run: str = "demo", **more: object) -> None:
    with Store(database(workspace)) as store:
        store.add_verdict(Verdict(run, epoch, **{"listener": "ann", "heard": heard, **more}))


def child_of(workspace: Workspace, proposal: dict) -> TrainConfig:
    return load_train_config(workspace.root / proposal["child"]["config"], workspace)


LINEAR_LOW = Story(TIMID.similarity, TIMID.mel, TIMID.wer, {"lr": 1e-5, "schedule": {"shape": "linear"}})


@pytest.mark.parametrize(
    ("story", "heard", "move", "diff"),
    [
        (
            DECAY,
            "no-difference",
            "remove-decay",
            {"schedule.shape": ["linear", "constant"], "schedule.horizon_steps": [6, None]},
        ),
        (TIMID, "no-difference", "raise-lr", {"lr": [1e-5, 4e-5]}),
        (LINEAR_LOW, "no-difference", "raise-lr", {"lr": [1e-5, 4e-5], "schedule.shape": ["linear", "constant"]}),
        (CONSTANT, "no-difference", "raise-lr", {"lr": [4e-5, 8e-5]}),
        (HOT, "mangled", "lower-lr-continue", {"lr": [3e-4, 4e-5]}),
        (CONSTANT, "feature-missing", "train-more", {"parent.epoch": [None, 6], "parent.from_weights": [None, True]}),
        (
            CONSTANT,
            "mangled",
            "rewind",
            {"lr": [4e-5, 8e-6], "parent.epoch": [None, 5], "parent.from_weights": [None, True]},
        ),
        (CONSTANT, "wrong-direction", "audit-data", {}),
        (CONSTANT, "good", "ship", {}),
    ],
    ids=["decay", "timid", "both", "at-recipe", "hot", "feature", "mangled", "audit", "ship"],
)
def test_the_diff_of_each_move(workspace: Workspace, story: Story, heard: str, move: str, diff: dict):
    make_run(workspace, "demo", story)
    judge(workspace, 6, heard)
    proposal = propose(workspace, "demo")
    assert (proposal["move"], proposal["config_diff"]) == (move, diff)
    assert proposal["basis"] == "verdicts"
    assert json.loads(json.dumps(proposal)) == proposal


def test_the_sums_of_the_decay_run_are_quoted(workspace: Workspace):
    make_run(workspace, "demo", DECAY)
    proposal = propose(workspace, "demo")
    sums = proposal["sum_lr"]
    assert sums["actual"] <= 0.06 * sums["without_decay"]
    assert sums["without_decay"] == pytest.approx(sums["recipe"]) == pytest.approx(2.7e-3)
    assert any(f"{sums['actual']:.2e}" in text and f"{sums['without_decay']:.2e}" in text for text in proposal["why"])


def test_a_written_child_is_a_config_that_loads_with_its_lineage(workspace: Workspace):
    make_run(workspace, "demo", DECAY)
    judge(workspace, 6, "no-difference")
    before = propose(workspace, "demo")
    assert not (workspace.configs / "demo-remove-decay.yaml").exists()
    proposal = propose(workspace, "demo", write=True)
    child = child_of(workspace, proposal)
    assert child.run == before["child"]["run"] == "demo-remove-decay"
    assert child.schedule.shape == "constant"
    assert child.parent is not None
    assert child.parent.model_dump() == {"run": "demo", "epoch": 6, "move": "remove-decay", "from_weights": False}
    assert child.lr == 4e-5
    text = (workspace.configs / "demo-remove-decay.yaml").read_text()
    assert text.splitlines()[0] == f"# {proposal['command']}"
    words = shlex.split(proposal["command"])
    assert words[1] == "train-local"
    assert Path(words[2]) == workspace.configs / "demo-remove-decay.yaml"
    with Store(database(workspace)) as store:
        (move,) = store.moves("demo")
    assert (move["move"], move["child_run"], move["basis"]) == ("remove-decay", "demo-remove-decay", "verdicts")


def test_nothing_is_ever_overwritten(workspace: Workspace):
    make_run(workspace, "demo", TIMID)
    names = [propose(workspace, "demo", write=True)["child"]["run"] for _ in range(3)]
    assert names == ["demo-raise-lr", "demo-raise-lr-2", "demo-raise-lr-3"]
    make_run(workspace, "demo-raise-lr-4", TIMID)
    assert propose(workspace, "demo")["child"]["run"] == "demo-raise-lr-5"
    assert propose(workspace, "demo-raise-lr-4")["child"]["run"] == "demo-raise-lr-5"
    long = "a" * 64
    make_run(workspace, long, TIMID)
    child = propose(workspace, long, write=True)["child"]["run"]
    assert len(child) == 64
    assert child.endswith("-raise-lr")


def test_a_config_that_appears_meanwhile_is_kept(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    make_run(workspace, "demo", TIMID)
    (workspace.configs / "taken.yaml").write_text("mine")
    monkeypatch.setattr(module, "free_name", lambda *_: "taken")
    with pytest.raises(ConfigError, match="exists"):
        propose(workspace, "demo", write=True)
    assert (workspace.configs / "taken.yaml").read_text() == "mine"
    assert [path.name for path in workspace.configs.iterdir()] == ["taken.yaml"]


@pytest.mark.parametrize("heard", ["wrong-direction", "good"])
def test_moves_that_train_nothing_write_nothing(workspace: Workspace, heard: str):
    make_run(workspace, "demo", CONSTANT)
    judge(workspace, 6, heard)
    with pytest.raises(UsageError, match="trains nothing"):
        propose(workspace, "demo", write=True)
    assert list(workspace.configs.iterdir()) == []


def test_training_on_keeps_the_rate_and_begins_with_the_weights(workspace: Workspace):
    make_run(workspace, "demo", Story(CONSTANT.similarity, CONSTANT.mel, CONSTANT.wer, DECAY.changes))
    judge(workspace, 6, "feature-missing")
    proposal = propose(workspace, "demo", write=True)
    child = child_of(workspace, proposal)
    assert child.lr == 4e-5
    assert child.schedule.shape == "constant"
    assert child.parent is not None
    assert (child.parent.from_weights, child.parent.epoch) == (True, 6)
    assert "from the weights of demo, epoch 6" in proposal["child"]["summary"]


def test_too_few_steps_get_as_many_epochs_as_it_takes(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT, epochs=2)
    judge(workspace, 2, "no-difference")
    proposal = propose(workspace, "demo")
    assert proposal["move"] == "add-epochs"
    assert proposal["config_diff"]["epochs"] == [6, 9]
    assert any("not finished" in text for text in proposal["why"])


def test_an_endless_warm_up_is_shortened(workspace: Workspace):
    story = Story(DECAY.similarity, DECAY.mel, DECAY.wer, {"lr": 4e-5, "schedule": {"warmup_steps": 400}})
    make_run(workspace, "demo", story)
    proposal = propose(workspace, "demo")
    assert proposal["move"] == "raise-lr"
    assert proposal["config_diff"] == {"schedule.warmup_steps": [400, 10]}


def test_a_grandchild_that_begins_again_does_so_where_its_parent_began(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT)
    parent = {"run": "demo", "epoch": 4, "move": "train-more", "from_weights": True}
    make_run(workspace, "two", HOT, parent=parent)
    proposal = propose(workspace, "two", write=True)
    child = child_of(workspace, proposal)
    assert proposal["move"] == "lower-lr-continue"
    assert child.parent is not None
    assert (child.parent.run, child.parent.epoch, child.parent.from_weights) == ("demo", 4, True)


def test_what_ancestors_trained_counts(workspace: Workspace):
    first = make_run(workspace, "demo", CONSTANT)
    parent = {"run": "demo", "epoch": 4, "move": "train-more", "from_weights": True}
    make_run(workspace, "two", TIMID, parent=parent)
    evidence = read_evidence(workspace, "two")
    inherited = first.epoch(4).info
    assert evidence.inherited_steps == inherited["step"] == 48
    assert evidence.sum_lr(6).actual == pytest.approx(6.75e-4 + inherited["sum_lr"])
    assert evidence.sum_lr(6).recipe == pytest.approx((72 + 48 - 4.5) * 4e-5)
    assert read_evidence(workspace, "demo").inherited_steps == 0


def test_an_unconfirmed_candidate_asks_for_a_listener(workspace: Workspace):
    make_run(workspace, "demo", SETTLED)
    proposal = propose(workspace, "demo")
    assert (proposal["move"], proposal["epoch"], proposal["confirmed"]) == ("ship", 4, False)
    words = shlex.split(proposal["command"])
    assert words[1:4] == ["verdict", "demo", "--epoch"]
    assert words[4] == "4"
    judge(workspace, 4, "good")
    confirmed = propose(workspace, "demo")
    assert confirmed["confirmed"]
    assert shlex.split(confirmed["command"])[1:] == [
        *("ship", "demo", "4"),
        *("--workspace", str(workspace.root)),
    ]


def test_the_command_can_be_typed_as_it_stands(workspace: Workspace, tmp_path: Path):
    """With a space in the workspace's path, from another folder; inside the workspace it needs no --workspace."""
    make_run(workspace, "demo", TIMID)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    proposal = run_script("next", "demo", "--workspace", workspace.root, cwd=elsewhere)
    words = shlex.split(proposal["command"])
    assert words[1:] == ["next", "demo", "--write", "--workspace", str(workspace.root)]
    assert Path(words[0]) == skill_root() / "run.sh" or (Path(words[0]).name, Path(words[0]).is_file()) == (
        "run.sh",
        True,
    )
    result = run_script("next", *words[2:], cwd=elsewhere)
    assert result["child"]["written"]
    assert (elsewhere / shlex.split(result["command"])[2]).is_file()
    inside = run_script("next", "demo", cwd=workspace.configs)
    assert shlex.split(inside["command"])[1:] == ["next", "demo", "--write"]


def test_neither_measured_nor_judged_is_no_ground_for_a_move(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT, measured=False)
    with pytest.raises(InputUnusable, match="neither measured nor judged") as refused:
        propose(workspace, "demo")
    assert "probe demo" in refused.value.hint
    judge(workspace, 0, "good")
    with pytest.raises(InputUnusable):
        propose(workspace, "demo")
    judge(workspace, 6, "no-difference")
    assert propose(workspace, "demo")["basis"] == "verdicts"


def test_a_run_without_epochs_is_named_as_such(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT, epochs=0, measured=False)
    error = run_script("next", "demo", "--workspace", workspace.root, code=65)
    assert "no epoch yet" in error["message"]
    assert "one of: demo" in run_script("next", "dem", "--workspace", workspace.root, code=65)["hint"]


def test_verdicts_on_epochs_that_are_gone_do_not_count(workspace: Workspace):
    make_run(workspace, "demo", SETTLED)
    judge(workspace, 9, "mangled")
    assert propose(workspace, "demo")["basis"] == "evidence"


def test_the_command_for_people_and_for_programs(workspace: Workspace):
    make_run(workspace, "demo", HOT)
    result = run_script("next", "demo", "--workspace", workspace.root)
    assert result["move"] == "lower-lr-continue"
    assert set(result) >= {"why", "basis", "config_diff", "command", "sum_lr", "would_change_its_mind", "confirmed"}
    script = str(skill_root() / "scripts/next.py")
    human = run_raw([sys.executable, script, "demo", "--human", "--workspace", str(workspace.root)])
    assert human.stdout.startswith("demo: lower-lr-continue (epoch 0, from evidence)")
    assert "lr: 0.0003 → 4e-05" in human.stdout


def test_the_reader_of_measures_takes_what_is_there():
    measures = measures_from(
        {
            "wer": 0.1,
            "target_wer": None,
            "speaker_similarity": float("nan"),
            "gates": [{"name": "wer", "passed": False, "detail": "WER 10 %"}, {"name": "runaway", "passed": True}],
            "contrasts": {
                "foot_strut": {"distance": 1.5, "low": 1.0, "high": None},
                "bath_palm": {"why": "not measured"},
            },
            "unknown": [],
        }
    )
    assert (measures.wer, measures.target_wer, measures.speaker_similarity) == (0.1, None, None)
    assert measures.failed_gates == {"wer"}
    assert measures.gates["wer"].detail == "WER 10 %"
    assert measures.contrasts["foot_strut"].distance == 1.5
    assert set(measures.contrasts) == {"foot_strut"}
    assert measures_from({"gates": {"wer": {"passed": False}, "pace": True}}).failed_gates == {"wer"}
    assert measures_from({}).wer is None


def test_features_are_read_with_their_place_between_base_and_target():
    given = {
        "foot_strut": {"distance": 0.4, "t": 1.5, "t_low": 1.3, "t_high": 1.7, "overshot": True, "n": {"FOOT": 8}},
        "older": {"distance": 0.4, "t": 1.5, "t_low": 1.21, "t_high": 1.7},
        "near": {"distance": 0.4, "t": 1.5, "t_low": 1.2, "t_high": 1.7},
        "told": {"distance": 0.4, "t": 1.5, "t_low": 1.3, "t_high": 1.7, "overshot": False},
        "nowhere": {"distance": 0.4, "t": None, "t_low": None, "t_high": None},
    }
    measures = measures_from({"contrasts": given})
    assert measures.overshot == {"foot_strut", "older"}
    assert measures.contrasts["foot_strut"].sets == {"FOOT"}
    assert measures.contrasts["foot_strut"].placed() == "t 1.50 [1.30, 1.70]"
    assert measures.contrasts["nowhere"].placed() == "no place between base and target"


def test_the_proposal_says_what_is_wrong_on_what_grounds_and_how_surely(workspace: Workspace):
    make_run(workspace, "demo", DECAY)
    judge(workspace, 6, "no-difference", note="same as before", region="Lancashire")
    proposal = propose(workspace, "demo")
    assert proposal["diagnosis"].startswith("The schedule decayed to nothing")
    kinds = [item["kind"] for item in proposal["evidence"]]
    assert kinds == ["verdict", "training", "training", "measure", "measure", "measure"]
    assert "“same as before”" in proposal["evidence"][0]["text"]
    assert {item["text"] for item in proposal["evidence"]} < set(proposal["why"])
    assert proposal["because"] in proposal["why"]
    assert proposal["confidence"]["level"] == "medium"
    assert proposal["conflicts"] == []
    for part in ("Diagnosis: ", "Why this move: ", "Confidence: medium (1 listener (ann)", "Evidence:\n  - ann heard"):
        assert part in proposal["text"]
    assert "Conflicts:" not in proposal["text"]


def test_conflicts_are_in_the_answer_and_in_its_text(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT)
    judge(workspace, 6, "good")
    judge(workspace, 6, "mangled", listener="bob")
    judge(workspace, 2, "good", markers={"BATH": "overshot"})
    proposal = propose(workspace, "demo")
    assert (proposal["move"], proposal["confidence"]["level"]) == ("rewind", "low")
    between = [item for item in proposal["conflicts"] if item["kind"] == "listeners"]
    assert [item["epoch"] for item in proposal["conflicts"]] == [2, 6, 6]
    assert between[0]["said"] == [{"who": "ann", "said": "good"}, {"who": "bob", "said": "mangled"}]
    assert "Epoch 6, two listeners disagree: ann: good; bob: mangled. The more cautious" in proposal["text"]
    assert "BATH marked overshot" in proposal["text"]


def test_measures_of_renders_by_other_weights_are_left_out_and_said(workspace: Workspace):
    run = make_run(workspace, "demo", HOT)
    for number in range(7):
        write_render(run, number)
    assert propose(workspace, "demo")["move"] == "lower-lr-continue"
    for number in (5, 6):
        write_render(run, number, weights="0" * 64)
    evidence = read_evidence(workspace, "demo")
    assert evidence.stale == (5, 6)
    assert [item.epoch for item in evidence.epochs if item.measures] == [0, 1, 2, 3, 4]
    proposal = propose(workspace, "demo")
    assert proposal["move"] == "train-more"
    (said,) = [item["text"] for item in proposal["evidence"] if "other weights" in item["text"]]
    assert said.startswith("Measures of epoch 5, 6 are left out")
    for number in range(7):
        write_render(run, number, weights="0" * 64)
    with pytest.raises(InputUnusable, match=r"neither measured nor judged.*left out.*epochs 0, 1, 2, 3, 4, 5, 6"):
        propose(workspace, "demo")


def test_verdicts_on_other_weights_are_left_out_and_said(workspace: Workspace):
    run = make_run(workspace, "demo", SETTLED)
    judge(workspace, 6, "mangled", weights_sha256="0" * 64)
    stale = propose(workspace, "demo")
    assert (stale["move"], stale["basis"]) == ("ship", "evidence")
    assert "ann's verdict on epoch 6 (mangled)" in " ".join(stale["why"])
    judge(workspace, 6, "mangled", weights_sha256=run.epoch(6).weights_sha256)
    assert propose(workspace, "demo")["basis"] == "verdicts"


def abx_session(workspace: Workspace, count: int, *, right: float) -> str:
    """A blind session on epoch 6, answered: the first of the test trials correctly, a share of `right`."""
    session = new_session(workspace, "demo", kind="abx", listener="ann", epochs=[6], trials=count)["session"]
    connection = sqlite3.connect(database(workspace))
    played = {(trial, place): source for trial, place, source in connection.execute(PLAYED, (session,))}
    tests = [row[0] for row in connection.execute("SELECT number FROM trials WHERE role = 'test' ORDER BY number")]
    for number in range(1, count + 1):
        is_first = played[number, "first"] == played[number, "x"]
        correct = number not in tests[round(right * len(tests)) :]
        record_answer(workspace, Answer(session, number, "ann", "first" if is_first is correct else "second"))
    return session


PLAYED = "SELECT trial, position, source FROM stimuli WHERE session_id = ?"


def test_a_blind_session_speaks_once_it_is_closed(workspace: Workspace):
    make_playable(workspace)
    judge(workspace, 6, "no-difference")
    session = abx_session(workspace, 40, right=1.0)
    before = propose(workspace, "demo")
    assert (before["move"], [item for item in before["conflicts"] if item["kind"] == "trials"]) == ("raise-lr", [])
    assert any("session still open" in text for text in before["why"])
    close_session(workspace, session)
    after = propose(workspace, "demo")
    assert after["move"] == "train-more"
    assert [item["kind"] for item in after["conflicts"]] == ["trials", "measures"]
    assert any("the difference is heard" in item["text"] for item in after["evidence"] if item["kind"] == "trials")


def test_a_blind_session_that_hears_nothing_needs_no_sheet(workspace: Workspace):
    run = make_playable(workspace)
    close_session(workspace, abx_session(workspace, 60, right=0.5))
    proposal = propose(workspace, "demo")
    assert (proposal["move"], proposal["basis"]) == ("raise-lr", "verdicts")
    retrain(run, 6)
    stale = propose(workspace, "demo")
    assert stale["basis"] == "evidence"
    assert re.search(r"left out: \d+ answers to trials", " ".join(stale["why"]))


def test_trials_of_epochs_that_are_gone_do_not_count(workspace: Workspace):
    run = make_playable(workspace)
    close_session(workspace, abx_session(workspace, 60, right=0.5))
    shutil.rmtree(run.path / "epochs" / "epoch-006")
    assert propose(workspace, "demo")["basis"] == "evidence"


def test_natives_are_those_of_the_probes_regions(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT)
    assert read_ears(workspace, read_evidence(workspace, "demo")).native == {}
    make_run(workspace, "bare", CONSTANT, probe=None)
    for run in ("demo", "bare"):
        judge(workspace, 6, "good", run=run)
        judge(workspace, 6, "good", run=run, listener="bob")
    with Store(database(workspace)) as store:
        store.add_profile("ann", region="Bolton, Lancashire")
        store.add_profile("bob", region="Kent")
    assert read_ears(workspace, read_evidence(workspace, "demo")).native == {"ann": True, "bob": False}
    assert read_ears(workspace, read_evidence(workspace, "bare")).native == {}


def test_only_the_newest_render_key_is_read(workspace: Workspace):
    run = make_run(workspace, "demo", SETTLED)
    old = run.path / "renders" / "old"
    (run.path / "renders" / KEY).rename(old)
    for path in (old, *old.rglob("*")):
        os.utime(path, (1, 1))
    write_measures(run, 6, HOT)
    assert newest_render_key(run.path) == KEY
    evidence = read_evidence(workspace, "demo")
    assert [item.epoch for item in evidence.epochs if item.measures] == [6]


def test_after_a_change_of_rate_no_decay_is_claimed(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    run = make_run(workspace, "a", CONSTANT)
    raised = {**run.info(), "lr_changes": [{"after_epoch": 3, "from": 1e-6, "to": 1e-3, "at": "now"}]}
    raised["config"]["lr"] = 1e-3
    write_json(run.path / "run.json", raised)

    bound = read_evidence(workspace, "a").sum_lr(6)

    assert bound is not None
    assert bound.without_decay == bound.actual
