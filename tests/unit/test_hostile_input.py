"""Names that become paths, and files of settings that somebody else wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tts_train.backends import hub
from tts_train.config import load_train_config
from tts_train.dataset import load_card, load_manifest, safe_member
from tts_train.errors import ConfigError, InputUnusable, TtsTrainError, UsageError
from tts_train.files import read_json, read_jsonl
from tts_train.review import lineage
from tts_train.review.sessions.materials import clip_path, session_folder
from tts_train.work.background import record, submitting
from tts_train.work.configs import new_config
from tts_train.work.targets import run_of
from tts_train.work.voice_package import find_voice
from tts_train.workspace import Workspace, check_name
from tts_train.yaml_config import load_yaml

BAD_NAMES = [
    "", ".", "..", "../evil", "a/b", "a\\b", "/etc", "a b", "a\n", "a\0", "-x", "_x", "Ann", "a" * 65, "ä", "x.y",
]  # fmt: skip
CARD = "source: s\nlicence: CC0-1.0\nspeaker: Ann\nconsent_basis: own voice\nlanguage: en\n"


def in_config(workspace: Workspace, name: str) -> None:
    (workspace.root / "m.jsonl").write_text("{}\n")
    settings = {"voice": "ann", "run": name, "backend": "piper", "dataset": "m.jsonl", "epochs": 1, "lr": 1e-4}
    (workspace.root / "c.yaml").write_text(json.dumps(settings))
    load_train_config(workspace.root / "c.yaml", workspace)


TAKES_A_NAME: dict[str, Callable[[Workspace, str], Any]] = {
    "a run": lambda workspace, name: workspace.run(name),
    "a run of a config": in_config,
    "a target": lambda workspace, name: run_of(name, workspace),
    "a tree": lambda workspace, name: lineage.lineage(workspace, name or "-"),
    "a voice": lambda workspace, name: new_config(workspace, name, backend_name="piper", dataset="m.jsonl"),
    "a job": record.find,
    "a new job": lambda workspace, name: submitting.submit(workspace, ["doctor"], name=name),
    "a campaign": lambda _, name: check_name(name, "campaign"),
    "a session": session_folder,
    "a clip of a session": lambda workspace, name: clip_path(workspace, "0123456789", name),
}


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("what", TAKES_A_NAME)
def test_a_name_that_could_be_a_path_is_refused(tmp_path: Path, what: str, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((ConfigError, InputUnusable, UsageError)):
        TAKES_A_NAME[what](Workspace(tmp_path), name)
    made = set(tmp_path.rglob("*")) - {*before, tmp_path / "m.jsonl", tmp_path / "c.yaml"}
    assert made == set()


@pytest.mark.parametrize("name", ["a", "0", "ann-piper", "a_b", "a" * 64])
def test_good_names_are_taken(name: str) -> None:
    assert check_name(name, "run") == name


def test_names_of_sessions_models_and_voices_end_where_they_end(tmp_path: Path) -> None:
    """`$` also matches before a last line break."""
    workspace = Workspace(tmp_path)
    session_folder(workspace, "0123456789")
    with pytest.raises(InputUnusable):
        session_folder(workspace, "0123456789\n")
    assert hub.is_id("coqui/XTTS-v2")
    for name in ("coqui/XTTS-v2\n", "../..", "a/../b", "a/b/c", "/a", "a/", "a/.."):
        assert not hub.is_id(name)
    assert find_voice("../../etc\n", workspace) is None


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "link", "folder/link", "folder", "", "a\nb", "folder/../../secret", "a\0b"]
)
def test_a_file_named_by_data_stays_inside_its_folder(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    (home / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (home / "folder/good").write_text("good")
    for link in (home / "link", home / "folder/link"):
        link.symlink_to(tmp_path / "secret")
    assert safe_member(home, "folder/good").read_text() == "good"
    with pytest.raises(InputUnusable):
        safe_member(home, name)


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "a billion laughs": LAUGHS,
    "a loop": "source: &a [*a]\n",
    "an object": "source: !!python/object/apply:os.system ['touch {marker}']\n",
    "a module": "source: !!python/module:os\n",
    "endless nesting": "source: " + "[" * 20_000,
    "endless mappings": "".join(" " * depth + "a:\n" for depth in range(2_000)),
    "a control character": "source: \0\n",
    "a bad escape": 'source: "\\q"\n',
    "two documents": "source: a\n---\nsource: b\n",
    "a size": CARD + "# " + "x" * 3_000_000,
    "bytes": "source: \udcff\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_yaml_is_a_wrong_config_and_quickly(tmp_path: Path, kind: str) -> None:
    marker = tmp_path / "ran"
    file = tmp_path / "dataset.yaml"
    file.write_text(HOSTILE[kind].replace("{marker}", str(marker)), errors="surrogateescape")
    started = time.process_time()
    with pytest.raises(ConfigError) as refused:
        load_card(tmp_path)
    assert refused.value.exit_code == 78
    assert len(str(refused.value.as_json())) < 5_000
    assert time.process_time() - started < 5
    assert not marker.exists()


def test_yaml_as_people_write_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: [1, 2]\nb: {c: 'R&D *'}\nd: |\n  &x *y\n")
    assert load_yaml(tmp_path / "x.yaml").data == {"a": [1, 2], "b": {"c": "R&D *"}, "d": "&x *y\n"}


@pytest.mark.parametrize("text", ["[" * 100_000, "nope", "\udcff", '{"a": 1'])
def test_hostile_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text, errors="surrogateescape")
    with pytest.raises(InputUnusable, match=r"x\.json"):
        read_json(tmp_path / "x.json")
    with pytest.raises(TtsTrainError, match=r"x\.json"):
        read_jsonl(tmp_path / "x.json")


def test_a_manifest_that_names_a_device_or_a_pipe_is_refused(tmp_path: Path) -> None:
    """Reading one could last for ever."""
    import os

    os.mkfifo(tmp_path / "pipe.wav")
    row = {"id": "a", "text": "a", "speaker": "s", "language": "en", "audio_seconds": 1.0}
    for name in ("pipe.wav", "/dev/zero"):
        (tmp_path / "m.jsonl").write_text(json.dumps({**row, "audio_file": name}) + "\n")
        with pytest.raises(ConfigError):
            load_manifest(tmp_path / "m.jsonl")
