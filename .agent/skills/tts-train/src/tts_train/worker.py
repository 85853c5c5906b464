"""Entry of a worker: `worker.py COMMAND MODULE:FUNCTION`, JSON arguments on stdin, one JSON object on stdout."""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

from tts_train.masking import masked_values
from tts_train.output import answer_of, guarded_stdout


def main() -> None:
    command, target = sys.argv[1:3]
    module, _, name = target.partition(":")
    if not module.startswith("tts_train."):
        raise SystemExit(f"worker.py runs functions of tts_train only, not {target}")
    arguments: dict[str, Any] = json.loads(sys.stdin.read())
    with guarded_stdout() as stdout:
        answer, code = answer_of(command, lambda: getattr(importlib.import_module(module), name)(**arguments))
        stdout.write(json.dumps(masked_values(answer), ensure_ascii=False) + "\n")
    if command.startswith("rank-"):
        # gloo's threads may still run: on the way out of Python they abort the process now and then.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
