"""The base model: where it is, whether it is whole, and what it is. Loads no model library."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tts_train.backends import hub
from tts_train.backends.licences import Licence, PackedBase, licence_files
from tts_train.backends.xtts import CONFIG_CLASSES, PICKLES
from tts_train.errors import InputUnusable, Problem, Unavailable
from tts_train.files import read_json, sha256_file
from tts_train.pickles import require_harmless

HUB_ID = "coqui/XTTS-v2"
CONFIG = "config.json"
MODEL = "model.pth"
DVAE = "dvae.pth"
MEL_STATS = "mel_stats.pth"
VOCAB = "vocab.json"
FILES = (CONFIG, MODEL, DVAE, MEL_STATS, VOCAB)
"""Without speakers_xtts.pth: its latents are the base's, stale after the first step of training."""
SAMPLE_RATE = 22050
"""Of what the model reads, Hz."""
CODE_STRIDE = 1024
"""Samples per audio code."""
STOPS = 4
"""Stop tokens that coqui's targets put behind the codes of a clip."""
LICENCE = f"https://huggingface.co/{HUB_ID}/blob/main/LICENSE.txt"
"""Where its text still is: coqui.ai is gone."""
_WANTED = (*FILES, "LICENSE*")
_AGREED = "COQUI_TOS_AGREED"
_TERMS = (
    "XTTS-v2 is under the Coqui Public Model License (non-commercial use only; https://coqui.ai/cpml)\n"
    f"when you agree to it: export {_AGREED}=1"
)
_FIXED = {
    "gpt_num_audio_tokens": 1026,
    "gpt_start_audio_token": 1024,
    "gpt_stop_audio_token": 1025,
    "gpt_use_perceiver_resampler": True,
    "gpt_code_stride_len": CODE_STRIDE,
    "input_sample_rate": SAMPLE_RATE,
}
"""What makes it a version 2. coqui-tts's own defaults are another model's, so a missing key is wrong as well."""


@dataclass(frozen=True)
class Sizes:
    """Of the GPT, the only part that is trained."""

    layers: int
    width: int
    heads: int
    text_tokens: int
    """Of the vocabulary."""
    max_text: int
    """Text tokens a sentence may have."""
    max_codes: int
    """Audio codes a clip may have if it shall be possible to generate it again."""


@dataclass(frozen=True)
class Base:
    """A whole XTTS-v2 on disk."""

    folder: Path
    name: str
    """As the config writes it."""
    config: Mapping[str, Any]
    """config.json."""
    languages: tuple[str, ...]
    """That the model was made for and the tokenizer has a token of."""
    sizes: Sizes
    output_rate: int
    """Sample rate of what it says, Hz."""


def find(name: str) -> Path:
    """The folder of a base: a local one, or that of a model on the hub, downloaded when it is not in the cache.

    HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE are honoured. Raises Unavailable, naming every file that is missing and the
    command that downloads it; for a download it also wants the licence agreed to, as coqui-tts does.
    """
    local = Path(name).expanduser()
    if local.is_dir():
        require_files(local.resolve())
        return local.resolve()
    if not hub.is_id(name):
        raise Unavailable(
            f"the base '{name}' is neither a folder nor the name of a model on the hub",
            hint=f"for example base: {HUB_ID}, or the folder you downloaded it to",
        )
    cached = hub.snapshot(name)
    if cached is not None and not missing(cached):
        return cached
    if not agreed():
        raise _unavailable(name, cached, f"{_AGREED} is not set, so it is not downloaded")
    try:
        folder = hub.download(name, _WANTED)
    except Unavailable as error:
        raise _unavailable(name, cached, error.message) from error
    if missing(folder):
        raise _unavailable(name, folder, "the hub has not all of it")
    return folder


def locate(name: str) -> Path | None:
    """What `find` would return without a network, or None."""
    local = Path(name).expanduser()
    folder = local.resolve() if local.is_dir() else hub.snapshot(name) if hub.is_id(name) else None
    return None if folder is None or missing(folder) else folder


def agreed() -> bool:
    """Whether the user has agreed to the weights' licence, in coqui-tts's own way."""
    return os.environ.get(_AGREED) == "1"


def missing(folder: Path) -> list[str]:
    """Files of a base that a folder lacks."""
    return [file for file in FILES if not (folder / file).is_file()]


def require_files(folder: Path) -> None:
    """Raises Unavailable, with the command that downloads them, when files of the base are not there."""
    absent = missing(folder)
    if not absent:
        return
    raise Unavailable(
        f"{folder} is not a whole XTTS-v2: it lacks {', '.join(absent)}",
        hint=_download(HUB_ID, absent, folder),
        problems=[Problem(f"missing: {_download(HUB_ID, [file], folder)}", str(folder / file)) for file in absent],
    )


