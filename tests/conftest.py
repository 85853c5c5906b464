"""Helper modules beside this file (toy.py, builders.py) import by name from any test folder; signals are heard."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# A test run that was started with & in a script ignores SIGINT, under nohup SIGHUP. It still does, but what it starts
# must not: a handler does not outlive exec, SIG_IGN would.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
