"""XTTS-v2 speaking: the same samples as stock coqui-tts, epochs that swap the GPT only, voices that stock loads."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

import tiny_xtts as tiny
from tts_train.audio import Audio, read_audio, write_audio
from tts_train.backends import BACKENDS
from tts_train.backends.xtts import base as bases
from tts_train.backends.xtts import checkpoint, export, generate, knobs, sentences, speaker
from tts_train.backends.xtts import voice as voices
from tts_train.errors import ConfigError, DiskError, Diverged, InputUnusable, TtsTrainError, Unavailable
from tts_train.files import sha256_file
from tts_train.probe.keys import render_key
from tts_train.probe.probe import load_probe
from tts_train.probe.render import render_run
from tts_train.training.run import RunFolder
from tts_train.work import adopt as adopting
from tts_train.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(speaker.__file__).parents[3]
HELDOUT = ROOT / "datasets/demo/heldout"
TEXT = "Hello there, how are you?"
TWO = "Hello there. The water is deep and cold today, is it not?"
GREEDY = {"do_sample": False}
STOP = 1025


@pytest.fixture(scope="module", autouse=True)
def one_thread(tiny_xtts: Path):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    speaker._process.clear()


@pytest.fixture(scope="module")
def base(tiny_xtts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that says at most 40 codes (two seconds) at once. Not to be changed."""
    return tiny.build(tmp_path_factory.mktemp("base") / "xtts", max_audio_tokens=44)


@pytest.fixture(scope="module")
def base_sha256(base: Path) -> str:
    return bases.sha256(bases.describe(base, "tiny"))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of real speech, at a rate that has to be converted."""
    row = json.loads((HELDOUT / "manifest.jsonl").read_text().splitlines()[0])
    audio = read_audio(HELDOUT / row["audio_file"], 24000)
    path = tmp_path_factory.mktemp("reference") / "ref.wav"
    write_audio(path, Audio(audio.samples[: 5 * 24000], 24000))
    return path


@pytest.fixture(scope="module")
def voice(reference: Path) -> dict[str, Any]:
    return {"language": "en", "reference": str(reference), "reference_sha256": sha256_file(reference)}


@pytest.fixture(scope="module")
def weights(base: Path) -> dict[str, torch.Tensor]:
    """The base's GPT. Not to be changed."""
    state = voices.read_model(base / "model.pth")
    return {name: value.clone() for name, value in state.items() if name.startswith("gpt.")}


def moved(weights: dict[str, torch.Tensor], seed: int, share: float = 0.05) -> dict[str, torch.Tensor]:
    """Every weight moved by `share` of its size, up or down."""
    draw = torch.Generator().manual_seed(seed)
    return {
        name: value + share * value.abs() * (torch.randint(0, 2, value.shape, generator=draw) * 2 - 1)
        for name, value in weights.items()
    }


def stopping(weights: dict[str, torch.Tensor], bias: float) -> dict[str, torch.Tensor]:
    """Weights that like the stop token more, or less."""
    changed = weights["gpt.mel_head.bias"].clone()
    changed[STOP] += bias
    return {**weights, "gpt.mel_head.bias": changed}


def hearing(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights to which it matters much what is said: those of the small base hardly look at the text."""
    louder = {"gpt.text_embedding.weight": 10.0}
    louder |= {name: 6.0 for name in weights if ".h." in name and name.endswith("weight") and ".ln_" not in name}
    return {name: value * louder.get(name, 1.0) for name, value in weights.items()}


def publish(folder: Path, state: dict[str, torch.Tensor], base_sha256: str, dtype: str = "float32") -> Path:
    folder.mkdir(parents=True)
    checkpoint.write(folder, state, base_sha256, dtype)
    return folder


@pytest.fixture(scope="module")
def epochs(tmp_path_factory: pytest.TempPathFactory, weights: Any, base_sha256: str) -> list[Path]:
    """Two epochs. Not to be changed."""
    run = tmp_path_factory.mktemp("run")
    return [publish(run / f"epoch-00{number}", moved(weights, number), base_sha256) for number in (1, 2)]


def stock(folder: Path) -> Any:
    """Loaded by coqui-tts alone, as its documentation says; from a copy, as loading may write."""
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.models.xtts import Xtts

    config = XttsConfig()
    config.load_json(str(folder / "config.json"))
    model = Xtts.init_from_config(config)
    model.load_checkpoint(config, checkpoint_dir=str(folder), eval=True)
    return model


def stock_says(model: Any, texts: list[str], reference: Path, seed: int, **knobs: Any) -> list[np.ndarray[Any, Any]]:
    """coqui-tts's own samples of each text, with our settings."""
    ours = {**BACKENDS["xtts"].knobs, **knobs}
    lengths = {name: ours.pop(name) for name in ("gpt_cond_len", "gpt_cond_chunk_len", "max_ref_length")}
    latents, embedding = model.get_conditioning_latents(audio_path=[str(reference)], **lengths)
    del ours["sentence_silence"], ours["batched"]
    waves = []
    for index, text in enumerate(texts):
        torch.manual_seed(generate.sentence_seed(seed, index))
        waves.append(model.inference(text, "en", latents, embedding, **ours)["wav"])
    return waves


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# --- epoch files


def test_an_epoch_holds_the_gpt_and_nothing_else(base, base_sha256, epochs, tmp_path):
    prepared = voices.load_voice(bases.describe(base, "tiny"), speaks=True)
    folder = publish(tmp_path / "epoch", voices.gpt_state(prepared.gpt), base_sha256)

    assert [path.name for path in folder.iterdir()] == ["weights.safetensors"]
    in_model = torch.load(base / "model.pth", weights_only=True)["model"]
    for place in (folder, epochs[0]):
        with safe_open(place / "weights.safetensors", framework="pt") as file:
            names, metadata = set(file.keys()), file.metadata()
        assert names == {name for name in in_model if name.startswith("gpt.")}
        assert not [name for name in names if "gpt_inference" in name or "wte" in name]
        assert metadata == {"base_sha256": base_sha256}
    numbers = sum(value.numel() for name, value in in_model.items() if name.startswith("gpt."))
    assert (folder / "weights.safetensors").stat().st_size - 4 * numbers < 20_000


def test_the_same_weights_give_the_same_bytes_and_stay_as_they_are(weights, base_sha256, epochs, tmp_path):
    state = moved(weights, 1)
    before = {name: (value.data_ptr(), value.clone()) for name, value in state.items()}

    again = publish(tmp_path / "again", dict(reversed(state.items())), base_sha256)

    assert hashes(again) == hashes(epochs[0])
    assert all(value.data_ptr() == before[name][0] for name, value in state.items())
    assert all(torch.equal(value, before[name][1]) for name, value in state.items())
    read = checkpoint.read(again, base_sha256)
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], value) for name, value in state.items())


