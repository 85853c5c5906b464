"""Finding and describing a Qwen3-TTS without any model library: local folders, the hub's cache, what is torn."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import qwen3_folders
from tts_train.backends.qwen3 import base as bases
from tts_train.backends.qwen3 import folder as folders
from tts_train.backends.qwen3 import tensor_files
from tts_train.errors import InputUnusable, Unavailable

NAME = "Qwen/Qwen3-TTS-12Hz-0.6B-Base"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hf"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return qwen3_folders.write_folder(tmp_path / "base")


def cache(home: Path, source: Path, name: str = NAME) -> Path:
    """`source` laid out as huggingface_hub does: blobs, and a snapshot of symlinks to them. Returns the snapshot."""
    place = home / "hub" / f"models--{name.replace('/', '--')}"
    revision = "0123456789abcdef0123456789abcdef01234567"
    snapshot = place / "snapshots" / revision
    for path in sorted(source.rglob("*")):
        if path.is_file():
            blob = place / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
            blob.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, blob)
            link = snapshot / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(blob)
    (place / "refs").mkdir()
    (place / "refs/main").write_text(revision)
    return snapshot


def test_a_local_folder_is_found_and_described(folder):
    found = bases.describe(bases.find(str(folder)), "base")

    assert (found.folder, found.size, found.hidden) == (folder, "0.6B", 4)
    assert found.languages == {"english": 2050, "german": 2053}
    assert found.has_encoder
    assert bases.locate(str(folder)) == folder


def test_a_model_that_is_not_there_names_the_command_that_downloads_it(home):
    with pytest.raises(Unavailable) as absent:
        bases.find(NAME)

    assert absent.value.exit_code == 69
    assert absent.value.hint.startswith(f"hf download {NAME} ")
    assert bases.locate(NAME) is None


def test_a_name_that_is_neither_folder_nor_model_is_said_so(home):
    for name in ("packaged", "/no/such/folder", "../x/y"):
        with pytest.raises(Unavailable, match="neither a folder nor"):
            bases.find(name)
        assert bases.locate(name) is None


def test_the_hub_s_cache_is_read_without_its_library(home, folder):
    snapshot = cache(home, folder)

    assert bases.find(NAME) == snapshot
    assert bases.locate(NAME) == snapshot
    described = bases.describe(snapshot, NAME)
    assert bases.sha256(described) == bases.sha256(bases.describe(folder, "copy"))


def test_hub_cache_variable_wins_over_home(home, folder, monkeypatch):
    cache(home, folder)
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "elsewhere"))

    assert bases.locate(NAME) is None


def test_a_revision_that_leads_elsewhere_is_not_followed(home, folder):
    snapshot = cache(home, folder)
    (snapshot.parents[1] / "refs/main").write_text(f"../../../../{folder.name}")

    assert bases.locate(NAME) is None


def test_a_torn_download_is_unavailable_and_names_what_is_missing(home, folder):
    snapshot = cache(home, folder)
    (snapshot / "model.safetensors").resolve().unlink()
    (snapshot / "speech_tokenizer/model.safetensors").unlink()

    with pytest.raises(Unavailable) as torn:
        bases.find(NAME)

    assert {problem.message for problem in torn.value.problems} == {
        "model.safetensors",
        "speech_tokenizer/model.safetensors",
    }
    assert f"hf download {NAME}" in torn.value.hint
    assert bases.locate(NAME) is None


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        "tokenizer_config.json",
        "vocab.json",
        "merges.txt",
        "model.safetensors",
        "speech_tokenizer/config.json",
        "speech_tokenizer/model.safetensors",
        "speech_tokenizer/preprocessor_config.json",
    ],
)
def test_each_missing_file_of_a_folder_is_named(folder, name):
    (folder / name).unlink()

    with pytest.raises(InputUnusable) as torn:
        bases.find(str(folder))

    assert [problem.message for problem in torn.value.problems] == [name]


def test_all_missing_files_are_named_at_once(folder):
    for path in list(folder.rglob("*")):
        if path.is_file() and path.name != "config.json":
            path.unlink()

    with pytest.raises(InputUnusable) as torn:
        bases.find(str(folder))

    assert len(torn.value.problems) == 7


def test_tokenizer_json_stands_for_vocabulary_and_merges(folder):
    (folder / "vocab.json").unlink()
    (folder / "merges.txt").rename(folder / "tokenizer.json")

    assert bases.find(str(folder)) == folder


@pytest.mark.parametrize("name", ["model.safetensors", "speech_tokenizer/model.safetensors"])
@pytest.mark.parametrize("kept", [0, 5, 40, -1])
def test_cut_weights_are_told(folder, name, kept):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:kept])

    with pytest.raises(InputUnusable, match="is damaged"):
        bases.find(str(folder))


def test_a_header_that_describes_no_tensors_is_told(folder):
    for header in (b'{"a": 3}', b"[1, 2]  ", b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}'):
        (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
        with pytest.raises(InputUnusable, match="is damaged"):
            tensor_files.table(folder / "model.safetensors")


def test_weights_in_several_files_are_one_model(folder):
    whole = folders.tensors(folder)
    parts = [{name: value} for name, value in qwen3_folders.weights().items()]
    (folder / "model.safetensors").unlink()
    index = {}
    for number, part in enumerate(parts, 1):
        name = f"model-0000{number}-of-00002.safetensors"
        (folder / name).write_bytes(tensor_files.packed(part))
        index |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))

    found = bases.find(str(folder))
    assert {name: item.shape for name, item in folders.tensors(found).items()} == {
        name: item.shape for name, item in whole.items()
    }
    before = bases.sha256(bases.describe(found, "base"))

    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputUnusable) as torn:
        bases.find(str(folder))
    assert [problem.message for problem in torn.value.problems] == ["model-00002-of-00002.safetensors"]

    (folder / "model-00002-of-00002.safetensors").write_bytes(tensor_files.packed({"other": np.zeros(1, np.float32)}))
    assert bases.sha256(bases.describe(found, "base")) != before


def test_an_index_that_leads_outside_the_folder_is_refused(folder):
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    index = {"weight_map": {"a": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(InputUnusable, match="no file of this folder"):
        bases.find(str(folder))


def test_pickled_weights_are_refused_with_the_reason(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(InputUnusable, match="a pickle: reading one runs"):
        bases.find(str(folder))


@pytest.mark.parametrize(
    ("key", "value"), [("model_type", "qwen3"), ("tokenizer_type", "qwen3_tts_tokenizer_25hz"), ("talker_config", {})]
)
def test_another_model_is_refused(folder, key, value):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))

    with pytest.raises(InputUnusable, match=r"config\.json"):
        bases.describe(folder, "base")


def test_a_fine_tuned_checkpoint_without_encoder_is_no_base_and_the_message_says_why(tmp_path):
    tuned = bases.describe(qwen3_folders.write_folder(tmp_path / "tuned", speakers={"ann": 3000}), "tuned")

    with pytest.raises(InputUnusable, match="without a speaker encoder") as refused:
        bases.require_encoder(tuned)

    assert "-Base model" in refused.value.hint


def test_the_hash_is_of_the_content_of_config_and_weights(folder, tmp_path):
    first = bases.sha256(bases.describe(folder, "a"))
    copied = shutil.copytree(folder, tmp_path / "copy")
    (copied / "README.md").write_text("more")
    assert bases.sha256(bases.describe(copied, "b")) == first

    (copied / "model.safetensors").write_bytes(tensor_files.packed(qwen3_folders.weights(moved=1.0)))
    assert bases.sha256(bases.describe(copied, "b")) != first


def test_the_published_bfloat16_reads_as_its_numbers(tmp_path):
    numbers = np.array([1.0, -2.5, 3.140625, 0.0], np.float32)
    header = b'{"w":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}  '
    halves = (numbers.view(np.uint32) >> 16).astype("<u2").tobytes()
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + halves)

    (read,) = tensor_files.blocks(tensor_files.table(tmp_path / "w")["w"])

    np.testing.assert_array_equal(read, numbers)


def test_large_tensors_come_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_files, "BLOCK", 4)
    (tmp_path / "w").write_bytes(tensor_files.packed({"w": np.arange(10, dtype=np.float32)}))
    tensor = tensor_files.table(tmp_path / "w")["w"]

    assert [len(block) for block in tensor_files.blocks(tensor)] == [4, 4, 2]
    assert np.concatenate(list(tensor_files.blocks(tensor, 3, 9))).tolist() == list(range(3, 9))


def test_importing_it_loads_no_model_library():
    code = (
        "import sys; from tts_train.work import adopt; "
        "from tts_train.backends.qwen3 import base, checkpoint, official, vectors; "
        "print({'torch', 'numpy', 'transformers', 'huggingface_hub', 'safetensors', 'qwen_tts'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
