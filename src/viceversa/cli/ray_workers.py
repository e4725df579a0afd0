"""Translate files with the workers of a Ray cluster.

Ray Core is used rather than Ray Data: the workers read and write the files, so that no images are
transferred, and a chunk of files is a batch of the same images as without Ray.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..config.extensions import import_module, imported
from ..environment import Launched, prepare_ray
from ..errors import UserError
from ..extras import import_extra
from ..files import remove_temporary_of
from ..inference import STREAM, Outcome, translate_files
from ..inference.outputs import File, Input
from ..runtime.signals import keep_handlers
from .loading import load_translator
from .translate_options import TranslateOptions
from .translation_work import file_options, mask_files, record_of, statistics_of

RETRIES = 2  # repetitions of a chunk whose worker process ended
TIMEOUT = 10.0  # seconds to connect to a cluster
POLL = 0.5  # seconds between two checks for signals
STORE = 100 * 2**20  # bytes of shared memory; little is enough, since no images are transferred


class RayWork(NamedTuple):
    """Model, options and paths that each worker needs to translate files."""

    model: Path
    out: Path
    options: TranslateOptions
    threads: int
    modules: Sequence[str]
    """User modules to import (`--import`)."""
    folder: str
    """Working directory, to which relative paths refer."""
    images: Sequence[Input]
    """All images to translate."""


class RayWorker:
    """Process on the cluster that loads the model once and translates chunks of files."""

    def __init__(self, work: RayWork, number: int, count: int) -> None:
        """Store the arguments only: Ray prints a traceback for errors in this method."""
        self.work, self.number, self.count = work, number, count
        self.translate_files: Callable[[Sequence[File]], Outcome] | None = None

    def ready(self) -> str:
        """Load the model; return the message of a UserError, or an empty string."""
        try:
            self.load()
        except (UserError, OSError) as error:
            return str(error)
        return ""

    def load(self) -> Callable[[Sequence[File]], Outcome]:
        """Load the model, and return a function that translates files with it."""
        import torch

        work = self.work
        os.chdir(work.folder)
        for module in work.modules:
            import_module(module)
        torch.set_num_threads(work.threads)
        translator = load_translator(work.model, work.options)
        masks = mask_files(work.options)
        how = file_options(translator, work.out, work.options, self.count, masks, work.images)
        process, precision = Launched(self.number, self.count), translator.precision.name
        given = work.options, process, precision, statistics_of(how)
        record = record_of(work.out, False, work.model, *given)
        context = import_extra("ray", "ray", "--ray").get_runtime_context()
        # After a restart, results that the previous process has recorded are not computed again.
        resume = work.options.resume or context.was_current_actor_reconstructed
        self.translate_files = lambda files: translate_files(translator, files, how, record, resume)
        return self.translate_files

    def translate(self, files: Sequence[File]) -> Outcome:
        """Translate a chunk of files."""
        outcome = (self.translate_files or self.load())(files)
        if not self.work.options.resume:  # the previous process wrote them in this translation
            outcome.written.extend(outcome.skipped)
            outcome.skipped.clear()
        return outcome


def check_ray(
    address: str, inputs: Sequence[str], out: Path, named: bool, process: Launched
) -> None:
    """Raise UserError if `--ray` cannot be used; import Ray."""
    if STREAM in map(Path, inputs):
        text = "--ray translates files, not standard input; name files or folders"
        raise UserError(text, option="--ray")
    if named:
        text = f"--ray writes a folder of results, not one file; -o {out} is a file"
        raise UserError(text, option="--ray")
    if process.size > 1:
        raise UserError("--ray is for one process, not for torchrun or srun", option="--ray")
    prepare_ray(address == "local")  # Ray reads its environment variables when it is imported
    import_extra("ray", "ray", "--ray")


def own_options(options: TranslateOptions) -> TranslateOptions:
    """Return the options of this process, which does not translate if Ray is used."""
    if not options.ray:
        return options
    return replace(options, device="cpu", runtime=None, precision="fp32")


def translate_on_ray(
    pairs: Sequence[File],
    model: Path,
    out: Path,
    options: TranslateOptions,
    tell: Callable[[str], object],
    stop: Callable[[], object],
    progress: Callable[[float, int], object],
) -> Outcome:
    """Translate files with the workers of a Ray cluster.

    Args:
        pairs: Pairs (image, result) from `plan`.
        model: The model file.
        out: The folder of the results.
        options: The options of the command; `ray` is the address of the cluster.
        tell: Called with a line about the workers.
        stop: Checked twice a second; true ends the work early.
        progress: Called with the number of finished images, and the number of images to translate.

    Returns:
        The outcome; see `translate_files`.

    Raises:
        UserError: The cluster is not available, or the package `ray` is missing.
    """
    size, outcome = options.batch_size, Outcome([], [], [], [], [])
    chunks = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    if not chunks:
        return outcome
    began = time.monotonic()
    with _connected(str(options.ray)) as ray:
        workers, threads = _start(ray, model, out, options, pairs, len(chunks))

        def started(problem: str) -> None:
            if problem:
                tell(f"Ray: a worker cannot start and is not used: {problem}")
                return
            tell(
                f"Ray: {len(workers)} workers with {threads} threads each; the first one started "
                f"after {time.monotonic() - began:.1f} seconds"
            )

        for found in _results(ray, workers, chunks, stop, started):
            outcome.extend(found)
            done = len(outcome.written) + len(outcome.failures)
            progress(done, len(pairs) - len(outcome.skipped))
    remove_temporary_of(result for _, result in pairs)  # killed workers may have left some
    return outcome


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Connect to a cluster, or start one on this machine. Raises UserError."""
    local = address == "local"
    ray = import_extra("ray", "ray", "--ray")
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        own = {
            "include_dashboard": False,
            "object_store_memory": STORE,
            "_node_ip_address": "127.0.0.1",  # not reachable from other machines
            "_temp_dir": folder,
        }
        try:
            if not local:
                _check_address(address)
            with keep_handlers():  # Ray replaces the signal handlers
                ray.init(
                    address, logging_level="ERROR", log_to_driver=False, **own if local else {}
                )
        except (OSError, ValueError, RuntimeError) as error:
            reason = (str(error).strip().splitlines() or ["unknown"])[0]
            if address == "auto":
                reason = "no cluster was found on this machine; start one with ray start --head"
            raise UserError(f"--ray {address}: {reason}", option="--ray") from None
        try:
            yield ray
        finally:
            ray.shutdown()


