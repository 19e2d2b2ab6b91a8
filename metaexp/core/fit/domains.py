"""Whether the episodes of a mixture fit each of its datasets. Pure functions, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from metaexp.core.shapes import Capacity, Split, TaskShape


class Domains(NamedTuple):
    """The datasets of a mixture, each of which serves whole episodes.

    Attributes:
        sizes: Name -> classes and examples of its smallest class in each split that it has; those that are known.
        least_ways: The fewest ways of an episode; None: those of the task.
        varied_shots: Whether shots and queries are drawn, so that two examples of a class are enough.
    """

    sizes: Mapping[str, Mapping[Split, Capacity]]
    least_ways: int | None = None
    varied_shots: bool = False


def domain_problems(domains: Domains, split: Split, shape: TaskShape) -> Iterator[str]:
    """Yield a sentence for each dataset that is too small, with SECTION for the section of the task.

    Args:
        domains: The datasets.
        split: The split.
        shape: The shape of its tasks, the largest where they vary.
    """
    least = domains.least_ways or shape.n_way
    if least > shape.n_way:
        yield (
            f"dataset.least_ways={least} is more than SECTION.n_way={shape.n_way}, which is the most. Lower it, or "
            "raise SECTION.n_way."
        )
        return
    ways = "SECTION.n_way" if domains.least_ways is None else "dataset.least_ways"
    needed = 2 if domains.varied_shots else shape.k_shot + shape.n_query
    for name, sizes in domains.sizes.items():
        if split not in sizes:
            continue
        n_classes, per_class = sizes[split]
        place = f"the {split} split of dataset.domains.{name}"
        leave_out = f", or leave {name} out of the mixture: '~dataset.domains.{name}'" if len(domains.sizes) > 2 else ""
        if n_classes < least:
            yield f"{ways}={least} needs as many classes; {place} has {n_classes}. Lower {ways}{leave_out}."
        if per_class < needed:
            advice = "Leave out small classes" if domains.varied_shots else "Lower SECTION.k_shot or SECTION.n_query"
            held = f"{place} has a class of {per_class}"
            yield f"an episode needs {needed} examples per class; {held}. {advice}{leave_out}."
