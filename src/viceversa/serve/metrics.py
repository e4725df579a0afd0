"""Counters of the service in the text format of Prometheus."""

from __future__ import annotations

from collections import defaultdict

HELP = {
    "requests_total": "Answered requests, by route and status.",
    "images_total": "Translated images, by model.",
    "batches_total": "Batches of the networks.",
    "cancelled_total": "Requests whose client disconnected before the answer.",
    "decoder_failures_total": "Images whose decoder process failed or was too slow.",
    "request_seconds": "Time to answer translation requests.",
    "requests_in_progress": "Translation requests that are admitted and not answered.",
    "body_bytes": "Bytes of request bodies in memory.",
}
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters and gauges by name and labels, and the histogram of the times of requests."""

    def __init__(self) -> None:
        self._values: defaultdict[tuple[str, Labels], float] = defaultdict(float)
        self._seconds = [0] * (len(BUCKETS) + 1)
        for name in HELP:
            if name not in ("requests_total", "images_total", "request_seconds"):
                self._values[name, ()] = 0

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter or gauge."""
        self._values[name, tuple(sorted(labels.items()))] += amount

    def value(self, name: str, **labels: str) -> float:
        """Return the value of a counter or gauge."""
        return self._values[name, tuple(sorted(labels.items()))]

    def observe(self, seconds: float) -> None:
        """Count the time of a request."""
        self._seconds[sum(seconds > one for one in BUCKETS)] += 1
        self.add("request_seconds_sum", seconds)

    def text(self) -> str:
        """Return all values in the text format of Prometheus."""
        lines = []
        for name, about in HELP.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            kind = "histogram" if name == "request_seconds" else kind
            lines += [f"# HELP viceversa_{name} {about}", f"# TYPE viceversa_{name} {kind}"]
            if kind == "histogram":
                lines += self._histogram(f"viceversa_{name}")
                continue
            for (one, labels), value in sorted(self._values.items()):
                if one == name:
                    inside = ",".join(f'{key}="{text}"' for key, text in labels)
                    lines.append(f"viceversa_{name}{inside and f'{{{inside}}}'} {value:g}")
        return "\n".join([*lines, ""])

    def _histogram(self, name: str) -> list[str]:
        total, lines = 0, []
        for bucket, count in zip([*map(str, BUCKETS), "+Inf"], self._seconds, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bucket}"}} {total}')
        return [
            *lines,
            f"{name}_sum {self.value('request_seconds_sum'):g}",
            f"{name}_count {total}",
        ]
