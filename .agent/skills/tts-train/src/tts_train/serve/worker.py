"""A worker: the process that speaks for the voices of one environment, one request at a time.

It takes messages from the front over a socket and ends when that closes. `speak` may be cancelled between two
sentences: a model cannot be stopped inside one.
"""

from __future__ import annotations

import gc
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.backends import Speaker, SpeaksInParts, Spoken, backend
from tts_train.output import answer_of, progress
from tts_train.serve import frames, sound
from tts_train.serve.texts import utterances
from tts_train.training.gpus import gpu_held
from tts_train.work import watermark

if TYPE_CHECKING:
    from tts_train.audio import Audio

PAUSE_SECONDS = 0.2
"""Between utterances of a speaker that makes no pauses itself."""

Send = Callable[[Mapping[str, Any], bytes], None]


def run(descriptor: int) -> dict[str, Any]:
    """Serve the front at the other end of the socket `descriptor` until it closes (worker entry)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They may go to the whole group: the front decides, and lets requests in flight finish.
        signal.signal(number, signal.SIG_IGN)
    channel = socket.socket(fileno=descriptor)
    voices = Voices()
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def listen() -> None:
        with channel.makefile("rb") as file:
            while (message := frames.read(file)) is not None:
                if message["op"] == "cancel":
                    voices.cancelled = message["id"]
                else:
                    inbox.put(message)
        # The front has gone, and with it whoever would hear the rest; nothing here needs saving.
        os._exit(0)

    def send(message: Mapping[str, Any], payload: bytes = b"") -> None:
        channel.sendall(frames.packed(message, payload))

    threading.Thread(target=listen, daemon=True).start()
    send({"kind": "ready"})
    while True:
        voices.handle(inbox.get(), send)


@dataclass
class Voices:
    """The loaded voices, and requests for them."""

    speakers: dict[str, Speaker] = field(default_factory=dict)
    cancelled: int = 0
    """Number of the last request that nobody waits for; written by another thread. Each has a higher one."""
    _gpu: ExitStack = field(default_factory=ExitStack)
    """Held as long as this process lives: a served voice is always ready."""
    _gpus: set[str] = field(default_factory=set)

    def handle(self, message: Mapping[str, Any], send: Send) -> None:
        """One message: "drop" forgets a voice, "load" makes one ready, "speak" speaks and sends audio as it comes."""
        if message["op"] == "drop":
            self.speakers.pop(message["voice"], None)
            gc.collect()
            return
        number, stage = message["id"], "load"
        answer, _ = answer_of("serve", lambda: {"rate": self._ready(message).rate})
        if answer["ok"] and message["op"] == "speak":
            stage = "speak"
            answer, _ = answer_of("serve", lambda: self._speak(message, send))
        if answer["ok"]:
            send({"id": number, "kind": "done", **answer["result"]}, b"")
        else:
            send({"id": number, "kind": "error", "stage": stage, "error": answer["error"]}, b"")

    def _ready(self, message: Mapping[str, Any]) -> Speaker:
        import torch

        if message["watermark"]:
            watermark.require()  # before anything is spoken that would then go out unmarked
        voice = message["voice"]
        name, threads = voice["name"], int(voice["threads"])
        if name not in self.speakers:
            started = time.monotonic()
            device = str(voice["facts"].get("device", "cpu"))
            if device not in self._gpus:
                self._gpu.enter_context(gpu_held(device))
                self._gpus.add(device)
            folder = Path(voice["epoch_folder"]) if voice["epoch_folder"] else None
            load = backend(voice["backend"]).load_speaker
            self.speakers[name] = load(voice["base"], folder, threads, voice["facts"])
            progress(f"loaded {name} in {time.monotonic() - started:.1f} s")
        torch.set_num_threads(threads)  # another voice may have set it, and the number of threads is heard
        return self.speakers[name]

    def _speak(self, message: Mapping[str, Any], send: Send) -> dict[str, Any]:
        number, stream = message["id"], bool(message["stream"])
        speaker = self.speakers[message["voice"]["name"]]
        encoder = sound.encoder(message["format"], speaker.rate, whole=not stream)
        seconds, stopped_by = 0.0, ""
        for spoken in _spoken(speaker, message["text"], message["knobs"], message["seed"], stream=stream):
            if number == self.cancelled:
                return {"cancelled": True}
            seconds += spoken.audio.seconds
            stopped_by = spoken.stopped_by
            audio = watermark.mark(spoken.audio) if message["watermark"] else spoken.audio
            send({"id": number, "kind": "audio", "seconds": audio.seconds}, encoder.feed(audio.samples))
        send({"id": number, "kind": "audio", "seconds": 0.0}, encoder.finish())
        return {"audio_seconds": seconds, "stopped_by": stopped_by}


def _spoken(speaker: Speaker, text: str, knobs: Mapping[str, Any], seed: int, *, stream: bool) -> Iterator[Spoken]:
    """The text in parts, as far as the speaker can; a text of one utterance comes out as `say` speaks it."""
    if isinstance(speaker, SpeaksInParts):
        yield from speaker.parts(text, knobs, seed)
        return
    for index, utterance in enumerate(utterances(text, stream=stream)):
        spoken = speaker.say(utterance, knobs, seed)
        yield Spoken(_after_pause(spoken.audio), spoken.stopped_by) if index else spoken


def _after_pause(audio: Audio) -> Audio:
    import numpy as np

    from tts_train.audio import Audio

    pause = np.zeros(round(PAUSE_SECONDS * audio.rate), np.float32)
    return Audio(np.concatenate([pause, audio.samples]), audio.rate)
