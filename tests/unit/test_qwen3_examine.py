"""Everything that can be wrong with a Qwen3-TTS training is found before it starts, all of it at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from qwen3_inputs import row, write_base, write_manifest, write_wav
from tiny_skill import SKILL
from tts_train import files
from tts_train.audio import header_seconds
from tts_train.backends import Examined, backend, machine
from tts_train.backends.machine import Gpu, Machine
from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, DiskError, InputUnusable, TtsTrainError, Unavailable
from tts_train.workspace import Workspace

CPU = Machine(gpus=(), maybe_gpu=False, memory_gib=64, cores=2)
HUB = "Qwen/Qwen3-TTS-12Hz-0.6B-Base"


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A base, a manifest of thirty clips, a machine without a GPU, an empty hub cache."""
    monkeypatch.setattr(machine, "look", lambda: CPU)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _path: _Usage(0, 0, 10**12))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    write_base(tmp_path / "base")
    write_manifest(tmp_path / "data", [row(number) for number in range(1, 31)])
    return Workspace(tmp_path)


def settings(**changes: Any) -> TrainConfig:
    good = {"voice": "ann", "backend": "qwen3", "dataset": "data/train_manifest_qwen3.jsonl", "base": "base"}
    return TrainConfig.model_validate({**good, "epochs": 10, "lr": 1e-5, "batch_size": 2, **changes})


def examine(workspace: Workspace, **changes: Any) -> Examined:
    return backend("qwen3").examine(settings(**changes), workspace)


def refused(kind: type[TtsTrainError], workspace: Workspace, **changes: Any) -> str:
    """Examine, expect `kind`, and give message, hint and problems as one text."""
    with pytest.raises(kind) as caught:
        examine(workspace, **changes)
    assert type(caught.value) is kind
    return "\n".join([caught.value.message, caught.value.hint, *map(str, caught.value.problems)])


def said(workspace: Workspace, **changes: Any) -> str:
    return "\n".join(examine(workspace, **changes).warnings)


def rewrite(workspace: Workspace, rows: list[dict[str, Any]]) -> None:
    write_manifest(workspace.root / "data", rows)


def use(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu) -> None:
    monkeypatch.setattr(machine, "look", lambda: Machine(gpus, maybe_gpu=True, memory_gib=64, cores=2))


def test_a_good_training_is_described(workspace: Workspace) -> None:
    found = examine(workspace, validation_clips=2)

    assert found.clips == 30
    assert found.audio_seconds == pytest.approx(sum(20 + number % 10 for number in range(1, 31)) / 12.5)
    assert found.facts["base"] == {"name": "base", "size": "0.6B", "folder": str(workspace.root / "base")}
    assert (found.facts["speaker"], found.facts["language"], found.facts["references"]) == ("ann", "english", 1)
    assert {"minutes", "basis", "disk_gigabytes", "memory_gib", "variants"} <= found.estimate.keys()
    assert found.warnings == ()


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from tts_train.backends.qwen3 import examination; "
        "heavy = {'torch', 'transformers', 'qwen_tts', 'av', 'huggingface_hub', 'safetensors', 'peft'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    variables = {**os.environ, "PYTHONPATH": str(SKILL / "src")}
    answer = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)

    assert (answer.returncode, answer.stderr) == (0, "")


def test_all_problems_come_at_once_with_lines(workspace: Workspace) -> None:
    rows = [row(number) for number in range(1, 31)]
    rows[3] = row(4, audio_codes=[[1] * 15])
    rows[6] = row(7, ref_audio="gone.wav")
    rewrite(workspace, rows)

    found = refused(ConfigError, workspace, base="nowhere", qwen3={"language": "klingon"}, device="cuda")

    manifest = workspace.root / "data/train_manifest_qwen3.jsonl"
    assert f"{manifest}:4: 'audio_codes': frame 0 has 15 codes, expected 16" in found
    assert f"{manifest}:7: 'ref_audio': gone.wav is not a file" in found
    assert "'nowhere' is neither a folder nor the name of a model" in found
    assert "no language 'klingon'" in found
    assert "no GPU" in found


