"""One fit by one contender, in a process of its own; the parent is ``benchmark.py``.

``python -m benchmarks.training.trial ANSWER CONTENDER TASK HISTORY ROWS EPOCHS PRECISION``
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.training.contender import CONTENDERS, Job
from benchmarks.training.hugging_face import fit_with_trainer
from benchmarks.training.rows import read_rows
from benchmarks.training.this_loop import fit_with_this_loop
from shared.task import load_task
from training_pipeline.encoder import load_tokenizer, resolve_base
from training_pipeline.fit.examples import tokenise
from training_pipeline.fit.start import build_model


def make_job(task_file: Path, history: Path, rows: int, *, epochs: int, precision: str) -> Job:
    """Return what every contender does: the task's own settings, and no rows held back."""
    task = load_task(task_file)
    changes = {
        "epochs": epochs,
        "precision": precision,
        "validation_share": 0.0,
        "patience": None,
        "evaluate_steps": None,
    }
    task = task.model_copy(update={"training": task.training.model_copy(update=changes)})
    base = resolve_base(task.training.base)
    tokenizer = load_tokenizer(base, task.training.max_length)
    read = read_rows(history, task, rows)
    return Job(
        task=task,
        base=base,
        tokenizer=tokenizer,
        rows=read,
        examples=tokenise(read, tokenizer, task.training.max_length),
    )


def main() -> None:
    """Run one trial and write what it measured as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.trial")
    parser.add_argument("answer", type=Path)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("task", type=Path)
    parser.add_argument("history", type=Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("epochs", type=int)
    parser.add_argument("precision", choices=("fp32", "bf16"))
    options = parser.parse_args()
    job = make_job(
        options.task,
        options.history,
        options.rows,
        epochs=options.epochs,
        precision=options.precision,
    )
    if options.contender == CONTENDERS[0]:
        speed = fit_with_this_loop(job)
    else:
        speed = fit_with_trainer(
            job, options.answer.parent / "trainer", grouped=options.contender == CONTENDERS[2]
        )
    encoder = build_model(job.examples.features, job.task, base=job.base).encoder
    embeddings = sum(
        weights.numel() for name, weights in encoder.named_parameters() if "embed" in name
    )
    answer = {
        **asdict(speed),
        "matrix_parameters": sum(weights.numel() for weights in encoder.parameters()) - embeddings,
        "layers": encoder.config.num_hidden_layers,
        "hidden": encoder.config.hidden_size,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
    options.answer.write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
