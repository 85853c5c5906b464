"""convert-qwen3: clips to codes of Qwen3-TTS's codec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tts_train.engine.commandline import ENGINE
from tts_train.output import run_command

CODEC = "Qwen/Qwen3-TTS-Tokenizer-12Hz"


@click.command("convert-qwen3")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--tokenizer", default=CODEC, show_default=True, help="Codec: its folder, a model's folder, a hub name.")
@click.option("--ref", type=click.Path(path_type=Path, dir_okay=False), help="Reference recording of the one speaker.")
@click.option("--speaker", metavar="NAME", help="Convert this speaker only  [default: all, one reference each]")
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes  [default: one per core, on Ray per CPU]")
@ENGINE
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Where to encode.")
@click.option(
    "--max-rejected", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of the seconds."
)
@click.option("--dry-run", is_flag=True, help="Say what is left to do, what it costs and how that is known.")
def main(source: Path, out: Path | None, **given: Any) -> dict[str, Any]:
    """Encode the clips of IN, a manifest or its dataset's folder, into OUT, the official Qwen3-TTS JSONL.

    OUT is train_manifest_qwen3.jsonl beside the manifest unless named. In a folder train_aligned.jsonl is taken before
    train_manifest.jsonl. Every clip is encoded alone, so its codes depend on its audio and the codec only, and a second
    run converts only what is new. Bad audio is listed with its reason in rejections_qwen3.jsonl. Without --ref a clip
    is chosen as the reference: 4 to 12 s, clean, and nearest to the centre of the voice.

    \b
    Example: run.sh convert-qwen3 datasets/ann
             run.sh convert-qwen3 datasets/ann/train_aligned.jsonl --ref ann.wav --tokenizer models/Qwen3-TTS-0.6B
    Exit codes: 0 done · 2 usage · 65 no clip or reference left, or too much rejected (all is kept) · 69 no codec ·
                74 disk · 75 busy · 78 manifest · 143 stopped (finished clips stay)
    """
    from tts_train.backends.qwen3.convert import convert

    return convert(source, out, **given)


if __name__ == "__main__":
    run_command(main)
