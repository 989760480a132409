"""The directions of import, drawn once, and held."""

import subprocess
import sys

import pytest

from tests.architecture.source import PACKAGE, files, imports, module_name, names, room

# Each room may import from those in the lines above its own, never from its own line's others or from below.
ROOMS = (
    ("errors", "units", "other_programs"),
    ("graph", "devices"),
    ("offers", "capture", "work"),
    ("workloads", "cost", "memory"),
    ("estimate", "references"),
    ("fit",),
    ("measure",),
    ("comparison", "validation"),
    ("report",),
    ("cli",),
)
# Rooms of the same line or above that must not know each other all the same.
STRANGERS = {
    "capture": {"devices"},
    "work": {"devices"},
    "workloads": {"devices", "offers", "work"},
    "cost": {"offers", "capture"},
    "memory": {"offers", "capture", "work"},
    "fit": {"offers", "capture", "work", "cost", "references"},
    "estimate": {"offers", "capture", "workloads"},
    "measure": {"offers", "work", "cost", "estimate", "capture"},
    "comparison": {"capture", "work", "workloads", "cost"},
    "references": {"devices", "offers", "work", "cost"},
    "validation": {"capture", "offers", "workloads"},
}
FRAMEWORKS = {"torch", "jax", "flax", "tensorflow", "keras", "transformers", "diffusers", "peft", "torchvision", "timm"}
FRAMEWORK_ROOMS = {"capture", "workloads", "references", "measure"}
# Of what is not in the standard library these are all a user has to have; each only where it is used.
LATE = {"numpy", "rich", "typer", "pynvml", "mlxtend"}
LEVEL = {name: level for level, line in enumerate(ROOMS) for name in line}

ALL = [pytest.param(path, id=str(path.relative_to(PACKAGE))) for path in files()]


def test_every_room_has_its_place():
    found = {room(module) for module in names()} - {"", "__main__"}
    assert found == set(LEVEL)


@pytest.mark.parametrize("path", ALL)
def test_a_room_imports_only_from_rooms_above_it(path):
    here = room(module_name(path))
    for found in imports(path):
        if not found.module.startswith("whichgpu"):
            continue
        there = room(found.module)
        if here in ("", "__main__", there):
            continue
        where = f"{path}:{found.line}: {here} imports {found.module}"
        assert there or (found.module == "whichgpu" and here == "cli"), where
        if there:
            assert LEVEL[there] < LEVEL[here], where
            assert there not in STRANGERS.get(here, ()), where


@pytest.mark.parametrize("path", ALL)
def test_frameworks_stay_in_their_rooms(path):
    here = room(module_name(path))
    for found in imports(path):
        if found.module.split(".")[0] in FRAMEWORKS and not found.typing_only:
            assert here in FRAMEWORK_ROOMS, f"{path}:{found.line}: {found.module}"


def loaded_by(module: str) -> set[str]:
    """Return the modules of the package that importing `module` loads, itself and its packages among them."""
    paths = {module_name(path): path for path in files()}
    seen: set[str] = set()
    left = [module]
    while left:
        name = left.pop()
        if name in seen or name not in paths:
            continue
        seen.add(name)
        left += [found.module for found in imports(paths[name]) if not found.late]
        left.append(name.rpartition(".")[0])
    return seen


@pytest.mark.parametrize(
    "module", ["whichgpu", *sorted({f"whichgpu.{name}" for line in ROOMS for name in line} - {"whichgpu.cli"})]
)
def test_importing_a_room_imports_nothing_heavy(module):
    paths = {module_name(path): path for path in files()}
    for name in loaded_by(module):
        for found in imports(paths[name]):
            if not found.late:
                assert found.module.split(".")[0] not in FRAMEWORKS | LATE, f"{name} line {found.line}: {found.module}"


def test_there_are_no_import_cycles():
    """Modules that load each other while loading would work or fail by the order they are imported in."""
    paths = {module_name(path): path for path in files()}
    below = {
        name: {f.module for f in imports(path) if not f.late and f.module in paths and f.module != name}
        for name, path in paths.items()
    }
    # A package's __init__ runs before its modules, which may import their siblings by name.
    below = {name: {m for m in found if not name.startswith(f"{m}.")} for name, found in below.items()}
    done: set[str] = set()

    def visit(name, trail):
        if name in done:
            return
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        for other in sorted(below[name]):
            visit(other, [*trail, name])
        done.add(name)

    for name in sorted(below):
        visit(name, [])


def test_importing_the_package_imports_nothing_heavy_in_truth():
    program = "import sys, whichgpu; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & (FRAMEWORKS | LATE | {"scipy", "pandas"})
