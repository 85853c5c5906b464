"""What a client asks for, checked, and how it is told what is wrong: OpenAI's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tts_train.errors import ConfigError, InputUnusable, TtsTrainError
from tts_train.serve.process import Refused
from tts_train.serve.voices import Voice

MODEL = "tts-train"
ANY_MODEL = (MODEL, "tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""Names that mean this server: clients with a fixed list of models work as they are."""
SPEED: dict[str, tuple[str, int]] = {"piper": ("length_scale", -1), "xtts": ("speed", 1)}
"""Family → the knob that `speed` multiplies, and its power. The others have none."""


class ApiError(Exception):
    """An answer that is an error. `kind` is OpenAI's `type`, `parameter` the field that is wrong."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        parameter: str | None = None,
        *,
        kind: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": parameter, "code": code}}
        self.headers = dict(headers or {})


class _VoiceId(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str


class SpeechRequest(BaseModel):
    """The body of POST /v1/audio/speech. Unknown fields are refused, as OpenAI does; `seed` and `setting` are ours."""

    model_config = ConfigDict(extra="forbid", strict=True)

    input: str
    model: str = MODEL
    voice: str | _VoiceId | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[float, Field(ge=0.25, le=4.0)] = 1.0
    instructions: str | None = None
    stream: bool = False
    stream_format: Literal["audio", "sse"] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    setting: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """A request that can be spoken."""

    voice: Voice
    message: dict[str, Any]
    """For the worker: text, seed, knobs, format, stream."""
    format: str
    stream: bool
    events: bool
    """Server-sent events instead of plain audio."""


def read_request(body: bytes, voices: Mapping[str, Voice], longest: int) -> Wanted:
    """Check a request for speech. Raises ApiError for the first thing that is wrong."""
    try:
        asked = SpeechRequest.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from error
    if not asked.input.strip():
        raise ApiError(400, "'input' is empty: write some words", "empty_input", "input")
    if len(asked.input) > longest:
        told = f"'input' has {len(asked.input)} characters; {longest} are the most in one request"
        raise ApiError(413, told, "string_above_max_length", "input")
    if asked.instructions:
        told = "these voices take no 'instructions': they speak as they were trained"
        raise ApiError(400, told, "unsupported_parameter", "instructions")
    voice = _voice(asked, voices)
    stream = asked.stream or asked.stream_format is not None
    message = {
        "text": asked.input,
        "seed": voice.seed if asked.seed is None else asked.seed,
        "knobs": {**voice.knobs, **asked.setting, **_paced(asked, voice)},
        "format": asked.response_format,
        "stream": stream,
    }
    return Wanted(voice, message, asked.response_format, stream, asked.stream_format == "sse")


def of_worker(error: TtsTrainError) -> ApiError:
    """What a worker could not do, as an answer. A wrong text or setting is the client's fault, all else is not."""
    if isinstance(error, Refused):
        cause = error.error
        told = f"{cause.message} ({cause.hint})" if cause.hint else cause.message
        if error.stage == "speak" and isinstance(cause, ConfigError):
            return ApiError(400, told, "invalid_setting", "setting")
        if error.stage == "speak" and isinstance(cause, InputUnusable):
            return ApiError(400, told, "unspeakable_input", "input")
        status = 503 if error.stage == "load" else 500
        return ApiError(status, told, cause.kind.replace("-", "_"), kind="server_error")
    return ApiError(503, error.message, "worker_unavailable", kind="server_error", headers={"Retry-After": "5"})


def _voice(asked: SpeechRequest, voices: Mapping[str, Voice]) -> Voice:
    named = asked.voice.id if isinstance(asked.voice, _VoiceId) else asked.voice
    if asked.model not in ANY_MODEL and asked.model not in voices:
        told = f"the model '{asked.model}' is not served here; GET /v1/models lists those that are"
        raise ApiError(404, told, "model_not_found", "model")
    if named is None and asked.model in voices:
        named = asked.model
    if named is None and len(voices) == 1:
        named = next(iter(voices))
    if named is None or named not in voices:
        told = f"there is no voice '{named}'" if named else "several voices are served: name a 'voice'"
        raise ApiError(400, f"{told}; GET /v1/audio/voices lists them", "voice_not_found", "voice")
    if asked.model in voices and asked.model != named:
        told = f"'model' names the voice '{asked.model}' and 'voice' another one, '{named}'"
        raise ApiError(400, told, "voice_not_found", "voice")
    return voices[named]


def _paced(asked: SpeechRequest, voice: Voice) -> dict[str, float]:
    if asked.speed == 1.0:
        return {}
    if voice.backend not in SPEED:
        told = f"a {voice.backend} voice speaks at its own pace: leave 'speed' out"
        raise ApiError(400, told, "unsupported_parameter", "speed")
    knob, power = SPEED[voice.backend]
    usual = asked.setting.get(knob, voice.knobs.get(knob, 1.0))
    if not isinstance(usual, int | float):
        return {}  # the worker says what is wrong with it
    return {knob: float(usual) * asked.speed**power}


def _invalid(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"] if part != "_VoiceId") or None
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"Unrecognized request argument supplied: {place}", "unknown_parameter", place)
    told = f"'{place}': {first['msg']}" if place else f"the body is not the JSON of a request: {first['msg']}"
    return ApiError(400, told, "invalid_value" if place else "invalid_json", place)
