"""What only some work needs: espeak-ng's phonemes for Piper voices, Chromium for the dashboard's browser tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from tts_train import environments
from tts_train.work.checkups import packages
from tts_train.work.checkups.row import Row


def rows() -> Iterator[Row]:
    """One row each."""
    yield _espeak()
    yield _chromium()


def _espeak() -> Row:
    site = packages.site_packages(environments.root() / "skill")
    if site is None or not environments.is_usable("skill"):
        return Row("espeak", "absent-but-optional", "comes with the skill environment", "run.sh setup skill")
    if not environments.chosen_gpl("skill"):
        detail = "left out by --no-gpl: Piper voices neither train nor speak"
        return Row("espeak", "absent-but-optional", detail, "run.sh setup skill --gpl")
    absent = [
        pattern for pattern in ("espeakbridge*.so", "espeak-ng-data/phontab") if not any((site / "piper").glob(pattern))
    ]
    if absent:
        detail = f"{site / 'piper'} lacks {' and '.join(absent)}: Piper voices neither train nor speak"
        return Row("espeak", "problem", detail, packages.set_up_again("skill", "--gpl"))
    return Row("espeak", "ok", "espeak-ng's phonemes, in piper-tts (GPL)")


def _chromium() -> Row:
    program = os.environ.get("TTS_TRAIN_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program:
        return Row("chromium", "ok", f"{program}; only for tests of the dashboard")
    fix = "apt-get install -y --no-install-recommends chromium, or set TTS_TRAIN_CHROMIUM"
    return Row("chromium", "absent-but-optional", "not there; only tests of the dashboard need it", fix)
