"""What runs on the rented machine, by its own python3 and nothing else: files in and out, programs with an environment.

Its text goes along with every command (`python3 -I -c …`), so nothing has to be installed there first. The first line
of stdin is the order, a JSON object; secrets of the job's environment travel there, not on a command line that
others can list. `root` is relative to the home folder unless absolute.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tarfile
from typing import Any


def files(order: dict[str, Any]) -> None:
    """Size and time of every file below `under`, whole ones only."""
    found = {}
    for under in order["under"]:
        for place, folders, names in os.walk(under):
            folders[:] = [name for name in folders if not name.startswith(".tmp-")]
            for name in names:
                path = os.path.join(place, name)
                with contextlib.suppress(FileNotFoundError):  # replaced while we look
                    facts = os.lstat(path)
                    if not name.startswith(".tmp-") and os.path.isfile(path) and not os.path.islink(path):
                        found[path] = [facts.st_size, int(facts.st_mtime)]
    json.dump(found, sys.stdout)


def put(_order: dict[str, Any]) -> None:
    """Files from a tar on stdin, each of them whole or not there."""
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        for member in archive:
            source = archive.extractfile(member) if member.isreg() else None
            if source is None or member.name.startswith("/") or ".." in member.name.split("/"):
                raise SystemExit("not a plain file: " + member.name)
            folder = os.path.dirname(member.name)
            os.makedirs(folder or ".", exist_ok=True)
            temporary = os.path.join(folder, ".tmp-" + os.path.basename(member.name))
            with open(temporary, "wb") as file:
                while block := source.read(1 << 20):
                    file.write(block)
            os.chmod(temporary, 0o755 if member.mode & 0o100 else 0o644)
            os.utime(temporary, (member.mtime, member.mtime))
            os.replace(temporary, member.name)


def get(order: dict[str, Any]) -> None:
    """A tar of `names` on stdout; one that is gone by now is left out."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name in order["names"]:
            # What is open stays whole when its name is given to a newer one.
            with contextlib.suppress(FileNotFoundError), open(name, "rb") as file:
                archive.addfile(archive.gettarinfo(arcname=name, fileobj=file), file)


def run(order: dict[str, Any]) -> None:
    """Become a program, with `environment` added; what is set there already wins over `defaults`."""
    os.environ.update(order["environment"])
    for name, value in order["defaults"].items():
        os.environ.setdefault(name, os.path.expanduser(value))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    argv = order["argv"]
    os.execvp(argv[0], argv)


def main() -> None:
    order = json.loads(sys.stdin.buffer.readline())
    root = os.path.join(os.path.expanduser("~"), order["root"])
    os.makedirs(root, exist_ok=True)
    os.chdir(root)
    {"files": files, "put": put, "get": get, "run": run}[sys.argv[1]](order)


if __name__ == "__main__":
    main()
