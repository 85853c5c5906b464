"""runs adopt, and every command on an adopted run: what is not known is said to be unknown, never made up."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qwen3_folders
from finished_run import CONSTANT, KEY, make_run, run_script, workspace_in
from tts_train.backends.qwen3 import folder as folders
from tts_train.backends.qwen3 import tensor_files
from tts_train.errors import ConfigError, InputUnusable, UsageError
from tts_train.files import sha256_file, write_json
from tts_train.probe.keys import render_key
from tts_train.review.decision.ears import Ears
from tts_train.review.decision.evidence import read_evidence
from tts_train.review.decision.moves import decide
from tts_train.review.decision.next import propose
from tts_train.review.overview import list_runs
from tts_train.review.record.store import Store, database
from tts_train.review.record.verdicts import Verdict
from tts_train.review.report import run_report
from tts_train.review.status import run_status
from tts_train.training.run import RunFolder
from tts_train.work.adopt import adopt
from tts_train.workspace import Workspace


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "work").mkdir()
    return workspace_in(tmp_path / "work")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return qwen3_folders.write_output(tmp_path / "output")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return qwen3_folders.write_folder(tmp_path / "base")


def adopted(workspace: Workspace, output: Path, **choices: Any) -> RunFolder:
    return RunFolder(workspace.run(adopt(workspace, output, "qwen3", **choices)["run"]))


def measure(run: RunFolder, wer: float = 0.02) -> None:
    """Measures of every epoch: like the base, with words as they should be unless `wer` says otherwise."""
    for number in range(len(run.epochs()) + 1):
        passed = number == 0 or wer < 0.05
        gates = [{"name": "wer", "passed": passed, "detail": f"WER {wer:.0%}"}]
        sound = {"speaker_similarity": 0.62, "mel_distance": 1.5, "pace": 3.0}
        write_json(
            run.path / "renders" / KEY / f"epoch-{number:03d}" / "measures.json",
            {"wer": wer, "target_wer": 0.02, **sound, "gates": gates, "contrasts": {}},
        )


def judge(workspace: Workspace, run: RunFolder, epoch: int, *heard: str) -> dict[str, Any]:
    with Store(database(workspace)) as store:
        store.add_verdict(Verdict(run.name, epoch, "ann", heard))
    return propose(workspace, run.name)


def test_checkpoints_become_epochs_numbered_from_one(workspace, output, base):
    result = adopt(workspace, output, "qwen3", base=str(base))

    assert result["run"] == "test-man-adopted"
    run = RunFolder(workspace.run(result["run"]))
    assert [epoch.number for epoch in run.epochs()] == [1, 2]
    first = run.epoch(1)
    assert first.info["source"]["folder"] == "checkpoint-epoch-0"
    assert (first.info["step"], first.info["sum_lr"]) == (None, None)
    assert first.weights_sha256 == sha256_file(output / "checkpoint-epoch-0/model.safetensors")
    assert first.folder is not None
    assert folders.faults(first.folder) == []
    assert run.info()["adopted"] is True
    assert run.info()["lr_known"] is False
    assert run.voice(workspace)["speaker"] == "test_man"
    assert run.voice(workspace)["language"] == "auto"
    assert result["unknown"] == ["schedule", "steps", "sum_lr", "lr"]


def test_drift_is_measured_on_the_weights_without_the_voice_s_slot(workspace, output, base):
    run = adopted(workspace, output, base=str(base))

    before = qwen3_folders.weights()
    numbers = np.concatenate(
        [np.delete(before[qwen3_folders.TABLE], 3000, 0).ravel(), before[qwen3_folders.OTHER].ravel()]
    )
    expected = [0.5 * number * len(numbers) ** 0.5 / np.linalg.norm(numbers) for number in (1, 2)]
    assert [epoch.info["drift"] for epoch in run.epochs()] == pytest.approx(expected, rel=1e-6)


def test_without_the_base_drift_is_unknown_until_it_is_there(workspace, output, base):
    result = adopt(workspace, output, "qwen3")
    assert [row["drift"] for row in result["epochs"]] == [None, None]
    assert "hf download Qwen/Qwen3-TTS-12Hz-0.6B-Base" in result["text"]
    before = RunFolder(workspace.run(result["run"])).epoch(1).weights_sha256

    place = Path(os.environ["HF_HOME"]) / "hub/models--Qwen--Qwen3-TTS-12Hz-0.6B-Base"
    shutil.copytree(base, place / "snapshots/abc")
    (place / "refs").mkdir()
    (place / "refs/main").write_text("abc")
    again = adopt(workspace, output, "qwen3")

    assert all(row["drift"] > 0 and row["kept"] for row in again["epochs"])
    assert again["base"]["sha256"] is not None
    assert RunFolder(workspace.run(result["run"])).epoch(1).weights_sha256 == before

    shutil.rmtree(place)
    once_more = adopt(workspace, output, "qwen3")
    assert once_more["base"]["sha256"] == again["base"]["sha256"]
    assert [row["drift"] for row in once_more["epochs"]] == [row["drift"] for row in again["epochs"]]


def test_without_a_reference_the_base_speaks_with_the_checkpoint_s_own_vector(workspace, output):
    run = adopted(workspace, output)

    voice = run.voice(workspace)
    reference = Path(voice["reference"])
    (row,) = tensor_files.blocks(tensor_files.table(reference)["speaker_vector"])
    assert row.tolist() == [9.0] * 4
    assert voice["reference_sha256"] == sha256_file(reference)


def test_a_reference_is_kept_with_its_hash(workspace, output, tmp_path):
    (tmp_path / "ref.wav").write_bytes(b"sound")

    voice = adopted(workspace, output, reference=tmp_path / "ref.wav").voice(workspace)

    assert voice["reference"] == str(tmp_path / "ref.wav")
    assert voice["reference_sha256"] == sha256_file(tmp_path / "ref.wav")
    with pytest.raises(InputUnusable, match="is not a file"):
        adopt(workspace, output, "qwen3", run="other", reference=tmp_path / "gone.wav")


def test_weights_are_copied_and_with_link_they_are_linked(workspace, output):
    source = output / "checkpoint-epoch-0/model.safetensors"
    linked = adopted(workspace, output, run="linked", link=True).epoch(1).folder
    copied = adopted(workspace, output).epoch(1).folder

    assert (linked / "model.safetensors").stat().st_ino == source.stat().st_ino
    assert (copied / "model.safetensors").stat().st_ino != source.stat().st_ino
    assert (linked / "config.json").stat().st_ino != (output / "checkpoint-epoch-0/config.json").stat().st_ino


def test_across_file_systems_weights_are_copied(workspace, output, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "cross-device link")

    monkeypatch.setattr("os.link", refuse)
    run = adopted(workspace, output, link=True)

    assert run.epoch(1).info["linked"] is False
    assert folders.faults(run.epoch(2).folder) == []


def test_again_changes_nothing_and_new_checkpoints_are_added(workspace, output, base):
    run = adopted(workspace, output, base=str(base))
    names = ["run.json", "speaker_vector.safetensors", *(f"epochs/epoch-00{n}/epoch.json" for n in (1, 2))]
    before = {name: (run.path / name).read_bytes() for name in names}

    again = adopt(workspace, output, "qwen3", base=str(base))
    assert [row["kept"] for row in again["epochs"]] == [True, True]
    assert {name: (run.path / name).read_bytes() for name in names} == before

    third = qwen3_folders.weights(moved=2.0)
    folder = output / "checkpoint-epoch-2"
    qwen3_folders.write_folder(folder, speakers={"Test_Man": 3000}, tensors=third)
    more = adopt(workspace, output, "qwen3", base=str(base))
    assert [row["kept"] for row in more["epochs"]] == [True, True, False]
    assert run.config().epochs == 3

    shutil.rmtree(output / "checkpoint-epoch-2")
    fewer = adopt(workspace, output, "qwen3", base=str(base))
    assert len(fewer["epochs"]) == 2
    assert [epoch.number for epoch in run.epochs()] == [1, 2, 3]
    assert run.config().epochs == 3


def test_something_else_under_the_same_name_is_refused_before_anything_is_written(workspace, output, tmp_path):
    run = adopted(workspace, output)
    before = (run.path / "run.json").read_bytes()
    other = tmp_path / "other"
    moved = qwen3_folders.weights(moved=7.0)
    for number in (0, 1, 2):
        qwen3_folders.write_folder(other / f"checkpoint-epoch-{number}", speakers={"Test_Man": 3000}, tensors=moved)

    with pytest.raises(ConfigError, match="holds something else"):
        adopt(workspace, other, "qwen3")

    assert [epoch.number for epoch in run.epochs()] == [1, 2]
    assert (run.path / "run.json").read_bytes() == before


def test_another_learning_rate_or_voice_under_the_same_name_is_refused(workspace, output):
    adopted(workspace, output)

    with pytest.raises(ConfigError, match="other settings"):
        adopt(workspace, output, "qwen3", lr=2e-6)
    with pytest.raises(ConfigError, match="other settings"):
        adopt(workspace, output, "qwen3", language="en")


def test_a_run_that_was_trained_here_is_not_adopted_over(workspace, output):
    make_run(workspace, "demo", CONSTANT)

    with pytest.raises(ConfigError, match="was trained here"):
        adopt(workspace, output, "qwen3", run="demo")


def test_a_changed_source_is_told_not_taken_over(workspace, output):
    """Somebody trained into the folder again: the link and the file are one, so the run's own record is the judge."""
    adopted(workspace, output)
    source = output / "checkpoint-epoch-1/model.safetensors"
    with source.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\1\1")

    with pytest.raises(ConfigError, match="holds something else") as told:
        adopt(workspace, output, "qwen3")

    assert [problem.message.split()[1] for problem in told.value.problems] == ["2"]


