"""`convert-qwen3`: codes are those of each clip alone whatever happens on the way; bad audio is listed; references."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tts_train.audio import Audio, write_audio
from tts_train.backends.qwen3 import codec, convert, encode, reference
from tts_train.backends.qwen3.codes import open_coded
from tts_train.clip import Clip
from tts_train.dataset import write_manifest
from tts_train.engine import engine
from tts_train.errors import Busy, ConfigError, InputUnusable, TtsTrainError, Unavailable, UsageError
from tts_train.files import locked

Readings = dict[str, tuple[Audio, str]]
ITEMS = ("bus", "coffee", "hat", "park", "smoke", "ticket")
SCRIPT = Path(__file__).resolve().parents[2] / ".agent/skills/tts-train/scripts/convert_qwen3.py"


def add(folder: Path, name: str, audio: Audio, text: str = "words", speaker: str = "kumo", **measures: Any) -> Clip:
    """Write a clip's file; its manifest row."""
    write_audio(folder / f"clips/{name}.flac", audio)
    seconds = max(0.01, round(audio.seconds, 4))
    return Clip(
        name, f"clips/{name}.flac", text, speaker, "en-GB", seconds, "book", 1.0, 1 + seconds, measures=measures
    )


def dataset(folder: Path, readings: Readings, items: tuple[str, ...] = ITEMS) -> Path:
    clips = [add(folder, name, *readings[name]) for name in items]
    write_manifest(folder / "train_manifest.jsonl", clips)
    return folder / "train_manifest.jsonl"


@pytest.fixture
def manifest(tmp_path: Path, readings: Readings) -> Path:
    return dataset(tmp_path / "data", readings)


@pytest.fixture(scope="session")
def tokenizer(tiny_base: Path) -> str:
    return str(tiny_base)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def out_of(manifest: Path) -> Path:
    return manifest.with_name("train_manifest_qwen3.jsonl")


def receipts_of(manifest: Path) -> set[Path]:
    return set((manifest.parent / "parts/qwen3-codes").glob("*.json"))


def test_codes_are_what_stock_qwen_tts_gives_for_each_clip_alone(manifest: Path, tokenizer: str) -> None:
    from qwen_tts import Qwen3TTSTokenizer

    result = convert.convert(manifest, tokenizer=tokenizer, workers=2)

    stock = Qwen3TTSTokenizer.from_pretrained(f"{tokenizer}/speech_tokenizer")
    coded = rows(out_of(manifest))
    assert [row["id"] for row in coded] == sorted(ITEMS)
    assert list(coded[0]) == [
        *("id", "audio", "text", "ref_audio", "audio_codes", "speaker", "language"),
        *("audio_seconds", "source", "chapter", "start"),
    ]
    for row in coded:
        expected = stock.encode(str(manifest.parent / row["audio"])).audio_codes[0].tolist()
        assert row["audio_codes"] == expected, row["id"]
        assert len({tuple(frame) for frame in expected}) > len(expected) / 2, "the codec says the same all the time"
    assert (result["clips"], result["converted_now"], result["frames"]) == (
        6,
        6,
        sum(len(r["audio_codes"]) for r in coded),
    )
    flat = open_coded(out_of(manifest))
    assert [flat.codes(clip).tolist() for clip in flat.clips] == [row["audio_codes"] for row in coded]


def test_batches_would_change_last_frames(tokenizer: str, readings: Readings) -> None:
    """Why clips are encoded alone. When this fails, upstream masks its padding and batches may be worth their speed."""
    loaded = codec.load_codec(tokenizer)
    clips = [readings[name][0].samples for name in ITEMS]

    batch = loaded.tokenizer.encode(clips, sr=24000).audio_codes
    alone = [loaded.encode(samples) for samples in clips]

    assert [np.array_equal(one[:-1], many.numpy()[:-1]) for one, many in zip(alone, batch, strict=True)] == [True] * 6
    assert not all(np.array_equal(one, many.numpy()) for one, many in zip(alone, batch, strict=True))


