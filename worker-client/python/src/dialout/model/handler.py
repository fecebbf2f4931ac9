"""The model itself: a function, a generator, or a class with `setup` and `predict`; plain or async."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Optional

from ..errors import InvalidModel
from .signature import Signature, read_signature


class Handler:
    """A model. `is_async` and `is_generator` say how it is called; `setup` loads it, if it has to be loaded."""

    def __init__(
        self,
        call: Callable[..., Any],
        name: str,
        signature: Signature,
        setup: Optional[Callable[[], Any]] = None,
    ) -> None:
        self.call = call
        self.name = name
        self.signature = signature
        self.setup = setup
        self.is_async = inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)
        self.is_generator = inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call)


def make_handler(target: Any) -> Handler:
    """Reads a model: makes an instance of a class, but doesn't load it. Raises `InvalidModel` if it can't be served."""
    name = getattr(target, "__name__", type(target).__name__)
    if inspect.isclass(target):
        target = _instance(target, name)
    if _is_function(target):
        return Handler(target, name, read_signature(target, name))
    call = getattr(target, "predict", None) or (target.__call__ if callable(target) else None)
    if not callable(call):
        raise InvalidModel(f"{name} is neither a function nor has it a method predict.")
    setup = getattr(target, "setup", None)
    return Handler(call, name, read_signature(call, name), setup if callable(setup) else None)


def _instance(target: type, name: str) -> Any:
    try:
        inspect.signature(target).bind()
    except TypeError as error:
        raise InvalidModel(f"The class {name} must be made without arguments: {error}.") from None
    except ValueError:
        pass  # a class of C has no signature
    return target()


def _is_function(target: Any) -> bool:
    return inspect.isfunction(target) or inspect.ismethod(target) or inspect.isbuiltin(target)
