"""What the shipped algorithms are called in tables and figures, their colours, and the papers to cite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from metaexp.results.display.wording import shorten


class Paper(NamedTuple):
    """An entry of a bibliography.

    Attributes:
        key: The key by which a text cites it.
        kind: The kind of entry: ``inproceedings`` or ``article``.
        authors: The authors, in BibTeX's form.
        title: The title, with braces around what keeps its capitals.
        where: Name and value of the field that says where it was published.
        year: The year.
    """

    key: str
    kind: str
    authors: str
    title: str
    where: tuple[str, str]
    year: int


class Shown(NamedTuple):
    """How an algorithm is shown.

    Attributes:
        name: The full name.
        paper: What to cite; None for a baseline without one.
    """

    name: str
    paper: Paper | None


_ICML = "International Conference on Machine Learning (ICML)"
_ICLR = "International Conference on Learning Representations (ICLR)"
_NIPS = "Advances in Neural Information Processing Systems"

ALGORITHMS: dict[str, Shown] = {
    "maml": Shown("MAML", Paper(
        "finn2017maml", "inproceedings", "Finn, Chelsea and Abbeel, Pieter and Levine, Sergey",
        "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", ("booktitle", _ICML), 2017)),
    "proto_net": Shown("ProtoNet", Paper(
        "snell2017prototypical", "inproceedings", "Snell, Jake and Swersky, Kevin and Zemel, Richard",
        "Prototypical Networks for Few-shot Learning", ("booktitle", _NIPS), 2017)),
    "reptile": Shown("Reptile", Paper(
        "nichol2018reptile", "article", "Nichol, Alex and Achiam, Joshua and Schulman, John",
        "On First-Order Meta-Learning Algorithms", ("journal", "arXiv preprint arXiv:1803.02999"), 2018)),
    "anil": Shown("ANIL", Paper(
        "raghu2020anil", "inproceedings", "Raghu, Aniruddh and Raghu, Maithra and Bengio, Samy and Vinyals, Oriol",
        "Rapid Learning or Feature Reuse? {T}owards Understanding the Effectiveness of {MAML}",
        ("booktitle", _ICLR), 2020)),
    "relation_net": Shown("Relation Network", Paper(
        "sung2018relation", "inproceedings",
        "Sung, Flood and Yang, Yongxin and Zhang, Li and Xiang, Tao and Torr, Philip H. S. and Hospedales, Timothy M.",
        "Learning to Compare: Relation Network for Few-Shot Learning",
        ("booktitle", "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)"), 2018)),
    "meta_lstm": Shown("Meta-LSTM", Paper(
        "ravi2017optimization", "inproceedings", "Ravi, Sachin and Larochelle, Hugo",
        "Optimization as a Model for Few-Shot Learning", ("booktitle", _ICLR), 2017)),
    "matching_net": Shown("Matching Networks", Paper(
        "vinyals2016matching", "inproceedings",
        "Vinyals, Oriol and Blundell, Charles and Lillicrap, Timothy and Kavukcuoglu, Koray and Wierstra, Daan",
        "Matching Networks for One Shot Learning", ("booktitle", _NIPS), 2016)),
    "meta_sgd": Shown("Meta-SGD", Paper(
        "li2017metasgd", "article", "Li, Zhenguo and Zhou, Fengwei and Chen, Fei and Li, Hang",
        "{Meta-SGD}: Learning to Learn Quickly for Few-Shot Learning",
        ("journal", "arXiv preprint arXiv:1707.09835"), 2017)),
    "maml_plus_plus": Shown("MAML++", Paper(
        "antoniou2019train", "inproceedings", "Antoniou, Antreas and Edwards, Harrison and Storkey, Amos",
        "How to Train Your {MAML}", ("booktitle", _ICLR), 2019)),
    "fine_tune": Shown("Fine-tuning", Paper(
        "chen2019closer", "inproceedings",
        "Chen, Wei-Yu and Liu, Yen-Cheng and Kira, Zsolt and Wang, Yu-Chiang Frank and Huang, Jia-Bin",
        "A Closer Look at Few-shot Classification", ("booktitle", _ICLR), 2019)),
    "nearest_neighbour": Shown("Nearest neighbour", None),
}  # fmt: skip
"""Name of an algorithm's file -> how it is shown. The order is that of the colours."""


def full_name(algorithm: str) -> str:
    """Return the name of an algorithm in full; one of the user's own keeps its name."""
    return ALGORITHMS[algorithm].name if algorithm in ALGORITHMS else algorithm


def format_label(label: str, algorithm: str, config: Mapping[str, Any]) -> str:
    """Return the name of a row of a comparison in full: ``MAML (first order) inner_lr=0.1``.

    Numbers of many digits, as a search draws them, are shown with four, and of a SHA-256 the beginning.

    Args:
        label: The row's label, which begins with the name of the algorithm or of an experiment.
        algorithm: The name of the algorithm.
        config: The settings of a run of the row.
    """
    label = " ".join(_with_short_value(word) for word in label.split(" "))
    first, _, rest = label.partition(" ")
    variant = first.removeprefix(algorithm)
    if algorithm not in ALGORITHMS or variant == first or (variant and not variant.startswith("_")):
        return label
    section = config.get("algorithm")
    order = ["(first order)"] if isinstance(section, Mapping) and section.get("first_order") is True else []
    if order:
        variant = variant.replace("_first_order", "", 1)
    words = [word for word in rest.split(" ") if word and not word.startswith("first_order=")]
    return " ".join([ALGORITHMS[algorithm].name, *order, *([variant[1:]] if variant else []), *words])


def _with_short_value(word: str) -> str:
    key, equals, value = word.partition("=")
    return f"{key}{equals}{shorten(value)}"


def papers_of(algorithms: list[str]) -> list[Paper]:
    """Return the papers of some algorithms, each once; those of a user's own are not known."""
    found = [ALGORITHMS[name].paper for name in dict.fromkeys(algorithms) if name in ALGORITHMS]
    return [paper for paper in found if paper is not None]


def to_bibtex(papers: list[Paper]) -> str:
    """Return entries of a bibliography."""
    entries = [
        f"@{paper.kind}{{{paper.key},\n  author = {{{paper.authors}}},\n  title = {{{paper.title}}},\n"
        f"  {paper.where[0]} = {{{paper.where[1]}}},\n  year = {{{paper.year}}}\n}}\n"
        for paper in papers
    ]
    return "\n".join(entries)
