"""Models of other parameters are told apart, whatever holds these."""

from __future__ import annotations

import pytest
import torch

from genimage_stream.evaluation.model import parameters_digest


def model(kind: str, value: float) -> torch.nn.Module:
    tensor = torch.eye(3) * value
    kinds = {"plain": tensor, "bfloat16": tensor.bfloat16(), "strided": tensor[:, ::2], "sparse": tensor.to_sparse()}
    found = torch.nn.Module()
    found.register_buffer("weight", kinds[kind])
    found.register_buffer("none", torch.empty(0))
    return found


@pytest.mark.parametrize("kind", ["plain", "bfloat16", "strided", "sparse"])
def test_a_digest_goes_by_the_values(kind: str) -> None:
    assert parameters_digest(model(kind, 1)) == parameters_digest(model(kind, 1))
    assert parameters_digest(model(kind, 1)) != parameters_digest(model(kind, 2))


def test_a_function_has_none() -> None:
    assert parameters_digest(torch.sigmoid) is None
