"""Requests that are turned away for now: why, and when to try again."""

from __future__ import annotations

import math
from http import HTTPStatus

from shared.bearer import Send
from shared.errors import FtiError
from shared.refusal import send_json

_LOG = "event log"
_SEND_AGAIN = "Send it again after Retry-After: what was appended already is a duplicate then."


class TurnedAwayError(FtiError):
    """A request that could be taken at another time.

    Attributes:
        status: of the answer.
        reason: by which it is counted.
        retry_after: seconds after which it makes sense to try again.
    """

    def __init__(
        self,
        place: str,
        *,
        expected: str,
        found: str,
        remedy: str = _SEND_AGAIN,
        status: HTTPStatus = HTTPStatus.SERVICE_UNAVAILABLE,
        reason: str = "unavailable",
        retry_after: float = 1.0,
    ) -> None:
        super().__init__(place, expected=expected, found=found, remedy=remedy)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """The header Retry-After, in whole seconds as HTTP has it."""
        return {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


def too_fast(client: str, seconds: float) -> TurnedAwayError:
    """Return the error for a client that posts more than its rate."""
    return TurnedAwayError(
        f"events of {client}",
        expected="no more than the rate that this gateway allows a client",
        found="more",
        remedy="Send it again after Retry-After, and post more slowly.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
        reason="rate",
        retry_after=seconds,
    )


def too_many_requests(limit: int) -> TurnedAwayError:
    """Return the error for a request beside too many others."""
    return TurnedAwayError(
        "gateway",
        expected=f"at most {limit} requests at a time",
        found="more",
        reason="concurrency",
    )


def log_behind(entries: int, limit: int) -> TurnedAwayError:
    """Return the error for events that the stream could not keep up with."""
    return TurnedAwayError(
        _LOG,
        expected=f"at most {limit} entries that wait for the stream",
        found=f"{entries}",
        reason="backlog",
        retry_after=5.0,  # the stream tells how far it is once an epoch, which is that long
    )


def log_unavailable() -> TurnedAwayError:
    """Return the error for events that the log did not take."""
    return TurnedAwayError(
        _LOG, expected="it to take the events", found="that it did not", reason="log"
    )


def dead_letters_full() -> TurnedAwayError:
    """Return the error for items that do not fit, and that there is no room to keep."""
    return TurnedAwayError(
        "dead letters",
        expected="room for the items of this batch that do not fit",
        found="none",
        remedy="Leave those items out, or wait for the operator to clear the dead letters.",
        reason="dead_letters",
        retry_after=60.0,
    )


async def refuse(
    send: Send, path: str, status: int, error: FtiError, headers: dict[str, str]
) -> None:
    """Answer a request that does not reach a route; see ``shared.bearer.Refuse``."""
    del path  # all of the gateway's errors have one shape
    await send_json(send, status, {"error": error.as_dict()}, headers)
