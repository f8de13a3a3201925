"""llama.cpp: its own kernels where it has them, limits of physics, and speeds that taught nothing."""

import math

import pytest

from pertoken.catalog import machines
from pertoken.scenario import price
from tests.cli.tool import run
from tests.test_benchmarks import load

JOB = {"on": "1xrtx-4090", "dtype": "q4_k_m", "concurrency": 1, "rate": "rent:0.4", "input": 512, "output": 128}


def test_the_command_answers_under_any_of_its_names():
    for name in ("llamacpp", "llama.cpp", "llama-server", "ollama", "lmstudio"):
        assert machines.load_profile(name).name == "llamacpp"
    found = run(
        "price",
        "llama-3.1-8b",
        "--on",
        "1xrtx-4090",
        "--dtype",
        "q4_k_m",
        "--engine",
        "llama.cpp",
        "--concurrency",
        "1",
    )
    assert found.code == 0 and "llama.cpp adds" in " ".join(found.out.split()) and "assumed" in found.out


def test_a_token_takes_at_least_the_read_of_its_weights():
    cost = price("llama-3.1-8b", engine="llamacpp", **JOB)
    deployment = cost.deployment
    floor = (deployment.weight_bytes - deployment.model.embedding_parameters * 4.89 / 8) / 1.008e12
    assert floor < float(cost.operating.state.tpot_s) < 2.5 * floor


def test_its_own_kernels_do_not_pad_single_tokens():
    speed = [
        float(price("llama-3.1-8b", engine=engine, **JOB).operating.state.tpot_s) for engine in ("llamacpp", "vllm")
    ]
    assert speed[0] < speed[1]


@pytest.mark.parametrize(("accelerator", "said"), [("rtx-4090", False), ("h100-sxm", True), ("xeon-8480", True)])
def test_kernels_that_stand_in_are_said(accelerator, said):
    cost = price("llama-3.1-8b", engine="llamacpp", **JOB | {"on": f"1x{accelerator}"})
    assert any("llamacpp's own" in text for text in cost.assumed) == said


def test_published_speeds():
    public = load("llamacpp")
    for (accelerator, dtype), measured in public.MEASURED.items():
        generated, prompt = (
            math.log(p / m) for p, m in zip(public.predicted(accelerator, dtype), measured, strict=True)
        )
        assert abs(generated) < math.log(1.25), (accelerator, dtype)
        assert abs(prompt) < math.log(1.8), (accelerator, dtype)
