"""check."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import UserError
from ..options import check_settings
from .app import app


@app.command
def check(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Look at a data set: viceversa check DATA [--recipe RECIPE] [--data.key value ...].

    Decodes every file once and says what is there, what is wrong, and what to do. `viceversa check
    --help` shows every option.
    """
    settings = check_settings(words)
    if settings is None:
        return
    options, config, method = settings
    if not config.path:
        raise UserError("name the data set to check: a folder, an archive or a manifest")
    paired = {"auto": None, "yes": True, "no": False}[options.pairs]
    if method and options.pairs == "auto":
        from ..build import is_paired

        paired = is_paired(method)
    from ..data.check import check as look
    from ..data.check import plain, text
    from ..data.readonly import refuse_inside
    from ..progress import counter
    from ..report import say

    for option, path in (("--sheet", options.sheet), ("--preview", options.preview)):
        if path:
            refuse_inside(path, Path(config.path), option)
    with counter("checking") as progress:
        checked = look(config.path, paired, config, verify=options.verify, progress=progress)
    train = shlex.join([options.recipe, config.path, *_data_words(words)]) if options.recipe else ""
    say(json.dumps(plain(checked, train), indent=2) if options.json else text(checked, train))
    if options.sheet:
        from ..data.check.sheet import contact_sheet

        contact_sheet(checked, options.sheet)
    if options.preview:
        from ..data.check.preview import preview

        preview(checked, config, options.preview, checked.paired)
    if checked.errors:
        sys.exit(1)


def _data_words(words: Sequence[str]) -> list[str]:
    """The options of the data among the words, with their values."""
    given, mine = [], False
    for word in words:
        mine = word.startswith("--data.") or (mine and not word.startswith("--"))
        given += [word] if mine else []
    return given
