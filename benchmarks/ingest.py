"""`ingest` against WhisperX's own program and loader in one run: `python benchmarks/ingest.py` in the project
environment (README, "Benchmarks"). Nothing here is asserted by a test.

`recognition`: a book of studio prompts with known texts (tests/asterisk.py), ours and `python -m whisperx` one after
the other, the same Whisper folder, int8, the same number of threads. Ours also cuts, measures and screens clips and
writes FLAC and a report; WhisperX writes JSON. `memory`: the same book looped to hours, `ingest --segments-jsonl`
without the filters that listen (streaming, cutting, measuring, writing: all but networks), against whisperx.load_audio.

WhisperX starts the program ffmpeg; we do not need it. Give it a machine of its own: both sides use all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests")]

import asterisk
from tts_train.ingest.models import resolve_model
from tts_train.quality.wer import word_errors

INGEST = Path(__file__).parents[1] / ".agent/skills/tts-train/scripts/ingest.py"
CARD = """source: Debian's asterisk-core-sounds-en
licence: CC-BY-SA-3.0
speaker: Allison Smith
consent_basis: licensed
language: en-US
"""
LISTENING = ("two_speakers", "speaker", "duplicate")
"""Filters that load a network, or compare what a looped book repeats: left out where memory is measured."""


@dataclass(frozen=True)
class Run:
    """What a program took."""

    seconds: float
    cpu_seconds: float
    peak_mib: int
    output: str

    def figures(self, audio_seconds: float) -> dict[str, float]:
        return {
            "seconds": round(self.seconds, 1),
            "cpu_seconds_per_audio_second": round(self.cpu_seconds / audio_seconds, 4),
            "peak_rss_mib": self.peak_mib,
        }


def run(command: Sequence[str | Path], threads: int) -> Run:
    """Run to the end. Raises SystemExit with the program's last words when it fails."""
    limits = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    environment = {**os.environ, **limits, "TTS_TRAIN_NO_SETUP": "1"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.monotonic()
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        out.seek(0)
        err.seek(0)
        if status:
            sys.exit(f"{' '.join(map(str, command))} failed:\n{err.read()[-2000:]}{out.read()[-2000:]}")
        cpu = usage.ru_utime + usage.ru_stime
        return Run(seconds, cpu, usage.ru_maxrss // 1024, out.read())


def ingest(book: Path, out: Path, threads: int, *options: str | Path) -> Run:
    card = book.parent / "dataset.yaml"
    card.write_text(CARD)
    command = [sys.executable, "-P", INGEST, book, "allison", out, "--card", card, "--threads", str(threads)]
    return run([*command, "--max-rejected", "1", *options], threads)


def heard(dataset: Path) -> str:
    """All that was recognised, kept or rejected, in the order of the source."""
    lines = [line for name in ("train_manifest", "rejections") for line in (dataset / f"{name}.jsonl").open()]
    rows = sorted((json.loads(line) for line in lines), key=lambda row: row["start"])
    return " ".join(row["text"] for row in rows)


def recognition(folder: Path, prompts: Sequence[asterisk.Prompt], threads: int, aligner: str | None) -> dict[str, Any]:
    book = folder / "book.m4b"
    seconds = asterisk.write_book(book, prompts)[-1].end
    truth = " ".join(prompt.text for prompt in prompts)
    model = resolve_model().folder
    stock = [sys.executable, "-m", "whisperx", book, "--model", model, "--compute_type", "int8", "--device", "cpu"]
    stock += [
        "--language",
        "en",
        "--threads",
        str(threads),
        "--output_format",
        "json",
        "--output_dir",
        folder / "stock",
    ]

    def whisperx(*options: str) -> dict[str, Any]:
        took = run([*stock, *options], threads).figures(seconds)
        segments = json.loads((folder / "stock/book.json").read_text())["segments"]
        return {**took, "wer": round(word_errors(truth, " ".join(part["text"] for part in segments)).wer, 4)}

    ours = ingest(book, folder / "ours", threads, "--language", "en", "--model", model)
    result = json.loads(ours.output)["result"]
    found: dict[str, Any] = {
        "audio_seconds": round(seconds, 1),
        "words": word_errors(truth, truth).words,
        "ours": {
            **ours.figures(seconds),
            "wer": round(word_errors(truth, heard(folder / "ours")).wer, 4),
            **{name: result[name] for name in ("clips", "coverage", "rejected", "timings_seconds")},
        },
        "whisperx": whisperx("--no_align"),
    }
    if aligner:
        found["whisperx_with_alignment"] = whisperx("--align_model", aligner)
    found["times_as_fast"] = round(found["whisperx"]["seconds"] / found["ours"]["seconds"], 2)
    return found


def looped(book: Path, long: Path, hours: float) -> tuple[int, float]:
    """The book again and again, at least `hours` long, without encoding anew; how often, and seconds of one turn."""
    import av

    with av.open(str(book)) as source:
        origin = source.streams.audio[0]
        packets = [packet for packet in source.demux(origin) if packet.dts is not None]
        turn = packets[-1].dts + packets[-1].duration - packets[0].dts
        seconds = float(turn * origin.time_base)
        times = -int(-hours * 3600 // seconds)
        with av.open(str(long), "w", format="ipod") as target:
            track = target.add_stream_from_template(origin)
            for _ in range(times):
                for packet in packets:
                    packet.stream = track
                    target.mux(packet)
                    packet.pts, packet.dts = packet.pts + turn, packet.dts + turn
    return times, seconds


def _segments(placed: Sequence[asterisk.Placed], times: int, length: float, file: Path) -> None:
    """Every prompt of every round as a line for --segments-jsonl."""
    rows = [
        {"start": item.start + length * turn, "end": item.end + length * turn, "text": item.prompt.text}
        for turn in range(times)
        for item in placed
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def memory(folder: Path, prompts: Sequence[asterisk.Prompt], hours: Sequence[float], threads: int) -> dict[str, Any]:
    from tts_train.audio import probe_source

    book = folder / "book.m4b"
    placed = asterisk.write_book(book, prompts)
    deaf = [part for name in LISTENING for part in ("--filter", f"{name}::")]
    loader = "import sys; from whisperx.audio import load_audio; sys.argv[1:] and load_audio(sys.argv[1])"
    rows = []
    for number in hours:
        long, lines, out = folder / f"{number:g}h.m4b", folder / "segments.jsonl", folder / "out"
        _segments(placed, *looped(book, long, number), lines)
        audio_seconds = probe_source(long).seconds
        ours = ingest(long, out, threads, "--language", "en", "--segments-jsonl", lines, *deaf)
        stock = run([sys.executable, "-c", loader, long], threads)
        rows.append(
            {
                "hours": round(audio_seconds / 3600, 3),
                "clips": json.loads(ours.output)["result"]["clips"],
                "ours": ours.figures(audio_seconds),
                "whisperx_load_audio": stock.figures(audio_seconds),
            }
        )
        shutil.rmtree(out)
        long.unlink()
    first, last = rows[0], rows[-1]
    span = (last["hours"] - first["hours"]) or 1.0
    grown = {
        side: round((last[side]["peak_rss_mib"] - first[side]["peak_rss_mib"]) / span, 1)
        for side in ("ours", "whisperx_load_audio")
    }
    imports = run([sys.executable, "-c", loader], threads).peak_mib
    return {"runs": rows, "mib_per_hour": grown, "mib_of_whisperx_imports_alone": imports}


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks/ingest.py", description="ingest against WhisperX")
    parser.add_argument("--only", choices=("recognition", "memory"), help="leave the other one out")
    parser.add_argument("--every", type=int, default=1, help="take every n-th prompt: a shorter book")
    parser.add_argument("--hours", default="1,3,6", help="lengths for the memory runs")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--align-model", help="wav2vec2 folder or name: WhisperX again, with alignment")
    options = parser.parse_args()
    if asterisk.missing():
        sys.exit(asterisk.missing())
    if not shutil.which("ffmpeg"):
        sys.exit("WhisperX needs the program ffmpeg: apt-get install ffmpeg")
    prompts = asterisk.prompts()[:: options.every]
    found: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "threads": options.threads}
    found["load_average_before"] = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        if options.only != "memory":
            found["recognition"] = recognition(Path(scratch), prompts, options.threads, options.align_model)
        if options.only != "recognition":
            hours = [float(part) for part in options.hours.split(",")]
            found["memory"] = memory(Path(scratch), prompts, hours, options.threads)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
