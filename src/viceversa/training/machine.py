"""Description of the machine that a run uses, for machine.json."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..files import write_json
from ..runtime.training import Runtime


def write_machine(
    path: Path, runtime: Runtime, total_images: int, about: Mapping[str, Any], resumed: bool
) -> None:
    """Write versions, processor, device and start time, and what the page of the run needs.

    Args:
        path: The file; a resumed run keeps the start time in it.
        runtime: Device and processes.
        total_images: Images that the whole run processes.
        about: What the page needs to know of the images, see `page_info`.
        resumed: Whether the run is resumed.
    """
    device = runtime.device
    since = start_time(path) if resumed else None
    content = {
        "viceversa": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(terse=True),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "precision": runtime.precision.name,
        "processes": runtime.ranks.count,
        "began": since or datetime.now(UTC).isoformat(timespec="seconds"),
        "total_images": total_images,
        **about,
    }
    write_json(path, content)


def start_time(path: Path) -> str | None:
    """Return the start time in a machine.json; None if it has none."""
    try:
        since = json.loads(path.read_text())["began"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return since if isinstance(since, str) else None
