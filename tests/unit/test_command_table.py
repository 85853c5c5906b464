"""The table of run.sh, the scripts and the documents name the same commands; every command's help is light."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_skill import ROOT, SKILL
from tts_train import environments, installation

HEAVY = {
    "TTS",
    "av",
    "faster_whisper",
    "librosa",
    "numpy",
    "onnx",
    "onnxruntime",
    "parselmouth",
    "piper",
    "pocketsphinx",
    "resemblyzer",
    "scipy",
    "soundfile",
    "streamlit",
    "torch",
    "torchaudio",
    "transformers",
    "whisperx",
}


def table() -> dict[str, str]:
    """command → environment, as run.sh reads it."""
    text = (SKILL / "run.sh").read_text().partition("table='\n")[2].partition("\n'\n")[0]
    return {line.split()[0]: line.split()[1] for line in text.splitlines() if line}


COMMANDS = table()
DOCUMENTS = [path for path in (SKILL / "SKILL.md", ROOT / "README.md", *SKILL.glob("references/*.md")) if path.exists()]


def script(command: str) -> Path:
    return SKILL / "scripts" / f"{command.replace('-', '_')}.py"


def test_every_command_has_a_script_and_every_script_a_command() -> None:
    assert {script(command) for command in COMMANDS} == set(SKILL.glob("scripts/*.py"))


def test_every_environment_of_the_table_exists() -> None:
    assert set(COMMANDS.values()) - {"none"} <= set(installation.recipes())


def test_scripts_are_thin() -> None:
    long = {path.name: len(path.read_text().splitlines()) for path in SKILL.glob("scripts/*.py")}

    assert {name: lines for name, lines in long.items() if lines > 60} == {}


def test_every_command_is_named_in_the_documents() -> None:
    text = "\n".join(path.read_text() for path in DOCUMENTS)

    assert [command for command in COMMANDS if not re.search(rf"\b{command}\b", text)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_no_command_that_is_not_there(document: Path) -> None:
    named = set(re.findall(r"run\.sh ([a-z][a-z0-9-]+)", document.read_text()))

    assert named - COMMANDS.keys() - {"help"} == set()


CPU_SECONDS = 0.5


def measured_help(command: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """`run.sh COMMAND --help` and the CPU seconds it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    plain = subprocess.run([ROOT / "run.sh", command, "--help"], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return plain, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_light_and_fast(command: str) -> None:
    """Through run.sh: exit 0, on stdout, under 0.5 s of CPU, and without any model library (or a warning)."""
    name = COMMANDS[command]
    if name != "none" and not environments.is_usable(name):
        pytest.skip(f"the {name} environment is not set up")
    plain, cpu = measured_help(command)
    if cpu >= CPU_SECONDS:  # a busy machine adds to CPU time as well; the command itself does so every time
        plain, cpu = min((measured_help(command) for _ in range(3)), key=lambda pair: pair[1])
    # By variable and not as -X importtime: a script may exec another Python.
    variables = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    python = environments.interpreter(name) if name != "none" else sys.executable
    traced = subprocess.run(
        [python, "-P", script(command), "--help"], capture_output=True, text=True, env=variables, check=False
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in traced.stderr.splitlines() if "|" in line}

    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.lower().startswith("usage:")
    assert plain.stderr == ""
    assert imported & HEAVY == set()
    assert "json" in imported, "the trace shows no imports at all"
    assert cpu < CPU_SECONDS