def test_order_workers_and_resuming_do_not_change_a_byte(
    manifest: Path, tokenizer: str, tmp_path: Path, readings: Readings
) -> None:
    convert.convert(manifest, tokenizer=tokenizer, workers=1)
    expected = out_of(manifest).read_bytes()

    shuffled = dataset(tmp_path / "shuffled", readings)
    lines = shuffled.read_text().splitlines(keepends=True)
    shuffled.write_text("".join(lines[3:] + lines[:3][::-1]))
    convert.convert(shuffled, tokenizer=tokenizer, workers=2)
    assert out_of(shuffled).read_bytes() == expected

    torn, *lost = sorted(receipts_of(manifest))[:3]
    torn.write_bytes(torn.read_bytes()[:-40])
    for receipt in lost:
        receipt.unlink()
    out_of(manifest).unlink()
    result = convert.convert(manifest, tokenizer=tokenizer, workers=2)
    assert out_of(manifest).read_bytes() == expected
    assert (result["converted_now"], result["found_done"]) == (3, 3)


def test_a_second_run_converts_what_is_new_and_a_third_nothing(
    manifest: Path, tokenizer: str, readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert.convert(manifest, tokenizer=tokenizer, workers=1)
    before = {row["id"]: row["audio_codes"] for row in rows(out_of(manifest))}
    clips = [add(manifest.parent, name, *readings[name]) for name in (*ITEMS, "hook")]
    clips[0] = add(manifest.parent, "bus", readings["hens"][0], "Other audio under a known name.")
    write_manifest(manifest, clips)

    second = convert.convert(manifest.parent, tokenizer=tokenizer, workers=2)

    after = {row["id"]: row["audio_codes"] for row in rows(out_of(manifest))}
    assert (second["converted_now"], second["found_done"]) == (2, 5)
    assert {name for name in before if before[name] != after[name]} == {"bus"}
    assert "hook" in after
    monkeypatch.setattr(convert, "_codec", None)
    assert convert.convert(manifest, tokenizer=tokenizer)["text"].startswith("nothing left to do")


def test_another_codec_makes_other_codes(manifest: Path, tokenizer: str, tmp_path: Path) -> None:
    import tiny_qwen3

    tiny_qwen3._codec(tmp_path / "other", seed=1)
    convert.convert(manifest, tokenizer=tokenizer, workers=1)
    first = rows(out_of(manifest))
    result = convert.convert(manifest, tokenizer=str(tmp_path / "other"), workers=1)

    assert result["converted_now"] == 6
    assert all(a["audio_codes"] != b["audio_codes"] for a, b in zip(first, rows(out_of(manifest)), strict=True))


# --- signals and deaths


def in_fork(work: Callable[[], object]) -> int:
    """Run `work` in a fork of this process, which has imported what takes long; its pid."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        os.setpgid(0, 0)
        try:
            work()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            os._exit(code)
    return pid


def slowly(monkeypatch: pytest.MonkeyPatch, seconds: float, begun: Path) -> None:
    """Clips take longer, and in the folder `begun` is a file of each that was begun."""
    real = encode.encode_clip
    begun.mkdir()

    def slow(loaded: codec.Codec, receipts: Path, work: encode.Work) -> encode.Outcome:
        (begun / work.id).touch()
        time.sleep(seconds)
        return real(loaded, receipts, work)

    monkeypatch.setattr(convert, "encode_clip", slow)


def wait_for(condition: Callable[[], Any], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def is_free(lock: Path) -> bool:
    with contextlib.suppress(Busy), locked(lock):
        return True
    return False


def children(pid: int) -> set[int]:
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def command() -> Any:
    specification = importlib.util.spec_from_file_location("convert_qwen3", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.main


@pytest.mark.parametrize("jobs", [1, 2])
def test_sigterm_loses_nothing_and_is_code_143(
    jobs: int, manifest: Path, tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readings: Readings
) -> None:
    """Workers finish the clips in hand; without workers that one clip is begun again."""
    from tts_train.output import run_command

    untouched = dataset(tmp_path / "untouched", readings)
    convert.convert(untouched, tokenizer=tokenizer, workers=1)
    slowly(monkeypatch, 0.3, tmp_path / "begun")
    answer = tmp_path / "answer.json"

    def run() -> None:
        os.dup2(os.open(answer, os.O_CREAT | os.O_WRONLY), 1)
        run_command(command(), [str(manifest), "--tokenizer", tokenizer, "--workers", str(jobs)])

    pid = in_fork(run)
    wait_for(lambda: receipts_of(manifest))
    workers = children(pid)
    os.killpg(pid, signal.SIGTERM)  # as a terminal or a scheduler does: the workers get it as well
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 143
    assert len(workers) == (2 if jobs == 2 else 0)
    assert not any(is_running(worker) for worker in workers)
    assert json.loads(answer.read_text())["error"]["kind"] == "stopped"
    finished = len(receipts_of(manifest))
    begun = len(list((tmp_path / "begun").iterdir()))
    assert 0 < finished <= begun < 6
    assert finished == begun if jobs == 2 else finished >= begun - 1
    monkeypatch.undo()
    result = convert.convert(manifest, tokenizer=tokenizer, workers=2)
    assert result["found_done"] == finished
    assert out_of(manifest).read_bytes() == out_of(untouched).read_bytes()


def test_workers_die_with_a_killed_parent(
    manifest: Path, tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly(monkeypatch, 0.3, tmp_path / "begun")
    pid = in_fork(lambda: convert.convert(manifest, tokenizer=tokenizer, workers=2))
    wait_for(lambda: receipts_of(manifest))
    workers = children(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert len(workers) == 2
    wait_for(lambda: not any(is_running(worker) for worker in workers), 10)
    assert len(receipts_of(manifest)) < 6
    # A process whose first thread is gone may still hold files for the others.
    wait_for(lambda: is_free(manifest.parent / ".lock"), 10)


def test_a_dying_worker_is_named_with_its_clip(manifest: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = encode.encode_clip

    def dies(loaded: codec.Codec, receipts: Path, work: encode.Work) -> encode.Outcome:
        if work.id == "hat":
            os.kill(os.getpid(), signal.SIGKILL)
        return real(loaded, receipts, work)

    monkeypatch.setattr(convert, "encode_clip", dies)
    before = children(os.getpid())
    with pytest.raises(TtsTrainError, match=r"died \(SIGKILL\) at clip 'hat'.*hat\.flac") as caught:
        convert.convert(manifest, tokenizer=tokenizer, workers=2)

    assert "memory" in caught.value.hint
    assert children(os.getpid()) == before
    assert receipts_of(manifest)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_a_worker_keeps_its_kind(
    jobs: int, manifest: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encode, "save_outcome", full)
    with pytest.raises(TtsTrainError, match=r"clip '\w+'.*No space left") as caught:
        convert.convert(manifest, tokenizer=tokenizer, workers=jobs)

    assert caught.value.exit_code == 74


def test_a_codec_that_was_changed_meanwhile_makes_no_codes(
    manifest: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Receipts are named after the codec: one of another codec would stay wrong for good."""
    monkeypatch.setattr(convert, "codec_sha256", lambda _: "0" * 64)
    with pytest.raises(Unavailable, match="not the one that was planned with"):
        convert.convert(manifest, tokenizer=tokenizer, workers=2)

    assert not receipts_of(manifest)


def test_spawned_workers_give_the_same_codes(manifest: Path, tokenizer: str) -> None:
    """A process that has used a GPU must not fork: there each worker is pickled its work and loads its own codec."""
    convert.convert(manifest, tokenizer=tokenizer, workers=1)
    known = {row["id"]: row["audio_codes"] for row in rows(out_of(manifest))}
    folder = codec.find_codec(tokenizer)
    works = [encode.Work(name, manifest.parent / f"clips/{name}.flac", 1.0, f"key-{name}") for name in known]
    receipts = manifest.parent / "spawned"

    task = partial(convert._encode_one, folder, codec.codec_sha256(folder), "cpu", receipts)
    with engine(2, start="spawn") as run:
        spawned = list(run.map(task, works))

    assert [outcome.codes.tolist() for outcome in spawned] == list(known.values())
    kept = [encode.load_outcome(receipts, work.key) for work in works]
    assert [outcome.codes.tolist() for outcome in kept if outcome] == list(known.values())


# --- what is rejected


def noise(seconds: float, level: float = 0.1, rate: int = 24000) -> Audio:
    samples = np.random.default_rng(0).standard_normal(round(seconds * rate)).astype(np.float32) * level
    return Audio(samples, rate)


def test_bad_audio_is_listed_with_its_reason_and_numbers(manifest: Path, tokenizer: str, readings: Readings) -> None:
    import soundfile

    folder = manifest.parent
    bad = {
        "short": add(folder, "short", noise(0.4)),
        "long": add(folder, "long", noise(61)),
        "low": add(folder, "low", noise(2, rate=8000)),
        "silent": add(folder, "silent", noise(2, level=1e-5)),
        "origin": add(folder, "origin", noise(2), source_rate=8000),
        **{name: add(folder, name, noise(2)) for name in ("nan", "infinite", "torn", "text", "empty", "codec")},
    }
    samples = noise(2).samples.copy()
    samples[100] = np.nan
    soundfile.write(folder / "clips/nan.wav", samples, 24000, subtype="FLOAT")
    samples[100] = np.inf
    soundfile.write(folder / "clips/infinite.wav", samples, 24000, subtype="FLOAT")
    soundfile.write(folder / "clips/empty.wav", samples[:0], 24000)
    wav = bytearray((folder / "clips/nan.wav").read_bytes())
    wav[20:22] = b"\x34\x12"  # a format tag that nobody uses
    (folder / "clips/codec.wav").write_bytes(wav)
    for name in ("nan", "infinite", "empty", "codec"):
        bad[name] = replace(bad[name], audio_file=f"clips/{name}.wav")
    torn = folder / "clips/torn.flac"
    torn.write_bytes(torn.read_bytes()[:-20000])
    (folder / "clips/text.flac").write_text("this is no audio")
    good = [add(folder, name, *readings[name]) for name in ITEMS]
    write_manifest(manifest, [*good, *bad.values()])

    with pytest.raises(InputUnusable, match="of the seconds were rejected"):
        convert.convert(manifest, tokenizer=tokenizer, workers=2)
    listing = folder / "rejections_qwen3.jsonl"
    first = out_of(manifest).read_bytes(), listing.read_bytes()
    result = convert.convert(manifest, tokenizer=tokenizer, workers=1, max_rejected=0.9)

    assert first == (out_of(manifest).read_bytes(), listing.read_bytes()), "everything made stays"
    assert [row["id"] for row in rows(out_of(manifest))] == sorted(ITEMS)
    listed = {row["id"]: row for row in rows(listing)}
    assert {name: row["reason"] for name, row in listed.items()} == {
        "short": "too-short",
        "long": "too-long",
        "low": "low-rate",
        "origin": "low-rate",
        "silent": "silent",
        "nan": "not-finite",
        "infinite": "not-finite",
        "torn": "unreadable-audio",
        "text": "unreadable-audio",
        "codec": "unreadable-audio",
        "empty": "empty",
    }
    assert listed["short"]["numbers"]["audio_seconds"] == 0.4
    assert 0 <= listed["nan"]["numbers"]["first_seconds"] < 2
    assert listed["origin"]["numbers"]["source_rate"] == 8000
    assert all((folder / row["audio_file"]).is_file() for row in listed.values())
    assert {row["numbers"]["step"] for row in listed.values()} == {"convert-qwen3"}
    counts = {"empty": 1, "low-rate": 2, "not-finite": 2, "silent": 1, "too-long": 1, "too-short": 1}
    assert result["rejected"] == {**counts, "unreadable-audio": 3}
    assert result["rejected_seconds"] == pytest.approx(61 + 0.4 + 9 * 2, abs=0.1)


def test_no_clip_left(tmp_path: Path, tokenizer: str) -> None:
    write_manifest(tmp_path / "train_manifest.jsonl", [add(tmp_path, "quiet", noise(5, level=1e-5))])

    with pytest.raises(InputUnusable, match="no clip is left"):
        convert.convert(tmp_path, tokenizer=tokenizer, workers=1, max_rejected=1.0)

    assert rows(tmp_path / "rejections_qwen3.jsonl")[0]["reason"] == "silent"
    with pytest.raises(InputUnusable, match="lists no clip"):
        open_coded(out_of(tmp_path / "train_manifest.jsonl"))


def test_samples_that_are_not_finite_are_never_encoded(tokenizer: str) -> None:
    """The stock codec answers them with zeros."""
    loaded = codec.load_codec(tokenizer)

    assert (loaded.tokenizer.encode([np.full(24000, np.nan, np.float32)], sr=24000).audio_codes[0] == 0).all()
    for samples in (np.full(24000, np.nan, np.float32), np.full(24000, np.inf, np.float32), np.zeros(0, np.float32)):
        with pytest.raises(InputUnusable):
            loaded.encode(samples)


# --- the reference


def test_the_reference_is_chosen_by_quality_and_its_choice_explained(
    manifest: Path, tokenizer: str, readings: Readings
) -> None:
    """Clipped, dull, gappy, short and long ones lose; of the others the most typical wins, whatever the order."""
    folder = manifest.parent
    audio = readings["hens"][0]
    clipped = Audio(np.clip(audio.samples * 30, -1, 1), audio.rate)
    dull = audio.at(16000).at(24000)
    gaps = Audio(np.concatenate([audio.samples, np.zeros(4 * audio.rate, np.float32)]), audio.rate)
    worse = {"clipped": clipped, "dull": dull, "gaps": gaps, "short": noise(3.5), "hiss": noise(6)}
    clips = [add(folder, name, sound) for name, sound in worse.items()]
    clips += [add(folder, name, *readings[name]) for name in ITEMS]
    write_manifest(manifest, clips)

    result = convert.convert(manifest, tokenizer=tokenizer, workers=2)

    told = result["references"]["kumo"]
    assert told["clip"] in ITEMS
    assert told["audio"] == f"clips/{told['clip']}.flac"
    assert {row["ref_audio"] for row in rows(out_of(manifest))} == {told["audio"]}
    assert (told["clips"], told["passed_limits"]) == (11, 8), "clipped, gaps and short are out"
    assert told["full_bandwidth"] == 7, "dull is out"
    similarities = json.loads(next(folder.glob("parts/qwen3-reference-*.json")).read_text())["similarities"]
    assert told["similarity_to_centre"] == max(similarities.values())
    assert "cosine" in told["why"]
    assert result["warnings"] == []


def test_wider_limits_warn_and_beyond_them_nothing_is_chosen(
    tmp_path: Path, tokenizer: str, readings: Readings
) -> None:
    audio, text = readings["bus"]
    short = Audio(audio.samples[: int(3.2 * audio.rate)], audio.rate)
    write_manifest(tmp_path / "train_manifest.jsonl", [add(tmp_path, "bus", short, text)])
    assert "wider" in convert.convert(tmp_path, tokenizer=tokenizer, workers=1)["warnings"][0]

    too_short = Audio(audio.samples[: 2 * audio.rate], audio.rate)
    write_manifest(tmp_path / "train_manifest.jsonl", [add(tmp_path, "bus", too_short, text)])
    with pytest.raises(InputUnusable, match="none of the 1 clips of kumo") as caught:
        convert.convert(tmp_path, tokenizer=tokenizer, workers=1)
    assert "--ref" in caught.value.hint


def test_each_speaker_has_a_reference_of_their_own(manifest: Path, tokenizer: str, readings: Readings) -> None:
    names = ("kumo", "Ann")
    clips = [add(manifest.parent, item, *readings[item], speaker=names[place % 2]) for place, item in enumerate(ITEMS)]
    write_manifest(manifest, clips)
    of = {clip.id: clip.speaker for clip in clips}

    both = convert.convert(manifest, tokenizer=tokenizer, workers=2)
    coded = rows(out_of(manifest))
    one = convert.convert(manifest, manifest.with_name("ann.jsonl"), tokenizer=tokenizer, speaker="Ann")

    assert {row["id"]: row["speaker"] for row in coded} == of
    assert all(of[Path(row["ref_audio"]).stem] == row["speaker"] for row in coded)
    assert sorted(both["references"]) == ["Ann", "kumo"]
    assert (one["clips"], one["converted_now"]) == (3, 0)
    assert {row["speaker"] for row in rows(manifest.with_name("ann.jsonl"))} == {"Ann"}
    with pytest.raises(UsageError, match="no speaker 'Bob'"):
        convert.convert(manifest, tokenizer=tokenizer, speaker="Bob")
    write_audio(manifest.parent / "ref.wav", readings["hens"][0])
    with pytest.raises(UsageError, match="2 speakers"):
        convert.convert(manifest, tokenizer=tokenizer, ref=manifest.parent / "ref.wav")


def test_a_given_reference_is_taken_as_24_khz_mono(
    manifest: Path, tokenizer: str, readings: Readings, tmp_path: Path
) -> None:
    import soundfile

    audio = readings["hens"][0].at(44100)
    given = manifest.parent / "stereo.wav"
    soundfile.write(given, np.stack([audio.samples, 0.5 * audio.samples], axis=1), 44100)
    inside = manifest.parent / "inside.wav"
    write_audio(inside, readings["hens"][0])
    write_audio(tmp_path / "outside.wav", readings["hens"][0])

    stereo = convert.convert(manifest, tokenizer=tokenizer, workers=2, ref=given)
    before = {row["id"]: row["audio_codes"] for row in rows(out_of(manifest))}
    within = convert.convert(manifest, tokenizer=tokenizer, workers=2, ref=inside)
    without = convert.convert(manifest, tokenizer=tokenizer, workers=2, ref=tmp_path / "outside.wav")

    assert without["references"]["kumo"]["audio"].startswith("references/kumo-")
    copy = stereo["references"]["kumo"]["audio"]
    assert copy.startswith("references/kumo-")
    info = soundfile.info(manifest.parent / copy)
    assert (info.samplerate, info.channels) == (24000, 1)
    assert info.duration == pytest.approx(audio.seconds, abs=0.01)
    assert stereo["references"]["kumo"]["why"] == "given with --ref"
    assert within["references"]["kumo"]["audio"] == "inside.wav"
    assert within["converted_now"] == 0
    assert {row["id"]: row["audio_codes"] for row in rows(out_of(manifest))} == before


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda audio: Audio(audio.samples[:12000], 24000), "too-short"),
        (lambda audio: Audio(np.clip(audio.samples * 30, -1, 1), 24000), "is clipped"),
        (lambda audio: audio.at(8000), "low-rate"),
        (lambda audio: Audio(audio.samples * 1e-5, 24000), "silent"),
        (None, "not a file"),
    ],
)
def test_a_bad_reference_is_refused_before_the_work(
    manifest: Path, readings: Readings, tmp_path: Path, make: Any, expected: str
) -> None:
    if make:
        write_audio(tmp_path / "ref.wav", make(readings["hens"][0]))

    with pytest.raises(InputUnusable, match=expected):
        convert.convert(manifest, tokenizer="not looked at", ref=tmp_path / "ref.wav")


