"""Files of weights that are pickles: what reading one would call is looked up before any library reads it.

Not the only lock on the door. Every program that run.sh starts makes torch.load read plain weights only, whatever a
library asks for (environments.py). This gate needs no torch: it refuses a file in seconds, before anything starts,
and says why. It goes by what files of weights need, not by a list of what is known to be harmful.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from tts_train.errors import InputUnusable, Problem
from tts_train.files import sha256_file
from tts_train.workspace import asset

SUFFIXES = (".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth", ".tar")
KNOWN = "known-pickles.json"
"""Files that call more than weights need and are harmless all the same, by their SHA-256; each says why."""
_OF_WEIGHTS = re.compile(
    r"_codecs\.encode|(builtins|__builtin__)\.(bytearray|complex|set)|collections\.(Counter|OrderedDict)"
    r"|torch\.(Size|device|serialization\._get_layout|_tensor\._rebuild_from_type_v2|nn\.parameter\.Parameter)"
    r"|torch\._utils\._rebuild_\w+|torch(\.cuda|\.sparse|\.cuda\.sparse|\.storage)?\.\w*(Storage|Tensor)"
    r"|torch\.(bool|bfloat16|bits\d\w*|complex\d+|float\d\w*|u?int\d+|per_(channel|tensor)_\w+|qu?int\d\w*)"
)
"""What torch itself accepts in a file of weights; a test holds it to torch's own list."""


def require_harmless(files: Iterable[Path], also: Collection[str] = ()) -> None:
    """Raise InputUnusable, naming each file that would call what no file of weights needs or cannot be looked through.

    `also`: module.name of what the reader does not call but replaces. Costs milliseconds: of an archive only the
    pickle in it is read, not the numbers.
    """
    problems = [problem for file in files for problem in _problems(file, also)]
    if problems:
        more = f" ({len(problems)} such files)" if len(problems) > 1 else ""
        raise InputUnusable(
            f"{problems[0].file} {problems[0].message}{more}",
            hint="a file of weights runs no code; take it from where the model was published, as safetensors if it can",
            problems=problems,
        )


def pickles_in(folder: Path) -> list[Path]:
    """Files directly in `folder` that libraries would read as pickles, by their names."""
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())


def calls(file: Path) -> list[str]:
    """module.name of everything that reading `file` would call and no file of weights needs.

    Raises ValueError for what cannot be looked through.
    """
    from picklescan.scanner import SafetyLevel, scan_file_path

    logging.getLogger("picklescan").disabled = True  # it tells everything twice
    if not file.stat().st_size:
        raise ValueError("it is empty")
    try:
        found = scan_file_path(str(file))
    except Exception as error:  # of its zip reader, of pickletools, of its own
        raise ValueError(str(error) or type(error).__name__) from error
    names = {f"{item.module}.{item.name}" for item in found.globals if item.safety is not SafetyLevel.Innocuous}
    return sorted(name for name in names if not _OF_WEIGHTS.fullmatch(name))


def _problems(file: Path, also: Collection[str]) -> Iterator[Problem]:
    try:
        wrong = [name for name in calls(file) if name not in also]
    except ValueError as error:
        yield Problem(f"is damaged, or no file of weights: {error}", str(file))
        return
    if wrong and sha256_file(file) not in _known():
        yield Problem(f"is refused: reading it would call {', '.join(wrong[:5])}", str(file))


@functools.cache
def _known() -> frozenset[str]:
    return frozenset(json.loads(asset(KNOWN).read_text(encoding="utf-8"))["files"])
