"""Where a step ends, what belongs to it, and how long an epoch is."""

import pytest
from tests.capture.script.conftest import LOOP, START, op_names

from whichgpu.capture.script.epoch import epoch_seen
from whichgpu.capture.script.job_of import job_of
from whichgpu.capture.script.steps import NO_OPTIMIZER
from whichgpu.graph import job_from_document


def test_a_plain_loop(script, job):
    found = job(script(START + LOOP))
    assert (found.name, found.samples_per_step, found.steps_per_epoch, found.precision) == ("train.py", 10, 10, "fp32")
    assert found.options["optimizers"] == ("AdamW",)
    assert found.options["step_ends_with"] == "optimizer"
    assert found.options["micro_batches"] == 1
    assert any("DataLoader over TensorDataset has 10 batches of 10" in note for note in found.notes)
    names = [op.name for op in found.graph.ops]
    assert names.count("memcpy.h2d") == 2  # images and labels of this step, of no other
    assert names.count("aten.addmm.default") == 2
    # The optimizer's state is there before the step: it is not the first.
    assert sum(s.nbytes for s in found.graph.storages if s.kind == "optimizer_state") >= 2 * 4 * (8 * 16 + 16 * 4 + 20)


def test_gradient_accumulation(script, job):
    found = job(
        script(
            START
            + """
for i, (x, y) in enumerate(loader):
    (loss_of(model(x.to(device)), y.to(device)) / 4).backward()
    if (i + 1) % 4 == 0:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
"""
        )
    )
    assert (found.options["micro_batches"], found.samples_per_step, found.steps_per_epoch) == (4, 40, 2)
    assert [op.name for op in found.graph.ops].count("aten.addmm.default") == 8


def test_two_optimizers_are_one_step(script, phantom):
    outcome = phantom(
        script(
            START
            + """
other = nn.Linear(4, 4).to(device)
second = torch.optim.SGD(other.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad(); second.zero_grad()
    out = model(x.to(device))
    loss_of(out, y.to(device)).backward()
    optimizer.step()
    loss_of(other(out.detach()), y.to(device)).backward()
    second.step()
"""
        )
    )
    assert op_names(outcome)["aten.addmm.default"] == 3
    assert outcome.seen.marker == "optimizers"
    assert [i.backward_calls for i in outcome.seen.intervals] == [2, 2]


def test_a_critic_trained_more_often_than_its_generator(script, phantom):
    outcome = phantom(
        script(
            START
            + """
other = nn.Linear(4, 4).to(device)
second = torch.optim.SGD(other.parameters(), lr=0.1)
for i, (x, y) in enumerate(loader):
    optimizer.zero_grad()
    loss_of(model(x.to(device)), y.to(device)).backward()
    optimizer.step()
    if i % 3 == 2:
        loss_of(other(torch.randn(10, 4, device=device)), y.to(device)).backward()
        second.step()
"""
        )
    )
    assert outcome.seen.optimizers == ["AdamW", "SGD"]
    assert [i.batches for i in outcome.seen.intervals] == [{"0": 3}, {"0": 3}]


LATE = """
other = nn.Linear(4, 4).to(device)
second = None
for i, (x, y) in enumerate(loader):
    optimizer.zero_grad()
    target = other(torch.randn(10, 4, device=device)).detach()
    loss_of(model(x.to(device)) + target, y.to(device)).backward()
    optimizer.step()
    if i % 3 == 2{never}:
        second = second or torch.optim.SGD(other.parameters(), lr=0.1)
        loss_of(other(torch.randn(10, 4, device=device)), y.to(device)).backward()
        second.step()
"""


def test_an_optimizer_made_after_steps_of_another_is_waited_for(script, phantom, real):
    call = script(START + LATE.format(never=""))
    outcome = phantom(call)
    assert outcome.seen.optimizers == ["AdamW", "SGD"]
    assert [i.batches for i in outcome.seen.intervals] == [{}, {"0": 3}]
    # Five products with a bias: three steps of the one, calling the other, and one of the other.
    assert op_names(outcome)["aten.addmm.default"] == 3 * 3 + 1
    # Told of both, the pass that times steps never takes one of the first for a whole.
    timed = real(call, optimizers=2)
    assert {i.optimizer_steps for i in timed.seen.intervals} == {4}


def test_one_that_never_comes_is_not_waited_for_long(script, phantom):
    outcome = phantom(
        script(START.replace("randn(100", "randn(900").replace("(100,)", "(900,)") + LATE.format(never=" and i < 0"))
    )
    assert outcome.seen.optimizers == ["AdamW"]
    assert 2 <= len(outcome.seen.intervals) <= 16
    assert op_names(outcome)["aten.addmm.default"] == 3
    assert not any("makes no steps" in note for note in outcome.seen.notes)


