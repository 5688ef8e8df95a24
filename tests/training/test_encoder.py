from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import FtiError, TaskError
from training_pipeline.encoder import load_encoder, load_tokenizer, resolve_base


def test_a_folder_is_taken_as_it_is(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absolute folder and one relative to the current folder both work."""
    assert resolve_base(str(tiny_encoder)) == tiny_encoder
    monkeypatch.chdir(tiny_encoder.parent)
    assert resolve_base(tiny_encoder.name).samefile(tiny_encoder)


def test_a_package_is_found_without_being_imported(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of an installed package is found through its list of files."""
    shutil.copytree(tiny_encoder, tmp_path / "tiny_weights" / "model")
    (tmp_path / "tiny_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    info = tmp_path / "tiny_weights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
    files = ["config.json", "model.safetensors", "tokenizer.json", "1_Pooling/config.json"]
    (info / "RECORD").write_text("".join(f"tiny_weights/model/{name},,\n" for name in files))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert resolve_base("package:tiny_weights/model") == tmp_path / "tiny_weights" / "model"


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("package:no_such_package/model", "expected an installed package 'no_such_package'"),
        ("package:numpy/no_such_folder", "expected a folder 'no_such_folder' with a config.json"),
        ("package:numpy", "expected a folder '' with a config.json"),
        ("./no/such/folder", "found no folder ./no/such/folder"),
        ("what is this?", "found no folder what is this?"),
    ],
)
def test_what_is_not_there_is_named(base: str, message: str) -> None:
    """A base that cannot be found says what was looked for."""
    with pytest.raises(FtiError) as raised:
        resolve_base(base)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ("config.json", "a file config.json"),
        ("tokenizer.json", "a file tokenizer.json"),
        ("model.safetensors", "weights as *.safetensors"),
    ],
)
def test_an_incomplete_folder_is_refused(
    tiny_encoder: Path, tmp_path: Path, absent: str, message: str
) -> None:
    """A folder without configuration, tokenizer or safe weights is no base."""
    folder = shutil.copytree(tiny_encoder, tmp_path / "base")
    (folder / absent).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(FtiError) as raised:
        resolve_base(str(folder))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("model.safetensors", lambda found: found[:1_000], "weights that fit the configuration"),
        ("model.safetensors", lambda _: b"\x9c" * 5_000, "weights that fit the configuration"),
        ("tokenizer.json", lambda _: b"{}", "a tokenizer that can be loaded"),
        ("config.json", lambda _: b"{", "a configuration that transformers knows"),
        ("config.json", lambda _: b'{"model_type": "nope"}', "a configuration that transformers"),
        (
            "config.json",
            lambda found: re.sub(rb'"hidden_size": \d+', b'"hidden_size": 17', found),
            "weights that fit the configuration",
        ),
        (
            "config.json",
            lambda found: re.sub(rb'"vocab_size": \d+', b'"vocab_size": 10', found),
            "weights that fit the configuration",
        ),
    ],
)
def test_a_damaged_base_is_told(
    tiny_encoder: Path,
    tmp_path: Path,
    file: str,
    damage: Callable[[bytes], bytes],
    message: str,
) -> None:
    """Whatever a library raises about a file, the message names the field, the folder and more."""

    def load_both(folder: Path) -> None:
        load_tokenizer(folder, 8)
        load_encoder(folder)

    folder = shutil.copytree(tiny_encoder, tmp_path / "base")
    before = (folder / file).read_bytes()
    (folder / file).write_bytes(damage(before))
    assert (folder / file).read_bytes() != before
    with pytest.raises(TaskError) as raised:
        load_both(folder)
    assert f"training.base: expected {message}" in str(raised.value)
    assert str(folder) in str(raised.value)
    assert "pip install" not in str(raised.value)
    assert raised.value.__cause__ is not None


def test_more_tokens_than_positions_are_refused(tiny_encoder: Path) -> None:
    """A task that asks for longer texts than the base can read is told the limit."""
    with pytest.raises(FtiError, match="at most 64, the positions of the base encoder, found 65"):
        load_tokenizer(tiny_encoder, 65)


def test_texts_are_cut_with_their_last_token(tiny_encoder: Path) -> None:
    """A text that is too long keeps its special tokens; the saved file neither cuts nor pads."""
    tokenizer = load_tokenizer(tiny_encoder, 8)
    long, short = tokenizer.encode(["great " * 50, "great"], 8)
    assert (len(long), long[0], long[-1]) == (8, 2, 3)
    assert len(short) == 3
    assert tokenizer.tokenizer.truncation is None
    assert tokenizer.tokenizer.padding is None
