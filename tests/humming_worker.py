"""A worker of the speech server whose voices hum: the real one, with other speakers and without torch.

What a text says between brackets happens before its sentence is spoken: [wait FILE] until it exists, [crash], [wrong],
[bug]. Every loaded voice and every sentence is noted in the file that its argument names.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tts_train.audio import Audio
from tts_train.backends import Spoken, joined
from tts_train.errors import ConfigError, InputUnusable
from tts_train.serve import TOKEN

RATE = {"piper": 22050, "qwen3": 24000}


log: list[Path] = []
"""Where a worker notes what it is asked for; in the test's own process nowhere."""


def note(*words: str) -> None:
    for path in log:
        with path.open("a", encoding="utf-8") as file:
            file.write(" ".join(words) + "\n")


class Hummer:
    """One utterance at a time; every sentence, knob and seed has a tone of its own."""

    def __init__(self, family: str, base: str, voice: Mapping[str, Any]) -> None:
        if voice.get("broken"):
            raise InputUnusable("the reference is gone", hint="restore it")
        self.rate = RATE[family]
        self.base = base
        note("load", base, *(name for name in os.environ if name == TOKEN))

    def say(self, text: str, setting: Mapping[str, Any], seed: int) -> Spoken:
        if "unknown" in setting:
            raise ConfigError("there is no setting 'unknown'", hint="leave it out")
        what, _, file = (re.findall(r"\[([^\]]*)\]", text) or [""])[0].partition(" ")
        note("say", text)
        if what == "wait":
            while not Path(file).exists():
                time.sleep(0.01)
        if what == "crash":
            os._exit(9)
        if what == "wrong":
            raise InputUnusable("there is nothing to speak", hint="write some words")
        if what == "bug":
            raise ValueError("a bug")
        digest = hashlib.sha256(json.dumps([self.base, text.strip(), dict(sorted(setting.items())), seed]).encode())
        times = np.arange(self.rate // 10 * len(text.split())) / self.rate
        tone = 0.1 * np.sin(2 * np.pi * (100 + digest.digest()[0]) * times)
        return Spoken(Audio(tone.astype(np.float32), self.rate), "eos")


class SentenceHummer(Hummer):
    """Sentence by sentence."""

    def say(self, text: str, setting: Mapping[str, Any], seed: int) -> Spoken:
        return joined(self.parts(text, setting, seed), "eos")

    def parts(self, text: str, setting: Mapping[str, Any], seed: int) -> Iterator[Spoken]:
        for sentence in re.findall(r"[^.]+\.", text):
            yield Hummer.say(self, sentence, setting, seed)


def main() -> None:
    from tts_train import worker
    from tts_train.backends import piper, qwen3

    sys.modules["torch"] = types.SimpleNamespace(set_num_threads=lambda _number: None)  # type: ignore[assignment]
    piper.load_speaker = lambda base, _folder, _threads, voice: SentenceHummer("piper", base, voice)
    qwen3.load_speaker = lambda base, _folder, _threads, voice: Hummer("qwen3", base, voice)
    log.append(Path(sys.argv[1]))
    sys.argv = ["worker.py", "call", "tts_train.serve.worker:run"]
    worker.main()


if __name__ == "__main__":
    main()
