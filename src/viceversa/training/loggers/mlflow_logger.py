"""MLflow: metrics, settings and images of a run, by images processed."""

from __future__ import annotations

import time
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from ...config.recipes import flat
from ...environment import variable
from ...run_log import Entry
from .base import About, save_id, saved_id, scalars

MOST_PARAMS, LONGEST = 100, 500  # of a call, and characters of a value


class MlflowLogger:
    """Logs to MLFLOW_TRACKING_URI, in MLFLOW_EXPERIMENT_NAME (default: viceversa)."""

    def __init__(self, about: About):
        self._client: Any = MlflowClient()
        run_id = saved_id(about, "mlflow")
        if run_id is None:
            run_id = self._create(about)
            save_id(about, "mlflow", run_id)
        else:
            self._client.update_run(run_id, status="RUNNING")
        self._id = run_id
        self.address = f"run {run_id} in {self._client.tracking_uri}"

    def log(self, entry: Entry) -> None:
        """Log the numbers of an entry."""
        at = round(1000 * entry["time"])
        metrics = [Metric(k, v, at, entry["images"]) for k, v in scalars(entry).items()]
        if metrics:
            self._client.log_batch(self._id, metrics=metrics)

    def image(self, kind: str, images: int, path: str) -> None:
        """Log a PNG file as an artifact."""
        self._client.log_artifact(self._id, path, kind)

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._id)

    def _create(self, about: About) -> str:
        name = variable("MLFLOW_EXPERIMENT_NAME", "viceversa")
        experiment = self._client.get_experiment_by_name(name)
        where = experiment.experiment_id if experiment else self._client.create_experiment(name)
        run = self._client.create_run(where, int(1000 * time.time()), run_name=about.name)
        run_id: str = run.info.run_id
        params = [Param(k, str(v)[:LONGEST]) for k, v in flat(about.settings)]
        for start in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(run_id, params=params[start : start + MOST_PARAMS])
        return run_id