def test_language_and_speaker_are_both_named(workspace: Workspace) -> None:
    found = refused(ConfigError, workspace, qwen3={"language": "klingon", "speaker": "bob"})

    assert "no language 'klingon'" in found
    assert "no speaker 'bob'" in found


def test_an_unknown_language_is_one_problem(workspace: Workspace) -> None:
    assert refused(ConfigError, workspace, qwen3={"language": "klingon"}).count("klingon") == 1


def test_mixed_languages_need_a_decision(workspace: Workspace) -> None:
    rewrite(workspace, [row(number, language="de" if number == 9 else "en") for number in range(1, 31)])

    found = refused(ConfigError, workspace)

    assert "mixes languages: en (29), de (1)" in found
    assert "jsonl:9:" in found
    assert "all are trained as english" in said(workspace, qwen3={"language": "english"})


def test_several_speakers_need_a_decision(workspace: Workspace) -> None:
    rewrite(workspace, [row(number, speaker="bob" if number > 25 else "ann") for number in range(1, 31)])

    assert "several speakers: ann (25), bob (5)" in refused(ConfigError, workspace)
    assert examine(workspace, qwen3={"speaker": "ann"}).facts["clips_of_other_speakers"] == 5


def test_a_torn_base_names_what_it_lacks(workspace: Workspace) -> None:
    (workspace.root / "base/speech_tokenizer/model.safetensors").unlink()
    (workspace.root / "base/merges.txt").unlink()

    found = refused(InputUnusable, workspace)

    assert "speech_tokenizer/model.safetensors" in found
    assert "merges.txt" in found


def test_a_base_without_its_speaker_encoder_cannot_be_trained(workspace: Workspace) -> None:
    shutil.rmtree(workspace.root / "base")
    write_base(workspace.root / "base", kind="custom_voice")

    assert "speaker encoder" in refused(InputUnusable, workspace)


def test_a_base_whose_config_lacks_a_size_is_named(workspace: Workspace) -> None:
    file = workspace.root / "base/config.json"
    file.write_text(file.read_text().replace('"text_vocab_size"', '"text_vocabulary"'))

    assert "config.json lacks or garbles 'text_vocab_size'" in refused(InputUnusable, workspace)


def test_a_hub_name_is_planned_with_and_said_to_be_downloaded(workspace: Workspace) -> None:
    found = examine(workspace, base=HUB)

    assert (
        f"download about 2.5 GB, and what only the base can tell was not checked. To have it now: hf download {HUB}"
        in (found.warnings[0])
    )
    assert found.estimate["trainable_millions"] == 905.8
    assert found.facts["base"]["folder"] is None


def test_a_hub_name_offline_is_unavailable_with_the_command(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    assert f"hf download {HUB}" in refused(Unavailable, workspace, base=HUB)


def test_a_full_disk_is_found_and_finished_epochs_need_no_more_of_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = examine(workspace).estimate["disk"]
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _path: _Usage(0, 0, int(0.75e9 * needed["total"])))

    assert "ann-qwen3 needs about" in refused(DiskError, workspace)
    for number in range(1, 7):
        folder = workspace.runs / f"ann-qwen3/epochs/epoch-{number:03d}"
        folder.mkdir(parents=True)
        (folder / "epoch.json").write_text("{}")
    examine(workspace)


def test_nothing_may_be_left_to_train_on(workspace: Workspace) -> None:
    assert "validation_clips 30 leaves nothing" in refused(ConfigError, workspace, validation_clips=30)


def test_a_reference_shorter_than_a_second_is_found_by_its_header(workspace: Workspace) -> None:
    rewrite(workspace, [row(number, ref_audio="short.wav" if number > 4 else "ref.wav") for number in range(1, 31)])
    write_wav(workspace.root / "data/short.wav", 0.5)

    assert "jsonl:5: 'ref_audio': short.wav has 0.50 s" in refused(ConfigError, workspace)


def test_a_flac_header_tells_the_length(tmp_path: Path) -> None:
    numbers = (24000 << 44 | 0 << 41 | 15 << 36 | 36000).to_bytes(8, "big")
    (tmp_path / "a.flac").write_bytes(b"fLaC" + bytes(4) + bytes(10) + numbers + bytes(16))
    (tmp_path / "b.mp3").write_bytes(b"ID3 and so on, longer than a header")

    assert header_seconds(tmp_path / "a.flac") == 1.5
    assert header_seconds(tmp_path / "b.mp3") is None


