"""What a step is told when it asks for values the phantom GPU does not have."""

import math
import operator

import pytest
import torch
from torch import nn
from torch.nn import functional

from whichgpu.capture.made_up import MadeUp
from whichgpu.capture.stand_in import BY_CHANCE, EVENLY, HALF
from whichgpu.errors import CaptureError

pytestmark = pytest.mark.usefixtures("phantom")


def on_device(*shape):
    return torch.randn(*shape, device="cuda")


def test_a_step_in_good_order_passes_its_own_checks():
    loss, scores = on_device(3).sum(), on_device(4, 3)
    assert math.isfinite(loss.item())
    assert torch.isfinite(loss)
    assert not torch.isnan(loss)
    assert torch.isfinite(scores).all()
    assert not torch.isinf(scores).any()
    assert not scores.isnan().any().item()
    assert (scores == scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert not (scores < 0).any()
    assert torch.allclose(scores, scores * 2)
    assert torch.equal(scores, scores * 2)
    assert not torch.equal(scores, on_device(3, 4))
    assert math.log10(1 / loss.item()) == 0


def test_known_values_are_compared():
    first, second = torch.tensor([1, 2], device="cuda"), torch.tensor([1, 3], device="cuda")
    assert not torch.equal(first, second)
    assert torch.equal(first, second - torch.tensor([0, 1], device="cuda"))
    assert not (first == second).all()
    assert (first != second).any()


def test_distributions_take_their_parameters():
    from torch import distributions

    mean, scale = on_device(4, 3), on_device(4, 3).exp()
    normal = distributions.Normal(mean, scale)
    action = normal.rsample()
    assert normal.log_prob(action).shape == (4, 3)
    choice = distributions.Categorical(logits=mean).sample()
    assert choice.shape == (4,)
    assert set(choice.tolist()) <= {0, 1, 2}
    assert distributions.kl_divergence(normal, distributions.Normal(0.0, torch.ones_like(scale))).shape == (4, 3)


def test_places_are_spread_evenly():
    router = on_device(12, 4).softmax(-1)
    weights, experts = router.topk(2, -1)
    assert weights.shape == experts.shape == (12, 2)
    assert experts.flatten().bincount(minlength=4).tolist() == [6] * 4
    mask = functional.one_hot(experts, 4).permute(2, 1, 0)
    assert mask.shape == (4, 2, 12)
    assert [torch.where(mask[e])[0].shape[0] for e in range(4)] == [6] * 4
    assert on_device(6, 3).argmax(1).tolist() == [0, 1, 2, 0, 1, 2]
    assert sorted(torch.randperm(5, device="cuda").tolist()) == [0, 1, 2, 3, 4]
    assert set(torch.randint(2, 5, (9,), device="cuda").tolist()) == {2, 3, 4}
    assert on_device(2, 3).sort(descending=True)[1].tolist() == [[0, 1, 2]] * 2
    assert torch.multinomial(router, 1).max().item() == 3


def test_a_mixture_of_experts_routes_every_token(record, names):
    experts = nn.ModuleList([nn.Linear(8, 8) for _ in range(4)]).cuda()
    gate, tokens = nn.Linear(8, 4).cuda(), on_device(64, 8)

    def step():
        weights, chosen = gate(tokens).softmax(-1).topk(2, -1)
        out = torch.zeros_like(tokens)
        for place, expert in enumerate(experts):
            token, nth = torch.where(chosen == place)
            out.index_add_(0, token, expert(tokens[token]) * weights[token, nth, None])
        out.sum().backward()

    job = record(step)
    rows = [op.tensor("mat1").shape[0] for op in job.graph.ops if op.name == "aten.addmm.default"]
    assert rows == [64, 32, 32, 32, 32]  # the gate, then two of four experts for each token
    assert HALF not in job.notes


def test_every_second_element_where_nobody_knows(record):
    losses = functional.cross_entropy(
        on_device(10, 3).requires_grad_(), torch.zeros(10).long().cuda(), reduction="none"
    )
    hard = losses > losses.mean()
    kept = losses[hard]
    assert kept.shape == (5,)
    assert hard.sum().item() == 5
    assert losses[~hard].shape == (5,)
    assert hard.nonzero().shape == (5, 1)
    assert losses.masked_select(hard).shape == (5,)
    kept.mean().backward()
    scores = on_device(7)
    assert scores[scores > 0].shape == (4,)
    assert scores.unique().shape == (7,)
    scores[scores < 0] = 0.0
    scores[scores > 1] *= 2
    assert HALF in record(lambda: scores[scores > 0].sum()).notes


def test_known_masks_are_exact():
    labels = torch.tensor([1, -100, 2], device="cuda")
    rows = on_device(3, 4)
    assert rows[labels != -100].shape == (2, 4)
    assert labels[labels != -100].tolist() == [1, 2]
    assert rows.masked_select((labels > 0)[:, None]).shape == (8,)
    assert torch.eye(3, device="cuda")[labels.clamp(min=0)].shape == (3, 3)


def test_masks_of_floats_are_exact():
    # As in contrastive losses: which of two views belong together, without each with itself.
    labels = torch.arange(24).repeat(2)
    same = (labels[:, None] == labels[None]).float()
    own = torch.eye(48, device="cuda")
    for here in (same.cuda(), same.cuda().half(), (labels.cuda()[:, None] == labels.cuda()[None]).float()):
        others = here[~own.bool()].view(48, -1)
        scores = on_device(48, 48)[~own.bool()].view(48, -1)
        assert scores[others.bool()].view(48, -1).shape == (48, 1)
        assert scores[~others.bool()].view(48, -1).shape == (48, 46)
        assert ((1 - own) * here).sum().item() == 48
    seen = torch.zeros(20, 10, device="cuda")
    seen[:, :3] = 1
    assert on_device(20, 10)[seen > 0].shape == (60,)
    assert on_device(9, 9)[torch.ones(9, 9, device="cuda").tril() == 1].shape == (45,)
    seen += on_device(20, 10)
    assert on_device(20, 10)[seen > 0].shape == (100,)


def test_generation_goes_on():
    model = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 50)).cuda()
    tokens = torch.zeros(2, 1, dtype=torch.long, device="cuda")
    with torch.no_grad():
        for _ in range(3):
            logits = model(tokens)[:, -1]
            lowest = torch.topk(logits, 5)[0][:, [-1]]
            logits[logits < lowest] = -float("inf")
            tokens = torch.cat([tokens, torch.multinomial(logits.softmax(-1), 1)], 1)
    assert tokens.shape == (2, 4)
    assert tokens.max().item() < 50