def _check_address(address: str) -> None:
    """Raise OSError if nothing accepts connections at HOST:PORT; Ray would retry for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), TIMEOUT).close()


def _start(
    ray: Any, model: Path, out: Path, options: TranslateOptions, pairs: Sequence[File], most: int
) -> tuple[list[Any], int]:
    """Start one worker for each GPU; without GPUs, as many workers as the CPUs allow.

    Returns:
        At most `most` workers, and the number of threads of each worker.
    """
    import torch

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    threads = max(1, min(torch.get_num_threads(), max(cpus)))
    gpus = 0 if options.device == "cpu" else int(sum(node.get("GPU", 0) for node in nodes))
    count = min(most, gpus or max(1, sum(one // threads for one in cpus)))
    needs = {"num_cpus": 1, "num_gpus": 1} if gpus else {"num_cpus": threads}
    restarts = {"max_restarts": -1, "max_task_retries": RETRIES}
    remote = ray.remote(**needs, **restarts)(RayWorker)
    images = [path for path, _ in pairs]
    work = RayWork(model, out, options, threads, tuple(imported), os.getcwd(), images)
    return [remote.remote(work, number, count) for number in range(count)], threads


def _results(
    ray: Any,
    workers: Sequence[Any],
    chunks: Sequence[Sequence[File]],
    stop: Callable[[], object],
    started: Callable[[str], object],
) -> Iterator[Outcome]:
    """Yield the outcome of each chunk; each started worker translates one at a time.

    Args:
        ray: The module.
        workers: The workers, which are starting.
        chunks: The files of each task.
        stop: Checked twice a second; true ends the work early.
        started: Called when the first worker has started, with "", and for each worker that cannot
            start, with the reason.

    Raises:
        UserError: No worker can start.
    """
    starting = {worker.ready.remote(): worker for worker in workers}
    idle, waiting = list[Any](), list(reversed(chunks))
    running: dict[Any, tuple[Any, Sequence[File]]] = {}
    problem = ""
    while (waiting or running) and not stop():
        if not (starting or idle or running):
            raise UserError(f"a worker of Ray cannot start: {problem}", option="--ray")
        while waiting and idle:
            worker, chunk = idle.pop(), waiting.pop()
            running[worker.translate.remote(chunk)] = worker, chunk
        for one in ray.wait([*starting, *running], timeout=POLL)[0]:
            result, error = _result(ray, one)
            if one in starting:
                worker, problem = starting.pop(one), error or result
                if problem or not (idle or running):
                    started(problem)
                if not problem:
                    idle.append(worker)
                continue
            worker, chunk = running.pop(one)
            idle.append(worker)
            if error:
                text = f"could not be translated by a worker of Ray: {error}"
                result = Outcome([(path, text) for path, _ in chunk], [], [], [], [])
            yield result


def _result(ray: Any, task: Any) -> tuple[Any, str]:
    """Return the result of a task, or the last line of its error."""
    try:
        return ray.get(task), ""
    except ray.exceptions.RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        return None, lines[-1].strip()
