"""YAML into pydantic models: safe loading, line numbers, every problem at once, a suggestion for each typo.

A file may come from anywhere: it makes no objects, and it cannot grow in memory (no aliases, no endless nesting).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from tts_train.errors import ConfigError, Problem

Model = TypeVar("Model", bound=BaseModel)
Place = tuple[str | int, ...]


_LARGEST_FILE = 2_000_000


@dataclass(frozen=True)
class Document:
    """Parsed YAML and the line of every key."""

    data: Any
    lines: Mapping[Place, int]

    def line(self, place: Sequence[str | int]) -> int | None:
        """Line of the value at `place`, or of the nearest thing around it."""
        steps = tuple(place)
        while steps and steps not in self.lines:
            steps = steps[:-1]
        return self.lines.get(steps)


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, which YAML otherwise swallows, and aliases.

    Ten lines of aliases of aliases are a billion values for whoever walks or prints them.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias (*name) is not taken here: write it out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> Document:
    """Parse a YAML file. Raises ConfigError with the line when it is missing or not YAML."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"{path} is too large for settings", hint="name a YAML file of settings")
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ConfigError(f"{path} is not a file", hint="check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", hint="save it as UTF-8") from error
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        data = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        problem = Problem(str(error.problem), str(path), line)
        raise ConfigError(f"{path} is not YAML", hint="fix the line named", problems=[problem]) from error
    except (yaml.YAMLError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).partition("\n")[0]
        raise ConfigError(f"{path} is not YAML that can be read: {reason}", hint="write it anew as text") from error
    finally:
        if loader is not None:
            loader.dispose()
    return Document(data, _lines(node) if node is not None else {})


def validate(model: type[Model], document: Document, path: Path) -> Model:
    """Build `model` from a document. Raises ConfigError with every problem, its line and what to try."""
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path} must be a mapping of settings", hint="start from: run.sh config new --help")
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        problems = [_problem(model, document, path, item) for item in error.errors(include_url=False)]
    raise ConfigError(f"{path}: {len(problems)} problem(s)", hint="fix the lines named", problems=problems)


def _problem(model: type[BaseModel], document: Document, path: Path, item: Any) -> Problem:
    place: Place = tuple(item["loc"])
    name = ".".join(str(step) for step in place) or "the file"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = _unknown_key(model, place)
    elif item["type"] == "missing":
        message = f"'{name}' is missing"
    else:
        message = f"'{name}': {message[0].lower()}{message[1:]}, got {item['input']!r}" if place else message
    return Problem(message, str(path), document.line(place))


def _unknown_key(model: type[BaseModel], place: Place) -> str:
    owner: type[BaseModel] | None = model
    for step in place[:-1]:
        owner = _submodel(owner, step) if owner else None
    known = list(owner.model_fields) if owner else []
    near = difflib.get_close_matches(str(place[-1]), known, n=1)
    suggestion = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"
    return f"'{'.'.join(map(str, place))}' is not a setting{suggestion}"


def _submodel(owner: type[BaseModel], step: str | int) -> type[BaseModel] | None:
    if isinstance(step, int):
        return owner
    known = owner.model_fields.get(step)
    if known is None:
        return None
    pending: list[Any] = [known.annotation]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
        pending += get_args(annotation)
    return None


def _lines(root: yaml.Node) -> dict[Place, int]:
    lines: dict[Place, int] = {}

    def visit(node: yaml.Node, place: Place) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                lines[*place, key.value] = key.start_mark.line + 1
                visit(value, (*place, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                lines[*place, index] = value.start_mark.line + 1
                visit(value, (*place, index))

    visit(root, ())
    return lines
