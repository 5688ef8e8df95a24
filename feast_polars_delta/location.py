"""Where the tables lie: a local folder, or an object store with its credentials and endpoint."""

from __future__ import annotations

import re
from dataclasses import dataclass

from feast.data_format import DeltaFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig

from feast_polars_delta.errors import OfflineStoreError

_NOT_FOR_DELTA = re.compile(r"[^A-Za-z0-9._~=+@,:/-]")


@dataclass(frozen=True)
class Location:
    """The address of a table or a file, and what its object store must be told."""

    uri: str
    storage_options: dict[str, str]
    """As Delta Lake and Polars take them; empty for a local folder."""

    @property
    def is_remote(self) -> bool:
        """Whether it is in an object store rather than in a folder."""
        return "://" in self.uri

    def child(self, name: str) -> Location:
        """Return the location of a file below this one."""
        return Location(f"{self.uri.rstrip('/')}/{name}", self.storage_options)


def source_location(config: RepoConfig, source: DataSource | None) -> Location:
    """Return the location of a source.

    Raises:
        OfflineStoreError: the source is not a file, or its path is none for a Delta table.
    """
    if not isinstance(source, FileSource):
        raise OfflineStoreError(
            getattr(source, "name", "data source"),
            expected="a FileSource",
            found=type(source).__name__,
        )
    delta = is_delta(source)
    return locate(config, source.path, endpoint=source.s3_endpoint_override, delta=delta)


def locate(
    config: RepoConfig, uri: str, *, endpoint: str | None = None, delta: bool = False
) -> Location:
    """Return the location of a path, relative ones seen from the feature repository.

    Args:
        config: tells the repository, and how object stores are reached.
        uri: a path, or an address such as ``s3://bucket/table``.
        endpoint: of the source; it goes before that of the configuration.
        delta: whether it is to hold a Delta table.

    Raises:
        OfflineStoreError: a Delta table cannot lie there.
    """
    local = uri.removeprefix("file://")
    address = FileSource.get_uri_for_file_path(repo_path=config.repo_path, uri=local)
    if delta:
        _check_delta_address(address)
    if "://" not in address:
        return Location(address, {})
    options = dict(config.offline_store.storage_options)
    if endpoint:
        options["aws_endpoint_url"] = endpoint
    if options.get("aws_endpoint_url", "").startswith("http://"):
        options.setdefault("aws_allow_http", "true")
    return Location(address, options)


def is_delta(source: DataSource | None) -> bool:
    """Tell whether a source is declared to be a Delta table."""
    return isinstance(source, FileSource) and isinstance(source.file_format, DeltaFormat)


def _check_delta_address(uri: str) -> None:
    strange = _NOT_FOR_DELTA.search(uri)
    if strange:
        raise OfflineStoreError(
            uri,
            expected="letters, digits and . _ - = + ~ @ , / in the path of a Delta table",
            found=repr(strange.group()),
            remedy="deltalake would write what it cannot read back, or stop the process.",
        )
