"""How traffic is split between champion and challenger. Nothing here knows a server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from shared.errors import ContractError

SHARE_TAG = "traffic_share"
"""The tag of a model version that gives its share as a challenger, 0 to 1. It stands on the
version and not on the model, so that the next challenger begins with none."""

_DIGEST_BYTES = 8
_DIGESTS = float(256**_DIGEST_BYTES)


def challenger_share(tags: Mapping[str, str]) -> float:
    """Return the share of requests that a challenger gets; 0 where its version names none.

    >>> challenger_share({"traffic_share": "0.25"})
    0.25
    >>> challenger_share({})
    0.0

    Raises:
        ContractError: the tag holds no number from 0 to 1.
    """
    given = tags.get(SHARE_TAG)
    if given is None:
        return 0.0
    try:
        share = float(given)
    except ValueError:
        share = float("nan")
    # Written so that NaN is refused too.
    if not 0 <= share <= 1:
        raise ContractError(
            f"tag {SHARE_TAG}",
            expected="a number from 0 to 1",
            found=repr(given[:40]),
            remedy="Set the tag of the model version; until then the challenger gets no traffic.",
        )
    return share


def goes_to_challenger(key: str, share: float, *, experiment: str) -> bool:
    """Tell whether a request belongs to the challenger's share.

    The same key gives the same answer as long as the share stands, and a share that grows takes
    keys over but gives none back.

    >>> goes_to_challenger("ann", 0.0, experiment="tiny:2")
    False
    >>> goes_to_challenger("ann", 1.0, experiment="tiny:2")
    True

    Args:
        key: what the split is sticky on, such as a user.
        share: the challenger's share, 0 to 1.
        experiment: names the split: another one deals the keys anew, so that it is not always the
            same callers who get what is being tried.
    """
    digest = hashlib.blake2b(
        key.encode(errors="surrogatepass"),
        digest_size=_DIGEST_BYTES,
        person=hashlib.blake2b(experiment.encode(), digest_size=16).digest(),
    ).digest()
    return int.from_bytes(digest) < share * _DIGESTS
