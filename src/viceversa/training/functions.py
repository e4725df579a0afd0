"""Call the functions `on_step` and `on_validation` of a user."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..methods.base import Losses
from .info import StepInfo, ValidationInfo
from .progress import Step
from .requests import Requests

Info = TypeVar("Info", StepInfo, ValidationInfo)
OnStep = Callable[[StepInfo], object]
OnValidation = Callable[[ValidationInfo], object]


class UserFunctions:
    """Functions of the user, called in the first process.

    An exception in one of them is a request to end the run: it is raised once the run is saved.
    """

    def __init__(
        self,
        requests: Requests,
        on_step: OnStep | None = None,
        on_validation: OnValidation | None = None,
    ):
        self._requests, self._on_step, self._on_validation = requests, on_step, on_validation
        self._validated: ValidationInfo | None = None

    def on_step(self, step: Step, number: int, losses: Losses) -> None:
        """Call `on_step` after a step; `number` counts the steps of the run.

        Without losses no step was taken, since no image was valid.
        """
        if self._on_step is not None and losses:
            info = StepInfo(step.epoch, number, step.end.images, step.lr, losses)
            self._call(self._on_step, info)

    def on_validation(self, validated: ValidationInfo | None) -> None:
        """Call `on_validation` with the latest validation, unless it was called with it before."""
        if self._on_validation is None or validated is None or validated is self._validated:
            return
        self._validated = validated
        self._call(self._on_validation, validated)

    def _call(self, function: Callable[[Info], object], info: Info) -> None:
        if self._requests.ranks.first and self._requests.error is None:
            with self._requests.errors_end_run():
                function(info)
