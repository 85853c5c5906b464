"""align: where each word of a dataset is spoken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.engine.commandline import engine_options_of_command
from tts_train.errors import UsageError
from tts_train.output import run_command


@click.command("align")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.argument("dataset", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option(
    "--aligner",
    type=click.Choice(["auto", "pocketsphinx", "whisperx"]),
    default="auto",
    show_default=True,
    help="auto: whisperx when --model is given, else pocketsphinx (English, offline).",
)
@click.option("--model", help="wav2vec2 CTC model for whisperx: folder or name.")
@engine_options_of_command
@click.option(
    "--max-rejected", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of the seconds."
)
@click.option("--dry-run", is_flag=True, help="Say what there is to do and which aligner would do it.")
def main(manifest: Path, out: Path | None, dataset: Path | None, **given: Any) -> dict[str, Any]:
    """Find each word of MANIFEST in its clip; writes OUT [default: train_aligned.jsonl beside it].

    MANIFEST may be the dataset's folder; DATASET is that folder too, and naming it is optional. Clips whose text does
    not fit their audio go to rejections.jsonl. Numbers are aligned as words; the text itself stays as it is.

    \b
    Example: run.sh align datasets/ann --jobs 2
             run.sh align datasets/ann/train_manifest.jsonl --model models/wav2vec2-de
    Exit codes: 0 done · 2 usage · 65 too much rejected (all is kept) · 69 no aligner for it · 75 busy · 78 manifest
    """
    from tts_train.align import align_manifest
    from tts_train.dataset_report import write_page

    home = manifest if manifest.is_dir() else manifest.parent
    if dataset is not None and dataset.resolve() != home.resolve():
        raise UsageError(f"{manifest} is not in {dataset}", hint="DATASET is the manifest's own folder; leave it out")
    result = align_manifest(manifest, out, **given)
    if not given["dry_run"]:
        result["report"] = str(write_page(home))
    return result


if __name__ == "__main__":
    run_command(main)
