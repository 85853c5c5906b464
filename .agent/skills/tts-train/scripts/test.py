"""Developers: run the test tiers of the repository around this skill."""

import json
import os
import sys
from pathlib import Path

RUNNER = Path(__file__).resolve().parents[4] / "tests" / "run_tiers.py"


def main() -> None:
    if RUNNER.is_file():
        os.execv(sys.executable, [sys.executable, "-I", str(RUNNER), *sys.argv[1:]])
    message = "this copy of the skill has no tests: they are in the repository it came from"
    print(json.dumps({"ok": False, "error": {"kind": "usage", "message": message, "hint": "clone the repository"}}))
    sys.exit(2)


if __name__ == "__main__":
    main()
