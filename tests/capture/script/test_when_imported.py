"""A library is changed when it is imported, and one that is not imported is not loaded for it."""

import importlib.util
import sys

from whichgpu.capture.patches import Patches
from whichgpu.capture.script import when_imported


def test_actions_run_once_their_module_is_there(tmp_path, monkeypatch):
    (tmp_path / "library_of_mine").mkdir()
    (tmp_path / "library_of_mine" / "__init__.py").write_text("from library_of_mine.part import value")
    (tmp_path / "library_of_mine" / "part.py").write_text("value = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    done = []
    patches, before = Patches(), list(sys.meta_path)
    actions = {name: lambda module: done.append(module.__name__) for name in ("library_of_mine.part", "json", "absent")}
    when_imported.install(patches, actions)
    assert done == ["json"]
    assert "library_of_mine" not in sys.modules
    import library_of_mine

    assert library_of_mine.value == 1
    assert done == ["json", "library_of_mine.part"]
    assert type(library_of_mine.part.__spec__.loader).__name__ == "SourceFileLoader"
    patches.undo()
    assert sys.meta_path == before
    for name in ("library_of_mine.part", "library_of_mine"):
        del sys.modules[name]


def test_a_module_that_was_only_sought_is_changed_later(tmp_path, monkeypatch):
    (tmp_path / "sought_first.py").write_text("value = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    done, patches = [], Patches()
    when_imported.install(patches, {"sought_first": lambda module: done.append(module.value)})
    assert importlib.util.find_spec("sought_first") is not None
    assert done == []
    import sought_first

    assert (sought_first.value, done) == (1, [1])
    patches.undo()
    del sys.modules["sought_first"]
