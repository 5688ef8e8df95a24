"""The address of an SQL database, as SQLAlchemy takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import URL


def check_sql_address(address: str) -> None:
    """Return if this is an address of an SQL database.

    An `@` of a password that is not written ``%40`` would make its end part of the host, which
    drivers show.

    Raises:
        ValueError: it is not; says what was expected, and nothing of what it holds.
    """
    url = _parsed(address)
    names = "" if url is None else f"{url.host or ''}{url.database or ''}"
    if url is None or address.count("@") > 1 or "@" in names or any(map(str.isspace, address)):
        raise ValueError(
            "an address such as postgresql+psycopg://user:password@host/database, a password's"
            " @, : and / written as %40, %3A and %2F"
        )


def shown_database(address: str) -> str:
    """Return which database an address names, without its server, user and password.

    >>> shown_database("postgresql+psycopg://fti:secret@db:5432/feast?password=secret")
    'postgresql, database feast'
    """
    from sqlalchemy import make_url

    url = make_url(address)
    return f"{url.get_backend_name()}, database {url.database or 'of its default name'}"


def _parsed(address: str) -> URL | None:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(address)
    except (ArgumentError, ValueError):
        # Its text quotes the address, or what stands where its port should.
        return None