@pytest.mark.parametrize("name", ["gpt.gpt_inference.lm_head.0.weight", "gpt.gpt.wte.weight", "hifigan_decoder.x", ""])
def test_what_is_not_the_gpt_is_not_published(weights, tmp_path, name):
    state = {**weights, name: torch.zeros(1)} if name else {}

    with pytest.raises(TtsTrainError, match=re.escape(name or "nothing")):
        checkpoint.write(tmp_path, state, "0", "float32")

    assert list(tmp_path.iterdir()) == []


def test_an_epoch_belongs_to_its_base(base, epochs, base_sha256, voice, tmp_path):
    other = Path(shutil.copytree(base, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "temperature": 0.1}))

    with pytest.raises(InputUnusable, match="another base"):
        speaker.load(str(other), epochs[0], 1, voice)
    with pytest.raises(InputUnusable, match=r"holds no weights\.safetensors"):
        checkpoint.read(tmp_path, base_sha256)
    torn = tmp_path / "torn"
    shutil.copytree(epochs[0], torn)
    os.truncate(torn / "weights.safetensors", 4000)
    with pytest.raises(InputUnusable, match="is damaged"):
        checkpoint.read(torn, base_sha256)


def test_an_epoch_of_another_architecture_is_refused(base, weights, base_sha256, voice, tmp_path):
    fewer = {name: value for name, value in weights.items() if "h.1." not in name}

    with pytest.raises(InputUnusable, match=r"gpt\.gpt\.h\.1\."):
        speaker.load(str(base), publish(tmp_path / "epoch", fewer, base_sha256), 1, voice)


def test_float16_takes_half_says_what_it_lost_and_speaks(base, epochs, weights, base_sha256, voice, tmp_path):
    state = moved(weights, 1)
    (tmp_path / "half").mkdir()
    told = checkpoint.write(tmp_path / "half", state, base_sha256, "float16")
    exact = torch.cat([value.flatten() for value in state.values()]).double()
    rounded = torch.cat([value.half().flatten() for value in state.values()]).double()

    assert told == {"dtype": "float16", "rounding": pytest.approx(float((rounded - exact).norm() / exact.norm()))}
    assert 0 < told["rounding"] < 2**-11
    sizes = [(folder / "weights.safetensors").stat().st_size for folder in (tmp_path / "half", epochs[0])]
    assert sizes[0] / sizes[1] == pytest.approx(0.5, abs=0.01)
    half, full = (speaker.load(str(base), folder, 1, voice) for folder in (tmp_path / "half", epochs[0]))
    waves = [one.say(TEXT, GREEDY, 0).audio.samples for one in (half, full)]
    assert {value.dtype for value in half._loaded.voice.model.parameters()} == {torch.float32}
    assert np.isfinite(waves[0]).all()
    assert not np.array_equal(*waves)
    assert np.abs(waves[0] - waves[1]).max() < 0.1 * np.abs(waves[1]).max()


def test_weights_too_big_for_float16_are_refused(weights, tmp_path):
    huge = {**weights, "gpt.mel_head.bias": torch.full((1026,), 1e5)}

    with pytest.raises(ConfigError, match="float16"):
        checkpoint.write(tmp_path, huge, "0", "float16")


def test_a_full_disk_is_a_disk_error(weights, tmp_path):
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone").rmdir()

    with pytest.raises(DiskError):
        checkpoint.write(tmp_path / "gone", weights, "0", "float32")


# --- the same sound as stock


@pytest.fixture(scope="module")
def stock_base(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return stock(Path(shutil.copytree(base, tmp_path_factory.mktemp("stock") / "base")))


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"speed": 1.3, "temperature": 0.9, "top_k": 20, "top_p": 0.7, "repetition_penalty": 2.0},
        {"gpt_cond_len": 3, "gpt_cond_chunk_len": 3, "max_ref_length": 3},
        {"do_sample": False, "length_penalty": 2.0},
    ],
)
def test_one_sentence_is_stock_s_bit_for_bit(base, stock_base, voice, reference, knobs):
    ours = speaker.load(str(base), None, 1, voice)
    said = ours.say(TEXT, knobs, seed=5).audio
    (wave,) = stock_says(stock_base, [TEXT], reference, 5, **knobs)

    assert said.rate == ours.rate == 24000
    np.testing.assert_array_equal(said.samples, wave)


