"""How fast and how steadily does the speech server speak? `python benchmarks/serve.py VOICE` in the dev environment
(README, "Benchmarks"). A minute; VOICE is a shipped voice or RUN:EPOCH of a Piper run, as `run.sh serve` takes it.

* alone: one request at a time. Seconds to the whole answer and to its first audio when streamed (median, p95), and
  the real-time factor (seconds for a second of speech).
* cpu: CPU seconds for a second of speech, of all the server's processes, beside those of the voice without any server:
  the same texts through the same Speaker in one process, which is the baseline.
* together: --requests requests, --at-once of them in flight. Seconds to the answer (p50, p95), seconds of speech made
  in a second, how many were refused (429) and how many failed.
* memory: resident MiB of front and worker before, half-way and after.

The first answers of both are left out: they allocate. The load average before it says how idle the machine was.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import statistics
import subprocess
import sys
import time
import wave
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from run_tiers import in_environment

TEXTS = (
    "Put the kettle on, and look at the path.",
    "The old dog stood in the hall, and nobody had the heart to send him out into the rain.",
    "Good luck!",
    "He has put the book back where it was. Nobody saw it.",
)
BASELINE = """
import json, sys, time
from tts_train.serve.voices import open_voices
from tts_train.workspace import Workspace
from pathlib import Path
asked = json.loads(sys.argv[1])
[voice] = open_voices(Workspace.find(asked["workspace"]), [asked["voice"]]).values()
folder = Path(voice.epoch_folder) if voice.epoch_folder else None
speaker = voice.family.load_speaker(voice.base, folder, voice.threads, voice.facts)
speaker.say(asked["texts"][0], voice.knobs, 0)
started, seconds = time.process_time(), 0.0
for text in asked["texts"] * asked["rounds"]:
    seconds += speaker.say(text, voice.knobs, 0).audio.seconds
print(json.dumps({"cpu_seconds": time.process_time() - started, "audio_seconds": seconds}))
"""


@dataclass(frozen=True)
class Answer:
    """One request: status, seconds to the first audio and to the end, seconds of speech."""

    status: int
    first: float
    whole: float
    audio_seconds: float


def ask(url: str, text: str, *, stream: bool = False) -> Answer:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=300)
    wanted = {"input": text, "response_format": "wav", "stream": stream}
    started = time.perf_counter()
    try:
        connection.request("POST", "/v1/audio/speech", json.dumps(wanted), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read1(1 << 16)
        first = time.perf_counter() - started
        data += answer.read()
    finally:
        connection.close()
    whole = time.perf_counter() - started
    if answer.status != http.client.OK:
        return Answer(answer.status, first, whole, 0.0)
    with wave.open(io.BytesIO(data)) as sound:
        return Answer(answer.status, first, whole, (len(data) - 44) / 2 / sound.getframerate())


def resident(url: str) -> dict[str, float]:
    """Process → MiB, as the server itself tells."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = re.findall(r'^tts_train_resident_bytes\{process="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {name: round(float(value) / 2**20, 1) for name, value in found}


def spread(values: Sequence[float]) -> dict[str, float]:
    ranked = sorted(values)
    return {"p50": round(statistics.median(ranked), 3), "p95": round(ranked[int(0.95 * (len(ranked) - 1))], 3)}


def cpu_seconds(server: int) -> float:
    """Of the server and its workers, so far."""
    process = psutil.Process(server)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(time.user + time.system for time in times)


def alone(url: str, rounds: int, server: int) -> dict[str, Any]:
    texts = TEXTS * rounds
    before = cpu_seconds(server)
    whole = [ask(url, text) for text in texts]
    worked = cpu_seconds(server) - before
    streamed = [ask(url, text, stream=True) for text in texts]
    seconds, audio = sum(answer.whole for answer in whole), sum(answer.audio_seconds for answer in whole)
    return {
        "requests": len(texts),
        "whole_seconds": spread([answer.whole for answer in whole]),
        "first_audio_seconds": spread([answer.first for answer in streamed]),
        "real_time_factor": round(seconds / audio, 4),
        "cpu_seconds_per_audio_second": round(worked / audio, 4),
    }


def together(url: str, requests: int, at_once: int) -> dict[str, Any]:
    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(lambda number: ask(url, TEXTS[number % len(TEXTS)]), range(requests)))
    seconds, audio = time.perf_counter() - started, sum(answer.audio_seconds for answer in answers)
    statuses = Counter(answer.status for answer in answers)
    return {
        "requests": requests,
        "at_once": at_once,
        "answered": statuses[200],
        "refused_429": statuses[429],
        "failed": requests - statuses[200] - statuses[429],
        "seconds": round(seconds, 1),
        "whole_seconds": spread([answer.whole for answer in answers if answer.status == http.client.OK]),
        "audio_seconds_per_second": round(audio / seconds, 1),
    }


def baseline(voice: str, workspace: str, rounds: int) -> float:
    """CPU seconds of the Speaker alone for a second of speech, in the environment of a Piper voice."""
    asked = json.dumps({"voice": voice, "workspace": workspace, "texts": TEXTS, "rounds": rounds})
    command = in_environment("skill", "-c", BASELINE, asked)
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return float(told["cpu_seconds"] / told["audio_seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("voice")
    parser.add_argument("--workspace", default=".")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5, help="of the four texts, one request at a time")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    bare = baseline(options.voice, options.workspace, options.rounds)
    command = [ROOT / "run.sh", "serve", options.voice, "--port", "0", "--workspace", options.workspace]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout
            url = json.loads(server.stdout.readline())["result"]["url"]
            for text in TEXTS:
                ask(url, text)
            memory = [resident(url)]
            one = alone(url, options.rounds, server.pid)
            many = [together(url, options.requests // 2, options.at_once)]
            memory.append(resident(url))
            many.append(together(url, options.requests - options.requests // 2, options.at_once))
            memory.append(resident(url))
        finally:
            server.terminate()
    served = one.pop("cpu_seconds_per_audio_second")
    cpu = {"speaker": round(bare, 4), "server": served, "ratio": round(served / bare, 2)}
    print(json.dumps({"load_before": load, "alone": one, "cpu": cpu, "together": many, "memory_mib": memory}, indent=2))


if __name__ == "__main__":
    main()