def describe(folder: Path, name: str) -> Base:
    """What config.json and vocab.json of a base say.

    Raises Unavailable for missing files, InputUnusable with all that is wrong when it is not an XTTS-v2, or holds a
    pickle that would run code.
    """
    require_files(folder)
    require_harmless((folder / file for file in PICKLES), CONFIG_CLASSES)
    config = read_json(folder / CONFIG)
    found = config.get("model_args") if isinstance(config, dict) else None
    if not isinstance(found, dict):
        raise InputUnusable(
            f"{folder / CONFIG} has no model_args: it is no configuration of coqui-tts",
            hint=f"take the base's own: {_download(HUB_ID, [CONFIG], folder)}",
        )
    tokens = _vocabulary(folder / VOCAB)
    # As coqui-tts counts them: ids may have gaps.
    count = max(tokens.values()) + 1
    wanted = dict(_FIXED)
    if found.get("gpt_number_text_tokens") is not None:
        wanted["gpt_number_text_tokens"] = count
    wrong = [
        Problem(f"model_args.{key} is {found.get(key, '(not there)')}, not {value}", str(folder / CONFIG))
        for key, value in wanted.items()
        if found.get(key) != value
    ]
    if wrong:
        raise InputUnusable(
            f"{folder} is not an XTTS-v2: {'; '.join(problem.message for problem in wrong)}",
            hint="an XTTS of version 1 cannot be trained here; config.json and vocab.json must be the base's own, "
            f"unchanged: {_download(HUB_ID, [CONFIG, VOCAB], folder)}",
            problems=wrong,
        )
    try:
        sizes = Sizes(
            layers=int(found["gpt_layers"]),
            width=int(found["gpt_n_model_channels"]),
            heads=int(found["gpt_n_heads"]),
            text_tokens=count,
            max_text=int(found["gpt_max_text_tokens"]) - 1,
            # generate() stops by itself three short of the maximum, and the stop token is one of them.
            max_codes=int(found["gpt_max_audio_tokens"]) - 4,
        )
        languages = tuple(str(language) for language in config["languages"] if f"[{language}]" in tokens)
        return Base(folder, name, config, languages, sizes, int(found["output_sample_rate"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputUnusable(
            f"{folder / CONFIG} lacks or garbles {error}",
            hint=f"take the base's own: {_download(HUB_ID, [CONFIG], folder)}",
        ) from error


def sha256(base: Base) -> str:
    """Hash over every file of the base: what training started from, exactly."""
    digest = hashlib.sha256()
    for file in FILES:
        digest.update(f"{file} {sha256_file(base.folder / file)}\n".encode())
    return digest.hexdigest()


def package_base(name: str) -> PackedBase:
    """Everything that the hash of a base is made of, and its licence's text; see `find` for what it raises."""
    found = describe(find(name), name)
    files = (*(found.folder / file for file in FILES), *licence_files(found.folder))
    # Whatever folder it lies in: there is no XTTS-v2 but Coqui's and what was made from it.
    note = "Non-commercial use only, of the weights and of what they say; the licence passes on to this voice."
    licence = Licence("Coqui Public Model License 1.0.0", LICENCE, commercial=False, note=note)
    return PackedBase(found.folder.name if Path(name).is_dir() else name, files, ".", licence)


def _vocabulary(file: Path) -> dict[str, int]:
    """Token → id. Raises InputUnusable when it is no tokenizer of XTTS."""
    content = read_json(file)
    try:
        tokens = {str(token): int(number) for token, number in content["model"]["vocab"].items()}
        tokens |= {str(token["content"]): int(token["id"]) for token in content["added_tokens"]}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputUnusable(
            f"{file} is no tokenizer file: it lacks or garbles {error}",
            hint=f"take the base's own: {_download(HUB_ID, [VOCAB], file.parent)}",
        ) from error
    absent = [token for token in ("[START]", "[STOP]", "[UNK]", "[SPACE]") if token not in tokens]
    if absent:
        raise InputUnusable(
            f"{file} has no token {', '.join(absent)}: it is not XTTS's",
            hint=f"take the base's own: {_download(HUB_ID, [VOCAB], file.parent)}",
        )
    return tokens


def _download(name: str, files: list[str], folder: Path | None = None) -> str:
    place = "" if folder is None else f" --local-dir {shlex.quote(str(folder))}"
    return f"hf download {name} {' '.join(files)}{place}"


def _unavailable(name: str, cached: Path | None, reason: str) -> Unavailable:
    absent = list(FILES) if cached is None else missing(cached)
    torn = "" if cached is None else f" as a whole: {cached} lacks {', '.join(absent)}"
    terms = "" if agreed() else f"\n{_TERMS}"
    return Unavailable(
        f"the base {name} is not on this machine{torn} ({reason})",
        hint=f"{_download(name, absent)}     (where there is a network; it goes to {hub.cache()}, which can be copied "
        f"here; or download it with --local-dir FOLDER and write base: FOLDER){terms}",
        problems=[
            Problem(f"missing: {_download(name, [file])}", str((cached or hub.cache()) / file)) for file in absent
        ],
    )
