"""Qwen3-TTS speaking: the same samples as the stock package, base and checkpoint; checkpoints that stock loads."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tts_train.audio import Audio, read_audio, write_audio
from tts_train.backends.qwen3 import base as bases
from tts_train.backends.qwen3 import checkpoint, speaker
from tts_train.backends.qwen3 import folder as folders
from tts_train.backends.qwen3.checkpoint import SLOT, SLOT_TABLE
from tts_train.backends.qwen3.vectors import speaker_vector
from tts_train.errors import ConfigError, Diverged, InputUnusable, TtsTrainError, Unavailable
from tts_train.files import sha256_file
from tts_train.probe.render import render_run
from tts_train.training.run import RunFolder
from tts_train.work.adopt import adopt
from tts_train.workspace import Workspace

TEXT = "Hello there, how are you today?"
SHORT = {"max_new_tokens": 16}
CODEC_WEIGHTS = "speech_tokenizer/model.safetensors"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, readings: Any) -> Path:
    """Four seconds of real speech at 24 kHz, mono, 16 bit."""
    audio = next(iter(readings.values()))[0].at(24000)
    path = tmp_path_factory.mktemp("reference") / "ref.wav"
    write_audio(path, Audio(audio.samples[: 4 * 24000], 24000))
    return path


@pytest.fixture(scope="module")
def voice(reference: Path) -> dict[str, Any]:
    return {
        "speaker": "Test_Man",
        "language": "en",
        "reference": str(reference),
        "reference_sha256": sha256_file(reference),
        "attention": "sdpa",
    }


@pytest.fixture(scope="module")
def described(tiny_base: Path) -> bases.Base:
    return bases.describe(bases.find(str(tiny_base)), "tiny")


@pytest.fixture(scope="module")
def wrapper(described: bases.Base) -> Any:
    """The base, loaded by us. Not to be changed."""
    return bases.load_model(described)


@pytest.fixture(scope="module")
def epoch_0(tiny_base: Path, voice: dict[str, Any]) -> speaker.Qwen3Speaker:
    return speaker.load(str(tiny_base), None, 1, voice)


def talker(wrapper: Any) -> dict[str, torch.Tensor]:
    return {name: value for name, value in wrapper.model.state_dict().items() if name.startswith("talker.")}


def publish(folder: Path, described: bases.Base, wrapper: Any, reference: Path, **changes: Any) -> dict[str, Any]:
    folder.mkdir(parents=True)
    given: dict[str, Any] = {
        "base": described,
        "weights": talker(wrapper),
        "speaker": "Test_Man",
        "vector": speaker_vector(wrapper, reference),
        "voice": {"speaker": "test_man", "language": "english"},
        "encoder": wrapper.model.speaker_encoder.state_dict(),
        "dtype": "float32",
    }
    return checkpoint.write(folder, **{**given, **changes})


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, described: bases.Base, wrapper: Any, reference: Path) -> Path:
    """The untouched base as a checkpoint in float32. Not to be changed."""
    folder = tmp_path_factory.mktemp("run") / "epoch-001"
    publish(folder, described, wrapper, reference)
    return folder


def stock(folder: Path) -> Any:
    """The stock package's wrapper, loaded as its README says."""
    from qwen_tts import Qwen3TTSModel

    return Qwen3TTSModel.from_pretrained(str(folder), dtype=torch.float32, attn_implementation="sdpa")


@pytest.fixture(scope="module")
def stock_base(tiny_base: Path) -> Any:
    return stock(tiny_base)


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# --- the same sound as stock


@pytest.mark.parametrize(("language", "theirs"), [("en", "English"), ("auto", "Auto")])
def test_epoch_0_is_the_stock_voice_clone_bit_for_bit(epoch_0, stock_base, reference, language, theirs):
    ours = epoch_0.say(TEXT, {**SHORT, "language": language}, seed=5)
    torch.manual_seed(5)
    (wave,), rate = stock_base.generate_voice_clone(
        text=TEXT,
        language=theirs,
        ref_audio=str(reference),
        x_vector_only_mode=True,
        non_streaming_mode=True,
        **SHORT,
    )

    assert ours.audio.rate == epoch_0.rate == rate == 24000
    np.testing.assert_array_equal(ours.audio.samples, wave)


