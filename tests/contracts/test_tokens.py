"""Files of tokens: who is known by them, and what is refused without being repeated."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from shared.errors import SettingsError
from shared.listening import check_host
from shared.tokens import Client, TokenBook, read_tokens

TOKEN = "a1" * 20
OTHER = "b2" * 20


def read(path: Path, *lines: str) -> TokenBook:
    """Return what a file of some lines says."""
    file = path / "tokens"
    file.write_text("\n".join(lines))
    return read_tokens(file, scopes=("predict", "models"), setting="FTI_X_TOKENS_FILE")


def test_clients_are_known_by_their_tokens(tmp_path: Path) -> None:
    """A token leads to its name and scopes; another one, or a part of one, to nobody."""
    book = read(tmp_path, "# who", "", f"shop predict {TOKEN}", f"ops  predict,models\t{OTHER}")
    assert book.find(TOKEN.encode()) == Client("shop", frozenset({"predict"}))
    assert book.find(OTHER.encode()) == Client("ops", frozenset({"predict", "models"}))
    assert book.find(TOKEN[:-1].encode()) is None
    assert book.find(b"") is None


def test_a_digest_stands_for_its_token(tmp_path: Path) -> None:
    """The file need not hold what it grants; the digest itself opens nothing."""
    digest = sha256(TOKEN.encode()).hexdigest()
    book = read(tmp_path, f"shop predict sha256:{digest}")
    assert book.find(TOKEN.encode()) == Client("shop", frozenset({"predict"}))
    assert book.find(digest.encode()) is None
    assert book.find(f"sha256:{digest}".encode()) is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"predict {TOKEN}", "NAME SCOPE"),
        (f"shop predict {TOKEN} more", "NAME SCOPE"),
        (f"{TOKEN * 2} predict shop", "a name"),
        (f"shop {TOKEN} predict", "models, predict"),
        (f"shop predict,, {TOKEN}", "models, predict"),
        (f"shop predict {TOKEN[:31]}", "32 characters"),
        (f"shop predict {TOKEN}\u00e9", "letters, digits"),
        (f"shop predict sha256:{TOKEN}", "64 hex digits"),
        (f"known predict {TOKEN}", "a name of its own"),
        (f"shop predict {OTHER}", "that of known"),
    ],
)
def test_a_line_that_does_not_fit_is_named_and_not_repeated(
    tmp_path: Path, line: str, told: str
) -> None:
    """The error says which line and what belongs there, and nothing that could be a token."""
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, f"known predict {OTHER}", "", line)
    message = str(caught.value)
    assert "line 3" in message
    assert told in message
    assert TOKEN[:31] not in message
    assert OTHER not in message


@pytest.mark.parametrize("lines", [[], ["# nobody yet"]])
def test_a_file_without_tokens_is_refused(tmp_path: Path, lines: list[str]) -> None:
    """An empty file would lock everybody out, or was mounted in the wrong place."""
    with pytest.raises(SettingsError, match="one token or more"):
        read(tmp_path, *lines)


def test_a_file_that_cannot_be_read_is_told_with_its_setting(tmp_path: Path) -> None:
    """A folder or nothing at all in the file's place stops the start, with the setting's name."""
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(SettingsError, match="FTI_X_TOKENS_FILE"):
            read_tokens(path, scopes=(), setting="FTI_X_TOKENS_FILE")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.7", "inference"])  # noqa: S104
def test_an_open_service_stays_on_its_machine(host: str) -> None:
    """Without tokens a public address is refused with what to set; guarded, any address will do."""
    with pytest.raises(SettingsError, match="Set FTI_X_OPEN"):
        check_host(host, setting="FTI_X_HOST", guarded=False, open_setting="FTI_X_OPEN=true")
    check_host(host, setting="FTI_X_HOST", guarded=True, open_setting="FTI_X_OPEN=true")
    check_host("127.0.0.1", setting="FTI_X_HOST", guarded=False, open_setting="")
