"""Asterisk's voice prompts: 25 minutes of one professional voice with texts, from two Debian packages (CC-BY-SA-3.0).

The packages are unpacked into a cache folder and never committed: `python3 tests/asterisk.py` (or ./.ci/run) fetches
them with apt-get, which needs no root; TTS_TRAIN_ASTERISK names a folder that holds their `usr` instead.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # fetching needs the standard library only
    import numpy as np
    from numpy.typing import NDArray

PACKAGES = ("asterisk-core-sounds-en", "asterisk-core-sounds-en-g722", "asterisk-core-sounds-es-g722")
SOUNDS = "usr/share/asterisk/sounds/en_US_f_Allison"
SPANISH = "usr/share/asterisk/sounds/es_MX_f_Allison"
"""The same speaker in another language."""

TEXTS = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
RATE = 16000
BOOK_RATE = 44100
GAP_SECONDS = 0.4


@dataclass(frozen=True)
class Prompt:
    """One recording: its name ("digits/7"), file, and what is said in it."""

    name: str
    file: Path
    text: str

    @property
    def seconds(self) -> float:
        """G.722 holds two samples in a byte, and there is no header."""
        return self.file.stat().st_size * 2 / RATE


def place() -> Path:
    """The folder with the packages' files."""
    named = os.environ.get("TTS_TRAIN_ASTERISK")
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else cache_home / "tts-train" / "asterisk"


def missing() -> str | None:
    """What a test says that cannot run without the prompts; None when they are there."""
    lacking = [str(place() / part) for part in (SOUNDS, SPANISH, TEXTS) if not (place() / part).exists()]
    return f"no {lacking[0]}: python3 tests/asterisk.py fetches it (TTS_TRAIN_ASTERISK)" if lacking else None


def fetch() -> Path:
    """Download and unpack the packages unless they are there; atomic, so a killed download leaves nothing half."""
    if not missing():
        return place()
    place().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place().parent) as scratch:
        download = ["apt-get", "download", *PACKAGES]
        if subprocess.run(download, cwd=scratch, check=False, stdout=sys.stderr).returncode:
            # A fresh machine knows no packages yet; this step does need root.
            subprocess.run(["apt-get", "update"], check=True, stdout=sys.stderr)
            subprocess.run(download, cwd=scratch, check=True, stdout=sys.stderr)
        for package in sorted(Path(scratch).glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(package), "unpacked"], cwd=scratch, check=True)
        if place().exists():  # an older one, without a package that has been added since
            place().rename(Path(scratch) / "old")
        (Path(scratch) / "unpacked").rename(place())
    return place()


def texts() -> dict[str, str]:
    """Name → what is said, for every line of the packages' list."""
    with gzip.open(place() / TEXTS, "rt", encoding="utf-8", errors="replace") as lines:
        pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith(";"))
        return {name.strip(): " ".join(text.split()) for name, text in pairs}


def prompts() -> list[Prompt]:
    """All recordings of speech with their texts, by name; none of beeps and silences ("[beep]")."""
    known = texts()
    found = sorted((place() / SOUNDS).rglob("*.g722"))
    named = [(file.relative_to(place() / SOUNDS).with_suffix("").as_posix(), file) for file in found]
    return [
        Prompt(name, file, known[name])
        for name, file in named
        if known.get(name) and not re.search(r"[\[<]", known[name]) and not name.startswith("silence/")
    ]


def spanish(name: str) -> Prompt:
    """A recording of the same name as an English one, in Spanish; its text is not known."""
    return Prompt(name, place() / SPANISH / f"{name}.g722", "")


def require() -> list[Prompt]:
    """All prompts, for a test: without them it fails. What nobody listened to is not tested."""
    import pytest

    lacking = missing()
    if lacking:
        pytest.fail(lacking)
    return prompts()


def read(prompt: Prompt) -> NDArray[np.float32]:
    """Mono float32 samples at RATE, shape (n,)."""
    import av
    import numpy as np

    with av.open(str(prompt.file)) as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) / 32768.0


def write_clips(folder: Path, chosen: Sequence[Prompt]) -> Path:
    """clips/NAME.wav (16 kHz) and transcripts.jsonl, as ingest-transcript takes them; returns the latter."""
    from tts_train.audio import Audio, write_audio

    rows = []
    for prompt in chosen:
        name = prompt.name.replace("/", "-") + ".wav"
        write_audio(folder / "clips" / name, Audio(read(prompt), RATE))
        rows.append(json.dumps({"audio_file": name, "text": prompt.text}) + "\n")
    (folder / "transcripts.jsonl").write_text("".join(rows))
    return folder / "transcripts.jsonl"


@dataclass(frozen=True)
class Placed:
    """A prompt inside a book: seconds of the book, and the chapter's number."""

    prompt: Prompt
    start: float
    end: float
    chapter: int


def write_book(path: Path, chosen: Sequence[Prompt], chapters: int = 2, gap: float = GAP_SECONDS) -> list[Placed]:
    """Prompts joined with silences of `gap` seconds to an m4b (AAC 64 kb/s, 44.1 kHz) with equal chapters.

    Returns where each prompt lies. The same prompts always give the same bytes.
    """
    import numpy as np

    per_chapter = -(-len(chosen) // chapters)
    placed: list[Placed] = []
    now = 0.0
    for number, prompt in enumerate(chosen):
        placed.append(Placed(prompt, now, now + prompt.seconds, number // per_chapter + 1))
        now += prompt.seconds + gap
    silence = np.zeros(round(gap * RATE), np.float32)
    write_m4b(path, (part for prompt in chosen for part in (read(prompt), silence)), _chapters(placed, gap))
    return placed


def _chapters(placed: Sequence[Placed], gap: float) -> list[tuple[str, float, float]]:
    """(title, start, end) of each chapter; a border lies in the middle of the silence between two prompts."""
    ends = {item.chapter: item.end + gap / 2 for item in placed}
    starts = [0.0, *ends.values()]
    return [(f"Chapter {number}", start, end) for start, (number, end) in zip(starts, ends.items(), strict=False)]


def write_m4b(
    path: Path, sounds: Iterable[NDArray[np.float32]], chapters: Sequence[tuple[str, float, float]] = ()
) -> None:
    """Encode mono samples at RATE as AAC in an m4b, with chapters (title, start, end in seconds). Any length."""
    import av
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="ipod", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("aac", rate=BOOK_RATE, layout="mono", options={"flags": "+bitexact"})
        stream.bit_rate = 64000
        marks = [
            {"id": number, "start": round(start * 1000), "end": round(end * 1000), "time_base": Fraction(1, 1000),
             "metadata": {"title": title}}
            for number, (title, start, end) in enumerate(chapters)
        ]  # fmt: skip
        container.set_chapters(marks)
        resampler = av.AudioResampler("fltp", "mono", BOOK_RATE, frame_size=1024)
        position = 0
        for samples in sounds:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), "fltp", "mono")
            frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), position
            position += len(samples)
            for ready in resampler.resample(frame):
                container.mux(stream.encode(ready))
        for ready in resampler.resample(None):
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    print(fetch())