def test_another_reference_is_another_voice(tiny_base, voice, epoch_0, tmp_path):
    """The tests of equality above would be blind if this small model did not hear who speaks."""
    samples = np.random.default_rng(0).standard_normal(48000).astype(np.float32)
    write_audio(tmp_path / "noise.wav", Audio(0.2 * samples, 24000))
    noise = {**voice, "reference": str(tmp_path / "noise.wav"), "reference_sha256": None}
    other = speaker.load(str(tiny_base), None, 1, noise)

    assert not np.array_equal(other.say(TEXT, SHORT, 5).audio.samples, epoch_0.say(TEXT, SHORT, 5).audio.samples)


def test_the_streaming_layout_would_sound_otherwise(epoch_0, stock_base, reference):
    torch.manual_seed(5)
    (wave,), _ = stock_base.generate_voice_clone(
        text=TEXT, language="English", ref_audio=str(reference), x_vector_only_mode=True, **SHORT
    )

    assert not np.array_equal(epoch_0.say(TEXT, SHORT, seed=5).audio.samples, wave)


def test_a_checkpoint_speaks_alike_in_stock_and_here_and_like_epoch_0(published, epoch_0, voice, tmp_path):
    ours = speaker.load("not/needed", published, 1, voice).say(TEXT, SHORT, seed=7).audio
    loaded = stock(published)
    torch.manual_seed(7)
    (wave,), rate = loaded.generate_custom_voice(text=TEXT, speaker="Test_Man", language="English", **SHORT)

    np.testing.assert_array_equal(ours.samples, wave)
    np.testing.assert_array_equal(ours.samples, epoch_0.say(TEXT, SHORT, seed=7).audio.samples)
    write_audio(tmp_path / "said.wav", ours)
    assert np.abs(read_audio(tmp_path / "said.wav").samples - np.clip(wave, -1, 1)).max() <= 2 / 32767
    assert rate == 24000


@pytest.mark.parametrize("name", ["Test_Man", "test_man", "TEST_MAN"])
def test_stock_takes_the_speaker_in_any_case(published, name):
    loaded = stock(published)
    (wave,), _ = loaded.generate_custom_voice(text="Hello", speaker=name, max_new_tokens=3)

    assert len(wave) > 0
    assert loaded.get_supported_speakers() == ["test_man"]


def test_1_7b_is_the_same(tiny_base_17, voice, reference, tmp_path):
    found = bases.describe(tiny_base_17, "tiny-1.7B")
    loaded = bases.load_model(found)
    publish(tmp_path / "epoch", found, loaded, reference)
    ours, base = (speaker.load(str(tiny_base_17), folder, 1, voice) for folder in (tmp_path / "epoch", None))
    wanted = stock(tmp_path / "epoch")
    torch.manual_seed(2)
    (wave,), _ = wanted.generate_custom_voice(text=TEXT, speaker="test_man", language="English", **SHORT)

    assert (found.size, found.hidden) == ("1.7B", 128)
    np.testing.assert_array_equal(ours.say(TEXT, SHORT, 2).audio.samples, wave)
    np.testing.assert_array_equal(base.say(TEXT, SHORT, 2).audio.samples, wave)


# --- speaker vectors


def test_the_speaker_vector_is_stock_s_bit_for_bit(wrapper, stock_base, reference):
    ours = speaker_vector(wrapper, reference)
    (theirs,) = stock_base.create_voice_clone_prompt(ref_audio=str(reference), x_vector_only_mode=True)

    assert ours.dtype == torch.float32
    assert ours.shape == (64,)
    assert torch.equal(ours, theirs.ref_spk_embedding)


