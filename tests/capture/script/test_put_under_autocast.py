"""A float32 script captured as if under autocast is the script that is written so."""

from tests.capture.script.conftest import START

LOOP = """
import sys
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16, enabled="--amp" in sys.argv):
            loss = loss_of(model(x.to(device)), y.to(device))
        loss.backward()
        optimizer.step()
"""
PLAIN = """
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_of(model(x.to(device)), y.to(device))
        loss.backward()
        optimizer.step()
"""


def ops_of(job):
    return [(op.name, op.phase, [t.dtype for t in op.output_tensors()]) for op in job.graph.ops]


def test_put_there_from_outside_autocast_does_what_the_script_s_own_does(script, job):
    own = job(script(START + LOOP, "--amp"))
    assert own.precision == "amp-bf16"
    # With a region of its own that is switched off, and with none.
    for text in (LOOP, PLAIN):
        call = script(START + text, name=f"{len(text)}.py")
        assert job(call).precision == "fp32"
        put = job(call, autocast="bfloat16")
        assert put.precision == "amp-bf16"
        assert ops_of(put) == ops_of(own)
        assert put.graph.storages == own.graph.storages


def test_a_region_inside_of_a_module_stays_off(script, job):
    inside = """
class Careful(nn.Module):
    def forward(self, x):
        with torch.autocast(device, enabled=False):
            return x.float() @ torch.ones(4, 4, device=device)
model = nn.Sequential(model, Careful())
"""
    found = job(script(START + inside + PLAIN), autocast="float16")
    products = [op.outputs[0].dtype for op in found.graph.ops if op.name == "aten.mm.default" and op.phase == "forward"]
    assert products == ["float32"]
    assert found.precision == "amp-fp16"