def test_closures_of_lbfgs_are_one_step(script, phantom):
    outcome = phantom(
        script(
            START
            + """
optimizer = torch.optim.LBFGS(model.parameters(), max_iter=5)
x, y = data[:50]
x, y = x.to(device), y.to(device)
def closure():
    optimizer.zero_grad()
    loss = loss_of(model(x), y)
    loss.backward()
    return loss
for _ in range(5):
    optimizer.step(closure)
"""
        )
    )
    assert op_names(outcome)["aten.addmm.default"] >= 2
    assert outcome.seen.optimizers == ["LBFGS"]
    assert [i.backward_calls for i in outcome.seen.intervals] == [0, 0, 0]


def test_no_optimizer_at_all(script, job):
    found = job(
        script(
            START.replace("optimizer = torch.optim.AdamW(model.parameters())", "")
            + """
for x, y in loader:
    model.zero_grad()
    loss_of(model(x.to(device)), y.to(device)).backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad
"""
        )
    )
    assert found.options["step_ends_with"] == "backward"
    assert any("no torch optimizer" in note for note in found.notes)
    assert found.samples_per_step == 10


def test_the_function_a_user_names_ends_a_step(script, job):
    text = (
        START
        + """
def update(x, y):
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(model(x.to(device)), y.to(device)).backward()
        optimizer.step()
for x, y in loader:
    update(x, y)
"""
    )
    assert job(script(text)).options["step_ends_with"] == "optimizer"
    found = job(script(text), step_marker="__main__:update")
    assert found.options["step_ends_with"] == "function"
    assert [op.name for op in found.graph.ops].count("aten.addmm.default") == 4


def test_a_validation_loop_is_not_taken_for_training(script, phantom):
    outcome = phantom(
        script(
            START.replace("batch_size=10", "batch_size=100")
            + """
for epoch in range(5):
    model.eval()
    with torch.no_grad():
        for x, y in DataLoader(data, batch_size=5):
            loss_of(model(x.to(device)), y.to(device))
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss_of(model(x.to(device)), y.to(device)).backward()
        optimizer.step()
"""
        )
    )
    # Each epoch has one step: there is none without a validation before it.
    assert outcome.status == "done"
    assert all(i.evaluation_calls == 20 for i in outcome.seen.intervals)


def test_a_step_without_evaluation_is_preferred(script, phantom):
    outcome = phantom(
        script(
            START
            + """
for i, (x, y) in enumerate(loader):
    optimizer.zero_grad()
    loss_of(model(x.to(device)), y.to(device)).backward()
    optimizer.step()
    if i == 0:
        model.eval()
        with torch.no_grad():
            model(x.to(device))
        model.train()
"""
        )
    )
    assert op_names(outcome)["aten.addmm.default"] == 2
    assert outcome.seen.recorded == 2


def test_a_frozen_teacher_belongs_to_the_step(script, phantom):
    outcome = phantom(
        script(
            START
            + """
teacher = nn.Linear(8, 4).to(device).eval()
for x, y in loader:
    with torch.no_grad():
        target = teacher(x.to(device)).softmax(-1)
    optimizer.zero_grad()
    loss_of(model(x.to(device)), target).backward()
    optimizer.step()
"""
        )
    )
    assert op_names(outcome)["aten.addmm.default"] == 3


def test_the_only_step_there_is(script, job):
    found = job(script(START.replace("batch_size=10", "batch_size=100") + LOOP.replace("range(3)", "range(1)")))
    assert [op.name for op in found.graph.ops].count("aten.addmm.default") == 2
    assert any("Only one step was seen" in note for note in found.notes)


def test_an_epoch_of_unknown_length_is_asked_for(script, job):
    text = (
        START
        + """
def endless():
    while True:
        yield torch.randn(8), torch.tensor(1)
class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return endless()
loader = DataLoader(Stream(), batch_size=6)
"""
        + LOOP
    )
    found = job(script(text))
    assert (found.samples_per_step, found.samples_per_epoch) == (6, None)
    assert any("--steps-per-epoch" in note for note in found.notes)
    assert job(script(text), steps_per_epoch=50).samples_per_epoch == 300
    assert job(script(text), samples_per_step=7).samples_per_step == 7


@pytest.mark.parametrize(
    ("dtype", "scaler", "precision"), [("bfloat16", False, "amp-bf16"), ("float16", True, "amp-fp16")]
)
def test_autocast(script, job, dtype, scaler, precision):
    found = job(
        script(
            START
            + f"""
scaler = torch.amp.GradScaler(device, enabled={scaler})
for x, y in loader:
    optimizer.zero_grad()
    with torch.autocast(device, dtype=torch.{dtype}):
        loss = loss_of(model(x.to(device)), y.to(device))
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
"""
        )
    )
    assert (found.precision, found.options["loss_scaling"]) == (precision, scaler)
    assert {op.phase for op in found.graph.ops if "foreach" in op.name} == {"optimizer"}


@pytest.mark.parametrize("how", ["disable=True", 'backend="eager"', 'backend="aot_eager"'])
def test_compiling_that_makes_no_kernels_leaves_the_step_eager(script, job, how):
    found = job(script(START + f"model = torch.compile(model, {how})\n" + LOOP))
    assert (found.options["compile"], found.graph.mode) == (False, "eager")


