"""What a listener can be played: copies that are whole, of renders and weights that still are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import finished_run
from tts_train.files import read_json, sha256_file, write_json, write_synced
from tts_train.probe.material import MATCHED_VERSION, Stimulus, stimuli
from tts_train.probe.render import is_stale, render_folder
from tts_train.training.run import RunFolder

KEY = finished_run.KEY
TEXTS = {"one": "Good luck.", "two": "The path."}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Two epochs and the base, two items with two seeds each; a target that read one of them; an anchor."""
    place = finished_run.workspace_in(tmp_path)
    folder = finished_run.make_run(place, "r", finished_run.CONSTANT, epochs=2, measured=False)
    renders = folder.path / "renders" / KEY
    write_json(renders / "key.json", {"texts": TEXTS, "seeds": [0, 1]})
    for number in (0, 1, 2):
        items = [_item(renders / f"epoch-{number:03d}", name, seed) for name in TEXTS for seed in (0, 1)]
        spoken = [{"id": it["id"], "seed": it["seed"], "sha256": it["matched"]["source_sha256"]} for it in items]
        weights = folder.epoch(number).weights_sha256
        write_json(render_folder(folder, KEY, number) / "render.json", {"weights_sha256": weights, "items": spoken})
        write_json(render_folder(folder, KEY, number) / "measures.json", {"items": items})
    other = {**_item(renders / "target", "elsewhere", 0), "matched": None, "not_matched": "it reads no item"}
    write_json(renders / "target/measures.json", {"items": [_item(renders / "target", "two", 0), other]})
    write_json(renders / "anchor/anchor.json", {"items": [_item(renders / "anchor", "one", 0)]})
    return folder


def _item(folder: Path, name: str, seed: int) -> dict[str, Any]:
    path = folder / f"matched/{name}.seed-{seed}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_synced(path, f"{folder.name} {name} {seed}".encode())
    facts = {"gain_db": 1.5, "audio_seconds": 2.0, "sha256": sha256_file(path), "version": MATCHED_VERSION}
    copy = {"file": f"matched/{path.name}", "source_sha256": f"wav of {folder.name} {name} {seed}", **facts}
    return {"id": name, "seed": seed, "matched": copy, "not_matched": None}


def _change(path: Path, index: int, **changes: Any) -> None:
    note = read_json(path)
    note["items"][index]["matched"].update(changes)
    write_json(path, note)


def _epoch(run: RunFolder, number: int) -> list[tuple[str, int]]:
    return [(it.item, it.seed) for it in stimuli(run, KEY) if it.source == f"epoch-{number:03d}"]


def test_every_whole_copy_is_there_in_order(run: RunFolder) -> None:
    found = stimuli(run, KEY)
    places = [(it.source, it.item, it.seed) for it in found]
    assert places == sorted(places)
    assert [it.source for it in found] == [
        "anchor",
        *["epoch-000"] * 4,
        *["epoch-001"] * 4,
        *["epoch-002"] * 4,
        "target",
    ]
    path = run.path / "renders" / KEY / "epoch-001/matched/two.seed-1.wav"
    assert Stimulus("epoch-001", "two", 1, path, sha256_file(path), 1.5, 2.0, "The path.") in found


def test_nothing_is_there_before_anything_was_rendered(run: RunFolder) -> None:
    assert stimuli(run, "fedcba9876543210") == []


def test_missing_damaged_and_unmatched_copies_are_left_out(run: RunFolder) -> None:
    folder = render_folder(run, KEY, 1)
    (folder / "matched/one.seed-0.wav").unlink()
    (folder / "matched/one.seed-1.wav").write_bytes(b"something else")
    note = read_json(folder / "measures.json")
    note["items"][2].update(matched=None, not_matched="there is nothing to hear in it")
    write_json(folder / "measures.json", note)
    assert _epoch(run, 1) == [("two", 1)]


def test_measures_of_an_older_version_have_nothing_to_play(run: RunFolder) -> None:
    folder = render_folder(run, KEY, 1)
    note = read_json(folder / "measures.json")
    for item in note["items"]:
        del item["matched"]
    write_json(folder / "measures.json", note)
    _change(render_folder(run, KEY, 2) / "measures.json", 0, version=MATCHED_VERSION + 1)
    assert _epoch(run, 1) == []
    assert len(_epoch(run, 2)) == 3


def test_an_epoch_that_has_other_weights_now_is_not_played(run: RunFolder) -> None:
    weights = run.epoch(1).weights_sha256
    assert not is_stale(render_folder(run, KEY, 1), weights)
    info = {"epoch": 1, "step": 1, "sum_lr": 0.0, "drift": 0.0}
    run.publish(1, lambda place: write_synced(place / "weights.safetensors", b"other"), info)
    assert is_stale(render_folder(run, KEY, 1), run.epoch(1).weights_sha256)
    assert _epoch(run, 1) == []
    assert len(_epoch(run, 2)) == 4


def test_a_copy_of_a_render_that_was_made_again_is_not_played(run: RunFolder) -> None:
    _change(render_folder(run, KEY, 2) / "measures.json", 3, source_sha256="wav of before")
    assert _epoch(run, 2) == [("one", 0), ("one", 1), ("two", 0)]


def test_an_epoch_without_a_finished_render_is_not_played_and_not_called_stale(run: RunFolder) -> None:
    folder = render_folder(run, KEY, 2)
    (folder / "render.json").unlink()
    assert not is_stale(folder, "whatever")
    assert _epoch(run, 2) == []


def test_it_needs_no_heavy_library() -> None:
    """Sessions are planned in the core environment, which has no sound library."""
    code = "import sys, tts_train.probe.material; print(sorted({'numpy', 'scipy', 'torch', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