def test_sentences_have_seeds_and_pauses_of_their_own(base, stock_base, voice, reference):
    said = speaker.load(str(base), None, 1, voice).say(TWO, {"sentence_silence": 0.5}, seed=5).audio.samples
    first, second = stock_says(stock_base, sentences.pieces(TWO, 250), reference, 5)

    np.testing.assert_array_equal(said, np.concatenate([first, np.zeros(12000, np.float32), second]))
    assert generate.sentence_seed(5, 0) == 5
    assert len({generate.sentence_seed(seed, index) for seed in range(50) for index in range(50)}) == 2500


def test_what_comes_after_does_not_change_a_sentence(base, voice):
    spoken = speaker.load(str(base), None, 1, voice)
    alone = spoken.say("Hello there.", {}, 3).audio.samples

    np.testing.assert_array_equal(spoken.say("Hello there. And more.", {}, 3).audio.samples[: len(alone)], alone)


# --- epochs in one process


def test_swapping_the_gpt_is_loading_anew_bit_for_bit(base, epochs, voice, monkeypatch):
    from TTS.tts.models.xtts import Xtts

    heard, loads = [], []
    embed, load = Xtts.get_speaker_embedding, voices.load_voice
    monkeypatch.setattr(Xtts, "get_speaker_embedding", lambda *given: (heard.append(1), embed(*given))[1])
    monkeypatch.setattr(voices, "load_voice", lambda *given, **named: (loads.append(1), load(*given, **named))[1])
    speaker._process.clear()
    swapped = [speaker.load(str(base), folder, 1, voice) for folder in (None, *epochs)]
    said = [one.say(TEXT, {}, 7).audio.samples for one in swapped]

    assert (len(heard), len(loads)) == (1, 1)
    for number, folder in enumerate((None, *epochs)):
        speaker._process.clear()
        fresh = speaker.load(str(base), folder, 1, voice)
        np.testing.assert_array_equal(fresh.say(TEXT, {}, 7).audio.samples, said[number])
        assert torch.equal(*(next(iter(one._latents.values())) for one in (fresh, swapped[number])))
    latents = [next(iter(one._latents.values())) for one in swapped]
    assert not any(torch.equal(latents[first], latents[second]) for first, second in ((0, 1), (0, 2), (1, 2)))
    assert not any(np.array_equal(said[first], said[second]) for first, second in ((0, 1), (0, 2), (1, 2)))


