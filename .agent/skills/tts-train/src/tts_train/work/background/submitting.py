"""Starting a job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tts_train.errors import TtsTrainError, UsageError, from_json
from tts_train.work.background.logfile import PIECE_BYTES
from tts_train.work.background.record import jobs_folder, new_identifier
from tts_train.workspace import Workspace, check_name, skill_root, skill_script

_SUPERVISE = (
    "import sys; sys.path.insert(0, sys.argv[1]); from tts_train.work.background.supervisor import main; main()"
)


def submit(
    workspace: Workspace,
    words: Sequence[str],
    *,
    name: str | None = None,
    on_end: Sequence[str] = (),
    program: Sequence[str] = (),
    piece_bytes: int = PIECE_BYTES,
) -> dict[str, Any]:
    """Start `run.sh WORDS…` in the background; it outlives the terminal and this process.

    `on_end`: a program with its arguments, started once when the command has ended. `program`: instead of run.sh.
    Returns {id, name, pid, folder, log, text}. Raises UsageError, and Busy while another job of that name runs.
    """
    if name is not None:
        check_name(name, "job")
    if not program:
        program = [str(skill_root() / "run.sh")]
        if not skill_script(words[0]).is_file():
            raise UsageError(f"there is no command '{words[0]}'", hint="run.sh --help lists the commands")
    identifier = new_identifier()
    order = {
        "workspace": str(workspace.root),
        "id": identifier,
        "name": name,
        "argv": list(words),
        "program": list(program),
        "cwd": os.getcwd(),
        "on_end": list(on_end),
        "piece_bytes": piece_bytes,
    }
    # On its stdin: arguments show up in process lists.
    started = subprocess.run(
        [sys.executable, "-P", "-c", _SUPERVISE, str(skill_root() / "src")],
        input=json.dumps(order).encode(),
        stdout=subprocess.PIPE,
        start_new_session=True,
        check=False,
    )
    try:
        answer = json.loads(started.stdout)
    except json.JSONDecodeError as error:
        raise TtsTrainError("the job's supervisor died at its start", hint="its messages are above") from error
    if not answer["ok"]:
        raise from_json(answer["error"])
    job, folder = answer["job"], jobs_folder(workspace) / identifier
    return {
        "id": identifier,
        "name": name,
        "pid": job["command"]["pid"],
        "folder": str(folder),
        "log": str(folder / "log.txt"),
        "text": f"job {identifier} runs; run.sh jobs logs {identifier} --human shows its log: {folder / 'log.txt'}",
    }
