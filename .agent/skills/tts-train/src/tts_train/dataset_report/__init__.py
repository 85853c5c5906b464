"""What a dataset folder holds, told from its files alone: facts, markdown, and a page to look at."""

from __future__ import annotations

from tts_train.dataset_report.batch import write_batch_state
from tts_train.dataset_report.facts import dataset_facts
from tts_train.dataset_report.page import write_page

__all__ = ["dataset_facts", "write_batch_state", "write_page"]
