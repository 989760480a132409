"""The examples' steps hold the ops they held when each count was read and found right."""

import pytest
from benchmarks.example_ops import ALWAYS, kept, names, ops_of, recorded, releases

KEPT = kept()


@pytest.mark.parametrize("name", names())
def test_a_step_calls_what_it_called(name, forked):
    for library in ("lightning", "transformers", "accelerate"):
        if library in KEPT[name]["with"]:
            pytest.importorskip(library)
    found = ops_of(recorded(name))
    expected = {kind: ops for kind, ops in KEPT[name].items() if kind != "with"}
    if releases(name) == KEPT[name]["with"]:
        assert found == expected
    else:
        assert {k: sum(found[k].values()) for k in ALWAYS if k in found} == {
            k: sum(expected[k].values()) for k in ALWAYS if k in expected
        }


def test_every_op_of_an_example_is_priced():
    assert all("unpriced" not in kinds for kinds in KEPT.values())


def test_counts_by_hand():
    """What reading the scripts gives, beside what was recorded."""
    gpt2, nanogpt = KEPT["finetune_gpt2_hf"], KEPT["nanogpt_style"]
    # Two batches a step through 12 layers of four products with a bias, and an output layer without; backward twice.
    assert gpt2["matmul"] == {"aten.addmm": 2 * 12 * 4, "aten.mm": 2 * (2 * 12 * 4 + 3)}
    assert sum(gpt2["attention"].values()) == 2 * 12 * 2
    assert gpt2["normalization"]["aten.native_layer_norm"] == 2 * (12 * 2 + 1)
    # Four batches a step through 6 layers of four products without a bias, and the output layer.
    assert sum(nanogpt["attention"].values()) == 4 * 6 * 2
    assert nanogpt["matmul"] == {"aten.mm": 4 * 3 * (6 * 4 + 1)}
    # Two layers of cuDNN's LSTM are one call.
    assert KEPT["lstm_lm"]["rnn"] == {"aten._cudnn_rnn": 1, "aten._cudnn_rnn_backward": 1}
    # The discriminator's four layers see real images, made-up ones, these once more; the generator's make them once.
    assert KEPT["gan"]["convolution"]["aten.convolution"] == 3 * 4 + 4
    assert KEPT["train_mnist"]["convolution"]["aten.convolution"] == 2