def test_the_vector_does_not_depend_on_the_model_s_number_type(wrapper, described, reference):
    half = bases.load_model(described, dtype="bfloat16")

    assert next(half.model.speaker_encoder.parameters()).dtype == torch.bfloat16
    assert torch.equal(speaker_vector(half, reference), speaker_vector(wrapper, reference))
    assert {value.dtype for value in half.model.speech_tokenizer.model.parameters()} == {torch.float32}
    assert next(half.model.talker.parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize("seconds", [0.02, 0.99])
def test_a_short_reference_is_refused(wrapper, tmp_path, seconds):
    write_audio(tmp_path / "short.wav", Audio(np.full(int(24000 * seconds), 0.1, np.float32), 24000))

    with pytest.raises(InputUnusable, match="at least 1 s"):
        speaker_vector(wrapper, tmp_path / "short.wav")


def test_a_reference_that_is_not_finite_is_refused(wrapper, tmp_path):
    import soundfile

    samples = np.full(48000, 0.1, np.float32)
    samples[100] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 24000, subtype="FLOAT")

    with pytest.raises(InputUnusable, match="not finite"):
        speaker_vector(wrapper, tmp_path / "nan.wav")


# --- checkpoints


def test_config_says_what_stock_needs(published, tiny_base):
    config = json.loads((published / "config.json").read_text())
    before = json.loads((tiny_base / "config.json").read_text())

    assert config["talker_config"]["spk_id"] == {"test_man": SLOT}
    assert config["talker_config"]["spk_is_dialect"] == {"test_man": False}
    assert config["tts_model_type"] == "custom_voice"
    assert config["tts_model_size"] == before["tts_model_size"] == "0b6"
    assert config["transformers_version"] == "4.57.1"
    assert config["dtype"] == "float32"
    assert before["tts_model_type"] == "base"
    assert folders.faults(published) == []


def test_the_slot_holds_the_vector_and_everything_else_the_weights(published, wrapper, reference):
    written, live = checkpoint.read_weights(published), talker(wrapper)

    assert torch.equal(written[SLOT_TABLE][SLOT], speaker_vector(wrapper, reference))
    assert not torch.equal(live[SLOT_TABLE][SLOT], written[SLOT_TABLE][SLOT])
    assert written.keys() == live.keys()
    for name, value in live.items():
        rest = [row for row in range(3072) if row != SLOT] if name == SLOT_TABLE else slice(None)
        assert torch.equal(written[name][rest], value[rest]), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_writing_changes_neither_live_weights_nor_the_base(described, wrapper, reference, tiny_base, tmp_path, dtype):
    live, files = talker(wrapper), hashes(tiny_base)
    before = {name: (value.data_ptr(), value.clone()) for name, value in live.items()}

    publish(tmp_path / "epoch", described, wrapper, reference, dtype=dtype)

    assert hashes(tiny_base) == files
    for name, value in talker(wrapper).items():
        assert value.data_ptr() == before[name][0]
        assert torch.equal(value, before[name][1]), name


def test_the_same_weights_give_the_same_bytes(described, wrapper, reference, published, tmp_path):
    publish(tmp_path / "again", described, wrapper, reference)

    assert hashes(tmp_path / "again") == hashes(published)


def test_codec_files_are_links_to_the_base_s(published, tiny_base):
    for name in (CODEC_WEIGHTS, "speech_tokenizer/config.json", "speech_tokenizer/preprocessor_config.json"):
        assert (published / name).stat().st_ino == (tiny_base / name).stat().st_ino


def hub_cache(home: Path, source: Path) -> Path:
    """`source` in a cache laid out as huggingface_hub does: blobs and a snapshot of relative symlinks."""
    place = home / "hub/models--Qwen--Qwen3-TTS-12Hz-0.6B-Base"
    snapshot = place / "snapshots/0123456789abcdef0123456789abcdef01234567"
    for path in sorted(source.rglob("*")):
        if path.is_file():
            blob = place / "blobs" / sha256_file(path)
            blob.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, blob)
            link = snapshot / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
    (place / "refs").mkdir()
    (place / "refs/main").write_text(snapshot.name)
    return snapshot


