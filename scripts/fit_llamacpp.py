"""Fit llama.cpp's own kernels to speeds that its developers published, and print catalog/kernels/llamacpp.toml.

Three parameters of the form in docs/calibration.md, of one model on each of two machines: the share of the memory rate, the
share of the half-precision arithmetic peak, and the tokens at which that share halves. What the kernels leave (attention, norms,
host) is the model's own. ``python scripts/fit_llamacpp.py`` prints the file and, on stderr, the error of each row.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from pertoken.catalog import machines
from pertoken.catalog.models import load_checkpoint
from pertoken.engine.deployment import Deployment
from pertoken.engine.efficiency import Efficiency, MatmulEfficiency
from pertoken.engine.parallel import Split
from pertoken.engine.roofline import total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.engine.transfer import Chooser
from pertoken.model.precision import Precision

HEAD = """# llama.cpp's own matmuls, fitted by scripts/fit_llamacpp.py to speeds that its developers published (read 2026-11-25):
# RTX 4090, Llama 3 8B in Q4_K_S, 2,048 prompt tokens by microbatch: https://github.com/ggml-org/llama.cpp/pull/7860
# RTX 3090, Llama 3 8B in Q4_0, 512 prompt tokens by microbatch of 1 to 4: https://github.com/ggml-org/llama.cpp/pull/15802
# M2 Ultra, Llama 3.2 3B in Q4_0 and F16, 512 prompt tokens, and tokens one by one: https://github.com/ggml-org/llama.cpp/pull/10238
# Shares of the half-precision peak, whatever arithmetic the kernels use.

# by accelerator or family: whose kernels stand in
[nearest]
ada = "rtx-4090"
ampere = "rtx-4090"
hopper = "rtx-4090"
blackwell-consumer = "rtx-4090"
apple = "m2-ultra"
"""


@dataclass(frozen=True)
class Speed:
    """Tokens per second of one llama-bench test: ``new`` tokens a step, at a mean context; ``new`` 1 is decoding."""

    accelerator: str
    model: str
    form: str
    new: float
    context: float
    tokens_per_s: float
    kernels: str


ROWS = [
    *(Speed("rtx-4090", "llama-3-8b", "q4_k_m", n, 1024, v, "rtx-4090 q4_k_m")
      for n, v in ((16, 1946.01), (32, 3358.03), (64, 5349.26), (128, 6901.0), (256, 8555.1), (512, 9278.55))),
    *(Speed("rtx-3090", "llama-3-8b", "q4_0", n, 256, v, "rtx-4090 q4_k_m")
      for n, v in ((1, 156.56), (2, 279.89), (4, 470.48))),
    Speed("m2-ultra", "llama-3.2-3b", "q4_0", 512, 0, 3003.08, "m2-ultra q4_k_m"),
    Speed("m2-ultra", "llama-3.2-3b", "q4_0", 1, 64, 166.87, "m2-ultra q4_k_m"),
    Speed("m2-ultra", "llama-3.2-3b", "fp16", 512, 0, 3282.55, "m2-ultra fp16"),
    Speed("m2-ultra", "llama-3.2-3b", "fp16", 1, 64, 73.29, "m2-ultra fp16"),
]  # fmt: skip


def predicted(row: Speed, kernel: MatmulEfficiency) -> float:
    """Tokens per second of a row with one kernel for all its matmuls."""
    accelerator = machines.load_accelerator(row.accelerator)
    base = machines.chooser(accelerator, machines.load_profile("llamacpp"))
    chooser = Chooser(base.efficiency, base.fallback, [], ("llamacpp",), accelerator, base.links,
                      Efficiency(row.accelerator, matmul={row.form: kernel}))  # fmt: skip
    model = load_checkpoint(row.model).model
    deployment = Deployment(
        model, Precision(row.form, kv="fp16"), accelerator, Split(), machines.load_profile("llamacpp"), chooser
    )
    decoding = row.new <= 4
    step = Step((Decode(row.new, row.context),)) if decoding else Step((), Prefill(1.0, row.new, row.context), 0.0)
    return row.new / float(total_seconds(deployment.run(step)))


def fitted(name: str) -> tuple[MatmulEfficiency, list[tuple[Speed, float]]]:
    """The kernel of one machine and format, and what each row's speed is off."""
    rows = [row for row in ROWS if row.kernels == name]
    few = len(rows) < 4  # prompts and single tokens: the tokens at which the share halves cannot be told

    def kernel(x: np.ndarray) -> MatmulEfficiency:
        return MatmulEfficiency(float(x[0]), 0.0 if few else float(x[1]), 0.0, 0.0, float(x[2]), 0.0, 2e-6)

    def off(x: np.ndarray) -> np.ndarray:
        return np.array([np.log(predicted(row, kernel(x)) / row.tokens_per_s) for row in rows])

    found = least_squares(
        off, [0.6, 20.0, 0.7], bounds=([0.05, 0.0, 0.05], [1.0, 200.0, 1.0]), x_scale=[1.0, 50.0, 1.0]
    )
    return kernel(found.x), list(zip(rows, np.expm1(off(found.x)), strict=True))


def main() -> None:
    """Print the file."""
    print(HEAD)
    for name in dict.fromkeys(row.kernels for row in ROWS):
        best, errors = fitted(name)
        for row, error in errors:
            print(f"{row.accelerator} {row.form} {row.new:.0f} tokens a step: {error:+.1%}", file=sys.stderr)
        values = ", ".join(f"{key} = {value:.4g}" for key, value in vars(best).items())
        print(f"[matmul.{name.replace(' ', '.')}]\n" + values.replace(", ", "\n") + "\n")


if __name__ == "__main__":
    main()
