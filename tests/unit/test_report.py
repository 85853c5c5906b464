"""report and runs: what is on disk, told truthfully."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from finished_run import CONSTANT, HOT, SETTLED, make_run, run_script, workspace_in, write_measures
from tts_train.errors import InputUnusable
from tts_train.review.record.store import Store, database
from tts_train.review.record.verdicts import Verdict
from tts_train.review.report import report, run_report
from tts_train.table import cell, duration, table
from tts_train.workspace import Workspace

CARD = """\
source: made for this test
licence: CC0
speaker: demo
consent_basis: synthetic voice
language: en
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_in(tmp_path)


@pytest.fixture
def dataset(workspace: Workspace) -> Path:
    folder = workspace.datasets / "ann"
    folder.mkdir()
    clips = [
        {"id": f"c{number}", "audio_seconds": 2.5, "chapter": "One" if number < 3 else "Two", "speaker": "ann"}
        for number in range(4)
    ]
    rejections = [
        {"id": "r1", "reason": "too-short", "audio_seconds": 0.4},
        {"id": "r2", "reason": "noisy", "start": 10.0, "end": 13.0},
        {"id": "r3", "reason": "too-short", "audio_seconds": 0.2},
    ]
    for name, rows in (("train_manifest.jsonl", clips), ("rejections.jsonl", rejections)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "dataset.yaml").write_text(CARD)
    return folder


def test_a_dataset_is_counted_with_every_reason(workspace: Workspace, dataset: Path):
    result = run_script("report", dataset, "--workspace", workspace.root)
    assert (result["clips"], result["audio_seconds"]) == (4, 10.0)
    assert result["rejected"] == {"too-short": 2, "noisy": 1}
    assert result["rejected_seconds"] == {"too-short": 0.6, "noisy": 3.0}
    assert result["chapters"] == {"One": 3, "Two": 1}
    assert result["card"]["consent_basis"] == "synthetic voice"
    assert "| too-short | 2     | 0.600" in result["text"]
    assert "74% of the speech" in result["text"]


def test_the_batch_report_skill_finds_its_state(workspace: Workspace, dataset: Path):
    report(workspace, str(dataset))
    state = json.loads((dataset / ".batch_state.json").read_text())
    assert set(state) == {"name", "description", "total", "successful", "failed"}
    assert (state["total"], state["successful"], state["failed"]) == (7, 4, 3)
    assert "ann" in state["name"]


def test_a_dataset_that_lost_everything_is_still_reported(workspace: Workspace, dataset: Path):
    (dataset / "train_manifest.jsonl").write_text("")
    (dataset / "dataset.yaml").unlink()
    result = report(workspace, "ann")
    assert (result["clips"], result["card"]) == (0, None)
    assert "dataset.yaml is missing" in result["text"]
    assert json.loads((dataset / ".batch_state.json").read_text())["failed"] == 3


def test_a_run_has_its_epochs_gates_verdicts_and_next_move(workspace: Workspace, tmp_path: Path):
    make_run(workspace, "demo", HOT, parent={"run": "old", "epoch": 3, "move": "raise-lr"})
    with Store(database(workspace)) as store:
        store.add_verdict(Verdict("demo", 6, "ann", ("mangled",), words={"cup": "dropped"}, note="a | b"))
    output = tmp_path / "out" / "report.md"
    result = run_script("report", "demo", "--output", output, "--workspace", workspace.root)
    assert output.read_text() == result["text"]
    assert [row["epoch"] for row in result["epochs"]] == list(range(7))
    row = result["epochs"][6]
    assert (row["wer"], row["speaker_similarity"], row["gates_failed"]) == (1.0, 0.711, ["wer"])
    assert row["contrasts"] == {"foot_strut": pytest.approx(1.4)}
    assert result["next"]["move"] == "lower-lr-continue"
    text = result["text"]
    assert "raise-lr after old, epoch 3, from the base" in text
    assert "- epoch 6: wer: WER 100.0%" in text
    assert "- epoch 0:" not in text
    assert "ann heard epoch 6 as mangled (cup: dropped)" in text
    assert "1.40 [1.20, 2.60] not shown" in text
    assert result["next"]["command"] in text
    assert "own WER is 0.020" in text


