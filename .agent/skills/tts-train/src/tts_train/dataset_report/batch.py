"""`.batch_state.json`: a dataset's counts for the batch-report skill."""

from __future__ import annotations

from pathlib import Path

from tts_train.dataset_report.facts import dataset_facts
from tts_train.files import write_json

BATCH_STATE = ".batch_state.json"


def write_batch_state(folder: Path) -> Path:
    """Write it into the dataset's folder. Raises DiskError when the folder cannot be written to."""
    facts = dataset_facts(folder)
    rejected = sum(facts["rejected"].values())
    state = {
        "name": f"tts-dataset {folder.name}",
        "description": "TTS dataset build summary",
        "total": facts["clips"] + rejected,
        "successful": facts["clips"],
        "failed": rejected,
    }
    write_json(folder / BATCH_STATE, state)
    return folder / BATCH_STATE
