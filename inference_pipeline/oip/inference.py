"""``POST …/infer``: tensors in, tensors out."""

from __future__ import annotations

import time
from datetime import timedelta

from fastapi import Request, Response

from inference_pipeline.engine.answer import Answer, Ask, Prediction, RowError
from inference_pipeline.engine.engine import Engine
from inference_pipeline.engine.timeline import Timeline
from inference_pipeline.http.disconnect import while_connected
from inference_pipeline.http.tracing import timeline_of
from inference_pipeline.oip.encodings import decoded, encode
from inference_pipeline.oip.envelope import HEADER_LENGTH, open_request, seal
from inference_pipeline.oip.schemas import InferRequest
from inference_pipeline.oip.signature import check_requested, questions, tensors
from inference_pipeline.oip.statistics import Statistics
from inference_pipeline.oip.target import Limits, Target

BINARY = "application/octet-stream"


class Inference:
    """Answers inference requests with the engine."""

    def __init__(self, engine: Engine, statistics: Statistics, limits: Limits) -> None:
        self._engine = engine
        self._statistics = statistics
        self._limits = limits

    async def infer(self, request: Request, target: Target) -> Response:
        """Answer a request.

        Raises:
            FtiError: it cannot be answered.
            ClientGoneError: nobody waits for the answer any more.
        """
        arrived = time.perf_counter_ns()
        headers = request.headers
        body = decoded(
            await request.body(), headers.get("Content-Encoding", ""), self._limits.body_bytes
        )
        opened = open_request(body, headers.get(HEADER_LENGTH))
        check_requested(opened.request.outputs or [])
        asked = questions(opened.columns, self._limits.rows)
        ask = _ask(target, opened.request, timeline_of(request))
        work = self._engine.predict(asked, ask)
        answer = await while_connected(request, work)
        response = _response(answer, opened.request, headers.get("Accept-Encoding", ""))
        self._statistics.answered(answer.version, time.perf_counter_ns() - arrived)
        return response


def _ask(target: Target, request: InferRequest, timeline: Timeline | None) -> Ask:
    timeout = request.parameters.timeout
    return Ask(
        model=target.model,
        version=target.version,
        key=request.parameters.key,
        timeout=timedelta(microseconds=timeout) if timeout else None,
        request_id=request.id,
        timeline=timeline,
    )


def _response(answer: Answer, request: InferRequest, accepted: str) -> Response:
    requested = request.outputs or []
    chosen = {
        wanted.name: wanted.parameters.binary_data
        for wanted in requested
        if wanted.parameters.binary_data is not None
    }
    head = {
        "model_name": answer.version.name,
        "model_version": answer.version.version,
        **({} if request.id is None else {"id": request.id}),
        "parameters": {"alias": answer.alias or "", "variant": answer.variant},
    }
    body, json_bytes = seal(
        head,
        tensors(_sound(answer), requested),
        binary=lambda name: chosen.get(name, request.parameters.binary_data_output),
    )
    body, encoding = encode(body, accepted)
    headers = {}
    if json_bytes is not None:
        headers[HEADER_LENGTH] = str(json_bytes)
    if encoding is not None:
        headers["Content-Encoding"] = encoding
    media_type = "application/json" if json_bytes is None else BINARY
    return Response(body, media_type=media_type, headers=headers)


def _sound(answer: Answer) -> list[Prediction]:
    """Return the predictions of all rows.

    Raises:
        FtiError: a row failed. Tensors have no place for that, so that the request fails whole
            rather than hand out a row that only looks like an answer.
    """
    rows = []
    for row in answer.predictions:
        if isinstance(row, RowError):
            raise row.error.within(row.place)
        rows.append(row)
    return rows
