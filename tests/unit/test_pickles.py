"""Pickles that would run code are refused with the reason, before anything is read, wherever a model is taken."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tts_train.align.choice import choose_aligner
from tts_train.backends.qwen3 import folder as qwen3_folder
from tts_train.backends.xtts import PICKLES
from tts_train.backends.xtts import base as xtts_base
from tts_train.errors import InputUnusable, Unavailable
from tts_train.pickles import calls, require_harmless
from tts_train.workspace import skill_root
from xtts_folders import write_folder

SCRIPTS = skill_root() / "scripts"


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def archive(content: Any, name: str = "archive/data.pkl") -> bytes:
    """As torch.save writes: the pickle and the numbers beside it in one zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, pickle.dumps(content, protocol=2))
        file.writestr("archive/data/0", bytes(4000))
    return buffer.getvalue()


def old(content: Any) -> bytes:
    """As torch.save wrote before 1.6: a magic number, a version, the system, then the content."""
    return b"".join(pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {}, content, []))


FORMS: dict[str, Callable[[Any], bytes]] = {
    "a pickle": pickle.dumps,
    "an archive": archive,
    "an old file": old,
    "a pickle under another name in an archive": lambda content: archive(content, "archive/data/1"),
    "text": lambda content: pickle.dumps(content, protocol=0),
}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "ran"


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".pkl", ""])
@pytest.mark.parametrize("form", FORMS)
def test_a_bomb_is_refused_in_every_form(tmp_path: Path, marker: Path, form: str, suffix: str) -> None:
    file = tmp_path / f"model{suffix}"
    file.write_bytes(FORMS[form]({"weight": [1.0], "extra": Bomb(marker)}))
    with pytest.raises(InputUnusable, match=r"is refused: reading it would call posix\.system") as refused:
        require_harmless([file])
    assert refused.value.exit_code == 65
    assert str(file) in refused.value.message
    assert not marker.exists()


@pytest.mark.parametrize("form", FORMS)
def test_what_weights_are_made_of_passes(tmp_path: Path, form: str) -> None:
    (tmp_path / "model.pth").write_bytes(
        FORMS[form]({"model": OrderedDict(step=3), "count": Counter("aab"), "set": {1}})
    )
    require_harmless([tmp_path / "model.pth"])


def test_an_unknown_name_is_refused_though_nobody_calls_it_harmful(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"\x80\x02csome.package\nThing\n)\x81.")
    assert calls(tmp_path / "model.pth") == ["some.package.Thing"]
    with pytest.raises(InputUnusable, match=r"would call some\.package\.Thing"):
        require_harmless([tmp_path / "model.pth"])
    require_harmless([tmp_path / "model.pth"], also=["some.package.Thing"])


def test_all_bad_files_are_named_and_a_torn_one_is_no_weights(tmp_path: Path, marker: Path) -> None:
    (tmp_path / "a.pth").write_bytes(archive(Bomb(marker)))
    (tmp_path / "b.pth").write_bytes(archive([1.0])[:-30])
    (tmp_path / "c.pth").write_bytes(archive([1.0]))
    (tmp_path / "d.pth").write_bytes(b"")
    with pytest.raises(InputUnusable, match="3 such files") as refused:
        require_harmless(sorted(tmp_path.glob("*.pth")))
    assert [Path(str(problem.file)).name for problem in refused.value.problems] == ["a.pth", "b.pth", "d.pth"]
    assert "damaged" in refused.value.problems[1].message


def test_a_known_file_passes_by_its_hash_and_no_other_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tts_train import pickles
    from tts_train.files import sha256_file

    file = tmp_path / "model.bin"
    file.write_bytes(b"\x80\x02csome.package\nThing\n)\x81.")
    known = frozenset([sha256_file(file)])
    monkeypatch.setattr(pickles, "_known", lambda: known)
    require_harmless([file])
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(InputUnusable, match="is refused"):
        require_harmless([file])


def test_every_known_file_says_what_it_is() -> None:
    known = json.loads((skill_root() / "assets/known-pickles.json").read_text())["files"]
    assert known
    for digest, about in known.items():
        assert len(digest) == 64
        assert {"file", "package", "why"} == about.keys()


# --- where the product takes a model from its user


