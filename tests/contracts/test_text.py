"""The text normalisation that ingestion and prediction share."""

from __future__ import annotations

import sys
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.text import fingerprint, normalise


@given(st.text(alphabet=st.characters(exclude_characters="&")))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    """But for entities, which are decoded once, a normalised text is left as it is."""
    once = normalise(text)
    assert normalise(once) == once


@given(st.text())
def test_nothing_unprintable_is_left(text: str) -> None:
    """No control character, line break or doubled space reaches a model."""
    normalised = normalise(text)
    assert "  " not in normalised
    assert not any(ord(char) < 32 for char in normalised)


@given(st.text(alphabet=st.characters()))
def test_what_cannot_be_seen_changes_nothing(text: str) -> None:
    """A text with an unprintable character, each of which is looked at, comes out as without it."""
    assert normalise(f"\u200b{text}") == normalise(text)


def test_the_short_way_is_for_texts_without_control_characters() -> None:
    """Of all characters none counts as printable that normalising would take away."""
    every = map(chr, range(sys.maxunicode + 1))
    assert not [char for char in every if char.isprintable() and category(char).startswith("C")]


@pytest.mark.parametrize(
    ("reference", "character"),
    [("&#65;", "A"), (f"&#{'0' * 5000}65;", "A"), (f"&#{'9' * 5000};", "\ufffd"), ("&#x41;", "A")],
)
def test_a_character_reference_of_any_length_is_read(reference: str, character: str) -> None:
    """Numbers too long for any character stand for none, as in HTML."""
    assert normalise(f"late {reference} flight") == f"late {character} flight"


@given(st.text(alphabet="abc !@#", max_size=40).map(lambda text: f"late {text}"))
def test_retweets_and_links_are_near_copies(text: str) -> None:
    """A retweet, another link and another case do not make another text."""
    copy = f"RT @someone: {text.upper()} http://t.co/xyz"
    assert fingerprint(normalise(copy)) == fingerprint(normalise(f"{text} http://else.where"))


def test_negations_make_another_text() -> None:
    """Cleaning keeps what turns a meaning round."""
    assert normalise("NOT good, no!") == "NOT good, no!"
    assert fingerprint("not good") != fingerprint("good")