def test_a_model_copied_to_the_host_takes_no_memory():
    huge = torch.empty(2**33, dtype=torch.bfloat16, device="cuda")
    assert huge.cpu().shape == (2**33,)


def test_what_comes_back_from_the_host_is_as_unknown_as_it_was(record):
    """The labels of an SSD: put together on the host of what the device computed, and compared on the device."""

    def step():
        labels = torch.zeros(4, 6, dtype=torch.int64)
        for row in range(4):
            labels[row] = (on_device(6) > 0).long()
        labels = labels.cuda()
        chosen = on_device(4, 6, 3)[(labels > 0).unsqueeze(2).expand(4, 6, 3)].view(-1, 3)
        assert chosen.shape == (12, 3)
        assert labels[labels > 0].shape == (12,)

    assert HALF in record(step).notes
    known = torch.tensor([1, 0, 1]).cuda().cpu()
    assert on_device(3)[known > 0].shape == (2,)


def test_memory_of_the_host_counts_as_a_whole_for_as_long_as_it_lives():
    made_up, tensor = MadeUp(), torch.zeros(3, dtype=torch.int64)
    assert not made_up.holds(tensor)
    made_up.note(tensor[1:])
    assert made_up.holds(tensor) and made_up.holds(tensor[:1])
    assert not made_up.holds(torch.ones(3))
    (reference,) = made_up._storages.values()
    del tensor
    assert reference.expired()


def test_a_mask_over_every_class_of_every_box_is_exact():
    """Six million truth values, which are as many bytes as fewer integers."""
    rows = torch.zeros(60_000, dtype=torch.bool, device="cuda")
    rows[:7] = True
    assert on_device(60_000, 100)[rows.unsqueeze(1).expand(60_000, 100)].shape == (700,)


