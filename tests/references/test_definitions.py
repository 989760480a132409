"""Published jobs are what their sources say: parameters and FLOPs against published figures."""

import pytest

from whichgpu.capture import phantom_gpu
from whichgpu.references import Reference, build, is_known
from whichgpu.references.trace import job_at, trace_at
from whichgpu.work import count_graph

# Parameters in millions: BERT (arXiv 1810.04805, with the span head), Transformer-XL base (NVIDIA: 192 M), GNMT v2
# (NVIDIA: 160 M with 32,317 words), Tacotron 2 (NVIDIA: 28.2 M), WaveGlow of 512 channels (NVIDIA: 268 M); by hand NCF
# (tables and layers) and Transformer-XL large (18 layers of 13.6 M, 36.9 M of embeddings, 1.4 M of their projections).
PARAMETERS = {
    ("nv:bert_base_squad", (384,)): 109,
    ("nv:bert_large_squad", (384,)): 334,
    ("nv:transformerxl_base_adaptive", (192,)): 192,
    ("nv:transformerxl_large_adaptive", (384,)): 283.6,
    ("nv:gnmt", ()): 160,
    ("nv:tacotron2", ()): 28.2,
    ("nv:waveglow", ()): 268,
    ("nv:ncf_ml20m", ()): 31.8,
}


@pytest.mark.parametrize("name", [name for name, _ in PARAMETERS])
def test_models_have_the_parameters_published(name, monkeypatch):
    from whichgpu.references import loops

    seen = []
    monkeypatch.setattr(loops, "_training", lambda model, *rest: seen.append(model))
    sample = next(shape for known, shape in PARAMETERS if known == name)
    with phantom_gpu():
        build(Reference(name, precision="fp32", sample=sample, torch_major=1))
        count = sum(p.numel() for p in seen[0].parameters())
    assert count == pytest.approx(PARAMETERS[name, sample] * 1e6, rel=0.04)


def test_gpt3_27_multiplies_as_much_as_neusight_timed():
    """NeuSight's per-op timings give its shapes: 32 layers of 2,560, 50,257 words."""
    reference = Reference("hf:gpt3_27", "infer", "fp32", sample=(2048,))
    work = count_graph(job_at(trace_at(reference, 1), 1, "fp32").graph)
    products = 32 * (24 * 2048 * 2560**2 + 4 * 2048**2 * 2560) + 2 * 2048 * 2560 * 50_257
    assert work.flops == pytest.approx(products, rel=0.03)


def test_every_name_is_known_and_no_other():
    assert is_known("timm:anything")
    assert is_known("nv:gnmt")
    assert not is_known("nv:unheard_of")
    assert not is_known("axolotl:llama")
