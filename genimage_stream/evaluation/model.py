"""The detector of a command line: imported by its name, with its weights, and its outputs as probabilities."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

Outputs = Literal["logits", "probability"]

#: In a file of weights, where others than the bare state dict keep it.
_INSIDE = ("model", "state_dict", "model_state_dict")
#: What DistributedDataParallel and torch.compile put before all names of a state dict.
_WRAPPERS = ("module.", "_orig_mod.")


def load_model(spec: str, weights: str | None, device: torch.device) -> Callable[[torch.Tensor], Any]:
    """What `module:function` or `file.py:function` returns when it is called, in evaluation mode on the device.

    `weights`: a file that torch.save wrote, loaded with weights_only=True. Raises ValueError, in one sentence, for a
    name that is not there, something that cannot be called, and weights that do not fit.
    """
    made = _factory(spec)()
    if not callable(made):
        raise ValueError(f"--model {spec}: it returned {type(made).__name__}, which cannot be called with images")
    if isinstance(made, torch.nn.Module):
        made = made.to(device).eval()
    if weights is not None:
        _load_weights(made, spec, weights, device)
    return made  # type: ignore[no-any-return]


def _factory(spec: str) -> Callable[[], Any]:
    module_name, colon, function = spec.rpartition(":")
    if not colon or not module_name or not function:
        raise ValueError(f"--model {spec}: module:function is needed, e.g. my_detector:load, or my_detector.py:load")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` has it, and the command does not
    try:
        if module_name.endswith(".py"):
            found = importlib.util.spec_from_file_location(Path(module_name).stem, module_name)
            assert found is not None
            assert found.loader is not None
            module = importlib.util.module_from_spec(found)
            sys.modules[found.name] = module
            found.loader.exec_module(module)
        else:
            module = importlib.import_module(module_name)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"--model {spec}: {module_name} cannot be imported ({reason})") from error
    factory = getattr(module, function, None)
    if not callable(factory):
        raise ValueError(f"--model {spec}: {module_name} has no function {function}")

    def call() -> Any:
        try:
            return factory()
        except Exception as error:
            raise ValueError(f"--model {spec}: {function}() failed ({type(error).__name__}: {error})") from error

    return call


def _load_weights(model: Any, spec: str, weights: str, device: torch.device) -> None:
    if not hasattr(model, "load_state_dict"):
        raise ValueError(f"--weights needs a torch.nn.Module, but --model {spec} returned {type(model).__name__}")
    try:
        state = torch.load(weights, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"--weights {weights}: No such file") from None
    except Exception as error:  # torch raises many kinds for files that are none
        if "allowed global" in str(error) or "Unsupported global" in str(error):
            raise ValueError(
                f"--weights {weights} holds more than tensors, and loading that could run code: write "
                "torch.save(model.state_dict(), file) and give that file, or load it in the function of --model"
            ) from error
        raise ValueError(
            f"--weights {weights} cannot be loaded, it is probably no file of torch.save or incomplete "
            f"({type(error).__name__})"
        ) from error
    for name in _INSIDE:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    for prefix in _WRAPPERS:
        names = list(state) if isinstance(state, dict) else []
        if names and all(isinstance(name, str) and name.startswith(prefix) for name in names):
            wrapped = any(name.startswith(prefix) for name in model.state_dict())
            state = state if wrapped else {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(
            f"--weights {weights} do not fit the model: {' '.join(str(error).split())[:300]}; give its state dict, or "
            "load them in the function of --model"
        ) from error


def parameters_digest(model: Any) -> str | None:
    """The sha256 of a model's state dict; None for what has none."""
    if not isinstance(model, torch.nn.Module):
        return None
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(f"{name} {getattr(value, 'dtype', '')} {list(getattr(value, 'shape', []))};".encode())
        if not isinstance(value, torch.Tensor) or value.layout is not torch.strided or value.is_quantized:
            buffer = io.BytesIO()  # what has no plain bytes
            torch.save(value, buffer)
            digest.update(buffer.getvalue())
        elif value.numel():
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def probabilities(model: Callable[[torch.Tensor], Any], images: torch.Tensor, outputs: Outputs) -> torch.Tensor:
    """The model's probability of fake for images (n, 3, h, w): float64 (n,).

    It gives (n,) or (n, 1), logits or probabilities of fake, or (n, 2), of which 1 is fake; of one image also ().
    Raises ValueError for another shape, and with the kind of error where the model fails.
    """
    try:
        with torch.inference_mode():
            given = model(images)
    except Exception as error:
        shape = " x ".join(map(str, images.shape))
        raise ValueError(f"the model failed on images {shape} ({type(error).__name__}: {error})") from error
    n = len(images)
    if isinstance(given, torch.Tensor) and given.ndim == 0 and n == 1:  # squeezed
        given = given[None]
    if not isinstance(given, torch.Tensor) or tuple(given.shape) not in {(n,), (n, 1), (n, 2)}:
        got = f"a tensor {tuple(given.shape)}" if isinstance(given, torch.Tensor) else type(given).__name__
        raise ValueError(f"the model gave {got} for {n} images; a tensor ({n},), ({n}, 1) or ({n}, 2) is needed")
    values = given.double()
    if values.ndim == 2 and values.shape[1] == 2:
        return (values if outputs == "probability" else values.softmax(1))[:, 1]
    values = values.reshape(n)
    return values if outputs == "probability" else values.sigmoid()