def test_several_speakers_may_be_alive(base, epochs, voice):
    speakers = [speaker.load(str(base), folder, 1, voice) for folder in (*epochs, None)]
    first = [one.say(TEXT, GREEDY, 0).audio.samples for one in speakers]
    again = [one.say(TEXT, GREEDY, 0).audio.samples for one in reversed(speakers)]

    for one, other in zip(first, reversed(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_base_that_changed_is_read_again(base, voice, tmp_path):
    copy = Path(shutil.copytree(base, tmp_path / "copy"))
    before = speaker.load(str(copy), None, 1, voice).say(TEXT, GREEDY, 0).audio.samples
    whole = torch.load(copy / "model.pth", weights_only=True)
    whole["model"]["gpt.mel_head.bias"][5] += 30
    torch.save(whole, copy / "model.pth")

    assert not np.array_equal(speaker.load(str(copy), None, 1, voice).say(TEXT, GREEDY, 0).audio.samples, before)


def test_the_same_samples_on_repeat_and_in_another_process(base, epochs, voice):
    ours = speaker.load(str(base), epochs[1], 1, voice)
    said = [ours.say(TWO, {"batched": batched}, 7).audio.samples for batched in (False, True)]
    for batched in (False, True):
        np.testing.assert_array_equal(ours.say(TWO, {"batched": batched}, 7).audio.samples, said[batched])
    digests = [hashlib.sha256(samples.tobytes()).hexdigest() for samples in said]
    script = (
        "import hashlib, json, sys\n"
        "from pathlib import Path\n"
        "import tiny_xtts\n"
        "from tts_train.backends.xtts import speaker\n"
        "base, epoch, voice, text = json.loads(sys.argv[1])\n"
        "with tiny_xtts.shrink():\n"
        "    ours = speaker.load(base, Path(epoch), 1, voice)\n"
        "    waves = [ours.say(text, {'batched': batched}, 7).audio.samples for batched in (False, True)]\n"
        "assert not [name for name in sys.modules if name.startswith('TTS.tts.layers.xtts.trainer')]\n"
        "print(json.dumps([hashlib.sha256(wave.tobytes()).hexdigest() for wave in waves]))\n"
    )
    paths = os.pathsep.join([str(ROOT / "tests"), str(SOURCE)])
    run = subprocess.run(
        [sys.executable, "-P", "-c", script, json.dumps([str(base), str(epochs[1]), voice, TWO])],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == digests


def test_a_seed_is_a_reading_and_the_global_generator_is_left_alone(base, voice):
    ours = speaker.load(str(base), None, 1, voice)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    said = [ours.say(TEXT, {}, seed).audio.samples for seed in (7, 8, 7)]

    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(said[0], said[2])
    assert not np.array_equal(said[0], said[1])


def test_a_part_comes_as_soon_as_its_sentence_is_spoken(base, voice, monkeypatch):
    """Whatever happens between two parts, joined they are what `say` says."""
    ours = speaker.load(str(base), None, 1, voice)
    made: list[int] = []
    waves = generate.wave
    monkeypatch.setattr(generate, "wave", lambda *given: (made.append(1), waves(*given))[1])
    whole = ours.say(TWO, {}, 7).audio.samples
    made.clear()
    parts = []
    for part in ours.parts(TWO, {}, 7):
        parts.append(part.audio.samples)
        assert len(made) == len(parts)
        assert not torch.is_inference_mode_enabled()
        torch.rand(5)

    assert len(parts) == 2
    np.testing.assert_array_equal(np.concatenate(parts), whole)


# --- several sentences at once

STORY = "Hi! The old man sat by the water. Why? Nobody in the town could say, and he did not tell them. So be it."


def test_greedy_sentences_are_the_same_together_as_one_by_one(base, weights, base_sha256, voice, tmp_path, monkeypatch):
    state = stopping(hearing(weights), 0.5)
    ours = speaker.load(str(base), publish(tmp_path / "epoch", state, base_sha256), 1, voice)
    made: list[list[Any]] = []
    generated = generate.codes

    def noted(*given: Any) -> Any:
        made.append([])
        for codes in generated(*given):
            made[-1].append(codes)
            yield codes

    monkeypatch.setattr(generate, "codes", noted)
    alone = ours.say(STORY, GREEDY, 0)
    monkeypatch.setattr(generate, "BATCH", 3)
    together = ours.say(STORY, {**GREEDY, "batched": True}, 0)

    assert [codes.tolist() for codes in made[0]] == [codes.tolist() for codes in made[1]]
    lengths = [len(codes) for codes in made[0]]
    assert len(lengths) == 5
    assert len(set(lengths)) > 2, "sentences of one length: no end was filled up"
    assert len({tuple(codes.tolist()) for codes in made[0]}) > 3, "the text has no effect: padding could have none"
    np.testing.assert_array_equal(together.audio.samples, alone.audio.samples)
    assert together.stopped_by == alone.stopped_by


def test_batched_is_another_way_to_speak_and_part_of_the_render_key(base, voice, tmp_path):
    ours = speaker.load(str(base), None, 1, voice)
    one, together = (ours.say(TWO, {"batched": batched}, 7).audio.samples for batched in (False, True))
    (tmp_path / "probe.yaml").write_text(PROBE)
    family, probe = BACKENDS["xtts"], load_probe(tmp_path / "probe.yaml")
    other = replace(family, knobs={**family.knobs, "batched": True})

    assert not np.array_equal(one, together)
    assert family.knobs["batched"] is False
    assert render_key(probe, family, 1, voice).name != render_key(probe, other, 1, voice).name


# --- long texts

LONG = {
    "en": "Mr. Smith met Dr. J. R. Jones at 3.30 p.m. on the 2nd of May. “Is it true?” he asked. It was… almost. "
    + "He walked along the river until the light was gone, and the boats had left, and nobody was there. " * 4
    + "This one has no end " * 30,
    "de": "Am 3. Oktober kam Hr. Meier. "
    + "Das Wasser war kalt; trotzdem blieb er lange dort, bis es dunkel war. " * 8,
    "zh-cn": "你好。" + "今天天气很好，我们去公园散步，然后回家吃饭，" * 8 + "再见！" + "好" * 200,
    "hi": "यह पानी ठंडा है। " * 20,
}


@pytest.mark.parametrize("language", LONG)
def test_long_texts_are_cut_at_sentence_ends_and_nothing_is_lost(xtts_tokenizer, language):
    text, limit = LONG[language], xtts_tokenizer.char_limits[language.split("-")[0]]
    found = sentences.pieces(text, limit)

    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(0 < len(piece) <= limit for piece in found)
    assert len(found) > 3


def test_where_sentences_end():
    found = sentences.pieces(LONG["en"], 250)

    assert found[:4] == [
        "Mr. Smith met Dr. J. R. Jones at 3.30 p.m. on the 2nd of May.",
        "“Is it true?” he asked.",
        "It was… almost.",
        "He walked along the river until the light was gone, and the boats had left, and nobody was there.",
    ]
    endless = found[7:]
    assert " ".join(endless) == " ".join(["This one has no end"] * 30)
    assert len(endless) == 4
    assert min(map(len, endless)) > 0.9 * max(map(len, endless))
    assert sentences.pieces(LONG["de"], 253)[0] == "Am 3. Oktober kam Hr. Meier."
    assert sentences.pieces("One\n\nTwo ... ! Three", 250) == ["One", "Two ... !", "Three"]
    assert sentences.pieces(" \n ", 250) == []


def test_coqui_cuts_at_its_limit_and_goes_beyond_it(xtts_tokenizer, monkeypatch, caplog):
    """Its sentence finder needs spaCy, which is not installed; what it does with the sentences is its own."""
    from TTS.tts.layers.xtts import tokenizer as theirs

    class Finder:
        def add_pipe(self, _name: str) -> None: ...

        def __call__(self, text: str) -> Any:
            return SimpleNamespace(sents=re.findall(r"[^.]+(?:\.|$)", text))

    monkeypatch.setattr(theirs, "get_spacy_lang", lambda _language: Finder())
    text = f"{'a' * 99}. {'b' * 148}." + " no end here" * 40
    cut = theirs.split_sentence(text, "en", 250)
    ours = sentences.pieces(text, 250)

    assert max(map(len, cut)) == 251
    for piece in (text, *cut):
        xtts_tokenizer.check_input_length(piece, "en")
    assert len(caplog.records) == 2, "it warns of the whole text, which it would truncate, and of one of its own pieces"
    caplog.clear()
    for piece in ours:
        xtts_tokenizer.check_input_length(piece, "en")
    assert caplog.records == []
    assert " ".join(ours).split() == " ".join(cut).split() == text.split()


@pytest.fixture(scope="module")
def xtts_tokenizer(base: Path) -> Any:
    from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer

    return VoiceBpeTokenizer(base / "vocab.json")


@pytest.fixture
def silent(base, voice, monkeypatch):
    """A speaker that fails the test when it begins to speak."""
    ours = speaker.load(str(base), None, 1, voice)
    monkeypatch.setattr(generate, "_together", lambda *_: pytest.fail("something was generated"))
    monkeypatch.setattr(speaker.XttsSpeaker, "_conditioning", lambda *_: pytest.fail("the reference was read"))
    return ours


def test_a_piece_of_too_many_tokens_is_refused_before_any_work(silent, xtts_tokenizer):
    piece = " ".join(["987654321"] * 20) + "."

    with pytest.raises(InputUnusable, match=r"has \d+ tokens, 401 are the most"):
        silent.say(f"Hello there. {piece}", {}, 0)

    assert len(piece) <= 250


@pytest.mark.parametrize(
    ("text", "message"), [("", "nothing to speak"), (" \n", "nothing to speak"), ("a ☃ b", "2603")]
)
def test_texts_that_cannot_be_spoken(silent, text, message):
    with pytest.raises(InputUnusable, match=message):
        silent.say(text, {}, 0)


def test_a_language_that_needs_a_package_says_so(silent):
    with pytest.raises(Unavailable, match="pypinyin"):
        silent.say("你好。", {"language": "zh"}, 0)


# --- what ended it


@pytest.mark.parametrize(("bias", "expected"), [(50.0, "eos"), (-50.0, "no-eos")])
@pytest.mark.parametrize("batched", [False, True])
def test_what_ended_the_speech(base, weights, base_sha256, voice, tmp_path, bias, expected, batched):
    ours = speaker.load(str(base), publish(tmp_path / "epoch", stopping(weights, bias), base_sha256), 1, voice)
    said = ours.say(TWO, {"batched": batched, "sentence_silence": 0}, 0)

    assert said.stopped_by == expected
    # An end at once is one code, some 1024 samples at 22.05 kHz; the limit of this base is 41.
    assert said.audio.seconds == pytest.approx(2 * (1 if expected == "eos" else 41) * 1024 / 22050, rel=0.1)


def test_one_sentence_without_an_end_is_told(base, weights, base_sha256, voice, tmp_path, monkeypatch):
    ours = speaker.load(str(base), None, 1, voice)
    ends = [torch.tensor([5, STOP]), torch.tensor([5, 6])]
    for codes, expected in ((ends, "no-eos"), (ends[::-1], "no-eos"), (ends[:1] * 2, "eos")):
        monkeypatch.setattr(generate, "codes", lambda *_, codes=codes: iter(codes))
        assert ours.say(TWO, {}, 0).stopped_by == expected


def test_weights_that_are_not_finite_are_diverged(base, weights, base_sha256, voice, tmp_path):
    broken = {**weights, "gpt.mel_head.bias": torch.full((1026,), float("nan"))}
    silent = {**weights, "gpt.final_norm.bias": torch.full((64,), float("nan"))}
    for number, state in enumerate((broken, silent)):
        ours = speaker.load(str(base), publish(tmp_path / str(number), state, base_sha256), 1, voice)
        for setting in ({}, GREEDY) if state is silent else ({},):
            with pytest.raises(Diverged):
                ours.say(TEXT, setting, 0)


# --- settings and the voice


@pytest.mark.parametrize(
    "setting",
    [
        {"noise_scale": 1},
        {"temperature": 0},
        {"temperature": "hot"},
        {"top_p": 1.5},
        {"top_k": 2.5},
        {"repetition_penalty": float("nan")},
        {"length_penalty": True},
        {"speed": 0},
        {"num_beams": 2},
        {"do_sample": 1},
        {"batched": "no"},
        {"gpt_cond_len": 6.0},
        {"gpt_cond_chunk_len": 600},
        {"max_ref_length": 0},
        {"sentence_silence": -1},
        {"language": "klingon"},
        {"language": 3},
    ],
)
def test_wrong_settings_are_refused_before_any_work(silent, setting):
    with pytest.raises(ConfigError) as refused:
        silent.say(TEXT, setting, 0)

    assert str(next(iter(setting.values() if "klingon" in setting.values() else setting))) in refused.value.message


def test_all_wrong_settings_are_named_at_once(silent):
    with pytest.raises(ConfigError) as refused:
        silent.say(TEXT, {"noise": 1, "top_p": 0, "top_k": 9999}, 0)

    assert all(name in refused.value.message for name in ("noise", "top_p", "top_k"))


def test_every_knob_has_a_check():
    defaults = BACKENDS["xtts"].knobs

    assert defaults.keys() == knobs.RANGES.keys() | knobs.COUNTS.keys() | set(knobs.FLAGS)
    assert knobs.settings({}) == defaults


def test_another_language_is_another_prompt(base, voice):
    ours = speaker.load(str(base), None, 1, voice)
    english, german = (ours.say("Hallo.", {**GREEDY, "language": tag}, 0).audio.samples for tag in ("en-GB", "de"))

    assert not np.array_equal(english, german)


def test_the_reference_must_be_the_one_the_run_began_with(base, epochs, voice, tmp_path):
    short = tmp_path / "short.wav"
    write_audio(short, Audio(np.full(12000, 0.1, np.float32), 24000))
    (tmp_path / "text.wav").write_text("no sound")
    cases: list[tuple[dict[str, Any], type[TtsTrainError], str]] = [
        ({**voice, "reference": str(tmp_path / "gone.wav")}, InputUnusable, "is gone"),
        ({**voice, "reference": str(short)}, InputUnusable, "is another file"),
        ({"language": "en"}, ConfigError, "no reference"),
        ({**voice, "language": None}, ConfigError, "no language"),
        ({**voice, "language": "klingon"}, ConfigError, "klingon"),
    ]
    for wrong, kind, message in cases:
        for epoch in (None, epochs[0]):
            with pytest.raises(kind, match=message):
                speaker.load(str(base), epoch, 1, wrong)
    for name, message in (("short", r"0\.50 s long"), ("text", "could not be read")):
        unusable = {**voice, "reference": str(tmp_path / f"{name}.wav"), "reference_sha256": None}
        with pytest.raises(InputUnusable, match=message):
            speaker.load(str(base), None, 1, unusable).say(TEXT, {}, 0)


def test_another_reference_is_another_voice(base, voice, tmp_path):
    samples = np.random.default_rng(0).standard_normal(48000).astype(np.float32)
    write_audio(tmp_path / "noise.wav", Audio(0.2 * samples, 24000))
    other = {**voice, "reference": str(tmp_path / "noise.wav"), "reference_sha256": None}
    said = [speaker.load(str(base), None, 1, given).say(TEXT, GREEDY, 0).audio.samples for given in (voice, other)]

    assert not np.array_equal(*said)


# --- exported voices


def test_an_exported_voice_is_whole_and_stock_speaks_the_same_samples(base, epochs, voice, reference, tmp_path):
    files = hashes(base)
    told = export.export_voice(str(base), epochs[0], tmp_path / "out", "ann", voice)
    folder = tmp_path / "out/ann"

    assert hashes(base) == files
    assert {path.name for path in folder.iterdir()} == {
        *("model.pth", "config.json", "vocab.json", "mel_stats.pth", "reference.wav")
    }
    assert (told["folder"], told["language"]) == (str(folder), "en")
    assert told["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert (folder / "reference.wav").read_bytes() == reference.read_bytes()
    ours = speaker.load(str(base), epochs[0], 1, voice).say(TEXT, {}, 7).audio.samples
    moved_away = Path(shutil.move(folder, tmp_path / "elsewhere"))
    loaded = stock(moved_away)
    (wave,) = stock_says(loaded, [TEXT], moved_away / "reference.wav", 7)
    np.testing.assert_array_equal(ours, wave)
    torch.manual_seed(7)
    plain = loaded.synthesize(TEXT, speaker_wav=str(moved_away / "reference.wav"), language="en")["wav"]
    np.testing.assert_array_equal(ours, plain)


def test_an_exported_voice_names_no_place_on_this_machine(base, weights, voice, tmp_path):
    copy = Path(shutil.copytree(base, tmp_path / "copy"))
    (copy / "LICENSE.txt").write_text("CPML")
    config = json.loads((copy / "config.json").read_text())
    config["output_path"] = str(tmp_path / "run")
    config["model_args"]["tokenizer_file"] = str(copy / "vocab.json")
    config["datasets"] = [{"path": "~/private/wavs", "language": "en"}]
    (copy / "config.json").write_text(json.dumps(config))
    epoch = publish(tmp_path / "epoch", weights, bases.sha256(bases.describe(copy, "copy")), "float16")
    for _ in range(2):  # an older folder is replaced
        export.export_voice(str(copy), epoch, tmp_path / "out", "ann", voice)
    folder = tmp_path / "out/ann"

    for path in folder.iterdir():
        content = path.read_bytes()
        assert not any(place in content for place in (str(tmp_path).encode(), b"private", str(Path.home()).encode()))
    written = json.loads((folder / "config.json").read_text())
    judged = BACKENDS["xtts"].knobs
    assert written["repetition_penalty"] == judged["repetition_penalty"]
    assert (written["gpt_cond_len"], written["max_ref_len"]) == (judged["gpt_cond_len"], judged["max_ref_length"])
    assert (folder / "LICENSE.txt").read_text() == "CPML"
    state = torch.load(folder / "model.pth", weights_only=True)["model"]
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float32}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ann"]


def test_what_cannot_be_exported(base, epochs, weights, base_sha256, voice, tmp_path):
    fewer = publish(tmp_path / "epoch", dict(list(weights.items())[1:]), base_sha256)
    for epoch, given, name, message in (
        (fewer, voice, "ann", "not those of the base"),
        (epochs[0], {**voice, "reference": "gone.wav"}, "ann", "is gone"),
        (epochs[0], {"language": "en"}, "ann", "is gone"),
        (epochs[0], voice, "../ann", "not a voice name"),
    ):
        with pytest.raises((InputUnusable, ConfigError), match=message):
            export.export_voice(str(base), epoch, tmp_path / "out", name, given)
    assert not (tmp_path / "out").exists()


# --- adopted runs

PROBE = "name: p\nlanguage: en\nseeds: [0]\nitems:\n  - {id: one, text: Hello there}\n"


def trained(folder: Path, base: Path, weights: Any, **changes: Any) -> Path:
    """A training's folder as coqui's own writer leaves it: three epochs, the second one the best."""
    from trainer.io import save_best_model, save_checkpoint

    folder.mkdir(parents=True)
    state = voices.read_model(base / "model.pth")
    config = {"run_name": "GPT_XTTS_FT", "output_path": "/home/me", "datasets": [{"language": "en"}], **changes}
    for epoch in range(3):
        now = {**state, **moved(weights, epoch, 0.02 * (epoch + 1))}
        named = {f"xtts.{name}": value for name, value in now.items()}
        named |= {"dvae.codebook.embed": torch.ones(3), "torch_mel_spectrogram_dvae.mel_norms": torch.ones(80)}
        parameter = torch.nn.Parameter(torch.ones(2))
        optimizer = torch.optim.AdamW([parameter])
        parameter.sum().backward()
        optimizer.step()
        model = SimpleNamespace(state_dict=lambda named=named: named)
        given = {"current_step": 4 * (epoch + 1), "epoch": epoch, "optimizer": [optimizer]}
        if epoch == 1:
            losses = {"train_loss": 1.0, "eval_loss": 1.0}, {"train_loss": 2.0, "eval_loss": 2.0}
            save_best_model(*losses, config, model, str(folder), **given)
        save_checkpoint(config, model, str(folder), model_loss={"train_loss": 1.0, "eval_loss": None}, **given)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def ready(folder: Path, source: Path, base: Path, reference: Path) -> Path:
    """What the web UIs make of a training's best model."""
    folder.mkdir(parents=True)
    content = torch.load(source / "best_model.pth", weights_only=True)
    del content["optimizer"]
    content["model"] = {name: value for name, value in content["model"].items() if "dvae" not in name}
    torch.save(content, folder / "model.pth")
    for name in ("vocab.json", "config.json"):
        shutil.copyfile(base / name, folder / name)
    shutil.copyfile(reference, folder / "reference.wav")
    torch.save({}, folder / "speakers_xtts.pth")
    return folder


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory, base: Path, weights: Any) -> Path:
    """A training's folder, beside the base that coqui's recipe downloads. Not to be changed."""
    place = tmp_path_factory.mktemp("output") / "run/training"
    shutil.copytree(base, place / "XTTS_v2.0_original_model_files")
    return trained(place / "GPT_XTTS_FT-November-22-2025", base, weights)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "work").mkdir()
    (tmp_path / "work/probe.yaml").write_text(PROBE)
    return Workspace(tmp_path / "work")


def adopt(workspace: Workspace, folder: Path, base: Path, **choices: Any) -> dict[str, Any]:
    return adopting.adopt_here(str(workspace.root), str(folder), "xtts", base=str(base), **choices)


def test_a_training_of_coqui_s_recipe_becomes_a_run_that_renders(
    workspace, output, base, weights, base_sha256, reference
):
    before = hashes(output)
    result = adopt(workspace, output.parents[1], base, run="theirs", reference=reference)

    assert [row["epoch"] for row in result["epochs"]] == [1, 2, 3]
    assert [row["source"]["file"] for row in result["epochs"]] == [f"checkpoint_{step}.pth" for step in (4, 8, 12)]
    assert [row["drift"] for row in result["epochs"]] == pytest.approx([0.02, 0.04, 0.06], rel=1e-3)
    run = RunFolder(workspace.run("theirs"))
    assert run.voice(workspace) == {
        "language": "en",
        "reference": str(reference),
        "reference_sha256": sha256_file(reference),
    }
    assert run.info()["base"] == {"name": str(base), "size": "1M", "sha256": base_sha256}
    read = checkpoint.read(run.epoch(2).folder, base_sha256)
    assert all(torch.equal(value, moved(weights, 1, 0.04)[name]) for name, value in read.items())
    assert read.keys() == weights.keys()
    again = adopt(workspace, output, base, run="theirs", reference=reference)
    assert all(row["kept"] for row in again["epochs"])
    assert hashes(output) == before

    probe = str(workspace.root / "probe.yaml")
    made = render_run(str(workspace.root), "theirs", probe, [0, 1, 2, 3], threads=1)
    assert [row["rendered"] for row in made["epochs"]] == [1] * 4
    waves = [read_audio(run.path / f"renders/{made['key']}/epoch-00{epoch}/one.wav").samples for epoch in range(4)]
    assert len({wave.tobytes() for wave in waves}) == 4
    key = json.loads((run.path / f"renders/{made['key']}/key.json").read_text())
    assert key["setting"]["knobs"] == BACKENDS["xtts"].knobs
    assert key["setting"]["voice"] == {"language": "en", "reference_sha256": sha256_file(reference)}
    plain = speaker.load(str(base), None, 1, run.voice(workspace)).say("Hello there", {}, 0)
    write_audio(workspace.root / "plain.wav", plain.audio)
    np.testing.assert_array_equal(waves[0], read_audio(workspace.root / "plain.wav").samples)


def test_a_web_ui_s_ready_folder_becomes_a_run(workspace, output, base, reference, tmp_path):
    folder = ready(tmp_path / "ui/ready", output, base, reference)
    before = hashes(folder)
    result = adopt(workspace, tmp_path / "ui", base, probe="probe.yaml")

    assert (result["run"], [row["epoch"] for row in result["epochs"]]) == ("gpt-xtts-ft-adopted", [2])
    assert "reference.wav" in result["text"]
    assert hashes(folder) == before
    run = RunFolder(workspace.run(result["run"]))
    assert Path(run.voice(workspace)["reference"]).read_bytes() == reference.read_bytes()
    assert Path(run.voice(workspace)["reference"]).is_relative_to(run.path)
    shutil.rmtree(folder)
    made = render_run(str(workspace.root), run.name, str(workspace.root / "probe.yaml"), [0, 2], threads=1)
    assert [row["rendered"] for row in made["epochs"]] == [1, 1]


class Harmful:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def test_a_pickle_that_would_run_something_is_refused(workspace, output, base, reference, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(output, tmp_path / "theirs"))
    done = tmp_path / "done"
    content = torch.load(folder / "checkpoint_8.pth", weights_only=True)
    torch.save({**content, "extra": Harmful(f"touch {done}")}, folder / "checkpoint_8.pth")

    with pytest.raises(InputUnusable, match=r"checkpoint_8\.pth is refused: reading it would call posix\.system"):
        adopt(workspace, folder, base, reference=reference)

    assert not done.exists()
    assert list(workspace.runs.glob("*")) == []
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    torch.load(folder / "checkpoint_8.pth", weights_only=False)
    assert done.exists(), "the pickle of this test does nothing"


def spoil(folder: Path, file: str, name: str, change: Any) -> None:
    """Change one tensor of a checkpoint."""
    content = torch.load(folder / file, weights_only=True)
    content["model"][f"xtts.{name}"] = change(content["model"][f"xtts.{name}"])
    torch.save(content, folder / file)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gpt.text_embedding.weight", lambda value: torch.cat([value, value]), "differ in shape"),
        ("gpt.mel_head.bias", lambda value: value * float("nan"), "not finite"),
        ("hifigan_decoder.waveform_decoder.conv_pre.weight", lambda value: value * 1.5, "vocoder"),
    ],
)
def test_what_was_not_trained_from_the_base_is_refused(
    workspace, output, base, reference, tmp_path, name, change, message
):
    folder = tmp_path / "theirs"
    folder.mkdir()
    shutil.copyfile(output / "best_model.pth", folder / "best_model.pth")
    spoil(folder, "best_model.pth", name, change)

    with pytest.raises(InputUnusable, match=message):
        adopt(workspace, folder, base, reference=reference)

    assert not list(workspace.runs.glob("*/epochs/*"))


