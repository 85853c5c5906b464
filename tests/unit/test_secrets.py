"""Canary tokens, planted in the environment and on command lines, are found nowhere afterwards."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from finished_run import CONSTANT, make_run, workspace_in
from tts_train.masking import MASK, MaskedBytes, MaskedStream, masked_text, masked_values
from tts_train.training.status import Status
from tts_train.work.background import control, record, submitting
from tts_train.workspace import Workspace, skill_root

CANARIES = {
    "HF_TOKEN": "hf_CanaryCanaryCanaryCanaryCanary01",
    "RUNPOD_API_KEY": "rpa_CANARYCANARYCANARYCANARYCANARYCANARY0002",
    "OPENAI_API_KEY": "sk-proj-CanaryCanaryCanaryCanary03",
    "WANDB_API_KEY": "c0ffee6789abcdefcanary0123456789decaf04",
    "MAIL_PASSWORD": "a canary with words 05",
    "AWS_SECRET_ACCESS_KEY": "Canary/Canary+Canary06",
}
ON_THE_LINE = "canary-of-the-command-line"
LEAKY = """
import json, logging, os, sys, time
logging.basicConfig()
for name in ("HF_TOKEN", "RUNPOD_API_KEY", "OPENAI_API_KEY", "WANDB_API_KEY", "MAIL_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
    value = os.environ[name]
    print("stdout", name, value)
    logging.warning("GET https://someone:%s@example.org Authorization: Bearer %s", value, value)
    os.write(1, value[:7].encode()); time.sleep(0.02); os.write(1, value[7:].encode() + b"\\r\\n")
print(sys.argv)
os.write(2, b"no line end " + os.environ["HF_TOKEN"].encode())
time.sleep(1.5)
print()
print(json.dumps({"ok": False, "command": "x", "error": {"kind": "internal", "message": "401 " + os.environ["HF_TOKEN"],
                  "hint": sys.argv[-1]}}))
sys.stdout.flush()
os.write(2, b"the end " + os.environ["HF_TOKEN"].encode())
sys.exit(1)
"""


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)


def found(text: str) -> list[str]:
    """Names of the canaries that a text holds, or parts of whose values it holds."""
    secrets = {**CANARIES, "the command line": ON_THE_LINE}
    return [name for name, value in secrets.items() if value in text or value[:12] in text or value[-12:] in text]


def shown_by_processes() -> str:
    """Every command line on this machine that is not this test's own leaky program, which was given one."""
    lines = []
    for process in psutil.process_iter(["cmdline"]):
        line = "\0".join(process.info["cmdline"] or ())
        lines += [line] if ON_THE_LINE not in line else []
    return "\n".join(lines)


@pytest.mark.usefixtures("planted")
def test_a_leaky_job_leaves_no_canary(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    on_end = [sys.executable, "-c", LEAKY, "-H", f"Authorization: Bearer {ON_THE_LINE}1234567890"]
    job = submitting.submit(
        workspace, ["x", "--api-token", ON_THE_LINE], program=[sys.executable, "-c", LEAKY], on_end=on_end
    )["id"]
    seen = []
    deadline = time.monotonic() + 30
    while record.find(workspace, job).read()["on_end"]["state"] not in ("done", "failed"):
        seen.append(shown_by_processes())
        assert time.monotonic() < deadline
        time.sleep(0.1)
    log = "\n".join(control.logs(workspace, job, lines=1000)["lines"])
    assert log.count("stdout") == 2 * len(CANARIES)
    assert "no line end ***" in log
    assert log.endswith("the end ***")
    assert "401 ***" in log
    assert found(log) == []
    assert found("\n".join(seen)) == []
    answer = record.find(workspace, job).read()["answer"]
    assert answer["error"] == {"kind": "internal", "message": "401 ***", "hint": MASK}
    assert found(json.dumps(control.list_jobs(workspace))) == []
    assert {path: names for path in tmp_path.rglob("*") if path.is_file() and (names := found(path.read_text()))} == {}


def commands(workspace: Workspace, run: str) -> dict[str, list[str]]:
    torn = workspace.root / f"{CANARIES['WANDB_API_KEY']}.yaml"
    torn.write_text(f"voice: {CANARIES['HF_TOKEN']}\nbackend: piper\n")
    return {
        "doctor": [],
        "report": [run],
        "status": [run],
        "jobs": ["list"],
        "config": ["check", str(torn)],
        "train-local": [str(torn)],
        "lineage": [],
        "session": ["show", CANARIES["RUNPOD_API_KEY"]],
        "verdict": [run, f"--{CANARIES['OPENAI_API_KEY']}"],
    }


def started(workspace: Path, name: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    script = str(skill_root() / f"scripts/{name.replace('-', '_')}.py")
    return subprocess.run(
        [sys.executable, "-P", script, *arguments],
        env={**os.environ, "TTS_TRAIN_WORKSPACE": str(workspace)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.usefixtures("planted")
def test_no_command_tells_a_canary(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    make_run(workspace, "demo", CONSTANT, epochs=2)
    given = commands(workspace, "demo")
    with ThreadPoolExecutor(2) as pool:
        ended = dict(zip(given, pool.map(lambda item: started(tmp_path, *item), given.items()), strict=True))
    for name, process in ended.items():
        assert isinstance(json.loads(process.stdout), dict)
        assert found(process.stdout + process.stderr) == [], name
    codes = {name: process.returncode for name, process in ended.items()}
    assert codes["doctor"] == codes["report"] == codes["status"] == codes["jobs"] == 0
    assert codes["train-local"] == codes["config"] == 78
    planted_by_us = tmp_path / f"{CANARIES['WANDB_API_KEY']}.yaml"
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != planted_by_us]
    assert len(files) > 10
    assert [path for path in files if found(path.read_bytes().decode(errors="replace"))] == []


@pytest.mark.usefixtures("planted")
def test_the_reason_of_a_failed_training_is_masked(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Status(tmp_path / "status.json"):
        raise RuntimeError(f"401 Client Error for token {CANARIES['HF_TOKEN']}")
    assert json.loads((tmp_path / "status.json").read_text())["reason"] == "401 Client Error for token ***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hf_abcdefghijklmnopqrstuvwxyzABCDEFGH", "***"),
        ("token=rpa_ABCDEFGHIJKLMNOPQRST;", "token=***;"),
        ("Authorization: Bearer abc.def-123456789012", "Authorization: Bearer ***"),
        ("bearer  of good news", "bearer  of good news"),
        ("the bearer responsibilities", "the bearer responsibilities"),
        ("https://ann:secret@host/path", "https://***@host/path"),
        ("https://host/path@v1", "https://host/path@v1"),
        ("ghp_0123456789abcdefghij", "***"),
        ("sk-ant-api03abcdefghijklmnopqrst", "***"),
        ("sk-learn and hf_hub_download, HF_HUB_OFFLINE, rpa_short", None),
        ("artifacts/tts/ann-qwen3/epochs/epoch-003/weights.safetensors", None),
        ("5f4dcc3b5aa765d61d8327deb882cf99" * 2, None),
    ],
)
def test_what_looks_like_a_token(text: str, shown: str | None) -> None:
    assert masked_text(text) == (text if shown is None else shown)


def test_values_of_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "nothing-special")
    monkeypatch.setenv("LONGER_TOKEN", "nothing-special-at-all")
    monkeypatch.setenv("SSH_KEY", "/home/ann/.ssh/id")
    monkeypatch.setenv("SHORT_KEY", "yes")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "falsefalse")
    text = "nothing-special-at-all, nothing-special, /home/ann/.ssh/id, yes, falsefalse"
    assert masked_text(text) == "***, ***, /home/ann/.ssh/id, yes, falsefalse"
    value: dict[str, Any] = {"nothing-special": ["a nothing-special b", 3, None, True, {"x": ("nothing-special",)}]}
    assert masked_values(value) == {"nothing-special": ["a *** b", 3, None, True, {"x": ["***"]}]}


def test_a_stream_is_masked_over_the_borders_of_its_pieces() -> None:
    secret = b"hf_abcdefghijklmnopqrstuvwxyz"
    whole = b"10 %\r20 %\r" + b"a " + secret + b" \xff\xc3\xa9\n" + secret
    for size in range(1, len(whole)):
        masking = MaskedBytes()
        out = b"".join(masking.feed(whole[at : at + size]) for at in range(0, len(whole), size))
        assert out + masking.rest() == b"10 %\r20 %\ra *** \xff\xc3\xa9\n***", size
    endless = MaskedBytes()
    assert len(endless.feed(b"x" * 200_000)) == 200_000


def test_a_masked_stream_is_otherwise_the_stream() -> None:
    inner = io.StringIO()
    stream: Any = MaskedStream(inner)
    assert stream.write("hf_abcdefghijklmnopqrstuvwxyz\n") == 30
    stream.writelines(["a", "hf_abcdefghijklmnopqrstuvwxyz"])
    stream.flush()
    assert inner.getvalue() == "***\na***"
    assert stream.isatty() is False
