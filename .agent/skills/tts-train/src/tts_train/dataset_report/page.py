"""report.html: a dataset as one page to look at and listen to.

The page is one file. It asks nothing of the network: a policy forbids it, and names the page's own style and script by
their hashes, so that nothing which somebody wrote into a manifest can become either. Clips are played from beside it,
or from inside.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from tts_train.dataset_report import charts
from tts_train.dataset_report.facts import OUTLIERS, facts_of
from tts_train.dataset_report.listing import listing
from tts_train.dataset_report.outliers import outliers
from tts_train.dataset_report.rows import read_dataset
from tts_train.dataset_report.sections import content
from tts_train.files import write_text
from tts_train.player import bundle

PAGE = "report.html"
_HERE = Path(__file__).parent


def write_page(folder: Path, *, output: Path | None = None, embed: bool = False) -> Path:
    """Write the page of a dataset (by default report.html in it) and return its path.

    The same files give the same bytes. With `embed` the audio is inside, as far as it fits (listing.EMBED_BYTES).
    Raises ConfigError for a damaged manifest, DiskError.
    """
    place = output or folder / PAGE
    data = read_dataset(folder)
    unlike = outliers(data.kept, OUTLIERS)
    made = listing(data, unlike, place.parent, embed=embed)
    parts = {
        "NAME": escape(folder.resolve().name),
        "STYLE_HASH": _hash(_style()),
        "SCRIPT_HASH": _hash(_script()),
        "STYLE": _style(),
        "PATTERNS": charts.PATTERNS,
        "CONTENT": content(data, facts_of(data, unlike), made.notes),
        "DATA": _safe(made.document),
        "AUDIO": "\n".join(
            f'<script type="text/plain" id="audio-{number}">{address}</script>'
            for number, address in enumerate(made.audio)
        ),
        "SCRIPT": _script(),
    }
    # Split, not replaced one after the other: what is filled in may hold a placeholder's name.
    pieces = (_HERE / "page.html").read_text(encoding="utf-8").split("%%")
    write_text(place, "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces)))
    return place


@cache
def _style() -> str:
    return (_HERE / "page.css").read_text(encoding="utf-8")


@cache
def _script() -> str:
    # A scope of its own: the names of classic scripts are the window's.
    return f"{{\n{bundle.script('dom')}\n{(_HERE / 'page.js').read_text(encoding='utf-8')}}}\n"


def _hash(text: str) -> str:
    """A source expression of a Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _safe(value: Any) -> str:
    """JSON that cannot end its script element, nor begin a comment in it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
