"""Steps that are not all alike, loaders beside the one that feeds training, models compiled in part."""

import pytest
from tests.capture.script.conftest import LOOP, START

from whichgpu.capture.script import ScriptOptions, passes, run_script
from whichgpu.capture.script.child_process import run_pass
from whichgpu.capture.script.epoch import epoch_seen
from whichgpu.capture.script.seen import Interval, LoaderSeen, Seen


def test_steps_without_gradients_are_none(script, job):
    """A schedule is caught up with where training resumes, or drawn; nothing was learned by it."""
    resumed = """
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 30)
for _ in range(20):
    optimizer.step()
    schedule.step()
"""
    found = job(script(START + resumed + LOOP))
    assert (found.samples_per_step, found.steps_per_epoch) == (10, 10)
    assert [op.name for op in found.graph.ops].count("aten.addmm.default") == 2


def test_a_look_at_another_loader_is_no_part_of_a_step(script, job):
    found = job(
        script(
            START
            + """
tests = DataLoader(TensorDataset(torch.randn(60, 8), torch.randint(4, (60,))), batch_size=30)
for i, (x, y) in enumerate(loader):
    optimizer.zero_grad()
    loss_of(model(x.to(device)), y.to(device)).backward()
    optimizer.step()
    if i % 4 == 0:
        x, y = next(iter(tests))
        loss_of(model(x.to(device)), y.to(device)).item()
"""
        )
    )
    assert (found.samples_per_step, found.steps_per_epoch) == (10, 10)
    assert [op.name for op in found.graph.ops].count("aten.addmm.default") == 2


def test_two_loaders_that_both_feed_every_step(script, job):
    other = """
photos = DataLoader(TensorDataset(torch.randn(60, 8)), batch_size=6)
for epoch in range(3):
    for (x, y), (z,) in zip(loader, photos):
        optimizer.zero_grad()
        (loss_of(model(x.to(device)), y.to(device)) + model(z.to(device)).mean()).backward()
        optimizer.step()
"""
    found = job(script(START + other))
    assert [op.name for op in found.graph.ops].count("aten.addmm.default") == 4
    assert found.steps_per_epoch == 10


def test_a_loader_that_is_made_anew_for_every_epoch(script, phantom):
    anew = """
for epoch in range(9):
    for x, y in DataLoader(data, batch_size=50):
        optimizer.zero_grad()
        critic(model(x.to(device))).mean().backward()
        optimizer.step()
"""
    # The critic, which nobody trains, makes the pass wait for an optimizer for some epochs.
    outcome = phantom(script(START + "critic = nn.Linear(4, 1).to(device)\n" + anew))
    assert outcome.status == "done", outcome.traceback
    assert len(outcome.seen.intervals) > 4
    assert len(outcome.seen.loaders) == 1
    assert epoch_seen(outcome.seen).steps_per_epoch == 2


def test_loaders_that_are_alike_and_both_there_are_two(script, phantom):
    both = """
other = DataLoader(data, batch_size=10)
for (x, y), (z, _) in zip(loader, other):
    optimizer.zero_grad()
    loss_of(model(x.to(device)) + model(z.to(device)), y.to(device)).backward()
    optimizer.step()
"""
    outcome = phantom(script(START + both))
    assert len(outcome.seen.loaders) == 2
    assert epoch_seen(outcome.seen).micro_batches == 1


def test_several_backward_passes_over_a_batch_are_no_parts_alike(script, monkeypatch, forked):
    """Of a step that takes long a part is timed only where its parts are batches."""
    asked = []
    monkeypatch.setattr(passes, "run_pass", lambda request, *rest: asked.append(request) or run_pass(request, *rest))
    twice = """
for x, y in loader:
    optimizer.zero_grad()
    out = model(x.to(device))
    loss_of(out, y.to(device)).backward(retain_graph=True)
    out.mean().backward()
    optimizer.step()
"""
    apart = """
for i, (x, y) in enumerate(loader):
    loss_of(model(x.to(device)), y.to(device)).backward()
    if i % 2:
        optimizer.step()
        optimizer.zero_grad()
"""
    for text in (twice, apart):
        run_script(script(START + text), ScriptOptions(seconds=0.1), None)
    assert [request.backward_calls for request in asked if request.kind == "real"] == [1, 2]


