"""Whether this copy of the skill is whole: its front matter, and every file that its table and its page name."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tts_train.work.checkups.row import Row, listed

COPY_AGAIN = "copy the whole skill folder again"
LONGEST_NAME, LONGEST_DESCRIPTION = 64, 1024
"""Characters, by the specification of agent skills."""
_NAME = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*$")
_TABLE = re.compile(r"^table='\n(.*?)\n'$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(((?:references|assets|scripts)/[^)#]+)")


def rows(skill: Path) -> Iterator[Row]:
    """One row for the front matter, one for the files."""
    yield _front_matter(skill)
    yield _files(skill)


def _front_matter(skill: Path) -> Row:
    page = skill / "SKILL.md"
    try:
        text = page.read_text(encoding="utf-8")
        front = _parsed(text)
    except (OSError, UnicodeError) as error:
        return Row("skill", "problem", f"{page} cannot be read: {error}", COPY_AGAIN)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 2}" if where else ""
        return Row("skill", "problem", f"the front matter of {page} is no YAML{line}", COPY_AGAIN)
    wrong = _front_problems(front)
    if wrong:
        return Row("skill", "problem", f"{page}: {'; '.join(wrong)}", COPY_AGAIN)
    if front["name"] != skill.name:
        detail = f"the skill is called {front['name']} and its folder {skill.name}: agents look for it by its name"
        return Row("skill", "warning", detail, shlex.join(["mv", str(skill), str(skill.parent / front["name"])]))
    return Row("skill", "ok", f"SKILL.md has its front matter; {skill}")


def _parsed(text: str) -> Any:
    lines = text.splitlines()
    if not lines or lines[0] != "---" or "---" not in lines[1:]:
        return None
    return yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)]))


def _front_problems(front: Any) -> list[str]:
    if not isinstance(front, dict):
        return ["it has no front matter"]
    name, description = front.get("name"), front.get("description")
    wrong = []
    if not isinstance(name, str) or not _NAME.match(name) or len(name) > LONGEST_NAME:
        wrong.append("`name` is missing, or not lower-case words joined by '-'")
    if not isinstance(description, str) or not 0 < len(description) <= LONGEST_DESCRIPTION:
        wrong.append(f"`description` is missing, or longer than {LONGEST_DESCRIPTION} characters")
    return wrong


def _files(skill: Path) -> Row:
    missing = [str(path.relative_to(skill)) for path in _named(skill) if not path.is_file()]
    if missing:
        return Row("skill files", "problem", f"{skill} lacks {listed(missing)}", COPY_AGAIN)
    run = skill / "run.sh"
    commands = _commands(run)
    if not commands:
        return Row("skill files", "problem", f"{run} has no table of commands", COPY_AGAIN)
    if not os.access(run, os.X_OK):
        return Row("skill files", "problem", f"{run} is not executable", shlex.join(["chmod", "+x", str(run)]))
    return Row("skill files", "ok", f"{len(commands)} commands, each with its script")


def _named(skill: Path) -> Iterator[Path]:
    """Every file that something in the skill names."""
    run, page = skill / "run.sh", skill / "SKILL.md"
    yield from (run, page, skill / "pyproject.toml")
    for command, environment in _commands(run).items():
        yield skill / "scripts" / f"{command.replace('-', '_')}.py"
        if environment != "none":
            yield skill / "locks" / f"{environment}.txt"
    links = _LINK.findall(page.read_text(encoding="utf-8", errors="replace")) if page.is_file() else []
    yield from (skill / link for link in dict.fromkeys(links))


def _commands(run: Path) -> dict[str, str]:
    """Command → environment, as run.sh reads its own table."""
    try:
        table = _TABLE.search(run.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return {}
    rows = [line.split() for line in table[1].splitlines()] if table else []
    return {row[0]: row[1] for row in rows if len(row) >= 2}
