"""A made-up dataset for reports: clips that sound, rejections of every kind, and texts that try to be HTML."""

from __future__ import annotations

import json
import math
import random
import struct
import wave
from pathlib import Path
from typing import Any

EVIL = "</script><script>window.pwned=1</script><img src=x onerror='window.pwned=1'>\"'&amp;"
ODD_NAME = "50% of #1? é.wav"
CARD = f"""\
source: {json.dumps("a book by " + EVIL)}
licence: CC0
speaker: ann
consent_basis: own voice
language: en-GB
"""
BOOK = "book.m4b"
TITLES = ("One", f"Two {EVIL}", "One")
PACE = 20.0
"""Seconds of the book per clip."""
_WORDS = ("the", "boat", "stood", "in", "an", "old", "barn", "behind", "our", "house", "nobody", "sailed", "her")
_MEASURED = {
    "too-short": ("duration", "audio_seconds", 0.9, 1.5, None),
    "noisy": ("snr", "snr_db", 8.2, 15.0, None),
    "other-speaker": ("speaker", "speaker_outlier", 9.5, None, 6.0),
    "clipped": ("clipping", "clipped_ratio", 0.02, None, 0.001),
}


def make_dataset(folder: Path, clips: int = 60, *, audio: bool = True, every: int = 6) -> Path:
    """Write a dataset of `clips` pieces, one in `every` of them rejected, into `folder`, and return it."""
    chance = random.Random(7)
    kept: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for number in range(clips):
        row = _row(chance, number, clips)
        if number % every:
            kept.append(row)
        else:
            rejected.append(_rejected(row, list(_MEASURED)[number // every % len(_MEASURED)]))
    kept[1]["text"] = EVIL
    kept[2] |= {"id": "odd", "audio_file": f"clips/{ODD_NAME}"}
    kept[3]["measures"] |= {"loudness_lufs": -44.0, "snr_db": math.nan, "mos": "high"}
    rejected[1] |= {"text": f"Was it {EVIL}", "id": "it's;odd"}
    rejected += _hopeless()
    _write(folder, clips, kept, rejected)
    if audio:
        for row in [*kept, *rejected]:
            if row.get("audio_seconds") and row["id"] != "gone":
                _tone(folder / row["audio_file"], min(4.0, row["audio_seconds"]))
    return folder


def _row(chance: random.Random, number: int, clips: int) -> dict[str, Any]:
    start, seconds = number * PACE, chance.uniform(2.0, 9.0)
    chapter = TITLES[3 * number // clips]
    words = [chance.choice(_WORDS) for _ in range(max(2, round(seconds * 2.7)))]
    measures = {
        "loudness_lufs": round(chance.gauss(-24, 1.2), 2),
        "snr_db": round(chance.gauss(38, 4), 2),
        "mos": round(min(4.9, chance.gauss(4.2, 0.2)), 3),
        "words_per_second": round(chance.gauss(2.7, 0.3), 3),
        "characters_per_second": round(chance.gauss(14, 1.4), 3),
        "bandwidth_hz": chance.choice([11_900, 12_000, 12_000]),
        "speaker_similarity": round(min(0.99, chance.gauss(0.9, 0.03)), 4),
        "clipped_ratio": 0.0,
        "log_probability": round(chance.gauss(-0.15, 0.03), 4),
    }
    name = f"book-c{number:05d}"
    return {
        "id": name,
        "audio_file": f"clips/{name}.wav",
        "text": f"{' '.join(words)}.".capitalize(),
        "speaker": "ann",
        "language": "en-GB",
        "audio_seconds": round(seconds, 3),
        "source": BOOK,
        "start": round(start, 3),
        "end": round(start + seconds, 3),
        "chapter": chapter,
        "measures": measures,
    }


def _rejected(row: dict[str, Any], reason: str) -> dict[str, Any]:
    name, key, value, low, high = _MEASURED[reason]
    if reason == "too-short":
        row |= {"audio_seconds": value, "end": round(row["start"] + value, 3)}
    decided = {"step": "screen", "filter": name, "value": value, "min": low, "max": high, "chapter": row["chapter"]}
    numbers = {**row.pop("measures"), key: value, **decided}
    return {**row, "audio_file": f"rejected/{row['id']}.wav", "reason": reason, "numbers": numbers}


def _hopeless() -> list[dict[str, Any]]:
    """A line that was none, a clip without audio, one outside the folder, one of align, and rows of nonsense."""
    return [
        {
            "id": "line-000003",
            "reason": "bad-line",
            "source": "list.jsonl",
            "numbers": {"line": 3, "message": f"not JSON: {EVIL}"},
        },
        {
            "id": "gone",
            "reason": "unreadable-audio",
            "text": "Gone.",
            "audio_file": "rejected/gone.wav",
            "audio_seconds": 2.0,
            "numbers": {},
        },
        {"id": "out", "reason": "outside-folder", "text": "Out.", "audio_file": "../../etc/passwd", "numbers": {}},
        {
            "id": "book-c00001",
            "reason": "failed",
            "text": "x",
            "source": BOOK,
            "audio_file": "clips/book-c00001.wav",
            "audio_seconds": 2.0,
            "numbers": {"step": "align"},
        },
        {"id": 5, "reason": None, "text": ["a"], "audio_file": 7, "start": "now", "end": {}, "numbers": "none"},
    ]


def _write(folder: Path, clips: int, kept: list[dict[str, Any]], rejected: list[dict[str, Any]]) -> None:
    (folder / "parts").mkdir(parents=True)
    for name, rows in (("train_manifest.jsonl", kept), ("rejections.jsonl", rejected)):
        (folder / name).write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
        )
    end = clips * PACE
    borders = [PACE * -(-clips * part // 3) for part in range(3)]
    chapters = [
        {"index": index, "title": title, "start": start, "end": last}
        for index, (title, start, last) in enumerate(zip(TITLES, borders, [*borders[1:], end], strict=True), 1)
    ]
    spans = [
        [row["start"] + 0.1, row["end"] - 0.1, sum(start <= row["start"] for start in borders)]
        for row in [*kept, *rejected]
        if row.get("source") == BOOK and row.get("end")
    ]
    # Two seconds of speech that nobody took, and four that were skipped.
    spans += [[end, end + 2.0, 3], [end + 2.0, end + 6.0, 3]]
    speech = {"key": "k", "source": BOOK, "seconds": end + 10, "chapters": chapters, "spans": sorted(spans)}
    (folder / "parts/speech-00000.json").write_text(json.dumps(speech))
    (folder / "parts/skipped.json").write_text(json.dumps({BOOK: [[end + 2.0, end + 10.0]]}))
    filters = {"filters": [["duration", 1.5, 15.0], ["snr", 15.0, None]], "measures": {}}
    (folder / "parts/screen.json").write_text(json.dumps(filters))
    (folder / "parts/restored.json").write_text(json.dumps({"ids": {kept[4]["id"]: "clipped"}}))
    (folder / "dataset.yaml").write_text(CARD)


def _tone(path: Path, seconds: float, rate: int = 8000) -> None:
    path.parent.mkdir(exist_ok=True)
    period = [round(9000 * math.sin(2 * math.pi * step / 40)) for step in range(40)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack("<40h", *period) * round(seconds * rate / 40))