def test_types_of_tensors_on_a_gpu_make_them_on_the_cpu(script, real):
    old = "ids = torch.arange(0, 8, out=torch.cuda.LongTensor(8))\nassert torch.cuda.FloatTensor([1.5]).sum() == 1.5\n"
    outcome = real(script(START.replace('"cuda" if torch.cuda.is_available() else "cpu"', '"cuda"') + old + LOOP))
    assert outcome.status == "done", outcome.traceback


HELPER = """
@torch.compile
def helper(x):
    return x * 2
"""


@pytest.mark.parametrize(
    ("text", "is_compiled"),
    [
        (HELPER + LOOP, False),  # as libraries do it for themselves when they are imported
        (HELPER + LOOP.replace("loss_of(model(", "helper(model("), False),
        ("trained = model\nmodel = torch.compile(model)\n" + LOOP.replace("model(x", "trained(x"), False),
        ("model[0] = torch.compile(model[0])\n" + LOOP, True),  # 144 of 212 weights
        ("model[2] = torch.compile(model[2])\n" + LOOP, False),
        ("model.compile()\n" + LOOP, True),
        ("@torch.compile\ndef run(x):\n    return model(x)\n" + LOOP.replace("model(x", "run(x"), True),
    ],
)
def test_a_step_counts_as_compiled_where_most_of_it_is(script, job, text, is_compiled):
    if "helper(model(" in text:
        text = text.replace("helper(model(x.to(device)), y.to(device))", "helper(model(x.to(device))).mean()")
    found = job(script(START + text))
    assert (found.options["compile"], found.graph.mode) == (is_compiled, "fused" if is_compiled else "eager")


def test_a_method_that_is_compiled_in_its_class(script, job):
    net = """
class Net(nn.Sequential):
    @torch.compile(dynamic=False)
    def forward(self, x):
        return super().forward(x)
model = Net(nn.Linear(8, 4)).to(device)
optimizer = torch.optim.AdamW(model.parameters())
"""
    assert job(script(START + net + LOOP)).options["compile"]


def test_a_compiled_model_is_wrapped_as_torch_does(script, phantom):
    text = """
import copy
plain = model
model = torch.compile(model)
assert model._orig_mod is plain
assert all(a is b for a, b in zip(model.parameters(), plain.parameters()))
assert list(model.state_dict()) == ["_orig_mod." + name for name in plain.state_dict()]
plain.steps, model.seen = 1, 2
assert (model.steps, plain.seen) == (1, 2)
model.eval()
assert not plain[0].training
model.train()
average = copy.deepcopy(model)
average(torch.randn(2, 8, device=device))
"""
    outcome = phantom(script(START + text + LOOP))
    assert outcome.status == "done", outcome.traceback
    assert outcome.seen.compile_requested


