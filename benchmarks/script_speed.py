"""How fast training scripts are captured, and what watching and recording add to a step."""

from __future__ import annotations

import os
import tempfile
import time

from benchmarks.figures import Figure, median_s, python, shell
from whichgpu.capture.script import ScriptCall, ScriptOptions, run_script

# Steps again and again. Hooks are watched on a small model, where they weigh most: without and with the real pass's.
# Recording is a price for each op: it is taken on the phantom GPU, bare and recorded, and held against the CPU's step.
STEPS = """
import json, time
import torch
from transformers import GPT2Config, GPT2LMHeadModel
from whichgpu.capture.phantom import switched_on
from whichgpu.capture.script.call import ScriptCall
from whichgpu.capture.script.real_pass import RealPass
from whichgpu.capture.script.request import PassRequest
from whichgpu.capture.step_recording import StepRecording
from whichgpu.capture.step_watch import StepWatch

torch.set_num_threads(1)

def training(device, width, tokens):
    model = GPT2LMHeadModel(GPT2Config(n_layer=4, n_embd=width, n_head=4, vocab_size=5000)).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.randint(5000, (2, tokens)).to(device)
    def step():
        begin = time.perf_counter()
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - begin
    step()
    return step

here, bare, hooked = training("cpu", 128, 64), [], []
for _ in range(12):
    bare += [here() for _ in range(8)]
    request = PassRequest(ScriptCall("bench.py"), "real", "", seconds=1e9)
    with RealPass(request, lambda outcome: None).installed():
        hooked += [here() for _ in range(8)]
here = training("cpu", 256, 512)
larger, plain, recorded = [here() for _ in range(5)], [], []
with switched_on() as phantom, StepWatch(phantom.device.storages) as watch:
    step = training("cuda", 256, 512)
    for _ in range(30):
        plain.append(step())
        recording = StepRecording(phantom, watch)
        recorded.append(step())
        ops = len(recording.graph().ops)
values = dict(bare_s=bare, hooked_s=hooked, larger_s=larger, phantom_s=plain, recorded_s=recorded)
# The fastest of each: what else the machine does only adds.
print(json.dumps({name: min(times) for name, times in values.items()} | {"ops": ops}))
"""


def script_figures() -> list[Figure]:
    """Return how long passes take, what they add to a step, and how long an unchanged script takes once more."""
    got = python(STEPS)
    added = got["recorded_s"] - got["phantom_s"]
    step = f"of {got['larger_s']:.2g} s for 4 layers of width 256"
    of_phantom = (
        f"{step}; {added * 1e3:.0f} ms for {got['ops']:.0f} ops; {added / got['phantom_s']:.0%} of a phantom step"
    )
    hooks = got["hooked_s"] / got["bare_s"] - 1
    return [
        _phantom("nanogpt_style", 15.0),
        _phantom("finetune_gpt2_hf", 25.0),
        Figure("recording a step, of its time on this CPU", 100 * added / got["larger_s"], "%", 15.0, of_phantom),
        Figure("watching a timed step", 100 * hooks, "%", 2.0, f"{got['bare_s'] * 1e3:.0f} ms bare"),
        _again("nanogpt_style", 2.0),
    ]


def _phantom(name: str, bar_s: float) -> Figure:
    begin = time.perf_counter()
    call = ScriptCall.here(f"examples/{name}.py")
    ops = len(run_script(call, ScriptOptions(phantom_only=True), None).job.graph.ops)
    return Figure(f"phantom pass of examples/{name}.py", time.perf_counter() - begin, "s", bar_s, f"{ops:,} ops")


def _again(name: str, bar_s: float) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "WHICHGPU_CACHE": folder}
        run = shell("compare", "--measure-seconds", "1", f"examples/{name}.py", environment=environment)
        # The run that does not count is the one that captures.
        return Figure(f"whichgpu compare examples/{name}.py, unchanged", median_s(run), "s", bar_s)
