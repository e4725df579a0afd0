"""The command evaluate."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import Parameter

from ..config.command_line import evaluate_settings
from ..config.help import EVALUATE_EXAMPLES
from .app import command


@command(*EVALUATE_EXAMPLES)
def evaluate(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Evaluate a model, or a folder of generated images: metrics, best and worst cases."""
    settings = evaluate_settings(words)
    if settings is None:
        return
    from .. import evaluation
    from ..terminal import counter

    first, second, options = settings.first, settings.second, settings.options
    folder = settings.out or evaluation.default_folder(first, second)
    evaluation.check_output_folder(folder, first, second)
    with counter("evaluating") as progress:
        result = evaluation.run_evaluation(first, second, options, progress)
    page = evaluation.write_evaluation(result, folder)
    if settings.json:
        print(json.dumps(evaluation.as_json(result), indent=2))
    else:
        print(f"{evaluation.as_table(result)}\nthe page: {page}")