@pytest.mark.parametrize(("batches", "added", "steps"), [(5, 4, 2), (9, 8, 2), (6, 4, 2)])
def test_the_last_step_of_an_epoch_may_have_fewer_batches(script, job, batches, added, steps):
    text = f"""
loader = DataLoader(data, batch_size={100 // batches}, drop_last=True)
for epoch in range(4):
    for i, (x, y) in enumerate(loader):
        loss_of(model(x.to(device)), y.to(device)).backward()
        if (i + 1) % {added} == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
"""
    found = job(script(START + text))
    assert found.options["micro_batches"] == added
    assert found.samples_per_step == added * (100 // batches)
    assert found.steps_per_epoch == steps


def test_frameworks_make_a_step_of_what_is_left(script, job):
    """A plain loop drops it, where nothing else was seen."""
    text = """
for epoch in range(4):
    for i, (x, y) in enumerate(DataLoader(data, batch_size=4)):
        loss_of(model(x.to(device)), y.to(device)).backward()
        if i % 10 == 9:
            optimizer.step()
            optimizer.zero_grad()
"""
    assert job(script(START + text)).steps_per_epoch == 2
    trainer = "import sys, types\nsys.modules['transformers.trainer'] = types.ModuleType('transformers.trainer')\n"
    assert job(script(START + trainer + text)).steps_per_epoch == 3


def test_loaders_that_take_turns(script, job):
    text = """
tasks = {n: DataLoader(TensorDataset(torch.randn(n, 8), torch.randint(4, (n,))), b) for n, b in ((60, 10), (40, 5))}
for epoch in range(3):
    left = {n: iter(loader) for n, loader in tasks.items()}
    for n in (40, 60) * 6 + (40, 40):
        x, y = next(left[n])
        optimizer.zero_grad()
        loss_of(model(x.to(device)), y.to(device)).backward()
        optimizer.step()
"""
    found = job(script(START + text))
    assert found.samples_per_epoch == 100
    assert any(note.startswith("Steps are of several kinds") and "2 of them" in note for note in found.notes)


def test_passes_that_train_different_models_are_not_compared(script, forked):
    text = START.replace("nn.Linear(8, 16)", "nn.Linear(8, width)").replace("nn.Linear(16, 4)", "nn.Linear(width, 4)")
    drawn = "import os\nwidth = 8 + os.getpid() % 1000\n"
    found = run_script(script(drawn + text + LOOP), ScriptOptions(seconds=0.1), None)
    assert found.timed is None
    assert any("The script chooses at random" in note for note in found.job.notes)
    seeded = "import random\nwidth = random.choice(range(8, 4000))\n"
    assert run_script(script(seeded + text + LOOP), ScriptOptions(seconds=0.1), None).timed is not None


def test_a_tensor_of_a_class_of_the_script_s_own(script, phantom):
    text = """
class Image(torch.Tensor):
    pass
for x, y in loader:
    optimizer.zero_grad()
    loss_of(model(x.as_subclass(Image).to(device)), y.to(device)).backward()
    optimizer.step()
"""
    outcome = phantom(script(START + text))
    assert outcome.status == "done", outcome.traceback


def test_a_batch_size_that_counts_something_else(script, job):
    """A sampler of the script's own, whose batch size counts words: samples are what the first batch has."""
    text = """
from torch.utils.data import BatchSampler, RandomSampler
class ByWords(BatchSampler):
    def __iter__(self):
        for begin in range(0, 100, 5):
            yield list(range(begin, begin + 5))
    def __len__(self):
        raise NotImplementedError
loader = DataLoader(data, batch_sampler=ByWords(RandomSampler(data), 2048, False))
"""
    found = job(script(START + text + LOOP))
    assert (found.samples_per_step, found.steps_per_epoch) == (5, None)


@pytest.mark.parametrize("every", [4, 1])
def test_work_of_every_fourth_step_is_told_of(script, phantom, every):
    """Lazy regularization, which the first step has, too."""
    text = f"""
for i, (x, y) in enumerate(loader):
    optimizer.zero_grad()
    x = x.to(device).requires_grad_()
    out = model(x)
    loss = loss_of(out, y.to(device))
    if i % {every} == 0:
        loss = loss + torch.autograd.grad(out.sum(), x, create_graph=True)[0].pow(2).sum()
    loss.backward()
    optimizer.step()
"""
    outcome = phantom(script(START + text))
    told = [note for note in outcome.seen.notes if note.startswith("The first step multiplies")]
    assert len(told) == (every == 4)


def test_loaders_that_are_alike_and_that_nobody_holds_are_two(script, phantom):
    both = """
for (x, y), (z, _) in zip(DataLoader(data, 10), DataLoader(data, 10)):
    optimizer.zero_grad()
    loss_of(model(x.to(device)) + model(z.to(device)), y.to(device)).backward()
    optimizer.step()
"""
    assert len(phantom(script(START + both)).seen.loaders) == 2


def test_of_loaders_in_turns_one_without_a_length_leaves_the_epoch_without_one():
    seen = Seen(
        marker="optimizer", loaders={"0": LoaderSeen("A", 60, 6, 10, 0), "1": LoaderSeen("B", None, None, 10, 0)}
    )
    seen.intervals = [Interval(backward_calls=1, batches={key: 1}) for key in ("0", "1", "0")]
    found = epoch_seen(seen)
    assert (found.steps_per_epoch, found.samples_per_epoch) == (None, None)
