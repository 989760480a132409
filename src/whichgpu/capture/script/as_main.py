"""Running a script or module as `python` would: argv, `__main__`, the folder it stands in first on the path."""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import io
import sys
import types
from pathlib import Path
from typing import Any

from whichgpu.capture.script.call import ScriptCall
from whichgpu.capture.script.marked_function import mark_function


def run_as_main(call: ScriptCall, marker: str = "") -> None:
    """Run `call` in this process and raise what it raises.

    Args:
        call: The script.
        marker: "module:function" to mark with the decorator `marked_function` installs, or "".
    """
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    code = (_module_code if call.is_module else _script_code)(call, module, marker)
    sys.modules["__main__"] = module
    exec(code, module.__dict__)


def _script_code(call: ScriptCall, module: types.ModuleType, marker: str) -> types.CodeType:
    path = Path(call.target)
    if path.is_dir() or path.suffix == ".zip":
        path = path / "__main__.py"
    path = Path.cwd() / path
    # argv keeps the path as it was typed; the module search begins in the folder the file really lies in.
    sys.argv = [call.target, *call.arguments]
    sys.path[0:0] = [str(path.resolve().parent)]
    module.__file__ = str(path)
    module.__dict__["__cached__"] = None
    loader = importlib.machinery.SourceFileLoader("__main__", str(path))
    module.__loader__ = loader
    with io.open_code(str(path)) as file:
        source = file.read()
    return _compiled(source, str(path), marker if marker.startswith("__main__:") else "")


def _module_code(call: ScriptCall, module: types.ModuleType, marker: str) -> types.CodeType:
    sys.path[0:0] = [str(Path.cwd())]
    sys.argv = ["-m", *call.arguments]
    name = call.target
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        name = f"{name}.__main__"
        spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {call.target!r}", name=call.target)
    sys.argv[0] = spec.origin
    module.__file__ = spec.origin
    module.__spec__ = spec
    module.__loader__ = spec.loader
    module.__package__ = spec.parent
    module.__dict__["__cached__"] = spec.cached
    loader: Any = spec.loader
    marked = marker if marker.partition(":")[0] in ("__main__", call.target) else ""
    return _compiled(loader.get_data(spec.origin), spec.origin, marked)


def _compiled(source: bytes, path: str, marker: str) -> types.CodeType:
    if marker:
        return mark_function(source, path, marker)
    return compile(source, path, "exec", dont_inherit=True)
