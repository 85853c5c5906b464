"""An XTTS-v2 training planned without a model library: what is wrong, what it costs, what is worth saying."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tiny_skill import ROOT, SKILL
from tts_train import files
from tts_train.backends import Examined, backend, machine
from tts_train.backends.machine import Gpu, Machine
from tts_train.backends.xtts import estimate
from tts_train.backends.xtts.advice import Outlook, advise
from tts_train.backends.xtts.estimate import PUBLISHED, Load
from tts_train.backends.xtts.planning import LANGUAGES
from tts_train.backends.xtts.text import language_tag
from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, DiskError, InputUnusable, TtsTrainError, Unavailable
from tts_train.workspace import Workspace

CPU = Machine(gpus=(), maybe_gpu=False, memory_gib=64, cores=2)
HUB = "coqui/XTTS-v2"
COMMAND = "hf download coqui/XTTS-v2 config.json model.pth dvae.pth mel_stats.pth vocab.json"
FINE = Outlook(
    clips=400,
    steps_per_epoch=100,
    padding=0.02,
    language="en",
    languages={"en": 400},
    speakers={"ann": 400},
    on_cpu=False,
    is_real=True,
)


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


def write_base(folder: Path, *, layers: int = 2, width: int = 64, heads: int = 2, codes: int = 605) -> None:
    """The files of a base; weights are empty files, the vocabulary is the published one's size."""
    folder.mkdir(parents=True)
    special = ["[STOP]", "[UNK]", "[SPACE]", *(f"[{tag}]" for tag in LANGUAGES), "[START]"]
    vocab = {token: number for number, token in enumerate([*special, *(f"t{at}" for at in range(6681 - len(special)))])}
    (folder / "vocab.json").write_text(json.dumps({"model": {"vocab": vocab}, "added_tokens": []}))
    arguments = {
        "gpt_layers": layers,
        "gpt_n_model_channels": width,
        "gpt_n_heads": heads,
        "gpt_max_text_tokens": 402,
        "gpt_max_audio_tokens": codes,
        "gpt_num_audio_tokens": 1026,
        "gpt_start_audio_token": 1024,
        "gpt_stop_audio_token": 1025,
        "gpt_use_perceiver_resampler": True,
        "gpt_code_stride_len": 1024,
        "input_sample_rate": 22050,
        "output_sample_rate": 24000,
    }
    (folder / "config.json").write_text(json.dumps({"model_args": arguments, "languages": list(LANGUAGES)}))
    for name in ("model.pth", "dvae.pth", "mel_stats.pth"):
        (folder / name).write_bytes(b"a few bytes")


def write_wav(path: Path, seconds: float) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * int(8000 * seconds)))


def row(number: int, **changes: Any) -> dict[str, Any]:
    good = {"id": f"clip-{number:03d}", "audio_file": "clip.wav", "text": f"Put kettle {number} on.", "speaker": "ann"}
    return {**good, "language": "en-GB", "audio_seconds": 4.0 + number % 5, **changes}


def rewrite(workspace: Workspace, rows: list[dict[str, Any]]) -> None:
    folder = workspace.root / "data"
    folder.mkdir(exist_ok=True)
    write_wav(folder / "clip.wav", 1.0)
    (folder / "train_manifest.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A small base, eighty clips, a machine without a GPU, an empty hub cache, nothing agreed to."""
    monkeypatch.setattr(machine, "look", lambda: CPU)
    monkeypatch.setattr(machine, "has_package", lambda _name, _environment: False)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _path: _Usage(0, 0, 10**12))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HF_HUB_OFFLINE", "COQUI_TOS_AGREED"):
        monkeypatch.delenv(name, raising=False)
    write_base(tmp_path / "base")
    place = Workspace(tmp_path)
    rewrite(place, [row(number) for number in range(1, 81)])
    return place


