"""The works that results rest on, in one place, and which of them one result used."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pertoken.engine.collectives import CollectiveOp
from pertoken.engine.draft import Drafted
from pertoken.explain.costed import Costed
from pertoken.model.attention import GroupedQuery, Latent
from pertoken.model.feedforward import Experts
from pertoken.model.recurrent import Recurrent
from pertoken.sources import USER, Sourced


@dataclass(frozen=True)
class Reference:
    """A work as BibTeX knows it.

    Parameters
    ----------
    key, kind : str
        Such as ``williams2009`` and ``article``.
    fields : tuple of (str, str)
        ``author``, ``title``, ``year`` and so on, in order.
    """

    key: str
    kind: str
    fields: tuple[tuple[str, str], ...]

    def bibtex(self) -> str:
        """The entry."""
        lines = [f"  {name} = {{{_escaped(value, name)}}}," for name, value in self.fields if value]
        return "\n".join((f"@{self.kind}{{{self.key},", *lines, "}"))


_SPECIAL = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def _escaped(text: str, name: str) -> str:
    """Text that BibTeX and LaTeX take as it stands; addresses keep their characters."""
    if name in ("url", "eprint", "doi"):
        return "".join(c for c in text if c.isprintable() and c not in "{}\\ ")
    plain = "".join(_SPECIAL.get(c, c) for c in text if c.isprintable())
    return re.sub(r"([&%$#_])", r"\\\1", plain)


def _arxiv(key: str, author: str, title: str, year: str, number: str) -> Reference:
    fields = (("author", author), ("title", title), ("year", year), ("eprint", number), ("archiveprefix", "arXiv"))
    return Reference(key, "misc", fields)


def _article(
    key: str, author: str, title: str, year: str, journal: str, where: tuple[str, str, str], doi: str = ""
) -> Reference:
    volume, number, pages = where
    return Reference(
        key,
        "article",
        (("author", author), ("title", title), ("journal", journal), ("volume", volume), ("number", number), ("pages", pages),
         ("year", year), ("doi", doi)),
    )  # fmt: skip


REFERENCES: dict[str, Reference] = {
    r.key: r
    for r in (
        _article(
            "williams2009", "Williams, Samuel and Waterman, Andrew and Patterson, David",
            "Roofline: An Insightful Visual Performance Model for Multicore Architectures", "2009", "Communications of the ACM",
            ("52", "4", "65--76"), "10.1145/1498765.1498785",
        ),
        _article(
            "billera1978", "Billera, Louis J. and Heath, David C. and Raanan, Joseph",
            "Internal Telephone Billing Rates: A Novel Application of Non-Atomic Game Theory", "1978", "Operations Research",
            ("26", "6", "956--965"),
        ),
        _article(
            "little1961", "Little, John D. C.", "A Proof for the Queuing Formula: L = (lambda) W", "1961", "Operations Research",
            ("9", "3", "383--387"), "10.1287/opre.9.3.383",
        ),
        _article(
            "thakur2005", "Thakur, Rajeev and Rabenseifner, Rolf and Gropp, William",
            "Optimization of Collective Communication Operations in MPICH", "2005",
            "International Journal of High Performance Computing Applications", ("19", "1", "49--66"), "10.1177/1094342005051521",
        ),
        _arxiv(
            "pope2022", "Pope, Reiner and Douglas, Sholto and Chowdhery, Aakanksha and Devlin, Jacob and Bradbury, James and"
            " Levskaya, Anselm and Heek, Jonathan and Xiao, Kefan and Agrawal, Shivani and Dean, Jeff",
            "Efficiently Scaling Transformer Inference", "2022", "2211.05102",
        ),
        _arxiv(
            "ainslie2023", "Ainslie, Joshua and Lee-Thorp, James and de Jong, Michiel and Zemlyanskiy, Yury and Lebron, Federico"
            " and Sanghai, Sumit", "GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints", "2023",
            "2305.13245",
        ),
        _arxiv(
            "deepseek2024v2", "DeepSeek-AI",
            "DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language Model", "2024", "2405.04434",
        ),
        _arxiv("deepseek2024v3", "DeepSeek-AI", "DeepSeek-V3 Technical Report", "2024", "2412.19437"),
        _arxiv(
            "deepseek2025v32", "DeepSeek-AI", "DeepSeek-V3.2: Pushing the Frontier of Open Large Language Models", "2025",
            "2512.02556",
        ),
        _arxiv(
            "shazeer2017", "Shazeer, Noam and Mirhoseini, Azalia and Maziarz, Krzysztof and Davis, Andy and Le, Quoc and Hinton,"
            " Geoffrey and Dean, Jeff",
            "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer", "2017", "1701.06538",
        ),
        _arxiv(
            "dao2024", "Dao, Tri and Gu, Albert",
            "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space Duality", "2024",
            "2405.21060",
        ),
        _arxiv(
            "agrawal2024", "Agrawal, Amey and Kedia, Nitin and Panwar, Ashish and Mohan, Jayashree and Kwatra, Nipun and"
            " Gulavani, Bhargav S. and Tumanov, Alexey and Ramjee, Ramachandran",
            "Taming Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve", "2024", "2403.02310",
        ),
        _arxiv(
            "patel2023", "Patel, Pratyush and Choukse, Esha and Zhang, Chaojie and Shah, Aashaka and Goiri, Inigo and Maleki,"
            " Saeed and Bianchini, Ricardo", "Splitwise: Efficient Generative LLM Inference Using Phase Splitting", "2023",
            "2311.18677",
        ),
        _arxiv(
            "zhong2024", "Zhong, Yinmin and Liu, Shengyu and Chen, Junda and Hu, Jianbo and Zhu, Yibo and Liu, Xuanzhe and Jin,"
            " Xin and Zhang, Hao",
            "DistServe: Disaggregating Prefill and Decoding for Goodput-optimized Large Language Model Serving", "2024",
            "2401.09670",
        ),
        _arxiv(
            "leviathan2022", "Leviathan, Yaniv and Kalman, Matan and Matias, Yossi",
            "Fast Inference from Transformers via Speculative Decoding", "2022", "2211.17192",
        ),
        _arxiv(
            "li2024eagle", "Li, Yuhui and Wei, Fangyun and Zhang, Chao and Zhang, Hongyang",
            "EAGLE: Speculative Sampling Requires Rethinking Feature Uncertainty", "2024", "2401.15077",
        ),
        _arxiv(
            "zhang2023", "Zhang, Zhenyu and Sheng, Ying and Zhou, Tianyi and Chen, Tianlong and Zheng, Lianmin and Cai, Ruisi and"
            " Song, Zhao and Tian, Yuandong and Re, Christopher and Barrett, Clark and Wang, Zhangyang and Chen, Beidi",
            "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models", "2023", "2306.14048",
        ),
        _arxiv(
            "li2024snapkv", "Li, Yuhong and Huang, Yingbing and Yang, Bowen and Venkitesh, Bharat and Locatelli, Acyr and Ye,"
            " Hanchen and Cai, Tianle and Lewis, Patrick and Chen, Deming",
            "SnapKV: LLM Knows What You are Looking for Before Generation", "2024", "2404.14469",
        ),
    )
}  # fmt: skip
# what a counterfactual rests on beyond its case
COUNTERFACTUALS = {
    "evict": ("zhang2023", "li2024snapkv"),
    "top-k": ("deepseek2025v32",),
    "no-gqa": ("ainslie2023",),
    "speculative": ("leviathan2022",),
    "split-pools": ("zhong2024", "patel2023"),
}


def _of_model(cost: Costed) -> list[str]:
    """Works on the model's own shapes."""
    blocks = cost.deployment.model.blocks
    attentions = [b.attention for b in blocks if b.attention]
    grouped = [a for a in attentions if isinstance(a, GroupedQuery)]
    keys = ["ainslie2023"] if any(1 < a.kv_heads < a.heads for a in grouped) else []
    if any(isinstance(a, Latent) for a in attentions):
        keys.append("deepseek2024v2")
    if any(getattr(a, "indexer", None) for a in attentions):
        keys.append("deepseek2025v32")
    if any(isinstance(a, Recurrent) for a in attentions):
        keys.append("dao2024")
    return keys + (["shazeer2017"] if any(isinstance(b.feedforward, Experts) for b in blocks) else [])


