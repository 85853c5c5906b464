"""Developers: recompile locks/*.txt from pyproject.toml, keeping versions that still fit."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from tts_train import environments, installation, lockfiles


def main() -> None:
    parser = argparse.ArgumentParser("run.sh lock", description=__doc__)
    parser.add_argument("environments", nargs="*", metavar="ENV", help="which [default: all, and uv itself]")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    parser.error = environments.refuse
    try:
        options = parser.parse_args()
        names = options.environments or ["uv", *installation.recipes()]
        packages = {name: lockfiles.compile_lock(name, upgrade=options.upgrade) for name in names}
        answer, code = {"ok": True, "command": "lock", "result": {"packages": packages}}, 0
    except environments.LaunchError as error:
        answer, code = error.as_json(), error.exit_code
    print(json.dumps(answer))
    sys.exit(code)


if __name__ == "__main__":
    main()
