"""Compressed bodies: what may come, what may go, and how large it may become."""

from __future__ import annotations

import gzip
import zlib

from shared.errors import InputError
from shared.validation import shown

_WORTH_COMPRESSING = 1024
"""Bytes; below it compressing takes longer than it saves."""
_FAST = 1
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class UnsupportedEncodingError(InputError):
    """A body came in an encoding that is not read here."""


class BodyTooLargeError(InputError):
    """A body is, or becomes when decompressed, larger than allowed."""


def decoded(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return a body as it was before it was compressed.

    Args:
        body: as it came.
        encoding: the header ``Content-Encoding``; empty without one.
        max_bytes: that it may become; decompression stops there, whatever was promised.

    Raises:
        UnsupportedEncodingError: the encoding is neither gzip nor deflate.
        BodyTooLargeError: it would be larger than ``max_bytes``.
        InputError: it is not compressed as it says.
    """
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return body
    if name not in _WINDOW_BITS:
        raise UnsupportedEncodingError(
            "header Content-Encoding", expected="gzip, deflate or none", found=shown(encoding)
        )
    stream = zlib.decompressobj(_WINDOW_BITS[name])
    try:
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        raise _not_compressed(name, "other bytes") from None
    if len(plain) > max_bytes:
        raise BodyTooLargeError(
            "body", expected=f"at most {max_bytes} bytes", found="more, once decompressed"
        )
    if not stream.eof or stream.unused_data:
        raise _not_compressed(name, "bytes after its end" if stream.eof else "a part of it")
    return plain


def encode(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """Return a body as a client accepts it, and its encoding if it is compressed.

    Args:
        body: to be sent.
        accepted: the header ``Accept-Encoding``; empty without one.
    """
    if len(body) < _WORTH_COMPRESSING:
        return body, None
    names = {
        name.strip().lower()
        for part in accepted.split(",")
        for name, _, quality in [part.partition(";")]
        if quality.replace(" ", "") not in {"q=0", "q=0.0"}
    }
    if "gzip" in names:
        return gzip.compress(body, _FAST, mtime=0), "gzip"
    if "deflate" in names:
        return zlib.compress(body, _FAST), "deflate"
    return body, None


def _not_compressed(name: str, found: str) -> InputError:
    return InputError("body", expected=f"one {name} stream, as its header says", found=found)
