"""The folder a session travels in: clips under names that tell nothing, and what to ask of them.

Nothing in it says which clip is which: names are random, times are one, equal clips differ in every sample and in their
length, and the plan stays in the database. Only who compares the sounds themselves can tell, as ears do.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tts_train.errors import InputUnusable
from tts_train.files import publish_folder, sha256_file, write_json
from tts_train.probe.material import Stimulus
from tts_train.workspace import Workspace

FORMAT = 1
SESSION = "session.json"
TOKEN = re.compile(r"^[0-9a-f]{16}$")
IDENTIFIER = re.compile(r"^[0-9a-f]{10}$")
_AT = 946_684_800.0
"""Every file's time: the year 2000 (UTC), as the order of writing is nobody's business."""
_TAIL_SECONDS = 0.06

QUESTIONS = {
    "abx": "Which one is X, the first or the second?",
    "ab": "Which one would you rather listen to?",
    "xab": "Whose accent is closer to X, the real speaker?",
    "sheet": "What do you hear?",
}
CHOICES = {"abx": ("first", "second"), "ab": ("first", "second", "same"), "xab": ("first", "second", "same")}


def session_folder(workspace: Workspace, identifier: str) -> Path:
    """Where a session's folder is. Raises InputUnusable for what is no session's name."""
    if not IDENTIFIER.fullmatch(identifier):
        raise InputUnusable(f"'{identifier}' is not the name of a session", hint="run.sh session list RUN")
    return workspace.runs / "sessions" / identifier


def clip_path(workspace: Workspace, identifier: str, token: str) -> Path:
    """The clip behind a token. Raises InputUnusable when the session has none, whatever else `token` may be."""
    path = session_folder(workspace, identifier) / f"{token}.wav"
    if TOKEN.fullmatch(token) and path.is_file():
        return path
    raise InputUnusable("there is no such clip in this session", hint="run.sh session show ID names the clips")


def new_token() -> str:
    """A clip's name: 64 random bits that follow from nothing, so no seed gives it away."""
    return secrets.token_hex(8)


def publish_materials(folder: Path, described: Mapping[str, Any], clips: Mapping[str, Stimulus]) -> str:
    """Write session.json and the clips (token → stimulus). Returns the hash of session.json.

    Raises InputUnusable when a clip is not the one that was measured, DiskError.
    """

    def fill(place: Path) -> None:
        write_json(place / SESSION, dict(described))
        for token, stimulus in sorted(clips.items()):
            (place / f"{token}.wav").write_bytes(_disguised(_measured(stimulus)))
        for path in place.iterdir():
            os.utime(path, (_AT, _AT))

    publish_folder(folder, fill)
    return sha256_file(folder / SESSION)


def described(
    identifier: str, kind: str, listener: str, trials: Sequence[Mapping[str, Any]], *, blind: bool
) -> dict[str, Any]:
    """session.json: what a player needs and a listener may know."""
    return {
        "format": FORMAT,
        "session": identifier,
        "kind": kind,
        "blind": blind,
        "listener": listener,
        "question": QUESTIONS[kind],
        "answers": list(CHOICES.get(kind, ())),
        "trials": list(trials),
    }


def _measured(stimulus: Stimulus) -> bytes:
    data = stimulus.path.read_bytes()
    if hashlib.sha256(data).hexdigest() != stimulus.sha256:
        raise InputUnusable(
            f"{stimulus.path} changed meanwhile", hint="wait for the probe, then plan the session again"
        )
    return data


def _disguised(wav: bytes) -> bytes:
    """The same sound in other numbers: each sample moves by at most one step of 16 bits, and up to 60 ms follow.

    Without it whoever looks into the folder sees which of A and B is X, and which clips are a control.
    """
    import numpy as np

    try:
        with wave.open(io.BytesIO(wav)) as sound:
            form, samples = sound.getparams(), np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    except (wave.Error, EOFError) as error:
        raise InputUnusable("a matched copy is no WAV file", hint="measure again: run.sh probe RUN") from error
    noise = np.random.default_rng(secrets.randbits(128))
    longer = np.pad(samples.astype(np.int32), (0, secrets.randbelow(round(_TAIL_SECONDS * form.framerate))))
    moved = np.clip(longer + noise.integers(-1, 2, len(longer)), -(2**15), 2**15 - 1).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setparams(form)
        sound.writeframes(moved.tobytes())
    return buffer.getvalue()