def test_a_base_in_the_hub_s_cache_loads_and_its_codec_is_linked_through_the_symlinks(
    tiny_base, wrapper, reference, published, tmp_path, monkeypatch
):
    name = "Qwen/Qwen3-TTS-12Hz-0.6B-Base"
    snapshot = hub_cache(tmp_path / "hf", tiny_base)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cached = bases.describe(bases.find(name), name)
    files = hashes(snapshot)

    publish(tmp_path / "epoch", cached, bases.load_model(cached), reference)

    codec = tmp_path / "epoch" / CODEC_WEIGHTS
    assert not codec.is_symlink()
    assert codec.stat().st_ino == (snapshot / CODEC_WEIGHTS).resolve().stat().st_ino
    assert not any(path.is_symlink() for path in (tmp_path / "epoch").rglob("*"))
    assert hashes(tmp_path / "epoch") == hashes(published)
    assert hashes(snapshot) == files


def test_what_the_hub_s_library_cannot_get_is_unavailable(monkeypatch, tmp_path):
    import huggingface_hub

    asked: list[dict[str, Any]] = []

    def refuse(name: str, **how: Any) -> str:
        asked.append({"name": name, **how})
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network, nothing cached")

    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)

    with pytest.raises(Unavailable, match="no network, nothing cached") as absent:
        bases.find("Qwen/Qwen3-TTS-12Hz-1.7B-Base")

    assert absent.value.hint.startswith("hf download Qwen/Qwen3-TTS-12Hz-1.7B-Base ")
    assert asked[0]["cache_dir"] == str(tmp_path / "hub")
    assert not any(pattern in ("*", "*.bin", "*.pt", "*.py") for pattern in asked[0]["allow_patterns"])


def test_across_file_systems_the_codec_is_copied(described, wrapper, reference, published, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "cross-device link")

    monkeypatch.setattr("os.link", refuse)
    publish(tmp_path / "epoch", described, wrapper, reference)

    assert hashes(tmp_path / "epoch") == hashes(published)
    assert (tmp_path / "epoch" / CODEC_WEIGHTS).stat().st_nlink == 1