def test_a_short_reference_is_warned_of(tmp_path: Path, readings: Readings) -> None:
    write_audio(tmp_path / "ref.wav", Audio(readings["hens"][0].samples[:48000], 24000))

    assert "2.0 s long" in reference.check(tmp_path / "ref.wav").warnings[0]


# --- around it


def test_out_may_lie_elsewhere(manifest: Path, tokenizer: str, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere/deep/coded.jsonl"
    convert.convert(manifest, out, tokenizer=tokenizer, workers=2)

    assert rows(out)[0]["audio"] == "../../data/clips/bus.flac"
    data = open_coded(out)
    assert all(data.file(clip.audio).is_file() for clip in data.clips)
    with pytest.raises(UsageError, match="manifest itself"):
        convert.convert(manifest, manifest, tokenizer=tokenizer)


def test_a_dry_run_imports_no_model_and_writes_nothing(manifest: Path, tokenizer: str) -> None:
    convert.convert(manifest, tokenizer=tokenizer, workers=1)
    for receipt in sorted(receipts_of(manifest))[:2]:
        receipt.unlink()
    before = sorted(path for path in manifest.parent.rglob("*"))
    arguments = [str(manifest), "--tokenizer", tokenizer, "--dry-run", "--workers", "2"]
    variables = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}

    done = subprocess.run(
        [sys.executable, "-P", SCRIPT, *arguments], capture_output=True, text=True, env=variables, check=True
    )

    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "json" in imported
    assert imported & {"torch", "transformers", "qwen_tts", "resemblyzer", "librosa"} == set()
    assert sorted(path for path in manifest.parent.rglob("*")) == before
    result = json.loads(done.stdout)["result"]
    assert (result["clips"], result["done_clips"]) == (6, 4)
    assert 0 < result["left_seconds"] < result["audio_seconds"]
    assert result["estimate"]["basis"].startswith("measured: 4 clips")
    unknown = convert.convert(manifest, tokenizer="some/codec", dry_run=True)
    assert "not timed" in unknown["estimate"]["basis"]
    assert "some/codec is not on this machine" in unknown["warnings"][0]


