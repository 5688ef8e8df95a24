"""The summary of a training run, for a person."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from training_pipeline.result import TrainResult


def show(console: Console, result: TrainResult) -> None:
    """Print what was trained, how it compares with the baseline, and what the gate said."""
    rows, metrics = result.rows, result.metrics
    console.print(
        f"Of {rows.labelled:,} labelled texts {rows.folded:,} were near-copies of earlier ones. "
        f"The model learned from {rows.train:,} and was measured on the {rows.holdout:,} newest."
    )
    table = Table("held-out texts", "model (ONNX)", "linear baseline", title="Training")
    for name, title in (("accuracy", "accuracy"), ("macro_f1", "macro F1")):
        table.add_row(title, f"{metrics[name]:.3f}", f"{metrics[f'baseline_{name}']:.3f}")
    for name in sorted(metrics):
        if name.startswith("recall_"):
            baseline = metrics[f"baseline_{name}"]
            label = name.removeprefix("recall_")
            table.add_row(f"recall of {label}", f"{metrics[name]:.3f}", f"{baseline:.3f}")
    console.print(table)
    console.print(
        f"ONNX agrees with torch on {metrics['onnx_agreement']:.2%} of labels, "
        f"int8 on {metrics['int8_agreement']:.2%}."
    )
    if "champion_difference" in metrics:
        console.print(
            f"Accuracy against the champion's on the same texts: "
            f"{metrics['champion_difference']:+.4f}."
        )
    console.print(f"Registered as version {result.version}.")
    if result.gate.passed and result.champion:
        console.print("Gate passed: this version is champion now.")
    elif result.gate.passed:
        console.print("Gate passed, but this version is not champion: see the note.")
    else:
        console.print("Gate failed: the champion stays. Because:")
        for reason in result.gate.reasons:
            console.print(f"  - {reason}")
    for note in result.gate.notes:
        console.print(f"Note: {note}.")