def test_a_full_disk_is_not_taken_for_one_without_links(described, wrapper, reference, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("os.link", refuse)

    with pytest.raises(OSError, match="no space"):
        publish(tmp_path / "epoch", described, wrapper, reference)


def moved(wrapper: Any, share: float) -> dict[str, torch.Tensor]:
    """The talker, every weight moved by `share` of its size, up or down."""
    generator = torch.Generator().manual_seed(0)
    weights = talker(wrapper)
    return {
        name: value + share * value * torch.randn(value.shape, generator=generator).sign()
        for name, value in weights.items()
    }


@pytest.mark.parametrize(("share", "low", "high"), [(1e-4, 0.0, 0.001), (1e-3, 0.0, 0.001), (1e-2, 0.8, 1.2)])
def test_bfloat16_says_how_much_of_the_training_it_kept(described, wrapper, reference, tmp_path, share, low, high):
    """bfloat16 keeps 8 bits: an update below 1/512 of a weight is rounded away, a hundredth is not."""
    facts = publish(tmp_path / "epoch", described, wrapper, reference, weights=moved(wrapper, share), dtype="bfloat16")

    assert low <= facts["drift_kept"] <= high
    written = checkpoint.read_weights(tmp_path / "epoch")
    stayed = torch.equal(written["talker.codec_head.weight"], talker(wrapper)["talker.codec_head.weight"])
    assert stayed is (share < 5e-3)
    assert json.loads((tmp_path / "epoch/config.json").read_text())["dtype"] == "bfloat16"


def test_float32_keeps_everything(described, wrapper, reference, tmp_path):
    weights = moved(wrapper, 1e-6)

    facts = publish(tmp_path / "epoch", described, wrapper, reference, weights=weights)

    assert facts == {"dtype": "float32", "drift_kept": None}
    written = checkpoint.read_weights(tmp_path / "epoch")
    assert all(torch.equal(written[name], weights[name]) for name in weights if name != SLOT_TABLE)


def test_nothing_moved_is_no_share(described, wrapper, reference, tmp_path):
    """Another vector in the slot, as in weights that began as a parent's epoch, is no training either."""
    weights = {**talker(wrapper), SLOT_TABLE: talker(wrapper)[SLOT_TABLE].clone()}
    for name in ("untouched", "another voice"):
        facts = publish(tmp_path / name, described, wrapper, reference, weights=weights, dtype="bfloat16")
        assert facts["drift_kept"] is None, name
        weights[SLOT_TABLE][SLOT] += 1.0


def test_a_float32_base_does_not_pass_its_own_rounding_off_as_training(published, wrapper, reference, tmp_path):
    """Weights of a float32 checkpoint are no bfloat16 numbers: rounding moves them all, trained or not."""
    start = moved(wrapper, 1e-3)
    publish(tmp_path / "first", bases.describe(published, "published"), wrapper, reference, weights=start)
    first = bases.describe(tmp_path / "first", "first")
    there = checkpoint.read_weights(tmp_path / "first")
    onward = {name: value * (1 + 1e-6) for name, value in there.items()}

    facts = publish(tmp_path / "second", first, wrapper, reference, weights=onward, dtype="bfloat16")

    assert facts["drift_kept"] < 30  # measured against the unrounded base it is some 2000


def test_weights_of_another_model_are_not_published(described, wrapper, reference, tmp_path):
    weights = talker(wrapper)
    weights.pop("talker.codec_head.weight")

    with pytest.raises(TtsTrainError, match="codec_head"):
        publish(tmp_path / "epoch", described, wrapper, reference, weights=weights)


def test_weights_in_several_files_load_like_one(tiny_base, described, published, wrapper, reference, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_base, tmp_path / "sharded"))
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    index = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        name = f"model-0000{number}-of-00002.safetensors"
        save_file({key: weights[key] for key in part}, folder / name, metadata={"format": "pt"})
        index |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))

    sharded = bases.describe(bases.find(str(folder)), "sharded")
    loaded = bases.load_model(sharded)
    assert all(torch.equal(value, talker(wrapper)[name]) for name, value in talker(loaded).items())
    assert all(torch.equal(value, talker(wrapper)[name]) for name, value in checkpoint.read_weights(folder).items())
    publish(tmp_path / "epoch", sharded, loaded, reference)
    assert hashes(tmp_path / "epoch") == hashes(published)
    kept = publish(tmp_path / "half", sharded, loaded, reference, weights=moved(loaded, 1e-2), dtype="bfloat16")
    assert kept["drift_kept"] > 0.8


