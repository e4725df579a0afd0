"""viceversa: image-to-image translation with pix2pix and CycleGAN.

The public names load on first use, so that `import viceversa` and the command line do not import
torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config.recipes import read_recipe as read_recipe
    from .config.run import RunConfig as RunConfig
    from .config.run import resolve as resolve
    from .errors import RunStopped as RunStopped
    from .errors import UserError as UserError
    from .evaluation import evaluate as evaluate
    from .inference import Translator as Translator
    from .methods import METHODS as METHODS
    from .methods.cut import CUT as CUT
    from .methods.cyclegan import CycleGAN as CycleGAN
    from .methods.pix2pix import Pix2Pix as Pix2Pix
    from .networks import DISCRIMINATORS as DISCRIMINATORS
    from .networks import GENERATORS as GENERATORS
    from .training.info import StepInfo as StepInfo
    from .training.info import ValidationInfo as ValidationInfo
    from .training.train import train as train

__version__ = "0.1.0"
__all__ = [
    "CUT",
    "DISCRIMINATORS",
    "GENERATORS",
    "METHODS",
    "CycleGAN",
    "Pix2Pix",
    "RunConfig",
    "RunStopped",
    "StepInfo",
    "Translator",
    "UserError",
    "ValidationInfo",
    "__version__",
    "evaluate",
    "read_recipe",
    "resolve",
    "train",
]
# The modules of the public names; a test compares them with the imports above.
_HOMES = {
    "DISCRIMINATORS": "networks",
    "GENERATORS": "networks",
    "METHODS": "methods",
    "CUT": "methods.cut",
    "CycleGAN": "methods.cyclegan",
    "Pix2Pix": "methods.pix2pix",
    "RunConfig": "config.run",
    "RunStopped": "errors",
    "Translator": "inference",
    "UserError": "errors",
    "evaluate": "evaluation",
    "read_recipe": "config.recipes",
    "resolve": "config.run",
    "StepInfo": "training.info",
    "ValidationInfo": "training.info",
    "train": "training.train",
}


if not TYPE_CHECKING:  # a type checker would accept every name

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'viceversa' has no attribute {name!r}")
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
