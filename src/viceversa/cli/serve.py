"""The command `viceversa serve`."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..environment import variable
from ..errors import UserError
from ..extras import import_extra
from ..serve.settings import ServeSettings
from .app import command

TOKEN = "VICEVERSA_TOKEN"


@command(
    ("serve runs/photos/ab.safetensors --open", "a page on this machine"),
    ("serve runs/day2night runs/maps/ab.safetensors", "several models"),
    ("serve facades=runs/f/ba.safetensors --port 9000", "with a name"),
    ("serve runs/photos/ab.safetensors --workers 4", "four processes"),
)
def serve(
    *models: str,
    settings: Annotated[ServeSettings | None, Parameter(name="*", negative_iterable=())] = None,
    token_file: Path | None = None,
    open_page: Annotated[bool, Parameter(name="--open", negative="")] = False,
) -> None:
    """Serve models over HTTP, with a page for browsers.

    `POST /v1/models/NAME/translate` translates the image in its body, `GET /v1/models` lists the
    models, and `/openapi.json` describes all requests. SIGTERM and Ctrl-C finish the requests in
    progress and end the server.

    Parameters
    ----------
    models
        Model files, such as runs/NAME/ab.safetensors, or run folders, whose translators of both
        directions are served. NAME=PATH sets the name of a model.
    token_file
        File with a token that clients must send as `Authorization: Bearer TOKEN`. The environment
        variable VICEVERSA_TOKEN can contain the token instead. By default no token is needed.
    open_page
        Open the page in the browser.
    """
    settings = settings or ServeSettings()
    if not models:
        raise UserError("name the models to serve, such as runs/NAME/ab.safetensors")
    for package in ("starlette", "uvicorn"):
        import_extra(package, "serve", "viceversa serve")
    token = read_token(token_file)
    import webbrowser
    from multiprocessing import get_all_start_methods

    from ..serve.address import bind
    from ..serve.guard import is_local
    from ..serve.reports import configure_logging
    from ..serve.supervisor import Supervisor

    def ready(address: str, descriptions: dict[str, str]) -> None:
        for name, description in descriptions.items():
            print(f"{name}: {description}")
        print(f"serving on {address} (Ctrl-C ends it)", flush=True)
        if open_page:
            webbrowser.open(address)

    configure_logging()
    with bind(settings) as bound:  # before models are loaded
        if not token and not is_local(settings.host):
            print("warning: other machines can use this server; --token_file limits who can")
        if settings.workers > 1:
            if "forkserver" not in get_all_start_methods():
                text = "--workers is not supported on this system; start several servers instead"
                raise UserError(text, option="--workers")
            Supervisor(models, settings, token, ready).run(bound)
        else:
            serve_here(models, settings, token, bound, ready)


def serve_here(
    models: Sequence[str],
    settings: ServeSettings,
    token: str,
    bound: socket.socket,
    ready: Callable[[str, dict[str, str]], None],
) -> None:
    """Serve in this process until a signal. Raises UserError if the server cannot start."""
    from ..serve.app import create_app
    from ..serve.models import load_models
    from ..serve.server import ServiceServer
    from ..serve.service import Service

    service = Service(lambda: load_models(models, settings), settings)

    def announce(address: str) -> None:
        about = {name: model.about["description"] for name, model in service.models.items()}
        ready(address, about)

    ServiceServer(create_app(service, token), service, announce).run([bound])
    if service.error is not None:
        raise service.error
    if service.batcher.computing:  # after the time limit for requests in progress
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(0)  # the computing thread cannot be stopped


def read_token(path: Path | None) -> str:
    """Return the token from a file or the environment, or an empty text. Raises UserError."""
    if path is None:
        return variable(TOKEN, "").strip()
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeError):
        raise UserError(f"{path} cannot be read", option="--token_file", path=path) from None
    if not token:
        raise UserError(f"{path} is empty", option="--token_file", path=path)
    return token
