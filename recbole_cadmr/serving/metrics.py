"""What Prometheus is told."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    generate_latest,
)

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """Counts of one service, in a registry of its own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        name = "recbole_cadmr_{}".format
        self._requests = Counter(name("requests"), "Requests answered.", ["endpoint", "status"], registry=registry)
        self._errors = Counter(
            name("errors"), "Requests refused (client) or failed (server).", ["endpoint", "side"], registry=registry
        )
        self._seconds = Histogram(
            name("request_seconds"), "From the head of a request to its answer.", ["endpoint"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._model = Gauge(name("model"), "1 for what is served.", ["name", "model", "version"], registry=registry)
        self._loaded = Gauge(
            name("model_loaded_seconds"), "When it was loaded, since 1970.", ["name"], registry=registry
        )
        self._reloads = Counter(name("reloads"), "Exports taken or refused.", ["name", "result"], registry=registry)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)
        if status >= 400:
            self._errors.labels(endpoint, "server" if status >= 500 else "client").inc()

    def serves(self, name: str, model: str, version: str, since: float) -> None:
        """Note which version of ``name`` is served since when."""
        for labels in [tuple(sample.labels.values()) for family in self._model.collect() for sample in family.samples]:
            if labels[0] == name:
                self._model.remove(*labels)
        self._model.labels(name, model, version).set(1)
        self._loaded.labels(name).set(since)

    def reloaded(self, name: str, is_taken: bool) -> None:
        """Count an export that was looked at while another one is served."""
        self._reloads.labels(name, "taken" if is_taken else "refused").inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)
