"""The running sums of deltas: the counts of each key after each moment at which they change."""

from __future__ import annotations

import polars as pl

from feature_pipeline.definition.deltas import Counts

_BEGINS = pl.col("id").ne_missing(pl.col("id").shift(1))
"""Where a key's rows begin."""


def running_sums(counts: Counts, totals: pl.DataFrame, due: pl.DataFrame) -> pl.DataFrame:
    """Sum up deltas, per key in order of time, on top of what the keys had.

    The sums run through all keys without a stop, which is cheap; where a key begins, what the keys
    before it summed up is taken off.

    Args:
        counts: gives the columns.
        totals: ``activity.ActivityState.totals``.
        due: ``deltas.DELTA_SCHEMA`` rows in any order.

    Returns:
        ``key``, ``at``, the counts, ``first_seen`` and ``last_seen``: a row per key and moment at
        which a count changed or a mention came, ordered by key and time.
    """
    names = counts.columns
    keys = due.select(pl.col("key").unique().sort()).with_row_index("id")
    summed = _summed(counts, _in_order(due, keys))
    rows = summed.with_columns(
        (_BEGINS.cum_sum() - 1).alias("run"),
        (pl.col("arrivals") > _before("arrivals")).alias("seen"),
    )
    runs = _runs(counts, rows, keys.join(totals, on="key", how="left"))

    def of_run(column: str) -> pl.Expr:
        return pl.lit(runs[column]).gather(pl.col("run"))

    came = pl.col("arrivals") > of_run("arrivals_off")
    last = pl.when("seen").then("at").forward_fill()
    offsets = runs.select(
        (pl.col(name).fill_null(0) - pl.col(f"{name}_off")).alias(name) for name in names
    )
    return rows.select(
        of_run("key").alias("key"),
        "at",
        *(pl.col(name) + pl.lit(offsets[name]).gather(pl.col("run")) for name in names),
        first_seen=pl.coalesce(of_run("first_seen"), pl.when(came).then(of_run("first"))),
        last_seen=pl.coalesce(pl.when(came).then(last), of_run("last_seen")),
    )


def _runs(counts: Counts, rows: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Return a row per key, in order: what it had, and what the sums had reached before it.

    Args:
        counts: gives the columns.
        rows: sums through all rows, with the number of the key's ``run``, and whether a mention
            was ``seen``.
        keys: by ``id``, with the totals that they had.
    """
    reached = (*counts.columns, "arrivals")
    first = rows.filter("seen").group_by("run").agg(pl.col("at").min().alias("first"))
    return (
        rows.select("id", "run", *(_before(name).alias(f"{name}_off") for name in reached))
        .filter(rows.select(_BEGINS).to_series())
        .join(keys, on="id", how="left", maintain_order="left")
        .join(first, on="run", how="left", maintain_order="left")
    )


def _summed(counts: Counts, ordered: pl.DataFrame) -> pl.DataFrame:
    """Return ``id``, ``at``, sums through all rows, and ``arrivals``, the mentions so far.

    There is a row per key and moment, the last one, where a sum differs from the row before.
    """
    what = pl.col("what")
    sums = {
        name: pl.when((what == one) | (what == all_windows)).then("delta").otherwise(0).cum_sum()
        for name, (one, all_windows) in counts.changed_by.items()
    }
    arrivals = (what == counts.arrival).cum_sum().cast(pl.Int32)
    last_of_moment = pl.col("order").ne_missing(pl.col("order").shift(-1))
    summed = ordered.select("id", "at", "order", **sums, arrivals=arrivals).filter(last_of_moment)
    changed = pl.any_horizontal(
        pl.col(name) != _before(name) for name in (*counts.columns, "arrivals")
    )
    return summed.drop("order").filter(changed)


def _in_order(due: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Return deltas with the ``id`` of their key, by key and time, which ``order`` tells.

    One number sorts twice as fast as two columns do.
    """
    numbered = due.join(keys, on="key", how="left").drop("key")
    time = pl.col("at").to_physical() - pl.col("at").to_physical().min()
    span = int(numbered.select(time.max().fill_null(0)).item())
    fits = span.bit_length() + keys.height.bit_length() < 64  # noqa: PLR2004 - bits of an Int64
    wide = pl.col("id").cast(pl.Int64 if fits else pl.Int128)
    return numbered.with_columns(order=wide * 2 ** span.bit_length() + time).sort("order")


def _before(name: str) -> pl.Expr:
    """Return the running sum in the row before; nothing was summed up before the first."""
    return pl.col(name).shift(1, fill_value=0)
