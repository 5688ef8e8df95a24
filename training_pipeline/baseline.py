"""The linear baseline: TF-IDF and logistic regression, which every model must beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training_pipeline.rows import Rows

WORDS_PER_TERM = (1, 2)
INVERSE_REGULARISATION = 3.0


def baseline_labels(train: Rows, holdout: Rows) -> npt.NDArray[np.int64]:
    """Learn from exactly the texts that the model learns from; return labels of the held-out.

    Args:
        train: rows to learn from, with two labels at least.
        holdout: rows to label.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    terms = TfidfVectorizer(ngram_range=WORDS_PER_TERM, sublinear_tf=True)
    linear = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1_000)
    linear.fit(terms.fit_transform(train.texts), train.labels)
    return np.asarray(linear.predict(terms.transform(holdout.texts)), dtype=np.int64)
