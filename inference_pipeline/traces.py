"""Spans on their way to a collector, by OTLP over HTTP. Imported only where traces are asked for.

What the standard has environment variables for is set by those: OTEL_TRACES_SAMPLER,
OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME and so on.
"""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_NAME = "fti-inference"
_STOP_SECONDS = 5.0
_PATH = "/v1/traces"
_QUERY = "url.query"


class Traces:
    """Sends spans in batches, from a thread of its own.

    Nothing waits for it: what a collector that is slow or away does not take is dropped.
    """

    def __init__(self, url: str) -> None:
        """Start the thread.

        Args:
            url: of the collector; without a path, the standard's path is asked.
        """
        endpoint = url if urlsplit(url).path.strip("/") else url.rstrip("/") + _PATH
        given = OTELResourceDetector().detect().attributes
        self.provider = TracerProvider(
            resource=Resource.create({SERVICE_NAME: _NAME, **given}), shutdown_on_exit=False
        )
        self.provider.add_span_processor(_WithoutQuery())
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))

    def close(self) -> None:
        """Send what is left; a collector that is away holds the end up for some seconds only."""
        # A daemon: a collector that answers a byte at a time would hold it for half a minute.
        last = threading.Thread(target=self.provider.shutdown, name="last-spans", daemon=True)
        last.start()
        last.join(_STOP_SECONDS)


class _WithoutQuery(SpanProcessor):
    """Blanks the query of a request: its `key` may be a user's id, which is nobody else's."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - of the SDK
        if span.attributes and _QUERY in span.attributes:
            span.set_attribute(_QUERY, "REDACTED")
