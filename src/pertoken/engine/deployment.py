"""A Deployment is a Model on accelerators: split, formats, engine and efficiency. It fits or not, and times steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pertoken.engine.collectives import Fabric
from pertoken.engine.ops import Operation, launching
from pertoken.engine.overlap import OVERLAPS, micro_batched
from pertoken.engine.parallel import Split, check_split
from pertoken.engine.plan import build_plan
from pertoken.engine.profile import Profile
from pertoken.engine.roofline import Timed
from pertoken.engine.step import Step
from pertoken.engine.transfer import Chooser
from pertoken.errors import DoesNotFit, PertokenError
from pertoken.hardware.accelerator import Accelerator
from pertoken.model.feedforward import Dense, Experts
from pertoken.model.model import Block, Model
from pertoken.model.precision import Precision, number_format
from pertoken.units import format_bytes

Number = Any
SMALL_BYTES = 2.0  # norms, biases and convolutions are kept in half precision
DEFAULT_NETWORK = 50e9  # byte/s one direction per accelerator between domains (a 400 Gbit/s card), assumed
# interval of an accelerator that nobody measured over that of one left out of the fit, in logarithms: assumed
WIDER = 1.5
RUNTIME_BYTES = 1.0e9  # driver context, communication buffers and graphs on each accelerator, assumed


@dataclass(frozen=True)
class Deployment:
    """A model on n accelerators.

    Parameters
    ----------
    model : Model
        Shapes.
    precision : Precision
        Formats of weights and cache.
    accelerator : Accelerator
        Datasheet.
    split : Split
        Tensor, pipeline, expert and data parallel sizes.
    profile : Profile
        The engine's overheads and policies.
    chooser : Chooser
        Shares of the datasheet's peaks that operations reach, by shape.
    network : float
        Bandwidth between link domains, one direction, per accelerator [byte/s].
    overlap : str
        ``micro-batches``: the expert-parallel all-to-all of half a batch runs behind the other half's work; ``none``.

    Raises
    ------
    PertokenError
        When the split does not suit the model, or the accelerator lacks a format's arithmetic.
    """

    model: Model
    precision: Precision
    accelerator: Accelerator
    split: Split
    profile: Profile
    chooser: Chooser = field(repr=False)
    network: float = DEFAULT_NETWORK
    overlap: str = "none"

    def __post_init__(self) -> None:
        check_split(self.model, self.split)
        if self.overlap not in OVERLAPS:
            raise PertokenError(f"--overlap is {str(self.overlap)[:40]!r}; use one of {', '.join(OVERLAPS)}")
        if self.overlap != "none" and self.split.pool == 1:
            raise PertokenError(
                f"--overlap {self.overlap} hides the all-to-all of expert parallel, and {self.split} has none; give an --ep"
                " above --tp, or leave --overlap out"
            )
        for role in ("attention", "feedforward", "experts", "head"):
            self.accelerator.compute_for(self.precision.of(role))

    @property
    def accelerators(self) -> int:
        """Accelerators in all."""
        return self.split.accelerators

    @property
    def kv_bytes(self) -> float:
        """Bytes per cache element [byte]."""
        return number_format(self.precision.kv).cache

    @property
    def fabric(self) -> Fabric:
        """Link of a domain and network between domains."""
        link = self.accelerator.link
        if link is None:
            return Fabric(self.network, 1, self.network)
        # what leaves a host passes the slot that the network card shares with the accelerator's
        network = min(self.network, link.bandwidth.value) if self.accelerator.in_slots else self.network
        return Fabric(link.bandwidth.value, int(link.domain.value), network)

    @property
    def crosses_domains(self) -> bool:
        """Whether ranks of one replica talk over the network."""
        return max(self.split.tp * self.split.pp, self.split.ep) > self.fabric.domain

    @cached_property
    def plan(self) -> tuple[Operation, ...]:
        """The operations of a forward pass through all layers."""
        return build_plan(self)

    @property
    def assumed(self) -> tuple[str, ...]:
        """Sentences on efficiencies that were not measured here."""
        return tuple(self.chooser.assumed) if self.plan else ()

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Measured over predicted at 5 and 95%, for ``ttft`` or ``tpot``; None where the engine's was not fitted.

        Where efficiencies stand in for unmeasured ones the logarithms are `WIDER` times as far apart, an assumption.
        """
        ends = self.profile.interval.get(metric)
        if ends is None:
            return None
        power = WIDER if self.assumed else 1.0
        return ends[0] ** power, ends[1] ** power

    def run(self, step: Step) -> list[Timed]:
        """Counts and seconds of every operation in one step of one lane."""
        plan = self.plan
        found = micro_batched(plan, step) if self.overlap != "none" else [t for op in plan for t in op.at(step)]
        seconds = self.prompt_launches_s if step.prefill else self.launches_s
        return found + launching(step, found, seconds, self.profile.graph_sequences.value)

    @cached_property
    def launches_s(self) -> float:
        """Launching every operation of a forward pass one by one [s]."""
        kernels = sum(op.count * op.launches for op in self.plan if op.group != "host")
        return kernels * self.profile.prompt_launch.value

    @cached_property
    def prompt_launches_s(self) -> float:
        """The same in steps that hold prompts [s].

        None where captured graphs replay them: on NVIDIA accelerators, without pipeline stages or lanes that share experts.
        """
        able = self.accelerator.vendor == "NVIDIA" and self.split.pp == 1 and self.split.pool == 1
        return 0.0 if able and self.profile.prompt_graphs else self.launches_s

    def _block_bytes(self, block: Block) -> float:
        """Weight bytes of one layer on one rank [byte]."""
        tp, hidden = self.split.tp, self.model.hidden
        total = SMALL_BYTES * (block.norms * hidden + block.extra)
        if block.attention:
            total += sum(m.parameters * self.precision.of(m.role).bytes for m in block.attention.projections(tp))
            total += SMALL_BYTES * block.attention.other_parameters
        if block.feedforward:
            total += sum(m.parameters * self.precision.of(m.role).bytes for m in block.feedforward.projections(tp))
        if isinstance(block.feedforward, Experts):
            e = block.feedforward
            total += e.experts * e.expert_parameters * self.precision.of("experts").bytes / self.split.expert_ranks
        return total

    @cached_property
    def weight_bytes(self) -> float:
        """Weights on the fullest accelerator [byte]."""
        m, split = self.model, self.split
        layers = sum(b.count * self._block_bytes(b) for b in m.blocks) * (-(-m.layers // split.pp) / m.layers)
        table = m.embedding_parameters / split.tp
        ends = [table * self.precision.of(role).bytes for role in ("embedding", "head")]
        shared = max(ends) if m.tied or split.pp > 1 else sum(ends)
        return layers + shared + SMALL_BYTES * m.extra

    @cached_property
    def workspace_bytes(self) -> float:
        """Activations of the largest step, logits, and the runtime's own memory on one accelerator [byte]."""
        m, tokens = self.model, self.profile.token_budget.value
        widest = max((b.feedforward.inner for b in m.blocks if isinstance(b.feedforward, Dense | Experts)), default=0)
        rows = tokens * (4.0 * m.hidden + 3.0 * widest / self.split.tp) * 2.0
        logits = self.profile.max_sequences.value * m.vocab * 4.0
        return rows + logits + RUNTIME_BYTES

    @property
    def usable_bytes(self) -> float:
        """Memory that the engine may use on one accelerator [byte]."""
        memory, share = self.accelerator.memory.value, self.profile.memory_fraction.value
        used = self.weight_bytes + self.workspace_bytes if self.profile.of_free else 0.0
        return used + (memory - used) * (share if memory > used else 1.0)

    @property
    def cache_capacity(self) -> float:
        """Bytes left for the KV cache on one accelerator; negative when the weights do not fit [byte]."""
        return self.usable_bytes - self.weight_bytes - self.workspace_bytes

    def sequence_bytes(self, context: Number) -> Number:
        """Cache bytes of one sequence on one rank [byte]."""
        return self.model.cache_bytes(context, self.kv_bytes, self.split.tp) / self.split.pp

    @property
    def kv_tokens(self) -> float:
        """Tokens that the caches of all lanes hold together, at the model's context limit's shape [token]."""
        per_token = float(self.sequence_bytes(float(self.model.context_limit))) / self.model.context_limit
        return max(0.0, self.cache_capacity) / per_token * self.split.dp

    def fits(self, longest: float) -> bool:
        """Whether the weights and one sequence of ``longest`` tokens for each pipeline stage fit."""
        return self._missing(longest) <= 0

    def _missing(self, longest: float) -> float:
        return float(self.sequence_bytes(longest)) * self.split.pp - self.cache_capacity

    def check_fit(self, longest: float) -> None:
        """Raise when the weights and one sequence of ``longest`` tokens for each pipeline stage do not fit.

        Raises
        ------
        DoesNotFit
            With the bytes missing on one accelerator.
        """
        missing = self._missing(longest)
        if missing > 0:
            raise DoesNotFit(
                f"{self.model.name} with weights in {self.precision.weights} does not fit {self.accelerators}x"
                f"{self.accelerator.name} ({self.split}): each holds {format_bytes(self.usable_bytes)} for the engine, and"
                f" {format_bytes(self.weight_bytes)} of weights, {format_bytes(self.workspace_bytes)} of workspace and one"
                f" sequence of {longest:,.0f} tokens are {format_bytes(missing)} ({missing:,.0f} bytes) too many",
                missing,
            )
