"""Options of the HTTP service, and their ranges."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Literal

from ..config.speed import InferencePrecision
from ..errors import UserError

HEADER_SECONDS = 8.0  # until the header of a request is complete
BODY_SECONDS = 20.0  # until the body is complete
ANSWER_SECONDS = 30.0  # until the client has read the answer
LINGER_SECONDS = 5.0  # for the rest of a body that was answered before its end
DECODE_SECONDS = 10.0  # until an image is decoded
GRACE_SECONDS = 10  # for requests in progress when the server stops
SIGNALS = signal.SIGINT, signal.SIGTERM  # signals that end the server
BATCH_PIXELS = 8 * 256 * 256  # in one batch; larger batches are not faster


@dataclass(frozen=True)
class ServeSettings:
    """Options of `viceversa serve`, in the order of its help."""

    host: str = "127.0.0.1"
    """Address to listen on: 127.0.0.1 is this machine only, 0.0.0.0 all networks."""
    port: int = 8000
    """Port to listen on; 0: a free one."""
    allowed_hosts: str = ""
    """Further host names that browsers and proxies may use for the server, separated by commas."""
    examples: tuple[str, ...] = ()
    """Inputs that the page offers: a folder, file or glob; NAME=FOLDER for one model."""
    max_body: float = 20.0
    """Size limit of an uploaded file, in MB."""
    max_megapixels: int = 4
    """Size limit of images, in megapixels, before and after resizing."""
    timeout: float = 60.0
    """Seconds until a request must be answered."""
    queue: int = 32
    """Maximum number of requests in progress; further requests are refused with 429."""
    batch_size: int = 8
    """Maximum number of waiting images of one size that are translated at once."""
    decoders: int = 2
    """Number of processes that decode images."""
    workers: int = 1
    """Number of processes that serve, each with its own models, queue and decoders."""
    threads: int = 1
    """CPU threads of the networks in each worker; on a busy machine, 1 is often faster."""
    device: str = "auto"
    """auto, or a torch device such as cpu or cuda."""
    policy: Literal["image", "running"] = "image"
    """image: batch norm with the statistics of each image; running: with the running statistics."""
    precision: InferencePrecision = "fp32"
    """Precision of the networks: fp32; bf16 or fp16 (faster on some devices, less accurate); auto:
    bf16 if results have 8 bits and the device supports it natively, else fp32."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("port", 0, 65535),
            ("max_body", 0.001, 4096),
            ("max_megapixels", 1, 1000),
            ("timeout", 0.1, 86400),
            ("queue", 1, 100_000),
            ("batch_size", 1, 1024),
            ("decoders", 1, 256),
            ("workers", 1, 256),
            ("threads", 1, 1024),
        ):
            if not least <= getattr(self, name) <= most:
                text = f"--{name} must be from {least} to {most}, not {getattr(self, name)}"
                raise UserError(text, option=f"--{name}")

    @property
    def body_bytes(self) -> int:
        """Size limit of an uploaded file in bytes."""
        return round(self.max_body * 1e6)

    @property
    def max_pixels(self) -> int:
        """Maximum number of pixels of an image."""
        return self.max_megapixels * 10**6