def test_conflicts_are_a_table_of_who_said_what(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT)
    with Store(database(workspace)) as store:
        store.add_verdict(Verdict("demo", 6, "ann", ("good",)))
        store.add_verdict(Verdict("demo", 6, "bob", ("wrong-direction",)))
    result = run_report(workspace, "demo")
    text = result["text"]
    assert result["next"]["conflicts"][0]["kind"] == "listeners"
    assert "## Conflicts" in text
    rows = [line for line in text.splitlines() if "two listeners disagree" in line]
    assert ["ann: good" in rows[0], "bob: wrong-direction" in rows[1]] == [True, True]
    assert "The more cautious reading decides: wrong-direction." in rows[0]
    assert "Confidence: low (2 listeners (ann, bob)" in text


def test_a_run_that_passes_says_so(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT)
    text = run_report(workspace, "demo")["text"]
    assert "Every measured epoch passes every gate." in text
    assert "Nobody has judged this run yet." in text
    assert "## Conflicts" not in text


def test_an_unmeasured_run_is_reported_with_what_is_missing(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT, measured=False)
    result = run_report(workspace, "demo")
    assert result["next"]["move"] is None
    assert "probe demo" in result["next"]["command"]
    assert "Nothing was measured yet" in result["text"]
    assert result["epochs"][3]["wer"] is None


def test_what_is_neither_is_refused(workspace: Workspace):
    (workspace.root / "empty").mkdir()
    with pytest.raises(InputUnusable, match="neither a run nor a dataset"):
        report(workspace, str(workspace.root / "empty"))
    assert run_script("report", "nothing", "--workspace", workspace.root, code=65)["kind"] == "input-unusable"


def test_a_name_is_a_run_before_it_is_a_dataset(workspace: Workspace, dataset: Path):
    make_run(workspace, "ann", CONSTANT)
    assert "run" in report(workspace, "ann")
    assert "dataset" in report(workspace, "datasets/ann")
    assert "run" in report(workspace, str(workspace.runs / "ann"))


def test_runs_come_newest_first_with_what_they_reached(workspace: Workspace):
    for age, (name, story) in enumerate((("new", SETTLED), ("middle", HOT), ("old", CONSTANT))):
        run = make_run(workspace, name, story)
        for path in (run.path / "run.json", run.path / "status.json"):
            os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))
    with Store(database(workspace)) as store:
        store.add_verdict(Verdict("middle", 6, "ann", ("mangled",)))
    result = run_script("runs", "--limit", "2", "--workspace", workspace.root)
    assert [row["run"] for row in result["runs"]] == ["new", "middle"]
    assert result["total"] == 3
    assert result["runs"][1]["verdicts"] == 1
    assert (result["runs"][0]["speaker_similarity"], result["runs"][1]["wer"]) == (0.824, 1.0)
    assert "and 1 more" in result["text"]


def test_a_broken_run_does_not_hide_the_others(workspace: Workspace):
    make_run(workspace, "good", SETTLED)
    broken = make_run(workspace, "broken", SETTLED)
    (broken.path / "epochs/epoch-003/epoch.json").write_text("{")
    rows = {row["run"]: row for row in run_script("runs", "--workspace", workspace.root)["runs"]}
    assert rows["good"]["state"] == "done"
    assert rows["broken"]["state"] == "unreadable"
    assert "epoch.json" in rows["broken"]["reason"]


def test_no_runs_is_an_answer(workspace: Workspace):
    assert run_script("runs", "--workspace", workspace.root) == {
        "runs": [],
        "total": 0,
        "text": "no runs yet: run.sh train-local CONFIG",
    }


def test_partly_measured_runs_report_the_last_measured_epoch(workspace: Workspace):
    run = make_run(workspace, "demo", SETTLED, measured=False)
    write_measures(run, 4, SETTLED)
    assert run_script("runs", "--workspace", workspace.root)["runs"][0]["speaker_similarity"] == 0.828


def test_tables_keep_their_shape():
    assert table(("a", "long name"), [(1, None), ("x|y", 0.5)]) == [
        "| a   | long name |",
        "|-----|-----------|",
        "| 1   | –         |",
        "| x¦y | 0.500     |",
    ]
    assert cell(0.00012) == "0.00012"
    assert [duration(value) for value in (45, 600, 9000, 400_000)] == ["45 s", "10 min", "2.5 h", "4.6 d"]