@pytest.mark.parametrize("place", ["model.safetensors", "speech_tokenizer/model.safetensors", "vocab.json", "."])
def test_nothing_outside_the_folder_is_followed(workspace, output, tmp_path, place):
    inside = output / "checkpoint-epoch-1" / place
    (tmp_path / "private").mkdir()
    elsewhere = tmp_path / "private" / inside.name
    shutil.move(inside, elsewhere)
    inside.symlink_to(elsewhere)

    with pytest.raises(InputUnusable, match="leads outside"):
        adopt(workspace, output, "qwen3")

    assert not (workspace.runs / "test-man-adopted").exists()


def test_pickled_weights_are_refused(workspace, output):
    (output / "checkpoint-epoch-1/model.safetensors").rename(output / "checkpoint-epoch-1/pytorch_model.bin")

    with pytest.raises(InputUnusable, match="pickle"):
        adopt(workspace, output, "qwen3")


def test_what_is_no_checkpoint_is_refused(workspace, output, base, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder, message in (
        (tmp_path / "empty", "no checkpoint-epoch-N"),
        (tmp_path / "nothing", "is not a folder"),
        (base, "names no speaker"),
    ):
        with pytest.raises(InputUnusable, match=message):
            adopt(workspace, folder, "qwen3")
    (output / "checkpoint-epoch-1/merges.txt").unlink()
    with pytest.raises(InputUnusable, match=r"checkpoint-epoch-1 is not a whole checkpoint: it lacks merges\.txt"):
        adopt(workspace, output, "qwen3")
    with pytest.raises(UsageError, match="piper"):
        adopt(workspace, output, "piper")
    assert list(workspace.runs.glob("*")) == []


def test_a_base_of_another_size_is_refused(workspace, output, tmp_path):
    wrong = qwen3_folders.write_folder(tmp_path / "wrong", "1b7")

    with pytest.raises(InputUnusable, match="was not trained from"):
        adopt(workspace, output, "qwen3", base=str(wrong))


def test_two_trainings_in_one_folder_are_refused(workspace, output):
    qwen3_folders.write_folder(output / "checkpoint-epoch-2", speakers={"somebody": 3000})

    with pytest.raises(ConfigError, match="not of one training"):
        adopt(workspace, output, "qwen3")


def test_one_checkpoint_keeps_its_number(workspace, output):
    run = adopted(workspace, output / "checkpoint-epoch-1")

    assert [epoch.number for epoch in run.epochs()] == [2]


def test_a_slot_outside_the_weights_is_refused(workspace, tmp_path):
    for slot in (3072, -1):
        output = tmp_path / f"slot{slot}"
        qwen3_folders.write_folder(output / "checkpoint-epoch-0", speakers={"ann": slot})
        with pytest.raises(InputUnusable, match="no place among the weights"):
            adopt(workspace, output, "qwen3")


def test_through_the_command_line(workspace, output, base):
    result = run_script(
        "runs", "adopt", output, "--run", "theirs", "--base", base, "--workspace", workspace.root, "--lr", "2e-6"
    )
    listed = run_script("runs", "--workspace", workspace.root)["runs"]

    assert result["unknown"] == ["schedule", "steps", "sum_lr"]
    assert [(row["run"], row["lr"], row["schedule"], row["adopted"]) for row in listed] == [
        ("theirs", 2e-6, None, True)
    ]
    above = run_script("runs", "--workspace", workspace.root, "adopt", output, "--run", "again")
    assert above["run"] == "again"
    assert run_script("runs", "adopt", output / "x", "--workspace", workspace.root, code=65)["kind"] == "input-unusable"


def test_listing_and_status_say_unknown(workspace, output):
    run = adopted(workspace, output)
    make_run(workspace, "ours", CONSTANT)

    rows = {row["run"]: row for row in list_runs(workspace, 5)["runs"]}
    assert (rows[run.name]["lr"], rows[run.name]["schedule"], rows[run.name]["state"]) == (None, None, "done")
    assert rows["ours"]["lr"] == 4e-5
    status = run_status(workspace, run.name)
    assert status["adopted"] is True
    assert "steps unknown" in status["text"]
    assert "adopted from" in status["text"]
    assert "step 72" in run_status(workspace, "ours")["text"]


def test_the_report_makes_nothing_up(workspace, output):
    run = adopted(workspace, output)
    measure(run)

    text = run_report(workspace, run.name)["text"]

    assert "lr unknown; schedule, batch size, steps and dataset unknown" in text
    assert "1.0e-05, constant" not in text
    assert [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| 1 ")] == ["–"]
    told = run_report(workspace, adopted(workspace, output, run="told", lr=3e-6).name)["text"]
    assert "lr 3.0e-06 as told when it was adopted" in told


@pytest.mark.parametrize("heard", ["no-difference", "mangled", "wrong-direction", "feature-missing", "overshot"])
def test_next_says_what_it_cannot_know_and_invents_no_number(workspace, output, heard):
    run = adopted(workspace, output)

    proposal = judge(workspace, run, 2, heard)

    assert "not on record" in proposal["text"]
    assert proposal["child"] is None
    assert proposal["config_diff"] == {}
    assert proposal["sum_lr"] == {"actual": None, "without_decay": None, "recipe": None}
    why = " ".join(proposal["why"])
    assert "unknown" not in why, "a rule that speaks of a number was chosen"
    assert "reach what the recipe asks for" not in why
    with pytest.raises(UsageError):
        propose(workspace, run.name, write=True)


def test_next_sends_no_difference_to_a_training_on_record(workspace, output):
    run = adopted(workspace, output)

    proposal = judge(workspace, run, 2, "no-difference")

    assert "why cannot be told" in " ".join(proposal["why"])
    assert "config new VOICE --backend qwen3" in proposal["command"]
    assert "the base is not here" in " ".join(proposal["why"])


def test_next_still_goes_by_ears(workspace, output, base):
    run = adopted(workspace, output, base=str(base))

    assert judge(workspace, run, 1, "no-difference")["rule"] == "epochs of an adopted run that nobody has heard"
    mangled = judge(workspace, run, 2, "mangled")
    assert (mangled["move"], mangled["epoch"], mangled["child"]) == ("lower-lr-continue", 1, None)
    assert "config new VOICE" in mangled["command"]
    good = judge(workspace, run, 2, "good")
    assert (good["move"], good["epoch"], good["confirmed"]) == ("ship", 2, True)


def test_next_on_measures_alone(workspace, output, base):
    run = adopted(workspace, output, base=str(base))
    measure(run)
    evidence = read_evidence(workspace, run.name)

    assert evidence.sum_lr(2) is None
    assert evidence.steps_per_epoch is None
    decision = decide(evidence, Ears())
    assert decision.rule == "no difference, and trained elsewhere"
    assert any("drifted by" in reason and "steps." not in reason for reason in decision.why)

    measure(run, wer=0.4)
    assert decide(read_evidence(workspace, run.name), Ears()).rule == (
        "harmed from the first epoch on, and trained elsewhere"
    )


def test_a_child_of_an_adopted_run_counts_its_own_training(workspace, output):
    parent = adopted(workspace, output)
    make_run(
        workspace,
        "child",
        CONSTANT,
        parent={"run": parent.name, "epoch": 2, "move": "train-more", "from_weights": True},
    )

    evidence = read_evidence(workspace, "child")

    assert (evidence.inherited_steps, evidence.inherited_sum_lr) == (0, 0.0)
    assert evidence.sum_lr(6).actual > 0


def test_moving_the_workspace_keeps_the_render_key(workspace, output, tmp_path):
    from tts_train.backends import backend
    from tts_train.probe.probe import load_probe

    probe = load_probe(workspace.root / "configs/probes/small.yaml")
    run = adopted(workspace, output, probe="configs/probes/small.yaml")
    before = render_key(probe, backend("qwen3"), 2, run.voice(workspace)).name

    moved = Workspace(Path(shutil.move(workspace.root, tmp_path / "moved")))
    after = render_key(probe, backend("qwen3"), 2, RunFolder(moved.run(run.name)).voice(moved)).name

    assert after == before
    assert json.loads((moved.run(run.name) / "run.json").read_text())["config"]["probe"]["file"].endswith("small.yaml")