def test_a_tensor_that_no_file_holds_is_not_left_to_chance(tiny_base, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_base, tmp_path / "lacking"))
    weights = load_file(folder / "model.safetensors")
    del weights["talker.codec_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(InputUnusable, match=r"lacks 1 of the model's tensors, such as talker\.codec_head\.weight"):
        bases.load_model(bases.describe(folder, "lacking"))


def test_a_published_checkpoint_can_be_a_base_again(published, wrapper, reference, voice, epoch_0):
    again = bases.describe(bases.find(str(published)), "published")
    loaded = bases.load_model(again)

    assert again.has_encoder
    assert torch.equal(speaker_vector(loaded, reference), speaker_vector(wrapper, reference))
    assert all(torch.equal(value, talker(loaded)[name]) for name, value in checkpoint.read_weights(published).items())
    base = speaker.load(str(published), None, 1, {**voice, "speaker": "somebody"})
    np.testing.assert_array_equal(base.say(TEXT, SHORT, 3).audio.samples, epoch_0.say(TEXT, SHORT, 3).audio.samples)


def test_a_stock_checkpoint_without_encoder_speaks_but_is_no_base(published, tmp_path, voice):
    folder = Path(shutil.copytree(published, tmp_path / "stock"))
    (folder / "speaker_encoder.safetensors").unlink()
    (folder / "voice.json").unlink()

    with pytest.raises(InputUnusable, match="without a speaker encoder"):
        bases.load_model(bases.describe(folder, "stock"))
    with pytest.raises(InputUnusable, match="without a speaker encoder"):
        speaker.load(str(folder), None, 1, voice)
    assert checkpoint.voice_of(folder) == {"speaker": "test_man", "language": "auto"}
    assert speaker.load("-", folder, 1, {}).say("Hello", {"max_new_tokens": 3}, 0).audio.seconds > 0


def test_voice_of_a_published_checkpoint_is_its_own(published, tiny_base):
    assert checkpoint.voice_of(published) == {"speaker": "test_man", "language": "english"}
    with pytest.raises(InputUnusable, match="names no speaker"):
        checkpoint.voice_of(tiny_base)


def test_weights_of_another_family_are_not_read(published, tmp_path):
    folder = Path(shutil.copytree(published, tmp_path / "other"))
    config = json.loads((folder / "config.json").read_text())
    config["talker_config"]["hidden_size"] = 128
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(InputUnusable, match="not those of the talker"):
        checkpoint.read_weights(folder)


def test_an_exported_voice_stands_alone(published, epoch_0, tmp_path):
    source = Path(shutil.copytree(published, tmp_path / "epoch"))
    config = json.loads((source / "config.json").read_text())
    config["talker_config"]["spk_id"] = {"Test_Man": SLOT}  # as the official trainer leaves it
    (source / "config.json").write_text(json.dumps(config))
    (source / "epoch.json").write_text("{}")

    result = checkpoint.export_voice(source, tmp_path / "voices", "ann")

    folder = Path(result["folder"])
    assert folder == tmp_path / "voices/ann"
    assert result["speaker"] == "test_man"
    assert not (folder / "epoch.json").exists()
    assert all(path.stat().st_nlink == 1 for path in folder.rglob("*") if path.is_file())
    torch.manual_seed(4)
    (wave,), _ = stock(folder).generate_custom_voice(text=TEXT, speaker="Test_Man", language="English", **SHORT)
    np.testing.assert_array_equal(wave, epoch_0.say(TEXT, SHORT, 4).audio.samples)


# --- speaking


def test_the_seed_decides_and_the_global_generator_is_left_alone(epoch_0):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = (epoch_0.say(TEXT, SHORT, seed).audio.samples for seed in (3, 3, 4))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_without_sampling_the_seed_does_not_matter(epoch_0):
    greedy = {**SHORT, "do_sample": False}
    one, two = (epoch_0.say(TEXT, greedy, seed).audio.samples for seed in (3, 4))

    np.testing.assert_array_equal(one, two)


def test_text_is_normalised_before_it_is_spoken(epoch_0):
    plain, spaced = (epoch_0.say(text, SHORT, 3).audio.samples for text in (TEXT, f"  Hello  there,\n{TEXT[13:]} "))

    np.testing.assert_array_equal(plain, spaced)


def end_bias(epoch: speaker.Qwen3Speaker, monkeypatch: pytest.MonkeyPatch, bias: float) -> None:
    """Add `bias` to the end token's logit."""
    head = epoch._wrapper.model.talker.codec_head
    added = torch.zeros(head.out_features)
    added[2150] = bias
    monkeypatch.setattr(head, "forward", lambda hidden: torch.nn.functional.linear(hidden, head.weight) + added)


@pytest.mark.parametrize(
    ("bias", "limit", "stopped_by", "frames"),
    [(1e4, 30, "eos", 2), (1e4, 3, "eos", 2), (-1e4, 3, "no-eos", 2), (-1e4, 12, "no-eos", 11), (1e4, 2, "no-eos", 1)],
)
def test_what_ended_the_speech_is_told(epoch_0, monkeypatch, bias, limit, stopped_by, frames):
    """At least two codes always come, so the end is the third at the earliest: with 3 it is the last one allowed."""
    end_bias(epoch_0, monkeypatch, bias)

    spoken = epoch_0.say(TEXT, {"max_new_tokens": limit}, 0)

    assert (spoken.stopped_by, len(spoken.audio.samples)) == (stopped_by, frames * 1920)


def test_the_budget_follows_the_text(epoch_0, monkeypatch):
    asked: list[int] = []
    generate = epoch_0._wrapper.generate_custom_voice

    def note(**given: Any) -> Any:
        asked.append(given["max_new_tokens"])
        return generate(**{**given, "max_new_tokens": 3})

    monkeypatch.setattr(epoch_0._wrapper, "generate_custom_voice", note)
    for text in ("Hello", " ".join([TEXT] * 8)):
        epoch_0.say(text, {}, 0)

    assert asked[0] < 120
    assert asked[1] > 4 * asked[0]


@pytest.fixture
def silent(epoch_0, monkeypatch):
    """Generating fails the test."""
    monkeypatch.setattr(epoch_0._wrapper.model, "generate", lambda **_: pytest.fail("something was generated"))
    return epoch_0


@pytest.mark.parametrize(
    "setting",
    [
        {"speed": 1},
        {"temperature": 0},
        {"temperature": "hot"},
        {"top_p": 1.5},
        {"top_k": 2.5},
        {"top_k": -1},
        {"repetition_penalty": float("nan")},
        {"subtalker_top_k": True},
        {"max_new_tokens": 1},
        {"do_sample": "no"},
        {"language": "klingon"},
        {"language": 3},
    ],
)
def test_wrong_settings_are_refused_before_any_work(silent, setting):
    with pytest.raises(ConfigError) as refused:
        silent.say(TEXT, setting, 0)

    assert str(next(iter(setting))) in refused.value.message


def test_all_wrong_settings_are_named_at_once(silent):
    with pytest.raises(ConfigError) as refused:
        silent.say(TEXT, {"speed": 1, "top_p": 0, "top_k": 9999}, 0)

    assert all(name in refused.value.message for name in ("speed", "top_p", "top_k"))


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_nothing_to_speak(silent, text):
    with pytest.raises(InputUnusable):
        silent.say(text, {}, 0)


def test_weights_that_are_not_finite_are_diverged(tiny_base, voice):
    broken = speaker.load(str(tiny_base), None, 1, voice)
    broken._wrapper.model.talker.codec_head.weight.data[5] = float("nan")

    with pytest.raises(Diverged):
        broken.say(TEXT, SHORT, 0)


def test_epoch_0_needs_the_reference_that_the_run_began_with(tiny_base, published, voice, tmp_path):
    changed = tmp_path / "ref.wav"
    write_audio(changed, Audio(np.full(48000, 0.1, np.float32), 24000))
    cases: list[tuple[dict[str, Any], type[TtsTrainError], str]] = [
        ({**voice, "reference": str(tmp_path / "gone.wav")}, InputUnusable, "is gone"),
        ({**voice, "reference": str(changed)}, InputUnusable, "is another file"),
        ({"speaker": "test_man"}, ConfigError, "no reference"),
    ]
    for wrong, kind, message in cases:
        with pytest.raises(kind, match=message):
            speaker.load(str(tiny_base), None, 1, wrong)
        assert speaker.load("-", published, 1, wrong).rate == 24000


def test_an_epoch_of_another_voice_is_refused(published, voice):
    with pytest.raises(InputUnusable, match="no speaker 'ann'"):
        speaker.load("-", published, 1, {**voice, "speaker": "ann"})


def test_voices_speak_in_float32_whatever_they_were_saved_in(described, wrapper, reference, voice, tmp_path):
    publish(tmp_path / "half", described, wrapper, reference, dtype="bfloat16")
    half = speaker.load("-", tmp_path / "half", 1, {**voice, "attention": "flash_attention_2"})

    assert {value.dtype for value in half._wrapper.model.parameters()} == {torch.float32}
    with pytest.raises(ConfigError, match="float8"):
        speaker.load("-", tmp_path / "half", 1, {**voice, "dtype": "float8"})


# --- adopted runs


PROBE = "name: p\nlanguage: en\nseeds: [0]\nitems:\n  - {id: one, text: Hello there}\n"


def official_output(folder: Path, base: Path, wrapper: Any, reference: Path) -> Path:
    """Two checkpoints as the official script leaves them: bfloat16, the speaker's case kept, no encoder."""
    from safetensors.torch import save_file

    for number in range(2):
        target = Path(shutil.copytree(base, folder / f"checkpoint-epoch-{number}"))
        config = json.loads((target / "config.json").read_text())
        config["tts_model_type"] = "custom_voice"
        config["talker_config"]["spk_id"] = {"Test_Man": SLOT}
        config["talker_config"]["spk_is_dialect"] = {"Test_Man": False}
        (target / "config.json").write_text(json.dumps(config))
        weights = moved(wrapper, 0.02 * (number + 1))
        weights[SLOT_TABLE][SLOT] = speaker_vector(wrapper, reference)
        state = {name: value.to(torch.bfloat16).contiguous() for name, value in weights.items()}
        save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("with_reference", [True, False])
def test_an_adopted_run_renders_with_the_base_as_epoch_0(
    tiny_base, wrapper, reference, epoch_0, tmp_path, monkeypatch, with_reference
):
    monkeypatch.setattr("tts_train.backends.qwen3.speaker.budget", lambda _tokens: 8)
    output = official_output(tmp_path / "output", tiny_base, wrapper, reference)
    workspace = Workspace(tmp_path / "work")
    (workspace.root / "configs").mkdir(parents=True)
    (workspace.root / "configs/probe.yaml").write_text(PROBE)

    result = adopt(
        workspace, output, "qwen3", run="theirs", base=str(tiny_base), reference=reference if with_reference else None
    )
    made = render_run(str(workspace.root), "theirs", str(workspace.root / "configs/probe.yaml"), [0, 1, 2], threads=1)

    assert [row["rendered"] for row in made["epochs"]] == [1, 1, 1]
    renders = RunFolder(workspace.run("theirs")).path / "renders" / made["key"]
    waves = [read_audio(renders / f"epoch-00{number}/one.wav").samples for number in range(3)]
    assert not np.array_equal(waves[0], waves[1])
    assert not np.array_equal(waves[1], waves[2])
    assert [row["drift"] for row in result["epochs"]] == pytest.approx([0.02, 0.04], rel=0.05)
    if with_reference:
        spoken = epoch_0.say("Hello there", {"max_new_tokens": 8, "language": "auto"}, 0).audio
        write_audio(tmp_path / "stock.wav", spoken)
        np.testing.assert_array_equal(waves[0], read_audio(tmp_path / "stock.wav").samples)
    baseline = speaker.load(str(tiny_base), None, 1, RunFolder(workspace.run("theirs")).voice(workspace))
    exact = speaker_vector(wrapper, reference)
    expected = exact if with_reference else exact.to(torch.bfloat16).float()
    assert torch.equal(baseline._wrapper.model.talker.model.codec_embedding.weight[SLOT], expected)
    again = render_run(str(workspace.root), "theirs", str(workspace.root / "configs/probe.yaml"), [0, 1, 2], threads=1)
    assert [row["kept"] for row in again["epochs"]] == [1, 1, 1]
