"""The Runs page's rows: what they say of statuses, curves, epochs and moves."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from finished_run import CONSTANT, HOT, make_run, workspace_in, write_measures, write_render
from playable_run import make_playable, retrain
from tts_train.dataset_report import dataset_facts
from tts_train.review.decision.evidence import read_evidence
from tts_train.review.decision.next import propose
from tts_train.review.overview import list_runs
from tts_train.review.record.store import Store, database, verdicts_of
from tts_train.review.record.verdicts import Verdict
from tts_train.review.recording import record_verdict
from tts_train.review.status import run_status
from tts_train.workspace import Workspace, repository_root
from views.names import epoch_name, plain, source_name
from views.runs import (
    POINTS,
    conflict_line,
    contrast_rows,
    curves_of,
    dataset_numbers,
    diff_rows,
    epoch_rows,
    gate_lines,
    progress_points,
    rejected_rows,
    run_rows,
    status_of,
    thinned,
    typed,
    written_before,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_in(tmp_path)


def status(**changes: object) -> dict[str, object]:
    told = {
        "state": "training",
        "stale": False,
        "heartbeat_age_seconds": 4.0,
        "host": "vm",
        "step": 30,
        "loss": 1.25,
        "eta_seconds": 600.0,
        "reason": None,
        "epochs_published": 2,
        "epochs_planned": 8,
        "next": "run.sh status demo",
    }
    return {**told, **changes}


def test_a_run_under_way_says_how_far_it_is_and_when_it_was_last_heard_of():
    told = status_of(status())
    assert (told.level, told.share) == ("info", 0.25)
    for part in ("training, 2 of 8 epochs", "step 30", "loss 1.250", "10 min left", "4 s ago"):
        assert part in told.line


def test_a_silent_run_warns_and_a_failed_one_says_why():
    assert status_of(status(stale=True, heartbeat_age_seconds=400.0)).level == "warning"
    assert "hangs" in status_of(status(stale=True)).line
    failed = status_of(status(state="failed", reason="loss is NaN at step 30"))
    assert (failed.level, failed.share) == ("error", None)
    assert "NaN" in failed.line
    assert "left" not in failed.line, "a dead run has no time left"
    assert status_of(status(state="interrupted", reason="process 7 is gone")).level == "warning"
    assert status_of(status(state="done")).level == "success"


def test_the_list_shows_what_the_command_lists_and_hides_no_broken_run(workspace: Workspace):
    make_run(workspace, "fine", CONSTANT)
    make_run(
        workspace, "young", CONSTANT, epochs=2, measured=False, parent={"run": "fine", "epoch": 6, "move": "rewind"}
    )
    (workspace.runs / "broken").mkdir()
    (workspace.runs / "broken/run.json").write_text("{")
    rows = {row["run"]: row for row in run_rows(list_runs(workspace, 10)["runs"])}
    assert rows["fine"]["epochs"] == "6 of 6"
    assert rows["fine"]["WER %"] == pytest.approx(3.0)
    assert rows["young"]["after"] == "fine (rewind)"
    assert (rows["young"]["epochs"], rows["young"]["similarity"]) == ("2 of 6", None)
    assert rows["broken"]["state"] == "unreadable"
    assert "JSON" in rows["broken"]["after"]
    assert status_of(run_status(workspace, "young")).level == "warning", "it was stopped"


def test_curves_keep_a_single_diverged_step_and_leave_out_what_is_not_a_number():
    rows = [{"kind": "step", "step": k, "loss": 2.0, "lr": 1e-4} for k in range(1, 10_001)]
    rows[6_543] = {**rows[6_543], "loss": 50.0}
    rows[10] = {**rows[10], "loss": None}
    rows += [{"kind": "epoch", "step": 10_000, "mean_loss": 2.0, "sum_lr": 1.0, "drift": 0.03}]
    drawn = curves_of(rows)
    assert len(drawn.loss) <= 2 * POINTS
    assert (6_544, 50.0) in drawn.loss
    assert 11 not in dict(drawn.loss)
    assert (drawn.loss[0][0], drawn.loss[-1][0]) == (1, 10_000)
    assert drawn.loss_epochs == ((10_000, 2.0),)
    assert (drawn.sum_lr, drawn.drift) == (((0, 0.0), (10_000, 1.0)), ((0, 0.0), (10_000, 0.03)))


def test_a_run_in_its_first_epoch_has_its_sum_of_rates_from_its_steps():
    drawn = curves_of([{"kind": "step", "step": k, "loss": 1.0, "lr": 0.5} for k in (1, 2, 3)])
    assert drawn.sum_lr == ((1, 0.5), (2, 1.0), (3, 1.5))
    assert drawn.drift == ()
    assert curves_of([]).loss == ()


def test_thinning_keeps_order_ends_and_extremes():
    points = [(k, math.sin(k)) for k in range(5_000)]
    kept = thinned(points, 100)
    assert list(kept) == sorted(kept)
    assert len(kept) <= 102
    assert {points[0], points[-1], max(points, key=lambda p: p[1]), min(points, key=lambda p: p[1])} <= set(kept)
    assert thinned(points[:100], 100) == tuple(points[:100])


def test_epochs_show_gates_and_the_last_words_on_each(workspace: Workspace):
    run = make_run(workspace, "demo", HOT)
    record_verdict(workspace, Verdict("demo", 1, "ann", ("no-difference",)))
    record_verdict(workspace, Verdict("demo", 1, "ann", ("good",)))
    record_verdict(workspace, Verdict("demo", 1, "bob", ("overshot", "mangled")))
    evidence = read_evidence(workspace, "demo")
    rows = epoch_rows(evidence, verdicts_of(workspace, "demo"))
    assert [row["epoch"] for row in rows] == list(range(7))
    assert rows[1]["heard"] == "good (ann); mangled, overshot (bob)"
    assert (rows[0]["gates"], rows[3]["gates"]) == ("pass", "failed: wer")
    assert rows[3]["WER %"] == pytest.approx(72.0)
    lines = gate_lines(evidence)
    assert "epoch 3: wer: WER 72.0%" in lines
    assert not [line for line in lines if line.startswith("the base")]

    write_render(run, 2)
    retrain(run, 2)
    evidence = read_evidence(workspace, "demo")
    assert epoch_rows(evidence, ())[2]["gates"] == "stale"
    assert [line for line in gate_lines(evidence) if line.startswith("epoch 2")] == [
        "epoch 2: its renders were spoken by other weights; run: probe"
    ]


def test_unmeasured_epochs_are_told_as_such(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT, measured=False)
    rows = epoch_rows(read_evidence(workspace, "demo"), ())
    assert {row["gates"] for row in rows} == {"not measured"}
    assert rows[1]["WER %"] is None


def test_contrasts_stand_between_base_and_target(workspace: Workspace):
    run = make_run(workspace, "demo", CONSTANT)
    past = {"distance": 1.0, "low": 0.5, "high": 1.5, "verdict": "shown", "t": 1.5, "t_low": 1.3, "t_high": 1.8}
    write_measures(run, 6, CONSTANT, contrasts={"foot_strut": {**past, "overshot": True, "n": {"FOOT": 3, "STRUT": 3}}})
    evidence = read_evidence(workspace, "demo")
    rows = contrast_rows(evidence)
    assert {row["epoch"] for row in rows} == {1, 2, 3, 4, 5, 6}, "of the base nothing is asked"
    assert rows[-1] == {
        "evidence": "foot-strut",
        "epoch": 6,
        "distance (z)": "1.00 [0.50, 1.50]",
        "t (0 base, 1 target)": "1.50 [1.30, 1.80]",
        "change": "shown, past the target",
    }
    assert progress_points(evidence) == [{"contrast": "foot-strut", "epoch": 6, "t": 1.5, "low": 1.3, "high": 1.8}]
    assert epoch_rows(evidence, ())[6]["shown"] == "foot-strut"


def test_a_child_is_written_once_for_the_same_proposal(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT)

    def before() -> dict[str, object] | None:
        with Store(database(workspace)) as store:
            moves = store.moves("demo")
        files = {workspace.relative(path) for path in workspace.configs.glob("*.yaml")}
        return written_before(propose(workspace, "demo"), moves, files)

    assert before() is None
    first = propose(workspace, "demo", write=True)
    assert first["child"]
    assert before() == {"child_run": first["child"]["run"], "config": first["child"]["config"]}
    rows = diff_rows(first)
    assert [row["setting"] for row in rows] == list(first["config_diff"])

    record_verdict(workspace, Verdict("demo", 6, "ann", ("overshot",)))
    assert before() is None, "the move is another one now"


def test_a_child_whose_config_was_removed_may_be_written_again(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT)
    first = propose(workspace, "demo", write=True)
    with Store(database(workspace)) as store:
        assert written_before(propose(workspace, "demo"), store.moves("demo"), {first["child"]["config"]})
        assert written_before(propose(workspace, "demo"), store.moves("demo"), set()) is None
        for other in ({"epoch": 1}, {"config_diff": {"lr": [1.0, 2.0]}}, {"also": ["add-epochs"]}):
            changed = {**propose(workspace, "demo"), **other}
            assert written_before(changed, store.moves("demo"), {first["child"]["config"]}) is None, other


def test_conflicts_name_both_sides(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT)
    record_verdict(workspace, Verdict("demo", 6, "ann", ("good",)))
    record_verdict(workspace, Verdict("demo", 6, "bob", ("wrong-direction",)))
    lines = [conflict_line(conflict) for conflict in propose(workspace, "demo")["conflicts"]]
    assert any(line.startswith("epoch 6, ") and "ann" in line and "bob" in line for line in lines)


def test_commands_name_the_workspace_that_the_readers_shell_does_not_know(tmp_path: Path):
    here = Workspace(tmp_path / "my voices")
    assert typed("./run.sh probe demo", here) == f"./run.sh probe demo --workspace '{here.root}'"
    assert typed("./run.sh probe demo --workspace x", here) == "./run.sh probe demo --workspace x"
    root = repository_root()
    assert root
    assert typed("./run.sh probe demo", Workspace(root)) == "./run.sh probe demo"
    assert typed("", here) == ""


def test_a_dataset_in_numbers_without_writing_into_it(workspace: Workspace):
    folder = workspace.datasets / "demo"
    (folder / "train_manifest.jsonl").write_text('{"id": "a", "audio_seconds": 30}\n{"id": "b", "audio_seconds": 60}\n')
    (folder / "rejections.jsonl").write_text('{"reason": "too-long", "start": 0, "end": 10}\n')
    there = sorted(path.name for path in folder.iterdir())
    facts = dataset_facts(folder)
    numbers = dataset_numbers(facts)
    assert (numbers["clips"], numbers["kept"], numbers["clip length"]) == ("2", "90%", "30.0 to 60.0 s")
    assert rejected_rows(facts) == [{"reason": "too-long", "clips": 1, "seconds": 10.0}]
    assert sorted(path.name for path in folder.iterdir()) == there, "looking at a dataset changes nothing"
    empty = {**facts, "clips": 0, "audio_seconds": 0, "rejected_seconds": {}}
    assert (dataset_numbers(empty)["kept"], dataset_numbers(empty)["clip length"]) == ("–", "–")


def test_an_adopted_run_without_steps_is_listed(workspace: Workspace):
    make_playable(workspace)
    evidence = read_evidence(workspace, "demo")
    elsewhere = replace(
        evidence,
        trained_here=False,
        epochs=tuple(replace(item, step=None, sum_lr=None, drift=None, loss=None) for item in evidence.epochs),
    )
    assert epoch_rows(elsewhere, ())[1]["drift %"] is None


def test_names_and_text_for_people():
    assert [source_name(name) for name in ("epoch-000", "epoch-012", "target", "anchor")] == [
        "the base",
        "epoch 12",
        "the real speaker",
        "the low anchor",
    ]
    assert epoch_name(3) == "epoch 3"
    assert plain("a *b* $x$ :red[c] <i>") == r"a \*b\* \$x\$ \:red\[c\] \<i\>"
