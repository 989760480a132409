"""What goes on between steps, evaluation and rollouts, is none of a step's work or time."""

import pytest
from tests.capture.script.conftest import LOOP, START, op_names

from whichgpu.capture.script import ScriptOptions, run_script

# Thirty calls without gradients before each step, as slow together as told.
ROLLOUT = """
import time
for x, y in loader:
    with torch.no_grad():
        for _ in range(30):
            model(x.to(device))
            time.sleep({seconds} / 30)
    optimizer.zero_grad()
    loss_of(model(x.to(device)), y.to(device)).backward()
    optimizer.step()
"""


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_many_calls_without_gradients_are_no_part_of_a_step(script, phantom, mode):
    counted = op_names(phantom(script(START + f"model.{mode}()\n" + ROLLOUT.format(seconds=0))))
    alone = op_names(phantom(script(START + LOOP)))
    assert counted["aten.addmm.default"] == 2
    # The batch was copied for the rollout too: only the step's own copies are left.
    assert counted == alone


def test_their_share_of_the_time_is_told_and_taken_off_the_step(script):
    run = run_script(script(START + ROLLOUT.format(seconds=0.3)), ScriptOptions(seconds=1.0, timeout_s=120), None)
    assert 0.5 < run.timed.apart_share < 1
    assert max(run.timed.step_s) < 0.2
    assert any("Between steps the script does other work" in note for note in run.job.notes)


def test_a_teacher_called_in_every_step_is_part_of_its_time(script):
    text = (
        START
        + """
import time
class Slow(nn.Linear):
    def forward(self, x):
        time.sleep(0.05)
        return super().forward(x)
teacher = Slow(8, 4).to(device).eval()
for epoch in range(3):
    for x, y in loader:
        with torch.no_grad():
            target = teacher(x.to(device)).softmax(-1)
        optimizer.zero_grad()
        loss_of(model(x.to(device)), target).backward()
        optimizer.step()
"""
    )
    run = run_script(script(text), ScriptOptions(seconds=0.3, timeout_s=120), None)
    assert run.timed.apart_share == 0
    assert min(run.timed.step_s) >= 0.05


def test_loading_for_an_evaluation_is_no_loading_for_a_step(script):
    text = (
        START
        + """
import time
class Slowly(torch.utils.data.Dataset):
    def __len__(self):
        return 40
    def __getitem__(self, i):
        time.sleep(0.02)
        return torch.randn(8), torch.tensor(1)
for epoch in range(9):
    for x, y in loader:
        optimizer.zero_grad()
        loss_of(model(x.to(device)), y.to(device)).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for x, y in DataLoader(Slowly(), batch_size=4):
            model(x.to(device))
    model.train()
"""
    )
    run = run_script(script(text), ScriptOptions(seconds=0.6, timeout_s=120), None)
    assert run.timed.apart_share > 0.5
    assert run.timed.loading_s < 0.02
    assert run.job.steps_per_epoch == 10