def settings(**changes: Any) -> TrainConfig:
    good = {"voice": "ann", "backend": "xtts", "dataset": "data/train_manifest.jsonl", "base": "base"}
    return TrainConfig.model_validate({**good, "epochs": 6, "lr": 5e-6, "batch_size": 4, **changes})


def examine(workspace: Workspace, **changes: Any) -> Examined:
    return backend("xtts").examine(settings(**changes), workspace)


def refused(kind: type[TtsTrainError], workspace: Workspace, **changes: Any) -> str:
    """Examine, expect `kind`, and give message, hint and problems as one text."""
    with pytest.raises(kind) as caught:
        examine(workspace, **changes)
    assert type(caught.value) is kind
    return "\n".join([caught.value.message, caught.value.hint, *map(str, caught.value.problems)])


def said(workspace: Workspace, **changes: Any) -> str:
    return "\n".join(examine(workspace, **changes).warnings)


def remarks(outlook: Outlook = FINE, **changes: Any) -> str:
    return "\n".join(advise(settings(**changes), outlook))


def test_a_good_training_is_described(workspace: Workspace) -> None:
    found = examine(workspace, validation_clips=0)

    assert found.clips == 80
    assert found.audio_seconds == 80 * 6
    assert found.facts["base"] == {"name": "base", "folder": str(workspace.root / "base")}
    assert (found.facts["language"], found.facts["languages"], found.facts["left_out"]) == ("en", {"en": 80}, 0)
    assert {"minutes", "basis", "disk_gigabytes", "memory_gib", "variants"} <= found.estimate.keys()
    assert found.warnings == ()


@pytest.mark.parametrize(
    "module", ["examination", "planning", "estimate", "advice", "text", "base", "reference", "sealed"]
)
def test_nothing_heavy_is_imported(module: str) -> None:
    code = (
        f"import sys; from tts_train.backends.xtts import {module}; "
        "heavy = {'torch', 'TTS', 'trainer', 'transformers', 'tokenizers', 'av', 'soxr', 'safetensors', "
        "'huggingface_hub'}; sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    variables = {**os.environ, "PYTHONPATH": str(SKILL / "src")}
    answer = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)

    assert (answer.returncode, answer.stderr) == (0, "")


def test_all_problems_come_at_once_with_lines(workspace: Workspace) -> None:
    rewrite(workspace, [row(number, language="tlh" if number in (3, 5) else "en") for number in range(1, 9)])

    found = refused(ConfigError, workspace, base="nowhere", device="cuda", xtts={"reference": "gone.wav"})

    manifest = workspace.root / "data/train_manifest.jsonl"
    assert f"{manifest}:3: 'language': the base has no language 'tlh'" in found
    assert f"{manifest}:5: 'language'" in found
    assert "'nowhere' is neither a folder nor the name of a model" in found
    assert f"'xtts.reference': {workspace.root / 'gone.wav'} is not a file" in found
    assert "no GPU" in found


def test_a_language_that_is_not_the_bases(workspace: Workspace) -> None:
    assert "the base has no language 'klingon'" in refused(ConfigError, workspace, xtts={"language": "klingon"})
    rewrite(workspace, [row(number, language="tlh") for number in range(1, 81)])
    assert examine(workspace, xtts={"language": "de"}).facts["languages"] == {"de": 80}


@pytest.mark.parametrize(
    ("name", "tag"),
    [("en", "en"), ("en-GB", "en"), ("EN_us", "en"), ("zh", "zh-cn"), ("zh-CN", "zh-cn"), ("pt-BR", "pt")],
)
def test_language_tags(name: str, tag: str) -> None:
    assert language_tag(name, LANGUAGES) == tag


