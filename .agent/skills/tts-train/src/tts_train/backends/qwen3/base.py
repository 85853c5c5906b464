"""The base model: where it is, whether it is whole, what it is, and loading it as qwen-tts does."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.backends import hub
from tts_train.backends.licences import UNKNOWN, Licence, PackedBase, licence_files, named_in
from tts_train.backends.qwen3 import folder as folders
from tts_train.backends.qwen3.folder import CONFIG, ENCODER
from tts_train.errors import ConfigError, InputUnusable, Problem, Unavailable
from tts_train.files import read_json, sha256_file

if TYPE_CHECKING:
    from qwen_tts import Qwen3TTSModel

    from tts_train.backends.qwen3.text import TextTokenizer

_WANTED = ("*.json", "*.txt", "*.jinja", "*.safetensors", "LICENSE*", "NOTICE*")
"""Files taken from the hub: never a pickle, never code."""
PUBLISHER = "Qwen/"
"""Of the models that the hub has under Apache-2.0."""
_SIZES = {"0b6": "0.6B", "1b7": "1.7B"}
_ENCODER_PREFIX = "speaker_encoder."


@dataclass(frozen=True)
class Base:
    """A whole Qwen3-TTS on disk: one from the hub, or a checkpoint that was published from it."""

    folder: Path
    name: str
    """As the config writes it."""
    size: str
    """0.6B or 1.7B."""
    config: Mapping[str, Any]
    """config.json."""
    hidden: int
    """Width of the talker, and of a speaker vector."""
    languages: Mapping[str, int]
    """Language name → its id among the codec tokens."""

    @property
    def has_encoder(self) -> bool:
        """Whether it can turn a reference into a speaker vector; fine-tuned checkpoints of other programs cannot."""
        return self.config.get("tts_model_type") == "base" or (self.folder / ENCODER).is_file()


def find(name: str) -> Path:
    """The folder of a base: a local one, or that of a model on the hub, downloaded when it is not in the cache.

    HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE are honoured. Raises InputUnusable for a local folder that is not a whole
    Qwen3-TTS, naming all it lacks; Unavailable, with the command that downloads it, for a model that cannot be had.
    """
    local = Path(name).expanduser()
    if local.is_dir():
        return _whole(local.resolve())
    if not hub.is_id(name):
        raise Unavailable(
            f"the base '{name}' is neither a folder nor the name of a model on the hub",
            hint="for example base: Qwen/Qwen3-TTS-12Hz-0.6B-Base, or the folder you downloaded it to",
        )
    cached = hub.snapshot(name)
    if cached is not None and not folders.faults(cached):
        return cached
    return _downloaded(name, cached)


def locate(name: str) -> Path | None:
    """What `find` would return without a network, or None. Needs no library, so it works in the core environment."""
    local = Path(name).expanduser()
    folder = local.resolve() if local.is_dir() else hub.snapshot(name) if hub.is_id(name) else None
    return None if folder is None or folders.faults(folder) else folder


def describe(folder: Path, name: str) -> Base:
    """What a folder's config.json says. Raises InputUnusable when it is not a Qwen3-TTS with the 12 Hz codec."""
    config = read_json(folder / CONFIG)
    kind = config.get("model_type") if isinstance(config, dict) else None
    codec = config.get("tokenizer_type") if isinstance(config, dict) else None
    if (kind, codec) != ("qwen3_tts", "qwen3_tts_tokenizer_12hz"):
        raise InputUnusable(
            f"{folder / CONFIG} describes a {kind or 'model of no type'} with the codec {codec or '(none)'}, "
            "not a qwen3_tts with the codec qwen3_tts_tokenizer_12hz",
            hint="for example base: Qwen/Qwen3-TTS-12Hz-0.6B-Base",
        )
    try:
        talker = config["talker_config"]
        size = str(config["tts_model_size"])
        languages = {str(language): int(number) for language, number in talker["codec_language_id"].items()}
        return Base(folder, name, _SIZES.get(size, size), config, int(talker["hidden_size"]), languages)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputUnusable(
            f"{folder / CONFIG} lacks or garbles {error}", hint="download or copy the model again"
        ) from error


def sha256(base: Base) -> str:
    """Hash over config.json and every file of weights: what training started from, exactly."""
    files = [base.folder / CONFIG, *folders.weight_files(base.folder)]
    files += [base.folder / ENCODER] if (base.folder / ENCODER).is_file() else []
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {sha256_file(file)}\n".encode())
    return digest.hexdigest()


def package_base(name: str) -> PackedBase:
    """What a shipped voice needs of a base: its licence. A published epoch is a whole model.

    Qwen's own releases are under Apache-2.0; of another folder or model only what a licence file in it says is known.
    """
    folder = locate(name)
    files = licence_files(folder) if folder else ()
    link = f"https://huggingface.co/{name}" if hub.is_id(name) and not Path(name).exists() else ""
    found = named_in(files)
    if found == UNKNOWN and link and name.startswith(PUBLISHER):
        found = "Apache-2.0"
    note = "" if found != UNKNOWN else "No licence lies in the base's folder; Qwen's own releases are Apache-2.0."
    return PackedBase(
        name if link else Path(name).name,
        files,
        None,
        Licence(found, link, True if found == "Apache-2.0" else None, note),
    )


