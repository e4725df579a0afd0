"""Names of the classes of label maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..errors import UserError

MAX_NAME = 40  # maximum length in characters


def check_names(names: Sequence[str], labels: bool, classes: int) -> None:
    """Raise UserError if names do not fit the classes of a domain.

    Args:
        names: The names; an empty sequence is valid.
        labels: Whether the images of the domain are label maps.
        classes: Number of classes.
    """
    if not names:
        return
    problem = ""
    wrong = [one for one in names if not 0 < len(one) <= MAX_NAME or not one.isprintable()]
    if not labels:
        problem = "class_names belongs to kind labels"
    elif len(names) != classes:
        problem = f"class_names has {len(names)} names for {classes} classes"
    elif wrong:
        problem = f"class_names must be printable, of 1 to {MAX_NAME} characters, not {wrong[0]!r}"
    elif len(set(names)) < len(names):
        double = Counter(names).most_common(1)[0][0]
        problem = f"class_names has the name {double} twice; give each class another name"
    if problem:
        raise UserError(problem, option="class_names")
