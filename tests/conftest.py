"""Helper modules beside this file (toy.py, builders.py) import by name from any test folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