def test_a_clip_longer_than_the_model_is_found(workspace: Workspace) -> None:
    rewrite(workspace, [row(1), row(2, text="so " * 60_000)])

    assert "jsonl:2: the clip takes more than the model's 32768 positions" in refused(ConfigError, workspace)


def test_flash_attention_needs_gpu_package_and_bfloat16(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    flash = {"attention": "flash_attention_2"}
    assert "needs a GPU" in refused(Unavailable, workspace, qwen3=flash)
    use(monkeypatch, Gpu("NVIDIA L4", 22.5, 8.9))
    monkeypatch.setattr(machine, "has_package", lambda _name: False)
    assert "flash-attn" in refused(Unavailable, workspace, qwen3=flash)
    monkeypatch.setattr(machine, "has_package", lambda _name: True)
    assert "computes in bfloat16" in refused(ConfigError, workspace, qwen3=flash, precision="float32")
    assert examine(workspace, qwen3=flash).facts["precision"] == "bfloat16"


def test_an_unknown_gpu_of_a_loaded_driver_is_no_reason_to_refuse(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch)

    found = examine(workspace, device="cuda")

    assert found.facts["device"] == "cuda"
    assert "RTX 4090" in found.estimate["basis"]


def test_memory_that_is_not_there_is_a_warning(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Gpu("NVIDIA L4", 22.5, 8.9))

    assert "GPU memory are needed and 22 are there" in said(workspace, base=HUB.replace("0.6B", "1.7B"))
    assert "memory" not in said(workspace, base=HUB)
    lora = {"lora": {"rank": 16}}
    assert "memory" not in said(workspace, base=HUB.replace("0.6B", "1.7B"), qwen3=lora, lr=1e-4)
    monkeypatch.setattr(machine, "look", lambda: Machine((), maybe_gpu=False, memory_gib=8, cores=2))
    assert "GiB of memory are needed and 8 are there" in said(workspace, base=HUB)


def test_more_processes_than_gpus(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Gpu("NVIDIA L4", 22.5, 8.9))

    assert "2 processes need a GPU each" in refused(Unavailable, workspace, processes=2, accumulation=2)


def test_old_gpus_compute_in_float32(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Gpu("Tesla T4", 15, 7.5))

    assert examine(workspace).facts["precision"] == "float32"
    assert "bfloat16" in refused(Unavailable, workspace, precision="bfloat16")


def test_official_rows_without_speaker_and_language_train_with_auto(workspace: Workspace) -> None:
    rewrite(workspace, [row(number, id=None, speaker=None, language=None) for number in range(1, 31)])

    found = examine(workspace)

    assert (found.facts["speaker"], found.facts["language"]) == ("ann", "auto")
    assert "the clips name no language" in "\n".join(found.warnings)


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        (None, "abc"),
        ("", ""),
        ("-1", ""),
        ("2", "c"),
        ("2,0", "ca"),
        ("0,-1,1", "a"),
        ("3,0", ""),
        ("GPU-5f,GPU-77", "ab"),
    ],
)
def test_visible_devices_are_those_that_cuda_shows(visible: str | None, seen: str) -> None:
    gpus = tuple(Gpu(name, 24, 8.9) for name in "abc")

    assert "".join(gpu.name for gpu in machine._shown(gpus, visible)) == seen


def test_nvidia_smi_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf 'NVIDIA A100-SXM4-40GB, 40960, 8.0\\nOrin, [N/A], 8.7\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    assert machine.look().gpus == (Gpu("NVIDIA A100-SXM4-40GB", 40, 8.0), Gpu("Orin", 0, 8.7))


def test_packages_of_another_environment_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS_TRAIN_ENVS", str(tmp_path))
    package = tmp_path / "project/lib/python3.11/site-packages/flash_attn"
    assert not machine.has_package("flash_attn")
    package.mkdir(parents=True)
    (package / "__init__.py").touch()

    assert machine.has_package("flash_attn")
