"""What `import whichgpu` promises: these names, documented and typed, at once and with nothing heavy."""

import inspect
import json
import subprocess
import sys

import pytest

import whichgpu

FUNCTIONS = ("capture", "check", "compare", "devices", "estimate", "phantom_gpu", "workload", "workload_names")
HEAVY = ("torch", "jax", "tensorflow", "transformers", "numpy", "scipy", "pandas", "rich", "typer", "click")


def test_every_name_is_there_and_found_by_completion():
    assert set(FUNCTIONS) <= set(whichgpu.__all__)
    for name in whichgpu.__all__:
        assert getattr(whichgpu, name) is not None
        assert name in dir(whichgpu)
    with pytest.raises(AttributeError, match="no attribute 'gpu'"):
        whichgpu.gpu  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_documented_and_typed(name):
    function = inspect.unwrap(getattr(whichgpu, name))
    assert callable(function)
    assert inspect.getdoc(function)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty
        if len(signature.parameters) > 2:
            assert f"{parameter.name}:" in inspect.getdoc(function)


def test_functions_stay_functions_when_their_rooms_are_imported():
    program = (
        "import whichgpu\n"
        "import whichgpu.devices.device, whichgpu.estimate.estimate, whichgpu.capture.torch_versions\n"
        "import whichgpu.comparison.compare, whichgpu.report.table, whichgpu.measure\n"
        "assert all(not hasattr(getattr(whichgpu, n), '__path__') for n in ('capture', 'devices', 'estimate'))\n"
        "assert whichgpu.devices()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_import_brings_in_nothing_heavy():
    program = f"import sys, whichgpu; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_way_through_without_a_framework():
    program = (
        "import sys, whichgpu\n"
        "job = whichgpu.workload('resnet50', batch=128)\n"
        "whichgpu.check(job)\n"
        "estimate = whichgpu.estimate(job, 'RTX 4090')\n"
        "comparison = whichgpu.compare(job, ['RTX 4090', 'T4'], epochs=90)\n"
        "row = comparison.rows[1]\n"
        "assert row.step_s == estimate.step_s and row.job_s == 90 * estimate.epoch_s\n"
        "assert '<table' in comparison._repr_html_()\n"
        "assert not {'torch', 'transformers', 'rich', 'typer'} & set(sys.modules)\n"
        "print(comparison.to_json())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    assert document["schema"] == "whichgpu.comparison/1"
    assert [row["label"] for row in document["rows"]] == ["this CPU", "RTX 4090", "T4"]


def test_a_captured_job_goes_the_same_way():
    torch = pytest.importorskip("torch")
    with whichgpu.phantom_gpu():
        model = torch.nn.Linear(512, 512).to("cuda")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        batch = torch.randn(64, 512, device="cuda")

        def step():
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()

        job = whichgpu.capture(step, name="mine", samples_per_step=64, samples_per_epoch=6400)
    comparison = whichgpu.compare(job, ["T4", "H100 SXM"])
    assert comparison.job.steps_per_epoch == 100
    # Forward and the gradient of the weights, 2 FLOPs a multiply-add each: 2 * 2 * 64 * 512 * 512, and a little more.
    assert 1.0 <= comparison.job.flops_per_step / (4 * 64 * 512 * 512) < 1.2
    for row in comparison.rows:
        assert row.step_s_low <= row.step_s <= row.step_s_high
