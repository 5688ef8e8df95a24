"""The fit: fine-tuning of the classifier, in one process or several, exact across interruptions.

``loop.py`` is what happens, on one screen; every other module is one thing that it needs.
"""

from training_pipeline.fit.checkpoint import Checkpoints
from training_pipeline.fit.execution import Execution
from training_pipeline.fit.fitting import Fitted, assist, fit
from training_pipeline.fit.processes import Processes, processes_of
from training_pipeline.fit.start import build_model

__all__ = [
    "Checkpoints",
    "Execution",
    "Fitted",
    "Processes",
    "assist",
    "build_model",
    "fit",
    "processes_of",
]