def require_encoder(base: Base) -> None:
    """Raises InputUnusable, saying what to do, when the base cannot make speaker vectors."""
    if base.has_encoder:
        return
    raise InputUnusable(
        f"{base.folder} is a {base.config.get('tts_model_type')} model without a speaker encoder: "
        "it speaks, but a reference cannot be turned into a voice with it, so nothing can be trained from it",
        hint=f"name the -Base model as base; a checkpoint that we published carries {ENCODER}, so copy that along",
    )


def load_model(
    base: Base,
    *,
    dtype: str = "float32",
    attention: str = "sdpa",
    device: str = "cpu",
    encoder: bool = True,
) -> Qwen3TTSModel:
    """The stock wrapper in evaluation mode, with three differences.

    The codec is float32 whatever `dtype` (in bfloat16 its codes differ); the text tokenizer is pinned to Qwen's own
    pattern; and the speaker encoder of a checkpoint that we published is there again. With `encoder` false a folder
    without one is fine: it can speak. Raises InputUnusable for damaged or foreign weights, Unavailable when the
    attention asked for is not installed.
    """
    import torch
    from qwen_tts import Qwen3TTSModel

    from tts_train.backends.qwen3.text import load_tokenizer

    if encoder:
        require_encoder(base)
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if dtype not in kinds:
        raise ConfigError(f"'{dtype}' is no number type of this model", hint=f"one of: {', '.join(kinds)}")
    kind = kinds[dtype]
    place: dict[str, Any] = {} if device == "cpu" else {"device_map": device}
    try:
        wrapper = Qwen3TTSModel.from_pretrained(str(base.folder), dtype=kind, attn_implementation=attention, **place)
    except ImportError as error:
        raise Unavailable(f"attention {attention}: {error}", hint="set qwen3.attention to sdpa") from error
    _require_all_weights(base, wrapper)
    if kind != torch.float32:
        _codec_in_float32(base, wrapper, place)
    if encoder and wrapper.model.speaker_encoder is None:
        _attach_encoder(base, wrapper)
    wrapper.processor.tokenizer = load_tokenizer(base.folder).tokenizer
    wrapper.model.eval()
    return wrapper


def text_tokenizer(wrapper: Qwen3TTSModel) -> TextTokenizer:
    """The tokenizer that a loaded model reads texts with."""
    from tts_train.backends.qwen3.text import TextTokenizer

    return TextTokenizer(wrapper.processor.tokenizer)


def _require_all_weights(base: Base, wrapper: Qwen3TTSModel) -> None:
    """A parameter that no file holds would be left at random numbers with no more than a line in the log."""
    there = folders.tensors(base.folder).keys()
    missing = sorted(name for name, _ in wrapper.model.named_parameters() if name not in there)
    if missing:
        raise InputUnusable(
            f"{base.folder} lacks {len(missing)} of the model's tensors, such as {missing[0]}",
            hint="download or copy the model again",
        )


def _codec_in_float32(base: Base, wrapper: Qwen3TTSModel, place: Mapping[str, Any]) -> None:
    import torch
    from qwen_tts import Qwen3TTSTokenizer

    folder = str(base.folder / folders.CODEC)
    wrapper.model.load_speech_tokenizer(Qwen3TTSTokenizer.from_pretrained(folder, dtype=torch.float32, **place))


def _attach_encoder(base: Base, wrapper: Qwen3TTSModel) -> None:
    from qwen_tts.core.models.modeling_qwen3_tts import Qwen3TTSSpeakerEncoder
    from safetensors.torch import load_file

    model, file = wrapper.model, base.folder / ENCODER
    state = {name.removeprefix(_ENCODER_PREFIX): value for name, value in load_file(file).items()}
    built = Qwen3TTSSpeakerEncoder(model.config.speaker_encoder_config)
    try:
        built.load_state_dict(state)
    except RuntimeError as error:
        raise InputUnusable(
            f"{file} does not fit {base.folder / CONFIG}: {error}", hint="copy the encoder of the same base"
        ) from error
    model.speaker_encoder = built.to(model.device, model.dtype)


def _whole(folder: Path) -> Path:
    faults = folders.faults(folder)
    if not faults:
        return folder
    raise InputUnusable(
        f"{folder} is not a whole Qwen3-TTS: it lacks {', '.join(faults)}",
        hint="download or copy it again, with speech_tokenizer/ and all that is in it",
        problems=[Problem(fault, str(folder)) for fault in faults],
    )


def _downloaded(name: str, cached: Path | None) -> Path:
    try:
        folder = hub.download(name, _WANTED)
    except Unavailable as error:
        raise _unavailable(name, cached, error.message) from error
    if folders.faults(folder):
        raise _unavailable(name, folder, "what the hub has of it is not a whole Qwen3-TTS")
    return folder


def _unavailable(name: str, cached: Path | None, reason: str) -> Unavailable:
    faults = [] if cached is None else folders.faults(cached)
    torn = f" as a whole: {cached} lacks {', '.join(faults)}" if faults else ""
    return Unavailable(
        f"the base {name} is not on this machine{torn} ({reason})",
        hint=f"hf download {name}     (where there is a network; it goes to {hub.cache()}, which can be copied here; "
        f"or download it with --local-dir FOLDER and write base: FOLDER)",
        problems=[Problem(fault, str(cached)) for fault in faults],
    )
