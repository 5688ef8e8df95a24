"""Where a service that asks nobody for a token may listen."""

from __future__ import annotations

from ipaddress import ip_address

from shared.errors import SettingsError


def check_host(host: str, *, setting: str, guarded: bool, open_setting: str) -> None:
    """Return if a service may listen on a host: anybody may ask there, so that it wants a reason.

    Args:
        host: a name or an address; empty for all addresses.
        setting: the environment variable that names the host, for errors.
        guarded: whether tokens are asked for, or it is said that none shall be.
        open_setting: the variables by which that is said.

    Raises:
        SettingsError: the host can be reached from other machines, and nothing guards it.
    """
    if guarded or is_loopback(host):
        return
    raise SettingsError(
        f"environment variable {setting}",
        expected="an address of this machine alone, as long as anybody may ask",
        found=repr(host),
        remedy=f"Set {open_setting}.",
    )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host. Names other than localhost count as public.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost")
    (True, True, True)
    >>> is_loopback("0.0.0.0"), is_loopback(""), is_loopback("inference.internal")
    (False, False, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
