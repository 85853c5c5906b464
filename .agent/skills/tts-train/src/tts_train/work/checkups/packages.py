"""What is installed in an environment, read off its site-packages. Nothing of it is imported: it may be broken."""

from __future__ import annotations

import ast
import csv
import operator
import platform
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train import environments

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)\s*(?:;\s*([^\\]+?))?\s*\\?$", re.MULTILINE)


@dataclass(frozen=True)
class Pin:
    """One line of a lock file. `marker`: for which machines it is, "" for all."""

    name: str
    version: str
    marker: str


def site_packages(environment: Path) -> Path | None:
    """The folder of an environment's packages."""
    return next(iter(sorted(environment.glob("lib/python3*/site-packages"))), None)


def installed(site: Path) -> dict[str, list[str]]:
    """Package → its versions. More than one: two programs installed over each other."""
    found: dict[str, list[str]] = {}
    for folder in sorted(site.glob("*.dist-info")):
        name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
        found.setdefault(normalised(name), []).append(version)
    return found


def pins(lock_text: str) -> list[Pin]:
    """Every package that a lock file names."""
    return [Pin(normalised(name), version, marker) for name, version, marker in _PIN.findall(lock_text)]


def is_wanted(pin: Pin, python_version: str) -> bool | None:
    """Whether a pin is for this machine and a Python of that version; None: its marker asks for something unknown."""
    if not pin.marker:
        return True
    try:
        return bool(_value(ast.parse(pin.marker, mode="eval").body, _this_machine(python_version)))
    except (KeyError, SyntaxError, TypeError, ValueError):
        return None


def damaged(site: Path) -> list[str]:
    """Files that their packages' records name and that are gone or of another size; relative to `site`."""
    without = [f"{folder.name}/RECORD" for folder in site.glob("*.dist-info") if not (folder / "RECORD").is_file()]
    return [*without, *(name for name, size in recorded(site) if _size(site / name) != size)]


def recorded(site: Path, package: str = "*") -> Iterator[tuple[str, int]]:
    """(path relative to `site`, bytes) of every file that a package's RECORD gives a size for.

    A record that cannot be read stands for itself, with a size that no file has.
    """
    for record in sorted(site.glob(f"{package}-*.dist-info/RECORD")):
        try:
            with record.open(newline="", encoding="utf-8") as lines:
                rows = list(csv.reader(lines))
        except (OSError, UnicodeError, csv.Error):
            yield str(record.relative_to(site)), -1
            continue
        yield from ((row[0], int(row[2])) for row in rows if len(row) == 3 and row[2].isdigit())


def set_up_again(name: str, option: str = "") -> str:
    """The command that makes an environment anew. The stamp goes first: a set-up that finds it right does nothing."""
    stamp = environments.root() / name / environments.STAMP
    return f"rm -f {shlex.quote(str(stamp))} && run.sh setup {name}{option and f' {option}'}"


def normalised(package: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _this_machine(python_version: str) -> dict[str, str]:
    return {
        "implementation_name": sys.implementation.name,
        "os_name": "nt" if sys.platform == "win32" else "posix",
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_system": platform.system(),
        "python_full_version": python_version,
        "python_version": ".".join(python_version.split(".")[:2]),
        "sys_platform": sys.platform,
    }


def _value(node: ast.expr, names: Mapping[str, str]) -> Any:
    """A marker is written like a Python expression of names, strings, comparisons, `and` and `or`."""
    if isinstance(node, ast.BoolOp):
        values = [bool(_value(part, names)) for part in node.values]
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Constant):
        return node.value
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        raise ValueError(f"no marker: {ast.dump(node)}")
    left, right = _value(node.left, names), _value(node.comparators[0], names)
    kind = type(node.ops[0])
    if kind in (ast.In, ast.NotIn):
        return (left in right) == (kind is ast.In)
    if any(isinstance(part, ast.Name) and part.id.startswith("python_") for part in (node.left, node.comparators[0])):
        left, right = _numbers(left), _numbers(right)
    return _COMPARE[kind](left, right)


def _numbers(version: str) -> tuple[int, ...]:
    """3.13 and 3.13.0 are the same version."""
    numbers = [int(part) for part in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
