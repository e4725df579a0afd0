"""Packages of the optional extras, imported where they are needed."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from threading import Lock
from typing import Any

from .environment import disable_usage_reports
from .errors import UserError

_core_lock = Lock()


def import_extra(package: str, extra: str, what: str) -> Any:
    """Import a package of an extra, and disable its usage reports.

    Args:
        package: Name of the package.
        extra: The extra that contains it.
        what: The feature that needs the package, for the message.

    Raises:
        UserError: The package is missing.
    """
    disable_usage_reports()
    try:
        return importlib.import_module(package)
    except ImportError:
        raise UserError(
            f"{what} needs the package {package}; install it with pip install 'viceversa[{extra}]'"
        ) from None


def import_openvino() -> Any:
    """Import OpenVINO. Raises UserError if it is missing.

    OpenVINO reports its import to the vendor through the package `openvino_telemetry`. A None in
    `sys.modules` in place of this package disables that.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_extra("openvino", "openvino", "an OpenVINO file")


def openvino_core() -> Any:
    """Return the OpenVINO core of this process. Raises UserError if the package is missing.

    OpenVINO replaces the alternate signal stack of the thread that uses a core first, and frees
    this stack with the core, even if the thread still uses it: of two cores, the second one would
    restore the stack of the first one. The next signal would then crash the process. Therefore
    there is only one core, which is never deleted.
    """
    with _core_lock:
        return _core()


@cache
def _core() -> Any:
    core = import_openvino().Core()
    core.set_property({"ENABLE_MMAP": False})  # files may be deleted after they were read
    return core
