"""Several checks as one examination: it goes on after the first fault and names them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tts_train.errors import ConfigError, Problem, TtsTrainError

Result = TypeVar("Result")


@dataclass
class Faults:
    """What is wrong so far: the checks go on, so that one examination names everything."""

    errors: list[TtsTrainError] = field(default_factory=list)

    def guard(self, check: Callable[[], Result]) -> Result | None:
        """The answer of a check, or None when it failed."""
        try:
            return check()
        except TtsTrainError as error:
            self.errors.append(error)
            return None

    def end(self) -> None:
        """Raise what was found: one error as it is; several as one, a ConfigError if any of them is."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if not self.errors:
            return
        problems = [
            problem
            for error in self.errors
            for problem in error.problems or (Problem(f"{error.message}. Try: {error.hint}"),)
        ]
        kind = next((type(error) for error in self.errors if isinstance(error, ConfigError)), type(self.errors[0]))
        hints = [error.hint for error in self.errors if error.problems and error.hint]
        raise kind(
            f"{len(problems)} problems stand in the way of this training",
            hint="; ".join(dict.fromkeys(hints)) or "one after the other, as each says",
            problems=problems,
        )
