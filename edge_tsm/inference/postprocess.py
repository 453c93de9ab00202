"""From output tensor to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edge_tsm.bundle.card import Card
from edge_tsm.datatypes import Activation, Tensor
from edge_tsm.errors import AnswerError, CardError


def read_logits(card: Card, outputs: Mapping[str, Tensor], rows: int) -> NDArray[np.float32]:
    """Return a copy of the logits among a model's outputs to `rows` clips, (rows, classes).

    Raises:
        CardError: they are missing, or not of the card's shape.
    """
    output, shape = outputs.get(card.output.name), (rows, len(card.labels))
    if output is None or output.shape != shape:
        found = {name: value.shape for name, value in outputs.items()}
        raise CardError(
            f"card.output {card.output.name} and its {shape[1]} labels do not fit the model, "
            f"which answers {found}"
        )
    return np.array(output, np.float32)


def probabilities(logits: NDArray[np.float32], activation: Activation) -> NDArray[np.float32]:
    """Return what a card's activation makes of (..., classes) logits.

    With "softmax" they sum to 1; with "sigmoid" each class has a probability of its own.

    >>> probabilities(np.zeros(2, np.float32), "softmax").tolist()
    [0.5, 0.5]
    >>> probabilities(np.zeros(1, np.float32), "sigmoid").tolist()
    [0.5]
    """
    return ACTIVATIONS[activation](logits)


def check_finite(logits: NDArray[np.float32], what: str) -> None:
    """Refuse logits that are no answer; `what` names the artifact and where it runs.

    Raises:
        AnswerError: NaN or infinity among them.
    """
    if not np.isfinite(logits).all():
        raise AnswerError(
            f"{what} answers NaN or infinity, which is no answer; see `edge-tsm verify`, and take "
            "another file (--variant), engine, device or --precision f32"
        )


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities along the last axis, safe for large logits."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: NDArray[np.float32] = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a probability per class, each on its own, safe for large logits."""
    small = np.exp(-np.abs(logits))
    result: NDArray[np.float32] = np.where(logits >= 0, 1, small) / (1 + small)
    return result


ACTIVATIONS: dict[Activation, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
}
