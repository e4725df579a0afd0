"""What a run runs on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..runtime.training import Runtime


def machine(
    runtime: Runtime, total_images: int, columns: Sequence[str] = (), since: str | None = None
) -> dict[str, Any]:
    """Return versions, processor and device, when the run began (`since`, or now), and what its
    page needs: how many images it will process, and the columns of its sample grids."""
    device = runtime.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return {
        "viceversa": __version__, "python": platform.python_version(),
        "torch": torch.__version__, "system": platform.platform(terse=True),
        "processor": platform.machine(), "cores": os.cpu_count(),
        "threads": torch.get_num_threads(), "device": name, "processes": runtime.ranks.count,
        "began": since or datetime.now(UTC).isoformat(timespec="seconds"),
        "total_images": total_images, "sample_columns": list(columns),
    }  # fmt: skip


def began(path: Path) -> str | None:
    """When the run began whose machine.json lies there; None where that does not say."""
    try:
        since = json.loads(path.read_text())["began"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return since if isinstance(since, str) else None