@pytest.mark.parametrize(("language", "package"), [("zh", "pypinyin"), ("ja", "cutlet")])
def test_a_language_that_needs_a_package(
    language: str, package: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert package in refused(Unavailable, workspace, xtts={"language": language})
    monkeypatch.setattr(machine, "has_package", lambda name, environment: (name, environment) == (package, "skill"))
    examine(workspace, xtts={"language": language})


def test_a_missing_base_is_planned_with_and_the_command_and_the_licence_are_told(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = examine(workspace, base=HUB)

    assert f"To have it now: {COMMAND}." in found.warnings[0]
    assert "download about 2.1 GB" in found.warnings[0]
    assert "Coqui Public Model License" in found.warnings[0]
    assert "export COQUI_TOS_AGREED=1" in found.warnings[0]
    assert found.estimate["trainable_millions"] == 441.0
    assert found.facts["base"]["folder"] is None
    monkeypatch.setenv("COQUI_TOS_AGREED", "1")
    assert "License" not in said(workspace, base=HUB)


def test_a_missing_base_offline_is_unavailable_with_the_command(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    found = refused(Unavailable, workspace, base=HUB)

    assert COMMAND in found
    assert "COQUI_TOS_AGREED" in found


def test_a_torn_base_names_the_file_and_its_command(workspace: Workspace) -> None:
    (workspace.root / "base/dvae.pth").unlink()

    found = refused(Unavailable, workspace)

    assert f"hf download coqui/XTTS-v2 dvae.pth --local-dir {workspace.root / 'base'}" in found


def test_a_base_of_version_one_is_refused(workspace: Workspace) -> None:
    file = workspace.root / "base/config.json"
    file.write_text(file.read_text().replace('"gpt_num_audio_tokens": 1026', '"gpt_num_audio_tokens": 8194'))

    assert "gpt_num_audio_tokens is 8194, not 1026" in refused(InputUnusable, workspace)


def test_clips_that_their_length_keeps_out_are_counted_with_lines(workspace: Workspace) -> None:
    changed = {4: 11.7, 7: 0.4, 9: 30.0}
    rewrite(workspace, [row(at, **({"audio_seconds": changed[at]} if at in changed else {})) for at in range(1, 101)])

    found = examine(workspace)

    assert (found.clips, found.facts["left_out"]) == (97, 3)
    assert "3 clips will be left out for their length alone: too-long 2, too-short 1" in found.warnings[0]
    assert "first lines: 4, 7, 9" in found.warnings[0]
    assert examine(workspace, xtts={"max_wav_seconds": 12}).facts["left_out"] == 2
    rewrite(workspace, [row(number, audio_seconds=0.3) for number in range(1, 9)])
    (workspace.root / "ref.wav").write_bytes((workspace.root / "data/clip.wav").read_bytes())
    assert "none of the 8 clips" in refused(InputUnusable, workspace, xtts={"reference": "ref.wav"})


def test_no_clip_is_longer_than_the_base_can_say(workspace: Workspace) -> None:
    write_base(workspace.root / "small", codes=110)

    assert examine(workspace, base="small").facts["left_out"] == 64
    assert "max_wav_seconds 11.6 is more than the base can say in one go: 4.9 s" in said(workspace, base="small")


def test_a_reference_is_needed_and_judged_by_its_header(workspace: Workspace) -> None:
    rewrite(workspace, [row(number, audio_seconds=3.0) for number in range(1, 81)])
    assert "none of the 80 clips lasts 4 to 12 s" in refused(ConfigError, workspace)
    write_wav(workspace.root / "short.wav", 0.5)
    assert "has 0.50 s" in refused(ConfigError, workspace, xtts={"reference": "short.wav"})
    write_wav(workspace.root / "good.wav", 5)
    assert examine(workspace, xtts={"reference": "good.wav"}).facts["reference"] == "good.wav"


def test_a_full_disk_is_found_and_finished_epochs_need_no_more_of_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = examine(workspace, base=HUB).estimate["disk"]
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _path: _Usage(0, 0, int(0.9e9 * needed["total"])))

    assert "ann-xtts needs about" in refused(DiskError, workspace, base=HUB)
    for number in range(1, 5):
        folder = workspace.runs / f"ann-xtts/epochs/epoch-{number:03d}"
        folder.mkdir(parents=True)
        (folder / "epoch.json").write_text("{}")
    examine(workspace, base=HUB)


def test_nothing_may_be_left_to_train_on(workspace: Workspace) -> None:
    assert "validation_clips 80 leaves nothing" in refused(ConfigError, workspace, validation_clips=80)


def test_memory_that_is_not_there_is_a_warning(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "look", lambda: Machine((Gpu("NVIDIA T4", 15, 7.5),), True, 64, 2))

    assert "GPU memory are needed and 15 are there" in said(workspace, base=HUB, batch_size=8)
    assert "GPU memory" not in said(workspace, base=HUB, batch_size=1)


def test_mixed_languages_and_speakers_are_told(workspace: Workspace) -> None:
    rewrite(
        workspace,
        [row(at, language="de" if at > 60 else "en", speaker="bob" if at % 2 else "ann") for at in range(1, 81)],
    )

    text = said(workspace)

    assert "the clips are in en (60), de (20)" in text
    assert "the voice speaks en" in text
    assert "several speakers: bob (40), ann (40)" in text
    assert "clips are in" not in said(workspace, xtts={"language": "en"})


def test_half_precision_arithmetic_is_no_setting() -> None:
    with pytest.raises(ValueError, match="precision"):
        settings(precision="float16")


def test_nothing_is_said_of_a_usual_training() -> None:
    assert remarks() == ""
    assert remarks(batch_size=1) == ""
    assert remarks(batch_size=8) == ""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lr": 1e-5}, ""),
        ({"lr": 2.5e-5}, "5 times the recipe's 5e-06"),
        ({"lr": 1e-4}, "coqui-ai/TTS#3086"),
        ({"lr": 1e-6}, ""),
        ({"lr": 5e-7}, "expect no audible change"),
        ({"schedule": {"shape": "cosine", "horizon_steps": 50}}, "lr is 0 from step 50 of 600 on"),
        ({"schedule": {"warmup_steps": 300}}, "the warm-up takes 300 of 600 steps"),
        ({"xtts": {"save_dtype": "float16"}}, "half the disk"),
        ({"xtts": {"mask_conditioning": False}}, "it can copy"),
        ({"xtts": {"max_wav_seconds": 20}}, "erew123/alltalk_tts#241"),
        ({"validation_clips": 150}, "large share"),
    ],
)
def test_settings_that_draw_a_remark(changes: dict[str, Any], expected: str) -> None:
    text = remarks(**changes)

    assert expected in text
    assert bool(text) == bool(expected)


