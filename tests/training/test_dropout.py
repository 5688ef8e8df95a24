from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from shared.errors import StateError
from training_pipeline.fit.dropout import RowDropout, mix, mix_all


def dropped(
    rows: list[int], *shape: int, step: int = 0, p: float = 0.25, seed: int = 7
) -> tuple[Tensor, Tensor]:
    """Return ones after two dropouts in a row of the network, each [rows, *shape]."""
    ones = torch.ones(len(rows), *shape)
    with RowDropout(torch.tensor(rows), seed=seed, step=step):
        return nn.functional.dropout(ones, p), nn.Dropout(p)(ones)


@given(
    count=st.integers(2, 12),
    cut=st.integers(1, 11),
    length=st.integers(1, 9),
    padding=st.integers(0, 5),
    width=st.integers(1, 9),
)
def test_masks_belong_to_rows(count: int, cut: int, length: int, padding: int, width: int) -> None:
    """A batch cut anywhere, its parts padded otherwise, loses the same elements of each row."""
    rows = list(range(count))
    whole, _ = dropped(rows, length + padding, width)
    for part in (rows[:cut], rows[cut:]):
        if part:
            alone, _ = dropped(part, length, width)
            assert torch.equal(alone, whole[part][:, :length])


def test_masks_differ_by_row_place_step_and_seed() -> None:
    """No two rows, layers, steps or seeds share a mask."""
    first, second = dropped([0, 1], 8, 32)
    later, _ = dropped([0, 1], 8, 32, step=1)
    seeded, _ = dropped([0, 1], 8, 32, seed=8)
    masks = [*first, *second, *later, *seeded]
    assert not any(torch.equal(masks[i], masks[j]) for i in range(8) for j in range(i))


def test_the_share_and_the_mean_are_kept() -> None:
    """A quarter is dropped, evenly over rows and columns, and what stays is scaled up."""
    values, _ = dropped(list(range(256)), 400)
    assert sorted(set(values.flatten().tolist())) == [0.0, pytest.approx(4 / 3)]
    gone = (values == 0).float()
    assert abs(gone.mean().item() - 0.25) < 0.005
    assert (gone.mean(dim=0) - 0.25).abs().max() < 0.12
    assert (gone.mean(dim=1) - 0.25).abs().max() < 0.12


def test_evaluation_drops_nothing() -> None:
    """A network in evaluation mode passes values on as they are."""
    ones = torch.ones(3, 4)
    with RowDropout(torch.arange(3), seed=7, step=0):
        assert torch.equal(nn.Dropout(0.5).eval()(ones), ones)


@pytest.mark.parametrize("kind", ["bool", "float", "none"])
def test_attention_without_a_drop_is_attention(kind: str) -> None:
    """With next to no dropout the weights are those of torch's own attention, masks included."""
    drawn = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4, generator=drawn) for _ in range(3))
    seen = torch.tensor([True, True, True, False, False]).expand(2, 1, 5, 5)
    bias = torch.zeros(2, 1, 5, 5).masked_fill(~seen, float("-inf"))
    mask = {"bool": seen, "float": bias, "none": None}[kind]
    attend = nn.functional.scaled_dot_product_attention
    with RowDropout(torch.arange(2), seed=7, step=0):
        ours = attend(query, key, value, attn_mask=mask, dropout_p=1e-9)
        halved = attend(query, key, value, attn_mask=mask, dropout_p=0.5)
    torch.testing.assert_close(ours, attend(query, key, value, attn_mask=mask))
    assert not torch.allclose(halved, ours)


def test_causal_attention_is_refused() -> None:
    """Dropout inside attention of another kind is refused, not left to chance."""
    part = torch.ones(1, 1, 2, 4)
    with (
        RowDropout(torch.arange(1), seed=7, step=0),
        pytest.raises(StateError, match="causal attention"),
    ):
        nn.functional.scaled_dot_product_attention(part, part, part, dropout_p=0.1, is_causal=True)


@given(number=st.integers(0, 2**64 - 1))
def test_tensors_are_hashed_as_numbers_are(number: int) -> None:
    """The hash of a tensor's element has the bits of the hash of the number."""
    signed = number - 2**64 if number >= 2**63 else number
    assert int(mix_all(torch.tensor([signed]))[0]) % 2**64 == mix(number)


def test_the_hash_is_splitmix64() -> None:
    """The first output for seed 0 is the one that is published."""
    assert mix(0) == 0xE220A8397B1DCDAF
