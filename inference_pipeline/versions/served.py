"""A version in service: it has passed every check, and comes with all that a request needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from inference_pipeline.features.join import utc_now
from inference_pipeline.features.reader import FeatureReader
from inference_pipeline.versions.loading import load_model
from inference_pipeline.versions.model import LoadedModel
from inference_pipeline.versions.registry import ModelVersion
from inference_pipeline.versions.variants import ParityBounds
from shared.errors import ContractError, StateError
from shared.feature_store import FeatureService
from shared.features import ROLES, join_key
from shared.manifest import Manifest


@dataclass(frozen=True)
class ServedVersion:
    """A version in service."""

    version: ModelVersion
    alias: str | None
    """The alias under which it serves; None for one that was loaded by its number."""
    model: LoadedModel
    service: FeatureService
    """The features that the model reads, in the order of its input."""
    loaded_at: datetime
    mismatch: FeatureMismatchError | None = None
    """Set while the store no longer has these features: answer without them, as degraded."""


class FeatureMismatchError(ContractError):
    """The feature store does not serve what the version was trained on."""

    def __init__(self, manifest: Manifest, store_hash: str | None) -> None:
        self.feature_service = manifest.feature_service
        self.store_hash = store_hash
        """The hash of the service in the store; None when there is no such service."""
        found = "no such service" if store_hash is None else f"hash {store_hash}"
        super().__init__(
            f"feature service {manifest.feature_service}",
            expected=f"hash {manifest.feature_hash}, which the version was trained on",
            found=found,
            remedy="Train on the features as they are now, or bring back those of the version.",
        )


def load_served(
    version: ModelVersion,
    folder: Path,
    reader: FeatureReader,
    bounds: ParityBounds,
    *,
    lone_pass_threads: int = 1,
) -> ServedVersion:
    """Load a version and check that it can answer with the feature store as it is.

    Args:
        version: what is loaded.
        folder: holds its files.
        reader: the feature store.
        bounds: how far a variant may be off.
        lone_pass_threads: of a forward pass while nothing else runs.

    Raises:
        ContractError: the version must not serve.
    """
    try:
        model = load_model(folder, bounds, lone_pass_threads=lone_pass_threads)
    except ContractError as error:
        raise _named(error, version, folder) from error.__cause__
    model.refused_variants = tuple(
        _named(error, version, folder) for error in model.refused_variants
    )
    service = _agreed_service(model.manifest, reader)
    return ServedVersion(
        version=version, alias=None, model=model, service=service, loaded_at=utc_now()
    )


def _named(error: ContractError, version: ModelVersion, folder: Path) -> ContractError:
    """Return an error that names the version in place of this machine's path of its files."""
    return ContractError(
        error.place.replace(str(folder), f"{version.name} version {version.version}"),
        expected=error.expected,
        found=error.found,
        remedy=error.remedy,
    )


def store_hash(reader: FeatureReader, feature_service: str) -> str | None:
    """Return the hash of a feature service as the store has it now, None if it has none.

    Raises:
        Exception: whatever the store's client raises when the store is down.
    """
    try:
        return reader.describe(feature_service).hash
    except StateError:
        return None


def _agreed_service(manifest: Manifest, reader: FeatureReader) -> FeatureService:
    """Return the feature service of a manifest, cut down to the model's inputs in their order."""
    try:
        service = reader.describe(manifest.feature_service)
    except StateError:
        raise FeatureMismatchError(manifest, store_hash=None) from None
    if service.hash != manifest.feature_hash:
        raise FeatureMismatchError(manifest, store_hash=service.hash)
    served = {feature.column: feature for feature in service.features}
    unknown = [column for column in manifest.features if column not in served]
    if unknown:
        raise ContractError(
            "manifest, features",
            expected=f"features of the service {service.name}",
            found=unknown[0],
        )
    features = tuple(served[column] for column in manifest.features)
    views = {feature.view for feature in features}
    join_keys = {view: key for view, key in service.join_keys.items() if view in views}
    known_keys = {join_key(role) for role in ROLES}
    for view, key in join_keys.items():
        if key not in known_keys:
            raise ContractError(
                f"feature view {view}",
                expected=f"a join key that a mention has: {', '.join(sorted(known_keys))}",
                found=key,
            )
    ttl = {view: age for view, age in service.ttl.items() if view in views}
    return replace(service, features=features, join_keys=join_keys, ttl=ttl)