@pytest.mark.parametrize("name", PICKLES)
def test_in_an_xtts_base(tmp_path: Path, marker: Path, name: str) -> None:
    folder = write_folder(tmp_path / "base")
    xtts_base.describe(folder, "mine")
    (folder / name).write_bytes(archive(Bomb(marker)))
    with pytest.raises(InputUnusable, match=rf"{name} is refused"):
        xtts_base.describe(folder, "mine")
    assert not marker.exists()


def test_the_hubs_own_xtts_passes(tmp_path: Path) -> None:
    """Its model.pth holds its configuration, of coqui's classes, beside the weights."""
    folder = write_folder(tmp_path / "base")
    names = [name.rpartition(".") for name in xtts_base.CONFIG_CLASSES]
    parts = b"".join(b"c%s\n%s\n)\x81" % (module.encode(), name.encode()) for module, _, name in names)
    (folder / "model.pth").write_bytes(b"\x80\x02(" + parts + b"l.")
    xtts_base.describe(folder, "mine")


def test_a_training_from_such_a_base_does_not_start(tmp_path: Path, marker: Path) -> None:
    """The command itself: exit code 65, the reason on stdout, and nothing was run or made."""
    workspace = tmp_path / "workspace"
    (workspace / "datasets/ann").mkdir(parents=True)
    card = "source: s\nlicence: CC0-1.0\nspeaker: Ann\nconsent_basis: own voice\nlanguage: en\n"
    (workspace / "datasets/ann/dataset.yaml").write_text(card)
    row = {"id": "a", "audio_file": "a.wav", "text": "a", "speaker": "ann", "language": "en", "audio_seconds": 5.0}
    (workspace / "datasets/ann/train_manifest.jsonl").write_text(json.dumps(row) + "\n")
    (workspace / "datasets/ann/a.wav").write_bytes(b"RIFF")
    base = write_folder(workspace / "base")
    (base / "model.pth").write_bytes(archive(Bomb(marker)))
    config = (
        "voice: ann\nbackend: xtts\nbase: base\ndataset: datasets/ann/train_manifest.jsonl\nepochs: 1\nlr: 1.0e-5\n"
    )
    (workspace / "ann.yaml").write_text(config)
    command = [sys.executable, "-P", str(SCRIPTS / "train_local.py"), str(workspace / "ann.yaml"), "--dry-run"]
    ended = subprocess.run(
        [*command, "--workspace", str(workspace)], capture_output=True, text=True, check=False, timeout=60
    )
    error = json.loads(ended.stdout)["error"]
    assert "model.pth is refused: reading it would call posix.system" in json.dumps(error)
    assert ended.returncode == 65, ended.stdout
    assert not marker.exists()
    assert not (workspace / "artifacts").exists()


def test_in_an_alignment_model(tmp_path: Path, marker: Path) -> None:
    for name in ("config.json", "preprocessor_config.json", "vocab.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(archive({"weight": [1.0]}))
    assert choose_aligner("auto", str(tmp_path), "de").name == "whisperx"
    (tmp_path / "training_args.bin").write_bytes(archive(Bomb(marker)))  # nobody reads it
    assert choose_aligner("auto", str(tmp_path), "de").name == "whisperx"
    (tmp_path / "pytorch_model-00002-of-00002.bin").write_bytes(archive(Bomb(marker)))
    with pytest.raises(InputUnusable, match=r"00002\.bin is refused"):
        choose_aligner("auto", str(tmp_path), "de")
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(Unavailable, match=r"model\.safetensors missing"):
        choose_aligner("auto", str(tmp_path), "de")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.pth"])
def test_in_a_qwen3_base_or_checkpoint(tmp_path: Path, marker: Path, name: str) -> None:
    (tmp_path / name).write_bytes(archive(Bomb(marker)))
    with pytest.raises(InputUnusable, match="a pickle"):
        qwen3_folder.weight_files(tmp_path)
    assert not marker.exists()


def test_the_bomb_of_these_tests_goes_off(tmp_path: Path, marker: Path) -> None:
    """Else they would prove nothing."""
    (tmp_path / "x").write_bytes(archive(Bomb(marker)))
    with zipfile.ZipFile(tmp_path / "x") as file:
        pickle.loads(file.read("archive/data.pkl"))
    assert marker.exists()
    shutil.rmtree(tmp_path)
