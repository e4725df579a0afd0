"""check."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..config.command_line import check_settings
from ..config.help import CHECK_EXAMPLES
from ..errors import UserError
from .app import command


@command(*CHECK_EXAMPLES)
def check(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Check a dataset: decode every file once, and report contents, problems and advice."""
    settings = check_settings(words)
    if settings is None:
        return
    options, config, method = settings
    if not config.path:
        raise UserError("name the dataset to check: a folder, an archive or a manifest")
    paired = {"auto": None, "yes": True, "no": False}[options.pairs]
    if method and options.pairs == "auto":
        from ..config.run import is_paired

        paired = is_paired(method)
    from ..data.check import add_shifts, as_dict, as_text, check_dataset
    from ..data.readonly import refuse_output_in_data
    from ..terminal import counter, say

    for option, path in (("--sheet", options.sheet), ("--preview", options.preview)):
        if path:
            refuse_output_in_data(path, Path(config.path), option)
    with counter("checking") as progress:
        result = check_dataset(
            config.path, paired, config, verify=options.verify, progress=progress
        )
    with counter("comparing pairs") as progress:
        result = add_shifts(result, progress=progress)
    train = shlex.join([options.recipe, config.path, *_data_words(words)]) if options.recipe else ""
    say(json.dumps(as_dict(result, train), indent=2) if options.json else as_text(result, train))
    if options.sheet:
        from ..data.check.sheet import contact_sheet

        contact_sheet(result, options.sheet)
    if options.preview:
        from ..data.check.sheet import write_preview

        write_preview(result, options.preview)
    if result.errors:
        sys.exit(1)


def _data_words(words: Sequence[str]) -> list[str]:
    """Return the options of the data among the words, with their values."""
    given, mine = [], False
    for word in words:
        mine = word.startswith("--data.") or (mine and not word.startswith("--"))
        given += [word] if mine else []
    return given