def test_few_steps_are_told_and_the_folklore_is_explained() -> None:
    few = replace(FINE, clips=150, steps_per_epoch=1)
    text = remarks(few, batch_size=3, accumulation=84)

    assert "only 1 optimizer steps an epoch (150 clips, 252 a step)" in text
    assert "252 or more is folklore" in text
    assert "6 updates in 6 epochs" in text
    assert "only 19 optimizer steps" in remarks(replace(FINE, steps_per_epoch=19))
    assert remarks(replace(FINE, steps_per_epoch=20)) == ""
    assert "folklore" not in remarks(few, batch_size=4, accumulation=62)


def test_the_folklore_is_not_enforced(workspace: Workspace) -> None:
    found = examine(workspace, batch_size=3, accumulation=84)

    assert "only 1 optimizer steps an epoch (80 clips, 252 a step)" in "\n".join(found.warnings)


def test_what_a_cpu_does_not_do_well() -> None:
    slow = replace(FINE, on_cpu=True)

    assert "slower than float32" in remarks(slow, precision="bfloat16")
    assert "no GPU" in remarks(slow)
    assert remarks(replace(slow, is_real=False)) == ""


def test_the_published_size_has_441_million_weights() -> None:
    assert PUBLISHED.total == 441_018_563
    assert PUBLISHED.total / 1e6 == pytest.approx(441.0, rel=0.01)


