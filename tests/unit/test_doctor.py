"""doctor as a command: no false alarm, its JSON, its exit codes; and that it loads nothing heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tiny_skill import SKILL
from tts_train.errors import DiskError, EnvironmentMissing, TtsTrainError, Unavailable
from tts_train.work import doctor
from tts_train.work.checkups.row import Row
from tts_train.workspace import Workspace

HEAVY = {"TTS", "choix", "numpy", "onnxruntime", "piper", "scipy", "streamlit", "torch", "transformers", "whisperx"}
KEPT = {
    "python",
    "cores",
    "memory_gigabytes",
    "disk_free_gigabytes",
    "cpu_level",
    "gpus",
    "workspace",
    "skill",
    "repository",
    "environments",
    "findings",
    "text",
}
"""Keys that version 0.1 had."""


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The command itself on this machine, which works: it trains."""
    workspace = tmp_path_factory.mktemp("workspace")
    command = [sys.executable, "-P", "-X", "importtime", SKILL / "scripts/doctor.py", "--workspace", workspace]
    variables = {key: value for key, value in os.environ.items() if key != "TTS_TRAIN_NO_SETUP"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    return {"code": done.returncode, "imported": imported, **json.loads(done.stdout)}


def test_no_false_alarm_on_this_machine(answer: dict[str, Any]) -> None:
    # An environment may be out of date while somebody works on the locks, or not be made: that is no fault.
    alarms = [row for row in answer["result"]["rows"] if row["state"] in ("problem", "warning")]

    assert answer["code"] == 0
    assert [row for row in alarms if not row["check"].startswith("environment ")] == []
    assert [row for row in alarms if row["state"] == "problem"] == []


def test_json_keeps_its_keys_and_every_row_is_whole(answer: dict[str, Any]) -> None:
    result = answer["result"]

    assert result.keys() >= KEPT
    assert len(result["rows"]) >= 20
    for row in result["rows"]:
        assert row.keys() == {"check", "state", "detail", "fix"}
        assert row["detail"]
        assert row["fix"] or row["state"] == "ok", row
    assert len({row["check"] for row in result["rows"]}) == len(result["rows"])
    assert all(row["check"] in result["text"] for row in result["rows"])


def test_it_loads_nothing_heavy(answer: dict[str, Any]) -> None:
    """On a CPU where NumPy ends with an illegal instruction, doctor must live to say so."""
    assert "psutil" in answer["imported"], "the trace shows no imports at all"
    assert answer["imported"] & HEAVY == set()


def problem(check: str, state: str = "problem") -> dict[str, str]:
    return {"check": check, "state": state, "detail": "it is broken", "fix": "mend it"}


@pytest.mark.parametrize(
    ("check", "kind"),
    [
        ("environment skill", EnvironmentMissing),
        ("packages project", EnvironmentMissing),
        ("disk workspace", DiskError),
        ("folder datasets", DiskError),
        ("database", DiskError),
        ("cpu", Unavailable),
        ("model xtts base", Unavailable),
        ("skill files", Unavailable),
    ],
)
def test_check_fails_by_the_first_problem_and_lists_all(check: str, kind: type[TtsTrainError]) -> None:
    rows = [problem("memory", "warning"), problem(check), problem("gpu")]

    with pytest.raises(kind) as raised:
        doctor.require_health({"rows": rows})

    assert check in raised.value.message
    assert raised.value.hint == "mend it"
    assert [part.message.partition(":")[0] for part in raised.value.problems] == [check, "gpu"]


def test_check_lets_warnings_and_optional_things_pass() -> None:
    doctor.require_health({"rows": [problem("memory", "warning"), problem("gpu", "absent-but-optional")]})


def test_check_on_the_command_line_has_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "datasets").write_text("a file where a folder belongs")
    command = [sys.executable, "-P", SKILL / "scripts/doctor.py", "--workspace", tmp_path]

    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    checked = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)

    assert plain.returncode == 0
    assert json.loads(plain.stdout)["result"]["findings"][0]["try"].startswith("move it away")
    assert checked.returncode == 74
    assert json.loads(checked.stdout)["error"]["kind"] == "disk"


def test_one_subject_that_cannot_be_looked_at_does_not_hide_the_others() -> None:
    def look() -> Any:
        yield Row("first", "ok", "fine")
        raise PermissionError(13, "Permission denied", "/secret")

    rows = list(doctor.looked_at("models", look))

    assert [(row.check, row.state) for row in rows] == [("first", "ok"), ("models", "problem")]
    assert "/secret" in rows[1].detail


def test_findings_are_problems_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = [Row("memory", "warning", "little", "more"), Row("cpu", "problem", "old", "new"), Row("gpu", "ok", "")]
    monkeypatch.setattr(doctor, "_rows", lambda *_: iter(rows))

    facts = doctor.examine(Workspace(tmp_path))

    assert facts["findings"] == [{"what": "cpu: old", "try": "new"}, {"what": "memory: little", "try": "more"}]
    assert "PROBLEM" in facts["text"]
    assert facts["text"].endswith("3 checks: 1 problem, 1 warning")
