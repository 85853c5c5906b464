"""The codec of Qwen3-TTS (Qwen3-TTS-Tokenizer-12Hz): audio to 12.5 frames a second of 16 codes.

Heavy imports are inside `load_codec`: finding and hashing a codec is part of dry runs and of runs with nothing to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tts_train.backends import hub
from tts_train.backends.qwen3.codes import CODEBOOK, GROUPS
from tts_train.errors import InputUnusable, Unavailable
from tts_train.files import read_json, sha256_file, sha256_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "Qwen/Qwen3-TTS-Tokenizer-12Hz"
RATE = 24000
SAMPLES_PER_FRAME = 1920
FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
_MODEL_TYPE = "qwen3_tts_tokenizer_12hz"
_INSIDE = "speech_tokenizer"


@dataclass(frozen=True)
class Codec:
    """A loaded codec. Its weights are float32 whatever a checkpoint says: in bfloat16 4 % of the codes differ."""

    folder: Path
    sha256: str
    tokenizer: Any

    def encode(self, samples: NDArray[np.float32]) -> NDArray[np.int16]:
        """Codes (ceil(samples / 1920), 16) of one clip at 24 kHz, shape (n,), encoded alone.

        Alone, because right padding changes the last frame: in batches of 8 it differs in 51 of 64 clips. Padding each
        clip to whole frames makes batches exact among themselves (64 of 64), but 58 of 64 last frames are then not what
        the codec gives for the clip itself; batches would save a quarter of the time on a CPU (64 clips of 1 to 15 s,
        tiny codec).
        Raises InputUnusable for no samples and for samples that are not finite (stock answers those with zeros).
        """
        if not len(samples) or not np.isfinite(samples).all():
            raise InputUnusable("there are no samples, or some are not finite", hint="write the audio again as PCM")
        codes: NDArray[np.int16] = self.tokenizer.encode([samples], sr=RATE).audio_codes[0].cpu().numpy()
        frames = -(-len(samples) // SAMPLES_PER_FRAME)
        if codes.shape != (frames, GROUPS) or codes.min() < 0 or codes.max() >= CODEBOOK:
            raise Unavailable(
                f"the codec of {self.folder} gave {codes.shape} for {frames} frames, or codes over {CODEBOOK - 1}",
                hint=f"--tokenizer {NAME}",
            )
        return codes.astype(np.int16)


def find_codec(name: str, *, download: bool = True) -> Path:
    """The folder of a codec: a local one, `speech_tokenizer/` in a model's folder, or a name on the hub.

    HF_HOME and HF_HUB_OFFLINE hold. `download` False looks on this machine only. Raises Unavailable saying what is
    missing and how to get it.
    """
    folder = Path(name)
    if folder.is_dir():
        return _whole(folder)
    if not hub.is_id(name):
        raise Unavailable(f"{name} is not a folder", hint=f"--tokenizer FOLDER or a name such as {NAME}")
    return _whole(_from_hub(name, download))


def codec_sha256(folder: Path) -> str:
    """Names what the codec does: its weights and settings."""
    return sha256_json({name: sha256_file(folder / name) for name in FILES})


def load_codec(name: str | Path, device: str = "cpu") -> Codec:
    """Load a codec for encoding on `device` ("cpu" or "cuda"); torch runs on one thread from then on.

    One thread, because conversion runs one process per core. Raises Unavailable when the codec, its package or a GPU is
    missing.
    """
    folder = find_codec(str(name))
    try:
        import torch
        from qwen_tts import Qwen3TTSTokenizer
    except ImportError as error:
        raise Unavailable(f"qwen_tts cannot be imported: {error}", hint="run.sh setup project") from error

    torch.set_num_threads(1)
    if device == "cuda" and not torch.cuda.is_available():
        raise Unavailable("there is no CUDA device here", hint="--device cpu")
    # Tensor cores round to 10 bits by default in convolutions, and codes are decided by nearest neighbours.
    torch.backends.cudnn.allow_tf32 = False
    try:
        tokenizer = Qwen3TTSTokenizer.from_pretrained(str(folder), dtype=torch.float32, device_map=device)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise Unavailable(f"the codec of {folder} cannot be loaded: {error}", hint="download it again") from error
    tokenizer.model.eval()
    del tokenizer.model.decoder  # two thirds of the memory, and nothing is decoded here
    return Codec(folder, codec_sha256(folder), tokenizer)


def _whole(folder: Path) -> Path:
    inside = folder / _INSIDE
    place = inside if inside.is_dir() else folder
    missing = [name for name in FILES if not (place / name).is_file()]
    if missing:
        raise Unavailable(
            f"{place} is no codec: it lacks {', '.join(missing)}",
            hint=f"a codec has {', '.join(FILES)}; a model's folder has them in {_INSIDE}/",
        )
    kind = read_json(place / "config.json").get("model_type")
    if kind != _MODEL_TYPE:
        raise Unavailable(f"{place} is a '{kind}', not a {_MODEL_TYPE}", hint=f"--tokenizer {NAME}")
    return place.resolve()


def _from_hub(name: str, download: bool) -> Path:
    cached, reason = hub.snapshot(name), "nothing is downloaded for a dry run"
    if cached is not None and any(all((cached / place / file).exists() for file in FILES) for place in ("", _INSIDE)):
        return cached
    if download:
        try:
            return hub.download(name, [*FILES, *(f"{_INSIDE}/{file}" for file in FILES)])
        except Unavailable as error:
            reason = error.message
    raise Unavailable(
        f"the codec {name} is not on this machine ({reason})",
        hint=f"where there is a network: hf download {name}; or --tokenizer FOLDER",
    )