def test_another_vocabulary_is_refused(workspace, output, base, reference, tmp_path):
    folder = ready(tmp_path / "ready", output, base, reference)
    vocab = json.loads((folder / "vocab.json").read_text())
    vocab["model"]["merges"] = vocab["model"]["merges"][::-1]
    (folder / "vocab.json").write_text(json.dumps(vocab))

    with pytest.raises(InputUnusable, match="another vocabulary"):
        adopt(workspace, folder, base)


def test_what_is_no_training_is_refused(workspace, output, base, reference, weights, tmp_path):
    two = tmp_path / "two"
    for name in ("a", "b"):
        (two / name).mkdir(parents=True)
        shutil.copyfile(output / "best_model.pth", two / name / "best_model.pth")
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "best_model.pth").write_bytes((output / "best_model.pth").read_bytes()[:-100])
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "best_model.pth").symlink_to(output / "best_model.pth")
    mute = trained(tmp_path / "mute", base, weights, datasets=[{"language": "en"}, {"language": "de"}])
    cases: list[tuple[Path, dict[str, Any], type[TtsTrainError], str]] = [
        (base, {}, InputUnusable, "a base does not count"),
        (tmp_path / "nothing", {}, InputUnusable, "is not a folder"),
        (two, {}, ConfigError, "several trainings: a, b"),
        (torn, {}, InputUnusable, "best_model.pth"),
        (outside, {}, InputUnusable, "leads outside"),
        (mute, {}, ConfigError, r"which language it speaks \(de, en\)"),
        (mute, {"language": "klingon"}, ConfigError, "klingon"),
        (output, {"reference": None}, ConfigError, "none lies beside"),
        (output, {"reference": tmp_path / "gone.wav"}, InputUnusable, "is not a file"),
    ]
    for folder, choices, kind, message in cases:
        with pytest.raises(kind, match=message):
            adopt(workspace, folder, base, **{"reference": reference, **choices})
    with pytest.raises(Unavailable):
        adopting.adopt_here(str(workspace.root), str(output), "xtts", base="no/such", reference=str(reference))
    assert list(workspace.runs.glob("*")) == []
    assert adopt(workspace, mute, base, reference=reference, language="de-AT")["run"] == "gpt-xtts-ft-adopted"


