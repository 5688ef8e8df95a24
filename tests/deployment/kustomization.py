"""Renders a Kustomization as `kustomize build` does, as far as this project's use it.

Resources, components, JSON patches with a target, image names and the namespace; whatever else
a file says is refused, so that nothing is left out unseen.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

_KNOWN = {
    "apiVersion",
    "kind",
    "namespace",
    "resources",
    "components",
    "patches",
    "images",
}
_WITHOUT_NAMESPACE = {"Namespace"}


def build(folder: Path) -> list[Manifest]:
    """Return the manifests of a folder with a kustomization.yaml."""
    return _accumulate(folder, [])


def _accumulate(folder: Path, manifests: list[Manifest]) -> list[Manifest]:
    says = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert says.keys() <= _KNOWN, f"{folder}: {says.keys() - _KNOWN}"
    for name in says.get("resources", []):
        path = folder / name
        found = build(path) if path.is_dir() else list(_documents(path))
        for manifest in found:
            assert _identity(manifest) not in map(_identity, manifests), _identity(manifest)
            manifests.append(manifest)
    for name in says.get("components", []):
        manifests = _accumulate(folder / name, manifests)
    for patch in says.get("patches", []):
        _patch(manifests, patch, folder)
    for manifest in manifests:
        if "namespace" in says and manifest["kind"] not in _WITHOUT_NAMESPACE:
            manifest["metadata"]["namespace"] = says["namespace"]
        for container in _containers(manifest):
            _rename(container, says.get("images", []))
    return manifests


def _documents(path: Path) -> Iterator[Manifest]:
    for manifest in yaml.safe_load_all(path.read_text()):
        assert manifest is not None, f"{path}: an empty document"
        yield manifest


def _identity(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def _patch(manifests: list[Manifest], patch: Manifest, folder: Path) -> None:
    target = patch["target"]
    assert target.keys() <= {"kind", "name"}
    hit = [
        manifest
        for manifest in manifests
        if re.fullmatch(target["kind"], manifest["kind"])
        and re.fullmatch(target["name"], manifest["metadata"]["name"])
    ]
    assert hit, f"{folder}: no manifest is {target}"
    for manifest in hit:
        for operation in yaml.safe_load(patch["patch"]):
            _apply(manifest, copy.deepcopy(operation))


def _apply(manifest: Manifest, operation: Manifest) -> None:
    """Apply one operation of RFC 6902, which refuses a path that is not there."""
    *way, last = (
        part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
    )
    at: Any = manifest
    for part in way:
        at = at[int(part)] if isinstance(at, list) else at[part]
    if operation["op"] == "add" and isinstance(at, list):
        assert last == "-"
        at.append(operation["value"])
    elif operation["op"] == "add":
        at[last] = operation["value"]
    else:
        assert operation["op"] == "replace"
        assert last in at, operation["path"]
        at[last] = operation["value"]


def _containers(manifest: Manifest) -> list[Manifest]:
    pod = pod_of(manifest)
    return [] if pod is None else pod["spec"]["containers"]


def pod_of(manifest: Manifest) -> Manifest | None:
    """Return the template of a manifest's pods, None if it makes none."""
    template: Manifest | None = manifest.get("spec", {}).get("template")
    return template


def _rename(container: Manifest, images: list[Manifest]) -> None:
    name, _, tag = container["image"].partition(":")
    for image in images:
        if image["name"] == name:
            tag = image.get("newTag", tag)
            container["image"] = f"{image.get('newName', name)}:{tag}"