def _of_serving(cost: Costed) -> list[str]:
    """Works on how it is split and served."""
    d = cost.deployment
    keys = ["pope2022"] if d.split.tp > 1 else []
    if any(isinstance(op, CollectiveOp) for op in d.plan):
        keys.append("thakur2005")
    if d.overlap != "none":
        keys.append("deepseek2024v3")
    kinds = cost.operating.state.kinds
    if any(kind.step.prefill is not None and float(kind.step.decode_tokens) > 0 for kind in kinds):
        keys.append("agrawal2024")
    if isinstance(d, Drafted):
        keys += ["leviathan2022", "deepseek2024v3" if d.model.mtp else "li2024eagle"]
    return keys + (["patel2023"] if "azure-2023" in cost.workload.lengths.origin else [])


def _read(cost: Costed) -> list[Reference]:
    """Datasheets, operator tables and rents that were read."""
    d, a = cost.deployment, cost.deployment.accelerator
    used: list[Sourced] = [
        *a.flops.values(),
        a.memory,
        a.bandwidth,
        *((a.link.bandwidth,) if a.link and d.accelerators > 1 else ()),
    ]
    sources = {(s.source.title, s.source.url): s.source for s in used if s.source != USER}
    found = []
    for number, source in enumerate(sources.values(), 1):
        day = source.date or source.read
        note = f"read {source.read}" if source.read else ""
        year = str(day.year) if day else ""
        fields: tuple[tuple[str, str], ...] = (
            ("title", source.title),
            ("url", source.url),
            ("year", year),
            ("note", note),
        )
        found.append(Reference(f"{_key(a.name)}{number}", "misc", fields))
    wheels = dict.fromkeys(line.split()[0] for line in d.chooser.efficiency.tables if "==" in line.split()[0])
    for wheel in wheels:
        title = f"Operator tables of {wheel.replace('==', ' ')}, from which kernel efficiencies were fitted"
        fields = (("author", "NVIDIA"), ("title", title), ("url", "https://github.com/ai-dynamo/aiconfigurator"))
        found.append(Reference(_key(wheel.split("==")[0]), "misc", fields))
    if cost.rate and cost.rate.kind == "rent" and " of " in cost.rate.origin:
        found.append(
            Reference(
                f"{_key(a.name)}rent",
                "misc",
                (("title", cost.rate.origin), ("note", "table of listed rents of pertoken")),
            )
        )
    return found


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()) or "source"


def used(cost: Costed, counterfactuals: Iterable[str] = ()) -> list[Reference]:
    """The works that a result rests on, and no others.

    Parameters
    ----------
    cost : Costed
        The result.
    counterfactuals : iterable of str
        Names of what was asked beside it.
    """
    keys = ["williams2009", "billera1978", "little1961", *_of_model(cost), *_of_serving(cost)]
    keys += [key for name in counterfactuals for key in COUNTERFACTUALS.get(name, ())]
    return [*(REFERENCES[key] for key in dict.fromkeys(keys)), *_read(cost)]


def bibtex(references: Iterable[Reference]) -> str:
    """All entries, each once."""
    return "\n\n".join({r.key: r.bibtex() for r in references}.values()) + "\n"