def test_choices_that_decide_shapes_are_told_of(record):
    def routed():
        expert = on_device(8, 4).topk(2).indices
        tokens, _ = torch.where(expert == 1)
        on_device(8, 3)[tokens]

    def counted():
        assert (on_device(8, 4).argmax(1) == torch.arange(8, device="cuda")).sum().item() >= 0

    assert EVENLY not in record(counted).notes
    assert EVENLY in record(routed).notes


def test_single_numbers_compare_as_those_that_are_read_back():
    number, count = on_device(3).sum(), on_device(3).sum().long()
    for compare in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
        for other in (-1.0, 0.5, 1.0, 1e9):
            assert bool(compare(number, other)) == compare(number.item(), other)
        assert bool(compare(count, 3)) == compare(count.item(), 3)
        assert bool(compare(number, torch.tensor(0.5, device="cuda"))) == compare(number.item(), 0.5)
        assert bool(compare(number, number * 2)) == compare(number.item(), (number * 2).item())
    less, more = number < 0.5, number > 0.5
    assert [bool(b) for b in (less, more, less & more, less | more, ~less)] == [False, True, False, True, True]
    assert not more.logical_not() and more.detach() and not torch.logical_and(more, less)
    # What holds for all elements holds for one.
    assert (number < 0.5).all()


def test_a_fake_kernel_that_asks_for_values_is_refused_in_a_sentence():
    library = torch.library.Library("whichgpu_test", "DEF")
    try:
        library.define("counted(Tensor x) -> Tensor")
        library.impl("counted", lambda x: x.new_empty(int(x.sum().item())), "Meta")
        with pytest.raises(CaptureError, match=r"whichgpu_test\.counted.* its fake kernel wants values"):
            torch.ops.whichgpu_test.counted(on_device(3))
    finally:
        library._destroy()


MASKS = {
    "part of an integer": (lambda n: (torch.rand(n, device="cuda") + 0.7).int().bool(), 0.7),
    "its floor": (lambda n: torch.floor(0.9 + torch.rand(n, device="cuda")).type(torch.bool), 0.9),
    "drawn on the host": (lambda n: (torch.rand(n).to("cuda") + 0.9).floor().bool(), 0.9),
    "in place": (lambda n: torch.rand(n, device="cuda").add_(0.25).floor_().bool(), 0.25),
    "larger": (lambda n: torch.rand(n, device="cuda") >= 0.2, 0.8),
    "smaller": (lambda n: torch.rand_like(torch.zeros(n, device="cuda")) < 0.2, 0.2),
    "what is left": (lambda n: 1 - torch.rand(n, device="cuda") < 0.3, 0.3),
    "inverted": (lambda n: ~(torch.rand(n, device="cuda") > 0.1), 0.1),
    "another range": (lambda n: torch.rand(n, device="cuda") * 2 - 1 > 0.5, 0.25),
    "uniform_": (lambda n: torch.zeros(n, device="cuda").uniform_(-1, 3) / 2 > 0, 0.75),
    "bernoulli_": (lambda n: torch.empty(n, device="cuda").bernoulli_(0.3).bool(), 0.3),
    "bernoulli": (lambda n: torch.bernoulli(torch.zeros(n, device="cuda"), 0.15).bool(), 0.15),
}


@pytest.mark.parametrize("name", MASKS)
def test_random_masks_let_through_what_they_do_on_average(name, record):
    make, kept = MASKS[name]
    rows = torch.rand(1000, 4, device="cuda")

    def step():
        mask = make(1000)
        assert rows[mask].shape == (round(1000 * kept), 4)
        # What is chosen by the same mask has as many rows.
        assert mask.nonzero().shape[0] == rows[mask].shape[0]

    job = record(step)
    assert BY_CHANCE in job.notes and HALF not in job.notes


def test_numbers_written_over_are_not_drawn_any_more(record):
    rows = torch.rand(1000, 4, device="cuda")

    def step():
        numbers = torch.rand(1000, device="cuda")
        numbers.copy_(rows[:, 0] @ rows[:, 1] * rows[:, 2])
        assert rows[numbers > 0.1].shape == (500, 4)

    assert HALF in record(step).notes


def test_random_numbers_of_the_host_are_saved_as_ever(tmp_path, phantom):
    torch.save(torch.rand(100), tmp_path / "numbers.pt")
    assert torch.load(tmp_path / "numbers.pt", weights_only=True).shape == (100,)
