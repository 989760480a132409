"""The user's files stay as they are, and the script finds what it wrote."""

from pathlib import Path

import pytest
from tests.capture.script.conftest import LOOP, START

WRITES = """
import glob, json, logging, os, pathlib, shutil, sqlite3, tempfile
os.makedirs("out/ckpt", exist_ok=True)
os.makedirs("out/ckpt", exist_ok=True)
with open("kept.txt", "a") as f:
    f.write("more")
assert open("kept.txt").read() == "old more"
path = pathlib.Path("out") / "x.json"
path.write_text("{}")
assert path.exists() and path.stat().st_size == 2 and json.loads(path.read_text()) == {}
assert sorted(os.listdir(".")) == ["folder", "kept.txt", "out", "train.py"], os.listdir(".")
assert sorted(p.name for p in pathlib.Path(".").iterdir()) == ["folder", "kept.txt", "out", "train.py"]
assert [sorted(d) for _, d, _ in os.walk("out")] == [["ckpt"], []]
os.remove("folder/a.txt")
assert not os.path.exists("folder/a.txt") and os.listdir("folder") == ["b.txt"]
try:
    open("folder/a.txt")
except FileNotFoundError:
    pass
else:
    raise AssertionError("it was removed")
shutil.rmtree("folder")
assert not os.path.isdir("folder") and glob.glob("folder/*") == []
os.rename("out/x.json", "out/y.json")
assert glob.glob("out/*.json") == ["out/y.json"]
os.replace("kept.txt", "out/kept.txt")
assert not os.path.exists("kept.txt") and open("out/kept.txt").read() == "old more"
shutil.copytree("out", "copy")
assert sorted(os.listdir("copy")) == ["ckpt", "kept.txt", "y.json"]
with open("out/y.json", "r+") as f:
    f.write("[]")
os.chdir("out")
assert open("y.json").read() == "[]" and open("../train.py").read()
os.chdir("..")
logging.basicConfig(filename="run.log")
logging.warning("noted")
assert "noted" in open("run.log").read()
database = sqlite3.connect("runs.db")
database.execute("create table runs (a)")
database.commit()
with tempfile.NamedTemporaryFile("w") as f, tempfile.TemporaryDirectory() as d:
    assert os.path.exists(f.name) and os.listdir(d) == []
try:
    open("nowhere/x", "w")
except FileNotFoundError:
    pass
else:
    raise AssertionError("there is no such folder")
try:
    os.mkdir("out")
except FileExistsError:
    pass
"""

CHECKPOINTS = """
for step, (x, y) in enumerate(loader):
    optimizer.zero_grad()
    loss_of(model(x.to(device)), y.to(device)).backward()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, "last.pt")
    found = torch.load("last.pt", map_location=device)
    model.load_state_dict(found["model"])
    assert found["step"] == step
    if device == "cpu":
        from safetensors.torch import load_file, save_file
        save_file(model.state_dict(), "model.safetensors")
        assert set(load_file("model.safetensors")) == set(model.state_dict())
    optimizer.step()
"""


@pytest.fixture
def project(script, tmp_path):
    """Write a script beside files of the user's; return its call and what the folder holds."""

    def write(text):
        call = script(text)
        folder = Path(call.folder)
        (folder / "kept.txt").write_text("old ")
        (folder / "folder").mkdir()
        (folder / "folder" / "a.txt").write_text("a")
        (folder / "folder" / "b.txt").write_text("b")
        return call

    return write


def contents(folder):
    return {
        str(p.relative_to(folder)): (p.read_bytes() if p.is_file() else None, p.stat().st_mtime_ns)
        for p in Path(folder).rglob("*")
    }


@pytest.mark.parametrize("kind", ["phantom", "real"])
def test_the_users_files_stay_as_they_are(project, request, kind):
    call = project(WRITES + START + CHECKPOINTS)
    before = contents(call.folder)
    outcome = request.getfixturevalue(kind)(call)
    assert outcome.status == "done", outcome.traceback + outcome.error
    assert contents(call.folder) == before


def test_with_leave_it_writes_where_it_wants(project, phantom):
    call = project("open('new.txt', 'w').write('here')\n" + START + LOOP)
    assert phantom(call, allow_writes=True).status == "done"
    assert (Path(call.folder) / "new.txt").read_text() == "here"


def test_a_program_the_script_starts_cannot_write_either(project, phantom):
    import subprocess
    import sys

    from whichgpu.capture.script.landlock import forbid_writing_outside

    probe = f"from {forbid_writing_outside.__module__} import *; import sys; sys.exit(not forbid_writing_outside([]))"
    if subprocess.run([sys.executable, "-c", probe]).returncode:
        pytest.skip("this kernel has no Landlock")
    runs = "import subprocess\nsubprocess.run(['touch', 'made'])\nsubprocess.run(['rm', 'kept.txt'])\n"
    call = project(runs + START + LOOP)
    before = contents(call.folder)
    assert phantom(call).status == "done"
    assert contents(call.folder) == before


def test_workers_of_a_loader_write_to_the_same_place(project, real):
    text = (
        START
        + """
class Cached(torch.utils.data.Dataset):
    def __len__(self):
        return 40
    def __getitem__(self, i):
        open(f"cache{i}", "w").write("x")
        return torch.randn(8), torch.tensor(1)
loader = DataLoader(Cached(), batch_size=10, num_workers=2)
"""
        + LOOP
    )
    call = project(text)
    before = contents(call.folder)
    outcome = real(call)
    assert outcome.status == "done", outcome.traceback
    assert outcome.seen.loaders["0"].workers == 2
    assert contents(call.folder) == before


def test_caches_of_downloads_are_left_alone(project, phantom, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    (tmp_path / "hub").mkdir()
    text = "import os\nopen(os.path.join(os.environ['HF_HOME'], 'weights'), 'w').write('x')\n" + START + LOOP
    assert phantom(project(text)).status == "done"
    assert (tmp_path / "hub" / "weights").exists()


def test_trackers_are_off_and_it_is_said(project, phantom, tmp_path):
    use = "wandb.init(mode='online')\n"
    call = project("import wandb, os\nassert os.environ['WANDB_MODE'] == 'disabled'\n" + use + START + LOOP)
    (Path(call.folder) / "wandb.py").write_text("def init(mode):\n    assert mode == 'disabled'\n")
    outcome = phantom(call)
    assert outcome.status == "done", outcome.traceback
    assert "Weights & Biases was switched off." in outcome.seen.notes


def test_of_a_tracker_that_is_only_imported_nothing_is_said(project, phantom):
    call = project("import wandb\n" + START + LOOP)
    (Path(call.folder) / "wandb.py").write_text("def init(mode):\n    pass\n")
    outcome = phantom(call)
    assert outcome.status == "done", outcome.traceback
    assert not [note for note in outcome.seen.notes if "switched off" in note]


@pytest.mark.parametrize(
    "how",
    [
        "sqlite3.connect('runs.db')",
        "sqlite3.dbapi2.connect('runs.db')",
        "sqlite3.connect('file:runs.db?mode=rwc', uri=True)",
        "sqlite3.connect('file::memory:?cache=shared', uri=True)",
        "sqlite3.connect(':memory:')",
    ],
)
def test_a_data_base_of_sqlite(project, phantom, how):
    call = project(f"import sqlite3, sqlite3.dbapi2\n{how}.execute('create table runs (loss)')\n" + START + LOOP)
    before = contents(call.folder)
    outcome = phantom(call)
    assert outcome.status == "done", outcome.traceback
    assert contents(call.folder) == before
