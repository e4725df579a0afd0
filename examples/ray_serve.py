"""Run the HTTP service of `viceversa serve` in replicas of Ray Serve (docs/serving.md)."""

from __future__ import annotations

from ray import serve
from ray.serve import Application
from starlette.applications import Starlette

from viceversa.serve.app import create_app
from viceversa.serve.models import load_models
from viceversa.serve.service import Service
from viceversa.serve.settings import ServeSettings

SETTINGS = ServeSettings(host="0.0.0.0", decoders=1, queue=16)  # of each replica


@serve.deployment(
    num_replicas=2,
    ray_actor_options={"num_cpus": 1},
    max_ongoing_requests=2 * SETTINGS.queue,  # so that the service answers with 429, not the proxy
    health_check_period_s=5,
    graceful_shutdown_timeout_s=15,
)
@serve.ingress()
class Translation:
    """Replica of the service.

    Args:
        models: Models as on the command line of `viceversa serve`.
        token: Token that clients must send; empty: none.
    """

    def __init__(self, models: list[str], token: str) -> None:
        self.service = Service(lambda: load_models(models, SETTINGS), SETTINGS)
        self.token = token

    def __serve_build_asgi_app__(self) -> Starlette:
        return create_app(self.service, self.token, early=False)

    def check_health(self) -> None:
        """Raise an error, for which Ray replaces the replica, if the service must be restarted."""
        self.service.check_alive()


def app(arguments: dict[str, str]) -> Application:
    """Return the application for `serve run`, with the arguments `models` and `token`."""
    models = arguments["models"].split(",")
    return Translation.bind(models, arguments.get("token", ""))
