"""The command `viceversa serve`."""

from __future__ import annotations

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
)
def serve(
    *models: str,
    settings: Annotated[ServeSettings | None, Parameter(name="*")] = None,
    token_file: Path | None = None,
    open_page: Annotated[bool, Parameter(name="--open", negative="")] = False,
) -> None:
    """Serve models over HTTP, with a page for browsers.

    `POST /v1/models/NAME/translate` translates the image in its body, `GET /v1/models` lists the
    models, and `/openapi.json` describes everything. SIGTERM and Ctrl-C finish the requests in
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
    import logging
    import webbrowser

    import torch

    from ..serve.app import create_app
    from ..serve.guard import is_local
    from ..serve.models import load_models, warm_up
    from ..serve.server import ServiceServer, bind
    from ..serve.service import Service

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    with bind(settings) as bound:  # before models are loaded
        loaded = load_models(models, settings)
        torch.set_num_threads(settings.threads)
        for model in loaded.values():
            warm_up(model)
        service = Service(loaded, settings)
        if not token and not is_local(settings.host):
            print("warning: other machines can use this server; --token_file limits who can")

        def started(address: str) -> None:
            for name, model in loaded.items():
                print(f"{name}: {model.about['description']}")
            print(f"serving on {address} (Ctrl-C ends it)", flush=True)
            if open_page:
                webbrowser.open(address)

        server = ServiceServer(create_app(service, token), service, started)
        server.run([bound])
    if not server.started:
        raise UserError("the server could not start; standard error has the reason")


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
