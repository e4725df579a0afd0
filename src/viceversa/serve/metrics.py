"""Counters of the service in the text format of Prometheus."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

HELP = {
    "requests_total": "Answered requests, by route and status.",
    "images_total": "Translated images, by model.",
    "batches_total": "Batches of the networks.",
    "cancelled_total": "Requests whose client disconnected before the answer.",
    "decoder_failures_total": "Images whose decoder process failed or was too slow.",
    "workers": "Processes that accept images.",
    "worker_restarts_total": "Workers that ended or stalled, and were replaced.",
    "request_seconds": "Time to answer translation requests.",
    "requests_in_progress": "Translation requests that are admitted and not answered.",
    "body_bytes": "Bytes of request bodies in memory.",
}
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SUM = "request_seconds_sum"
Labels = tuple[tuple[str, str], ...]


@dataclass
class Counts:
    """Values by name and labels, and the histogram of the times of requests."""

    values: defaultdict[tuple[str, Labels], float] = field(
        default_factory=lambda: defaultdict(float)
    )
    seconds: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))

    def add(self, other: Counts) -> None:
        """Add the counts of another process."""
        for key, value in other.values.items():
            self.values[key] += value
        self.seconds = [a + b for a, b in zip(self.seconds, other.seconds, strict=True)]

    def without_gauges(self) -> Counts:
        """Return the counters, without gauges, which are meaningless after a process has ended."""
        kept = {k: v for k, v in self.values.items() if k[0].endswith("_total") or k[0] == SUM}
        return Counts(defaultdict(float, kept), self.seconds)


class Metrics:
    """Counters and gauges by name and labels, and the histogram of the times of requests.

    Attributes:
        own: Counts of this process.
        others: Counts of the other workers of the service.
    """

    def __init__(self) -> None:
        self.own, self.others = Counts(), Counts()
        for name in HELP:
            if name not in ("requests_total", "images_total", "request_seconds"):
                self.own.values[name, ()] = 0

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter or gauge."""
        self.own.values[name, tuple(sorted(labels.items()))] += amount

    def value(self, name: str, **labels: str) -> float:
        """Return the value of a counter or gauge of this process."""
        return self.own.values[name, tuple(sorted(labels.items()))]

    def observe(self, seconds: float) -> None:
        """Count the time of a request."""
        self.own.seconds[sum(seconds > one for one in BUCKETS)] += 1
        self.add(SUM, seconds)

    def text(self) -> str:
        """Return the sums over all workers in the text format of Prometheus."""
        counts = Counts()
        counts.add(self.own)
        counts.add(self.others)
        lines = []
        for name, about in HELP.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            kind = "histogram" if name == "request_seconds" else kind
            lines += [f"# HELP viceversa_{name} {about}", f"# TYPE viceversa_{name} {kind}"]
            if kind == "histogram":
                lines += _histogram(f"viceversa_{name}", counts)
                continue
            for (one, labels), value in sorted(counts.values.items()):
                if one == name:
                    inside = ",".join(f'{key}="{text}"' for key, text in labels)
                    lines.append(f"viceversa_{name}{inside and f'{{{inside}}}'} {value:.15g}")
        return "\n".join([*lines, ""])


def _histogram(name: str, counts: Counts) -> list[str]:
    total, lines = 0, []
    for bucket, count in zip([*map(str, BUCKETS), "+Inf"], counts.seconds, strict=True):
        total += count
        lines.append(f'{name}_bucket{{le="{bucket}"}} {total}')
    return [*lines, f"{name}_sum {counts.values[SUM, ()]:.15g}", f"{name}_count {total}"]
