"""A command for a scheduler that is already there: a systemd unit, a crontab line, a job of a scheduler skill."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tts_train.errors import UsageError
from tts_train.masking import has_secrets
from tts_train.work.background.record import ID, find
from tts_train.workspace import Workspace, check_name, skill_root

TARGETS = ("systemd", "cron", "scheduler-skill")
DEFAULT_SCHEDULE = {"cron": "0 22 * * *", "scheduler-skill": "every 12h"}
STOP_SECONDS = 300
_CRON = re.compile(r"@(?:reboot|hourly|daily|midnight|weekly|monthly|yearly|annually)|\S+(?: +\S+){4}")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def render(
    workspace: Workspace, words: Sequence[str], *, target: str, name: str | None = None, schedule: str | None = None
) -> dict[str, Any]:
    """What to hand to `target` for a command line, or for a job given by its id.

    Returns {target, argv, cwd, schedule, text}. Raises UsageError where the target cannot say it, and for secrets on
    the command line: they would be readable in the scheduler's files.
    """
    cwd = Path.cwd()
    if len(words) == 1 and ID.fullmatch(words[0]):
        job = find(workspace, words[0]).read()
        words, name, cwd = job["argv"], name or job["name"], Path(job["cwd"])
    if has_secrets(words):
        raise UsageError(
            "the command has a secret among its arguments", hint="put it into the scheduler's environment instead"
        )
    name = check_name(name, "job") if name else check_name(f"tts-{words[0]}", "job")
    for text, what in ((schedule or "", "--schedule"), (str(cwd), "the folder"), (str(workspace.root), "--workspace")):
        if any(ord(character) < 32 for character in text):
            raise UsageError(f"{what} holds a line break or another control character", hint="choose another")
    schedule = schedule or DEFAULT_SCHEDULE.get(target)
    submit = [str(skill_root() / "run.sh"), "jobs", "submit", "--workspace", str(workspace.root), "--name", name, "--"]
    argv = [str(skill_root() / "run.sh"), *words] if target == "systemd" else [*submit, *words]
    targets: dict[str, Callable[[], str]] = {
        "systemd": lambda: unit(argv, cwd, workspace.root, name, schedule),
        "cron": lambda: crontab_line(argv, cwd, str(schedule)),
        "scheduler-skill": lambda: json.dumps(
            {"name": name, "schedule": schedule, "argv": argv, "cwd": str(cwd)}, ensure_ascii=False, indent=2
        ),
    }
    return {
        "target": target,
        "name": name,
        "argv": argv,
        "cwd": str(cwd),
        "schedule": schedule,
        "text": targets[target](),
    }


def unit(argv: Sequence[str], cwd: Path, workspace: Path, name: str, schedule: str | None) -> str:
    """A systemd user service, and a timer when there is a schedule (OnCalendar=), each under its file name."""
    # Through env: the program's own word follows other rules (no $$, prefixes such as @ and -) than its arguments.
    command = " ".join(systemd_quoted(word).replace("$", "$$") for word in argv)
    workspace_variable = systemd_quoted(f"TTS_TRAIN_WORKSPACE={workspace}")
    lines = [
        f"# ~/.config/systemd/user/{name}.service   (systemctl --user daemon-reload; loginctl enable-linger)",
        "[Unit]",
        f"Description=tts-train {name}",
        "",
        "[Service]",
        "Type=exec",
        f"WorkingDirectory={str(cwd).replace('%', '%%')}",
        f"Environment={workspace_variable}",
        f"ExecStart=/usr/bin/env -- {command}",
        f"TimeoutStopSec={STOP_SECONDS}",
        "# Stopped by a signal after saving; 75: somebody else is at it.",
        "SuccessExitStatus=130 143 75",
    ]
    if schedule:
        lines += ["", f"# ~/.config/systemd/user/{name}.timer   (systemctl --user enable --now {name}.timer)"]
        lines += ["[Unit]", f"Description=tts-train {name}", "", "[Timer]", f"OnCalendar={schedule}"]
        lines += ["Persistent=true", "", "[Install]", "WantedBy=timers.target"]
    else:
        lines += ["", "[Install]", "WantedBy=default.target"]
    return "\n".join(lines)


def systemd_quoted(word: str) -> str:
    """One word of a unit file: in double quotes, with C escapes, and with %% for the specifiers' %."""
    escaped = "".join(
        _ESCAPES.get(character) or (f"\\x{ord(character):02x}" if ord(character) < 32 else character)
        for character in word
    )
    return '"' + escaped.replace("%", "%%") + '"'


def crontab_line(argv: Sequence[str], cwd: Path, schedule: str) -> str:
    """One line of a crontab: words quoted for sh, and \\% for %, which cron would make a line break.

    Nothing is redirected: cron mails the one JSON object, and with it a start that failed.
    """
    if not _CRON.fullmatch(schedule):
        raise UsageError(f"'{schedule}' is not a crontab time", hint="five fields, such as '0 22 * * *', or @daily")
    if any(character in word for word in argv for character in "\n\r\0"):
        raise UsageError("a crontab line cannot hold a line break", hint="put the text into a file")
    command = f"cd {shlex.quote(str(cwd))} && {shlex.join(argv)}"
    return f"{schedule} {command}".replace("%", "\\%")