def test_compile_and_tf32_are_remembered(script, job):
    found = job(script(START + 'torch.set_float32_matmul_precision("high")\nmodel = torch.compile(model)\n' + LOOP))
    assert (found.precision, found.options["compile"], found.graph.mode) == ("tf32", True, "fused")
    assert any("torch.compile" in note for note in found.notes)


def test_weights_in_half_precision(script, job):
    text = START.replace(".to(device)", ".to(device, torch.bfloat16)") + LOOP.replace(
        "x.to(device)", "x.to(device, torch.bfloat16)"
    )
    assert job(script(text)).precision == "bf16"


def test_an_optimizer_made_when_it_first_steps(script, job):
    text = START.replace("optimizer = torch.optim.AdamW(model.parameters())", "optimizer = None")
    loop = LOOP.replace("optimizer.zero_grad()", "model.zero_grad()").replace(
        "optimizer.step()",
        "optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.1)\n        optimizer.step()",
    )
    found = job(script(text + loop))
    assert found.options["optimizers"] == ("SGD",)
    assert found.options["step_ends_with"] == "optimizer"
    assert NO_OPTIMIZER not in found.notes


def test_tf32_in_the_newer_way(script, job):
    allow = "torch.backends.cuda.matmul.allow_tf32 = False\ntorch.backends.cuda.matmul.fp32_precision = 'tf32'\n"
    assert job(script(START + allow + LOOP)).precision == "tf32"


def test_gradients_added_up_for_two_optimizers(script, job):
    text = START.replace(
        "optimizer = torch.optim.AdamW(model.parameters())",
        "parts = [torch.optim.SGD(model[0].parameters(), 0.1), torch.optim.AdamW(model[2].parameters())]",
    )
    loop = """
for i in range(5):
    for part in range(4):
        loss_of(model(torch.ones(6, 8, device=device)), torch.ones(6, dtype=torch.long, device=device)).backward()
    for optimizer in parts:
        optimizer.step()
        optimizer.zero_grad()
"""
    found = job(script(text + loop))
    assert (found.options["micro_batches"], found.samples_per_step) == (4, 24)


def test_many_steps_of_one_batch(script, job):
    loop = """
x, y = next(iter(loader))
for i in range(5):
    optimizer.zero_grad()
    loss_of(model(x.to(device)), y.to(device)).backward()
    optimizer.step()
"""
    found = job(script(START + loop))
    assert found.samples_per_step == 10
    assert found.samples_per_epoch is None


def test_a_loader_keeps_its_signature(script, phantom):
    check = """
import inspect
assert list(inspect.signature(DataLoader.__init__).parameters)[:3] == ["self", "dataset", "batch_size"]
"""
    outcome = phantom(script(START + check + LOOP))
    assert outcome.status == "done", outcome.traceback


def test_an_optimizer_that_goes_over_a_batch_twice(script, job):
    found = job(
        script(
            START
            + """
for i in range(100):
    x, y = torch.randn(6, 8).to(device), torch.randint(4, (6,)).to(device)
    for again in range(2):  # as SAM does
        loss_of(model(x), y).backward()
    optimizer.step()
    optimizer.zero_grad()
"""
        )
    )
    assert (found.options["micro_batches"], found.samples_per_step) == (1, 6)


def test_a_sampler_that_draws_more_samples_than_there_are(script, job):
    found = job(
        script(
            START
            + """
from torch.utils.data import DataLoader, RandomSampler
endless = RandomSampler(loader.dataset, replacement=True, num_samples=1_000_000)
loader = DataLoader(loader.dataset, batch_size=10, sampler=endless)
"""
            + LOOP
        )
    )
    assert found.steps_per_epoch == 100_000
    assert any("draws 1,000,000 samples from a data set of 100" in note for note in found.notes)


@pytest.mark.parametrize("works", [True, False])
def test_what_the_script_does_by_itself_in_a_step(script, phantom, works):
    work = "time.sleep(0.2)" if works else "pass"
    outcome = phantom(
        script(
            START
            + f"""
import time
for i in range(100):
    {work}
    loss_of(model(torch.randn(6, 8).to(device)), torch.randint(4, (6,)).to(device)).backward()
    optimizer.step()
    optimizer.zero_grad()
"""
        )
    )

    def told(crowded):
        found = job_of(job_from_document(outcome.job), outcome.seen, epoch_seen(outcome.seen), crowded=crowded)
        return [note for note in found.notes if "outside of torch" in note]

    assert len(told(False)) == works
    # Where others keep the processors busy, who knows whose time that was.
    assert not told(True)


def test_workers_of_a_loader_that_a_framework_makes_anew(script, job):
    found = job(
        script(
            START
            + """
asked = DataLoader(data, batch_size=10, num_workers=3)
loader = DataLoader(asked.dataset, batch_sampler=asked.batch_sampler, num_workers=asked.num_workers)
"""
            + LOOP
        )
    )
    assert found.options["loader_workers"] == 3