def test_epochs_and_state_on_disk() -> None:
    one = estimate.disk(PUBLISHED, epochs=1, save_bytes=4, audio_seconds=1800)

    assert one["epochs"] == pytest.approx(1.77, rel=0.01)
    assert estimate.disk(PUBLISHED, epochs=1, save_bytes=2, audio_seconds=0)["epochs"] == pytest.approx(0.88, rel=0.01)
    assert one["state"] == pytest.approx(2 * (1.764 + 3.528), rel=0.01)
    assert one["samples"] == pytest.approx(0.08, abs=0.005)
    assert estimate.disk(PUBLISHED, epochs=10, save_bytes=4, audio_seconds=0)["total"] == pytest.approx(28.2, rel=0.01)


def test_memory_grows_with_the_batch_and_bfloat16_keeps_less() -> None:
    length = estimate.positions(90, 11.6)
    one, four = (estimate.memory(PUBLISHED, batch=Load(n, n * length), bfloat16=False) for n in (1, 4))
    half = estimate.memory(PUBLISHED, batch=Load(4, 4 * length), bfloat16=True)

    assert one["weights"] + one["gradients"] + one["moments"] == pytest.approx(16 * PUBLISHED.total / 2**30, rel=0.01)
    assert four["batch"] == pytest.approx(4 * one["batch"], rel=0.01)
    assert half["batch"] < four["batch"]
    assert estimate.memory(PUBLISHED, batch=Load(1, length), bfloat16=False, gpu=False)["start_weights"] > 1.6
    assert estimate.memory(PUBLISHED, batch=Load(1, length), bfloat16=False, processes=2)["gradient_buckets"] > 0


def test_an_utterances_positions() -> None:
    assert estimate.codes(11.6) == 250
    assert estimate.codes(1024 / 22050) == 1
    assert estimate.positions(100, 11.6) == 32 + 100 + 2 + 250 + 5


def test_work_is_six_operations_a_weight_and_position() -> None:
    """About a teraflop for a clip of 11.6 s, as research counted it, and the conditioning encoder on top."""
    whole = estimate.training_flops(PUBLISHED, Load(1, estimate.positions(100, 11.6)))
    trunk = 6 * PUBLISHED.matrices * estimate.positions(100, 11.6)

    assert 1.0 < whole / trunk < 1.2
    assert whole / 1e12 == pytest.approx(1.0, rel=0.1)
    assert estimate.minutes(60 * estimate.CPU_FLOPS, gpu=None) == 1
    assert estimate.minutes(60 * estimate.CPU_FLOPS, gpu=None, workers=2) == 0.5


def test_clips_of_like_length_waste_little() -> None:
    assert estimate.padded([10, 30, 12, 28], 2) == 2 * 12 + 2 * 30
    assert estimate.padding([10, 10], 2) == 0


def test_the_reference_page_says_what_the_arithmetic_says() -> None:
    page = (SKILL / "references/xtts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| ([\d. |]+) \|$", page, flags=re.MULTILINE)
    told = {int(size): [float(cell) for cell in cells.split(" | ")] for size, cells in rows}

    assert told == {
        line["batch_size"]: [value for name, value in line.items() if name != "batch_size"] for line in estimate.table()
    }
    assert "1.76 GB" in page
    assert "0.88 GB" in page
    assert len(page.splitlines()) < 180


def test_the_demo_config_is_valid_and_opens_with_its_command() -> None:
    from tts_train.yaml_config import load_yaml, validate

    path = ROOT / "configs/tts/demo_xtts.yaml"
    config = validate(TrainConfig, load_yaml(path), path)

    assert path.read_text().startswith("# ./run.sh train-local configs/tts/demo_xtts.yaml\n")
    assert (config.backend, config.dataset) == ("xtts", "datasets/demo_book/train_manifest.jsonl")


def test_the_template_names_every_setting_of_the_family() -> None:
    text = (SKILL / "assets/config-xtts.yaml").read_text()

    own = re.findall(r"^  (\w+):.*#", text[text.index("\nxtts:\n") :], flags=re.MULTILINE)
    assert set(own) == set(settings().xtts.model_dump())
