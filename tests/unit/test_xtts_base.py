"""Finding and describing an XTTS-v2 without any model library: what is missing, what it is, its licence."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tts_train.backends.xtts import base as bases
from tts_train.errors import InputUnusable, Unavailable
from xtts_folders import MODEL_ARGS, write_folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, no network, no licence agreed to."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "COQUI_TOS_AGREED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hf"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "my base")


def cache(home: Path, source: Path, name: str = bases.HUB_ID) -> Path:
    """`source` as a snapshot in the hub's cache."""
    place = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = place / "snapshots" / "0123abc"
    shutil.copytree(source, snapshot)
    (place / "refs").mkdir()
    (place / "refs/main").write_text("0123abc")
    return snapshot


def edit(file: Path, change: Any) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_a_local_folder_is_found_and_described(folder):
    found = bases.describe(bases.find(str(folder)), "my base")

    assert (found.folder, found.name, found.output_rate) == (folder, "my base", 24000)
    assert found.languages == ("en", "de", "zh-cn"), "a language that the tokenizer has no token of is none"
    assert found.sizes == bases.Sizes(30, 1024, 16, text_tokens=10, max_text=401, max_codes=601)
    assert bases.locate(str(folder)) == folder


def test_only_json_is_read(folder):
    """The weights here are none; and the core environment has no torch."""
    code = """
import sys
from pathlib import Path
from tts_train.backends.xtts import base
base.sha256(base.describe(Path(sys.argv[1]), "x"))
heavy = {"torch", "TTS", "numpy", "huggingface_hub"} & set(sys.modules)
assert not heavy, heavy
"""
    environment = {"PYTHONPATH": str(Path(bases.__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code, folder], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("name", bases.FILES)
def test_a_missing_file_is_unavailable_with_the_command_that_brings_it(folder, name):
    (folder / name).unlink()
    for look in (lambda: bases.find(str(folder)), lambda: bases.describe(folder, "base")):
        with pytest.raises(Unavailable) as absent:
            look()
        assert absent.value.exit_code == 69
        assert absent.value.message == f"{folder} is not a whole XTTS-v2: it lacks {name}"
        assert absent.value.hint == f"hf download coqui/XTTS-v2 {name} --local-dir '{folder}'"
        assert [problem.file for problem in absent.value.problems] == [str(folder / name)]
    assert bases.locate(str(folder)) is None


def test_several_missing_files_are_one_command_and_each_its_own(folder):
    (folder / "dvae.pth").unlink()
    (folder / "vocab.json").unlink()
    with pytest.raises(Unavailable) as absent:
        bases.find(str(folder))

    place = shlex.quote(str(folder))
    assert absent.value.hint == f"hf download coqui/XTTS-v2 dvae.pth vocab.json --local-dir {place}"
    assert [problem.message for problem in absent.value.problems] == [
        f"missing: hf download coqui/XTTS-v2 {name} --local-dir {place}" for name in ("dvae.pth", "vocab.json")
    ]


def test_speakers_are_not_needed(folder):
    assert not (folder / "speakers_xtts.pth").exists()
    assert bases.missing(folder) == []


def test_a_model_that_is_not_there_names_command_and_licence(home):
    with pytest.raises(Unavailable) as absent:
        bases.find(bases.HUB_ID)

    assert absent.value.exit_code == 69
    assert "COQUI_TOS_AGREED is not set" in absent.value.message
    assert absent.value.hint.startswith("hf download coqui/XTTS-v2 config.json model.pth dvae.pth ")
    assert "Coqui Public Model License" in absent.value.hint
    assert "export COQUI_TOS_AGREED=1" in absent.value.hint
    assert bases.locate(bases.HUB_ID) is None


def test_the_licence_is_asked_for_before_anything_is_downloaded(home, monkeypatch, tmp_path):
    asked: list[str] = []
    source = write_folder(tmp_path / "published")
    monkeypatch.setattr(bases.hub, "download", lambda name, files: asked.append(name) or source)
    for answer in ("", "0", "no"):
        monkeypatch.setenv("COQUI_TOS_AGREED", answer)
        with pytest.raises(Unavailable, match="COQUI_TOS_AGREED"):
            bases.find(bases.HUB_ID)
    assert asked == []

    monkeypatch.setenv("COQUI_TOS_AGREED", "1")
    assert bases.find(bases.HUB_ID) == source
    assert asked == [bases.HUB_ID]


def test_without_a_network_the_reason_is_said(home, monkeypatch):
    monkeypatch.setenv("COQUI_TOS_AGREED", "1")
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE forbids") as absent:
        bases.find(bases.HUB_ID)
    assert "License" not in absent.value.hint, "it is agreed to"


def test_the_hub_s_cache_is_read_without_its_library(home, folder):
    snapshot = cache(home, folder)

    assert bases.find(bases.HUB_ID) == snapshot
    assert bases.locate(bases.HUB_ID) == snapshot
    here, there = bases.describe(folder, "x"), bases.describe(snapshot, bases.HUB_ID)
    assert bases.sha256(here) == bases.sha256(there)


def test_a_torn_download_names_what_is_missing(home, folder):
    """coqui-tts's own downloader leaves out dvae.pth and mel_stats.pth."""
    snapshot = cache(home, folder)
    (snapshot / "dvae.pth").unlink()
    (snapshot / "mel_stats.pth").unlink()
    with pytest.raises(Unavailable) as torn:
        bases.find(bases.HUB_ID)

    assert f"{snapshot} lacks dvae.pth, mel_stats.pth" in torn.value.message
    assert torn.value.hint.startswith("hf download coqui/XTTS-v2 dvae.pth mel_stats.pth ")
    assert bases.locate(bases.HUB_ID) is None


def test_a_name_that_is_neither_folder_nor_model_is_said_so(home):
    for name in ("packaged", "/no/such/folder", "../x/y"):
        with pytest.raises(Unavailable, match="neither a folder nor"):
            bases.find(name)
        assert bases.locate(name) is None


@pytest.mark.parametrize("name", bases.FILES)
def test_the_hash_is_of_every_file(folder, name):
    described = bases.describe(folder, "x")
    before = bases.sha256(described)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    assert bases.sha256(described) != before


WRONG: Mapping[str, Any] = {
    "gpt_num_audio_tokens": 8194,
    "gpt_start_audio_token": 8192,
    "gpt_stop_audio_token": None,
    "gpt_use_perceiver_resampler": False,
    "gpt_code_stride_len": 256,
    "input_sample_rate": 24000,
    "gpt_number_text_tokens": 255,
}


@pytest.mark.parametrize("key", WRONG)
def test_sizes_of_another_model_are_refused(tmp_path, key):
    folder = write_folder(tmp_path / "base", **{key: WRONG[key]})
    with pytest.raises(InputUnusable) as wrong:
        bases.describe(folder, "base")
    found = "(not there)" if WRONG[key] is None else WRONG[key]
    wanted = MODEL_ARGS[key]
    assert [problem.message for problem in wrong.value.problems] == [f"model_args.{key} is {found}, not {wanted}"]


def test_every_wrong_size_is_named_at_once(tmp_path):
    folder = write_folder(tmp_path / "base", gpt_num_audio_tokens=8194, gpt_use_perceiver_resampler=None)
    with pytest.raises(InputUnusable, match=r"gpt_num_audio_tokens is 8194.*perceiver_resampler is \(not there\)"):
        bases.describe(folder, "base")


def test_the_number_of_text_tokens_may_be_left_to_the_vocabulary(tmp_path):
    folder = write_folder(tmp_path / "base", gpt_number_text_tokens=None)
    assert bases.describe(folder, "base").sizes.text_tokens == 10


@pytest.mark.parametrize("key", ["gpt_layers", "gpt_max_audio_tokens", "output_sample_rate"])
def test_a_size_that_is_not_there_is_named(tmp_path, key):
    with pytest.raises(InputUnusable, match=f"config.json lacks or garbles '{key}'"):
        bases.describe(write_folder(tmp_path / "base", **{key: None}), "base")


def test_files_that_are_something_else_are_said_so(tmp_path):
    def described(change: Any, name: str) -> str:
        folder = write_folder(tmp_path / f"base{len(list(tmp_path.iterdir()))}")
        edit(folder / name, change)
        with pytest.raises(InputUnusable) as wrong:
            bases.describe(folder, "base")
        assert f"hf download coqui/XTTS-v2 {name} --local-dir {folder}" in wrong.value.hint
        return wrong.value.message

    assert "no model_args" in described(lambda config: config.pop("model_args"), "config.json")
    assert "garbles 'languages'" in described(lambda config: config.pop("languages"), "config.json")
    assert "no tokenizer file" in described(lambda vocab: vocab.pop("model"), "vocab.json")
    assert "no tokenizer file" in described(lambda vocab: vocab.update(added_tokens=[{"id": "x"}]), "vocab.json")

    def renamed(vocab: Any) -> None:
        vocab["model"]["vocab"]["<s>"] = vocab["model"]["vocab"].pop("[START]")
        vocab["added_tokens"] = []

    assert "no token [START]" in described(renamed, "vocab.json")