def test_a_missing_codec_is_69_with_the_command_that_gets_it(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unavailable) as caught:
        convert.convert(manifest)
    assert "hf download Qwen/Qwen3-TTS-Tokenizer-12Hz" in caught.value.hint
    with pytest.raises(Unavailable, match=r"lacks config\.json, preprocessor_config\.json, model\.safetensors"):
        convert.convert(manifest, tokenizer=str(tmp_path))
    for name in codec.FILES:
        (tmp_path / name).write_text('{"model_type": "qwen3_tts_tokenizer_25hz"}')
    with pytest.raises(Unavailable, match="25hz"):
        convert.convert(manifest, tokenizer=str(tmp_path))
    with pytest.raises(Unavailable, match="not a folder"):
        convert.convert(manifest, tokenizer="./models/none")


def test_a_busy_dataset_and_a_bad_manifest(manifest: Path, tokenizer: str) -> None:
    with locked(manifest.parent / ".lock"):
        code = (
            "import sys; from pathlib import Path; from tts_train.backends.qwen3.convert import convert; "
            "convert(Path(sys.argv[1]), tokenizer=sys.argv[2])"
        )
        run = subprocess.run(
            [sys.executable, "-P", "-c", code, manifest, tokenizer], capture_output=True, text=True, check=False
        )
        assert Busy.__name__ in run.stderr
    manifest.write_text('{"id": "a"}\n{"id": "b"}\n')
    with pytest.raises(ConfigError) as caught:
        convert.convert(manifest, tokenizer=tokenizer)
    assert {problem.line for problem in caught.value.problems} == {1, 2}
    with pytest.raises(InputUnusable, match="holds no manifest"):
        convert.convert(manifest.parent / "clips", tokenizer=tokenizer)
