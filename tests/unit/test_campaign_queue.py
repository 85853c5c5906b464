"""Recipes and queues: what a campaign would do, and every problem before it does anything."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

import campaign_commands as commands
from finished_run import CONSTANT, make_run
from tts_train.config import Settings
from tts_train.errors import ConfigError
from tts_train.work.campaign import recipe as recipes
from tts_train.work.campaign.limits import estimate_of
from tts_train.work.campaign.queue import default_name, read_queue
from tts_train.work.campaign.record import begun, merged, night_started
from tts_train.workspace import Workspace, skill_script
from tts_train.yaml_config import load_yaml

NEVER = {"state": "new", "steps": []}


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    commands.workspace(tmp_path, {"a": "end", "b": "each-epoch"})
    return Workspace(tmp_path)


def paths(place: Workspace) -> list[Path]:
    return [place.root / "configs/tts/a.yaml", place.root / "configs/tts/b.yaml"]


def queue(place: Workspace, *configs: Path, patience: int | None = None) -> list[Any]:
    return read_queue(place, configs or paths(place), patience, lambda _step: False).steps


def change(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


def problems(place: Workspace, *configs: Path, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        queue(place, *configs, **more)
    assert caught.value.exit_code == 78
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("command", "model", "aside"),
    [
        ("ingest", recipes.BookOptions, {"card"}),
        ("ingest-transcript", recipes.ClipsOptions, {"card", "voice"}),
        ("align", recipes.AlignOptions, set()),
        ("convert-qwen3", recipes.ConvertOptions, set()),
    ],
)
def test_a_recipe_takes_every_option_of_its_commands(command: str, model: type[Settings], aside: set[str]) -> None:
    spec = importlib.util.spec_from_file_location(command, skill_script(command))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names = {
        option.removeprefix("--").replace("-", "_")
        for parameter in module.main.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }

    assert set(model.model_fields) == names - aside - {"dry_run", "help", "human"}


@pytest.mark.parametrize(
    "path", sorted((commands.ROOT / "configs/datasets").glob("*.yaml")), ids=lambda path: path.stem
)
def test_recipes_that_come_along_are_whole(path: Path) -> None:
    """They name what is in the repository, and a config of ours trains on what they make."""
    recipes.load_recipe(path, Workspace(commands.ROOT))
    trained_on = {Path(load_yaml(config).data["dataset"]).parent.name for config in commands.ROOT.glob("configs/tts/*")}
    assert path.stem in trained_on


def test_steps_up_to_the_manifest_that_is_trained_on(place: Workspace) -> None:
    a, b = paths(place)
    change(a, dataset="datasets/ann/train_aligned.jsonl")
    change(b, dataset="datasets/ann/train_manifest_qwen3.jsonl", backend="qwen3")
    recipe = place.root / "configs/datasets/ann.yaml"
    (place.root / "tok").mkdir()
    recipe.write_text(
        "audio: [books/book.flac, books]\ncard: books/card.yaml\nvoice: kumo\n"
        "ingest: {min_sec: 1, filter: ['snr:20:', 'mos:3:'], chapters: '2-4', model: whisper-base}\n"
        "align: {jobs: 2}\nconvert: {tokenizer: tok, speaker: kumo}\n"
    )

    steps = {step.identifier: step for step in queue(place, a, b, patience=None)}

    assert list(steps) == [
        "ingest-ann", "align-ann", "train-a", "probe-a", "convert-ann", "train-b", "probe-b",
    ]  # fmt: skip
    assert " ".join(steps["ingest-ann"].argv) == (
        "ingest books/book.flac books kumo datasets/ann --card books/card.yaml --chapters 2-4 --model whisper-base "
        "--min-sec 1.0 --filter snr:20: --filter mos:3:"
    )
    assert " ".join(steps["align-ann"].argv) == (
        "align datasets/ann/train_manifest.jsonl datasets/ann/train_aligned.jsonl --jobs 2"
    )
    assert " ".join(steps["convert-ann"].argv) == (
        "convert-qwen3 datasets/ann/train_aligned.jsonl datasets/ann/train_manifest_qwen3.jsonl "
        "--tokenizer tok --speaker kumo"
    )
    assert steps["train-a"].argv == ("train-local", "configs/tts/a.yaml", "--no-probe")
    assert steps["train-b"].argv == ("train-local", "configs/tts/b.yaml"), "it probes as it goes"
    assert steps["train-a"].after == ("ingest-ann", "align-ann"), "codes that fail do not hold it up"
    assert steps["train-b"].after == ("ingest-ann", "align-ann", "convert-ann")


def test_clips_with_texts_and_no_words(place: Workspace) -> None:
    a, _ = paths(place)
    change(a, dataset="datasets/ann/train_manifest_qwen3.jsonl", backend="qwen3")
    (place.root / "books/list.jsonl").write_text("")
    (place.root / "configs/datasets/ann.yaml").write_text(
        "clips: books\ntranscripts: books/list.jsonl\ncard: books/card.yaml\nalign: false\ningest: {max_sec: 12}\n"
    )

    steps = {step.identifier: " ".join(step.argv) for step in queue(place, a)}

    assert steps["ingest-ann"] == (
        "ingest-transcript books books/list.jsonl datasets/ann --voice ann --card books/card.yaml --max-sec 12.0"
    )
    assert steps["convert-ann"].startswith("convert-qwen3 datasets/ann/train_manifest.jsonl ")
    assert "align-ann" not in steps


def test_every_problem_of_every_file_at_once(place: Workspace) -> None:
    a, b = paths(place)
    change(a, epoch=3, lr=7)
    twin = place.root / "configs/tts/twin.yaml"
    twin.write_text(b.read_text())
    elsewhere = place.root / "configs/tts/a2.yaml"
    elsewhere.write_text(json.dumps({**json.loads(b.read_text()), "run": "c", "dataset": "datasets/bob/x.jsonl"}))
    (place.root / "configs/datasets/ann.yaml").write_text(
        "audio: books/no.m4b\ncard: books/card.yaml\ningest: {min_secs: 1, beam: 99}\n"
    )

    told = "\n".join(problems(place, a, b, twin, elsewhere))

    assert "'epoch' is not a setting; did you mean 'epochs'?" in told
    assert "'lr': input should be less than 1" in told
    assert "ann.yaml:3: 'ingest.min_secs' is not a setting; did you mean 'min_sec'?" in told
    assert "'ingest.beam': input should be less than or equal to 10" in told
    assert "run 'b' is trained by configs/tts/b.yaml already" in told
    assert "datasets/bob/x.jsonl is not there, and no recipe says how to make it" in told


def test_files_and_card_of_a_recipe_are_checked_while_its_dataset_is_to_be_made(place: Workspace) -> None:
    (place.root / "books/book.flac").unlink()
    (place.root / "books/card.yaml").write_text(commands.CARD + "colour: red\n")
    assert "ann.yaml:1: 'audio': " in problems(place)[0]

    (place.root / "books/book.flac").touch()
    assert "'colour' is not a setting" in problems(place)[0]

    (place.root / "datasets/ann").mkdir(parents=True)
    (place.root / "datasets/ann/train_manifest.jsonl").touch()
    assert len(queue(place)) == 5, "made already: the book may be gone"


def test_one_kind_of_source(place: Workspace) -> None:
    recipe = place.root / "configs/datasets/ann.yaml"
    for text in ("card: books/card.yaml\n", "audio: books\nclips: books\ncard: books/card.yaml\n"):
        recipe.write_text(text)
        assert "either audio (recordings to cut) or clips" in problems(place)[0]


def test_patience_is_for_configs_that_probe_each_epoch(place: Workspace) -> None:
    a, b = paths(place)

    assert "--patience judges every epoch of 'a'" in problems(place, a, b, patience=2)[0]
    assert queue(place, b, patience=2)[1].argv == ("train-local", "configs/tts/b.yaml", "--patience", "2")


def test_the_name_follows_from_the_configs(place: Workspace) -> None:
    a, b = paths(place)

    assert default_name(place, [a, b]) == default_name(place, [place.root / "configs/tts/../tts/a.yaml", b])
    assert default_name(place, [a, b]) != default_name(place, [b, a])
    assert default_name(place, [a]).startswith("a-")


def states(place: Workspace, before: dict[str, Any]) -> list[str]:
    return [row["state"] for row in merged(place, place.campaigns / "night", queue(place), before)]


def test_what_is_there_when_a_campaign_begins_is_not_made_again(place: Workspace) -> None:
    assert states(place, NEVER) == ["waiting"] * 5

    (place.root / "datasets/ann").mkdir(parents=True)
    (place.root / "datasets/ann/train_manifest.jsonl").touch()

    assert states(place, NEVER) == ["done", *["waiting"] * 4]


@pytest.mark.parametrize(
    ("left", "campaign", "expected"),
    [
        ("running", "running", "waiting"),
        ("stopped", "stopped", "waiting"),
        ("failed", "running", "failed"),
        ("failed", "stopped", "failed"),
        ("failed", "failed", "waiting"),
        ("skipped", "failed", "waiting"),
        ("done", "running", "waiting"),
    ],
)
def test_steps_are_taken_up_as_they_were_left(place: Workspace, left: str, campaign: str, expected: str) -> None:
    """A manifest that is there proves nothing of a step that was begun and not ended; one that is gone does."""
    rows = merged(place, place.campaigns / "night", queue(place), NEVER)
    rows[0]["state"] = left
    if left != "done":
        (place.root / "datasets/ann").mkdir(parents=True)
        (place.root / "datasets/ann/train_manifest.jsonl").touch()

    assert states(place, {"state": campaign, "steps": rows})[0] == expected


def test_a_changed_recipe_runs_its_step_again(place: Workspace) -> None:
    rows = merged(place, place.campaigns / "night", queue(place), NEVER)
    rows[0] |= {"state": "done"}
    (place.root / "datasets/ann").mkdir(parents=True)
    (place.root / "datasets/ann/train_manifest.jsonl").touch()
    before = {"state": "running", "steps": rows}
    assert states(place, before)[0] == "done"
    with (place.root / "configs/datasets/ann.yaml").open("a") as file:
        file.write("ingest: {min_sec: 2}\n")

    assert states(place, before)[0] == "waiting"


def test_a_run_that_is_done_is_not_once_it_wants_more_epochs(place: Workspace) -> None:
    a, _ = paths(place)
    change(a, epochs=6)
    folder = place.root / "datasets/ann"
    folder.mkdir(parents=True)
    (folder / "dataset.yaml").write_text(commands.CARD)
    row = {"id": "x", "text": "Good.", "speaker": "kumo", "language": "en", "audio_seconds": 1.0, "audio_file": "x.wav"}
    (folder / "x.wav").touch()
    (folder / "train_manifest.jsonl").write_text(json.dumps(row) + "\n")
    settings = json.loads(a.read_text())
    make_run(place, settings.pop("run"), replace(CONSTANT, changes=settings))
    rows = merged(place, place.campaigns / "night", queue(place, a), NEVER)
    assert [row["state"] for row in rows] == ["done", "done", "waiting"], "what it was probed with is for probe to say"
    rows[2]["state"] = "done"
    before = {"state": "done", "steps": rows}

    def now() -> list[str]:
        return [row["state"] for row in merged(place, place.campaigns / "night", queue(place, a), before)]

    assert now() == ["done", "done", "done"]
    change(a, epochs=7)
    assert now() == ["done", "waiting", "waiting"]


def test_a_kill_gives_no_more_hours_and_the_next_night_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from tts_train.work.campaign import record

    monkeypatch.setattr(record, "now", lambda: "2026-11-22T03:00:00+00:00")
    killed = {"state": "running", "night_started_at": "2026-11-21T22:00:00+00:00"}

    assert night_started(9, killed) == "2026-11-21T22:00:00+00:00"
    assert night_started(4, killed) == record.now(), "those hours are over: another night"
    assert night_started(9, {**killed, "state": "stopped"}) == record.now()
    assert night_started(9, {**killed, "night_started_at": "2026-11-23T22:00:00+00:00"}) == record.now()
    assert begun("n", [], {"hours": 9}, NEVER)["night_started_at"] == record.now()


def test_estimates_of_all_commands_come_in_one_unit() -> None:
    assert estimate_of({"estimate": {"minutes": 3, "disk_mb": 500}}) == {"minutes": 3, "disk_gb": 0.5}
    assert estimate_of({"estimate": {"minutes": None, "disk_megabytes": 20}}) == {"minutes": None, "disk_gb": 0.02}
    assert estimate_of({"estimate": {"minutes": 1, "disk_gigabytes": 2}}) == {"minutes": 1, "disk_gb": 2.0}
    assert estimate_of({}) == {"minutes": None, "disk_gb": None}
