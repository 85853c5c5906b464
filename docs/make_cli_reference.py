"""Write docs/cli-reference.md from run.sh's table and the --help of every command.

    .agent/skills/tts-train/.envs/dev/bin/python docs/make_cli_reference.py           # --check: only compare

Help needs nothing but the core's packages, so one Python runs all commands whatever environment they work in.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SKILL = ROOT / ".agent" / "skills" / "tts-train"
PAGE = ROOT / "docs" / "cli-reference.md"

INTRODUCTION = """\
# Command reference

<!-- Made by docs/make_cli_reference.py from --help; do not edit. -->

Every command is `./run.sh COMMAND` in the repository, or `run.sh COMMAND` of the skill's folder. Each prints one JSON
object on stdout and its progress on stderr; `--human` prints text for people instead. The environment in brackets is
where the command starts; it is set up on first use.

"""


def commands() -> list[tuple[str, str, str]]:
    """(command, environment, summary) of each row of run.sh's table."""
    table = (SKILL / "run.sh").read_text(encoding="utf-8").split("table='\n", 1)[1].split("\n'\n", 1)[0]
    rows = (line.split(None, 2) for line in table.splitlines())
    return [(command, environment, summary) for command, environment, summary in rows]


def help_of(command: str, *subcommand: str) -> str:
    """What `run.sh COMMAND [SUBCOMMAND] --help` prints, 100 columns wide. Raises SystemExit when it fails."""
    script = SKILL / "scripts" / f"{command.replace('-', '_')}.py"
    variables = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONPATH": str(SKILL / "src")}
    answer = subprocess.run(
        [sys.executable, "-P", str(script), *subcommand, "--help"],
        capture_output=True,
        text=True,
        check=False,
        env=variables,
        cwd=ROOT,
    )
    if answer.returncode:
        raise SystemExit(f"{command} {' '.join(subcommand)} --help failed:\n{answer.stderr}")
    return "\n".join(line.rstrip() for line in answer.stdout.strip().splitlines())


def subcommands(text: str) -> list[str]:
    """Names listed under "Commands:" in a group's help."""
    _, found, listed = text.partition("\nCommands:\n")
    return re.findall(r"^  (\S+)", listed, flags=re.MULTILINE) if found else []


def sections() -> Iterator[str]:
    for command, environment, summary in commands():
        text = help_of(command)
        texts = [text, *(help_of(command, name) for name in subcommands(text))]
        blocks = "\n".join(f"```text\n{block}\n```\n" for block in texts)
        yield f"## {command}\n\n{summary[0].upper()}{summary[1:]}. [{environment}]\n\n{blocks}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/cli-reference.md from the commands' --help.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 when the page is out of date")
    options = parser.parse_args()
    page = INTRODUCTION + "\n".join(sections())
    if not options.check:
        PAGE.write_text(page, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page:
        raise SystemExit("docs/cli-reference.md is out of date: run docs/make_cli_reference.py")


if __name__ == "__main__":
    main()