def test_a_training_that_went_on_adds_epochs_and_a_changed_one_is_told(workspace, output, base, reference, tmp_path):
    folder = Path(shutil.copytree(output, tmp_path / "theirs"))
    kept = tmp_path / "later.pth"
    shutil.move(folder / "checkpoint_12.pth", kept)
    first = adopt(workspace, folder, base, reference=reference)
    shutil.move(kept, folder / "checkpoint_12.pth")
    more = adopt(workspace, folder, base, reference=reference)
    assert [len(result["epochs"]) for result in (first, more)] == [2, 3]

    spoil(folder, "checkpoint_4.pth", "gpt.mel_head.bias", lambda value: value + 1)
    with pytest.raises(ConfigError, match="holds something else"):
        adopt(workspace, folder, base, reference=reference)


def test_checkpoints_are_read_where_torch_is(workspace, output, base, reference, monkeypatch):
    """The command runs in the core environment: everything goes to the family's own, as JSON."""
    calls: list[Any] = []
    monkeypatch.setattr(adopting.jobs, "call", lambda *given: (calls.append(given), {"run": "r"})[1])

    assert adopting.adopt(workspace, output, "xtts", base=str(base), reference=reference, link=True) == {"run": "r"}

    environment, function, arguments = calls[0]
    assert (environment, function) == ("skill", "tts_train.work.adopt:adopt_here")
    given = json.loads(json.dumps(arguments))
    assert (given["folder"], given["reference"], given["link"]) == (str(output), str(reference), True)
    assert given.pop("run", None) is None
    assert adopting.adopt_here(**given)["epochs"][0]["epoch"] == 1
