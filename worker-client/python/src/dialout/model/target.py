"""`model.py:predict`: finding the model that a command line names."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Optional

from ..errors import InvalidModel

# What is served if only a file is named.
USUAL_NAMES = ("predict", "Predictor", "Model")


def load_target(text: str) -> Any:
    """Imports `file.py:name` or `package.module:name`. Raises `InvalidModel`; what the module raises is not caught."""
    place, name = _split(text)
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    if name is None:
        for usual in USUAL_NAMES:
            if hasattr(module, usual):
                return getattr(module, usual)
        names = ", ".join(USUAL_NAMES)
        raise InvalidModel(
            f"{place} has none of {names}: name the function, as {place}:my_function."
        )
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise InvalidModel(f"{place} has no {name}; it has {_offers(module)}.")
        found = getattr(found, part)
    return found


def _split(text: str) -> tuple[str, Optional[str]]:
    place, colon, name = text.rpartition(":")
    # A drive of Windows is no module.
    if not colon or len(place) == 1:
        return text, None
    return place, name or None


def _offers(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    ]
    return ", ".join(names[:10]) or "no functions"


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InvalidModel(f"There is no file {path}.")
    # As when Python runs the file itself: its neighbours can be imported.
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InvalidModel(f"{path} can't be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _load_module(name: str) -> ModuleType:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.split(".")[0] == error.name.split(".")[0]:
            raise InvalidModel(
                f"There is no module {error.name}; a file is named with its ending, as {name}.py."
            ) from None
        raise
