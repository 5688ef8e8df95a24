"""The protocol's JSON: requests as they are read, answers as they are documented."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

MAX_DIMENSIONS = 8
MAX_TENSORS = 16
MAX_ID_CHARS = 200

EXAMPLE: JsonDict = {
    "inputs": [
        {"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": ["@united lost my bag again"]}
    ]
}

Json = dict[str, Any]
Name = Annotated[str, Field(max_length=MAX_ID_CHARS)]


class _Request(BaseModel):
    # Strict: "5" is no size. Fields and parameters that this server does not know are passed
    # over, as the protocol tells servers to do.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class InputParameters(_Request):
    """How the data of an input comes."""

    binary_data_size: Annotated[int, Field(ge=0)] | None = None
    """Bytes after the JSON; without it the data stand in the JSON."""
    shared_memory_region: str | None = None
    """Refused: this server reads requests only."""


class InferInput(_Request):
    """An input tensor."""

    name: Name
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=MAX_DIMENSIONS)]
    datatype: str
    parameters: InputParameters = InputParameters()
    data: list[Any] | None = None


class OutputParameters(_Request):
    """How an output is wanted."""

    binary_data: bool | None = None
    """In place of the request's ``binary_data_output``."""
    classification: Annotated[int, Field(ge=0)] = 0
    """The likeliest so many classes, as texts, in place of the tensor; 0: the tensor."""
    shared_memory_region: str | None = None
    """Refused: this server writes answers only."""


class RequestedOutput(_Request):
    """An output that the client asks for."""

    name: Name
    parameters: OutputParameters = OutputParameters()


class InferParameters(_Request):
    """What holds for the whole request."""

    binary_data_output: bool = False
    timeout: Annotated[int, Field(ge=0, le=10**12)] = 0
    """Microseconds until the answer is of no use; 0: the server's own limit."""
    key: Name | None = None
    """Requests of one key go to one version while traffic is split."""


class InferRequest(_Request):
    """Tensors to infer from."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: Name | None = None
    # Bounded, so that a body full of mistakes costs no more than one of them.
    inputs: Annotated[list[InferInput], Field(min_length=1, max_length=MAX_TENSORS)]
    outputs: Annotated[list[RequestedOutput], Field(max_length=MAX_TENSORS)] | None = None
    """Without it, or empty: all of them."""
    parameters: InferParameters = InferParameters()


class IndexRequest(_Request):
    """Which models to list."""

    ready: bool = False
    """Only those in service."""


class LoadRequest(_Request):
    """A request to load a model."""

    parameters: Json = {}
    """``version``: one more version to serve, asked for by its number. ``config`` and ``file:…``
    are refused: models come from the registry alone."""


class OutputAnswer(BaseModel):
    """An output tensor; its data stand here or, with ``binary_data_size``, after the JSON."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Json | None = None
    data: list[Any] | None = None


class InferAnswer(BaseModel):
    """The outputs of one request."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: Json
    outputs: list[OutputAnswer]


class ServerAnswer(BaseModel):
    """What this server is."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """A tensor of a model; -1 is a dimension that requests choose."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model in service."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(BaseModel):
    """A tensor as Triton's model configuration tells it."""

    name: str
    data_type: str
    dims: list[int]
    optional: bool = False


class ModelConfig(BaseModel):
    """The part of Triton's model configuration that holds here."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    """0: shapes hold the rows too, and the server batches by itself."""
    input: list[TensorConfig]
    output: list[TensorConfig]
    parameters: dict[str, dict[str, str]]


class IndexEntry(BaseModel):
    """A version of a model, or a model without one."""

    name: str
    version: str = ""
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = ""


class Duration(BaseModel):
    """How often something happened and how long it took in all."""

    count: int
    ns: int


class InferenceDurations(BaseModel):
    """Where time went."""

    success: Duration
    """Requests answered through this protocol, from their arrival to their answer."""
    fail: Duration
    """Rows of which the model failed to give scores; they are not timed."""
    compute_infer: Duration
    """Forward passes."""


class ModelStatistics(BaseModel):
    """What a version has done since the server started."""

    name: str
    version: str
    last_inference: int
    """When it last answered through this protocol, in milliseconds since 1970; 0: not yet."""
    inference_count: int
    """Rows answered, whichever way they came."""
    execution_count: int
    """Forward passes; fewer than the rows, since rows of several requests share one."""
    inference_stats: InferenceDurations


class StatisticsAnswer(BaseModel):
    """The statistics of some versions."""

    model_stats: list[ModelStatistics]


class ErrorAnswer(BaseModel):
    """The body of every answer with a status of 400 and above."""

    error: str
