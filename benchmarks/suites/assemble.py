"""From tables to suites: several tables in one, one seed after the other, and a short twin of each.

Lives here: `suites`, `merged`, `tenth`. Must not: which stages a table holds, recipes, data sets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness.benchmark import Entry, Suite
from harness.errors import UserError
from harness.recipe import Recipe

PAPER = "the papers' recipes"


def suites(
    make: Callable[[int, Callable[[Recipe], Recipe]], Mapping[str, Sequence[Entry]]],
    *,
    whole: str = "full",
    full: Sequence[str] = (),
    recipes: str = PAPER,
    seeds: int = 3,
    gpus: int = 1,
    workers: int = 4,
) -> dict[str, Callable[[int], Suite]]:
    """The suites of a benchmark whose tables `make(seed, shorten)` gives by name; `whole` unites `full`, or all.

    Each also as `<name>-budget`, every recipe cut to a tenth. `recipes` says whose they are.
    """

    def suite(name: str, shorten: Callable[[Recipe], Recipe], protocol: str) -> Callable[[int], Suite]:
        def of_seed(seed: int) -> Suite:
            found = make(seed, shorten)
            wanted = [found[table] for table in full or found] if name == whole else [found[name]]
            return Suite(entries=merged(*wanted), seeds=seeds, gpus=gpus, workers=workers, protocol=protocol)

        return of_seed

    names = (whole, *make(0, tenth))
    paper = {name: suite(name, lambda recipe: recipe, recipes) for name in names}
    short = f"budget, a tenth of the epochs: {recipes}"
    return paper | {f"{name}-budget": suite(name, tenth, short) for name in names}


def merged(*tables: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries of several tables, those of one name once, with what any of them is compared with."""
    found: dict[str, Entry] = {}
    for entry in (entry for table in tables for entry in table):
        known = found.get(entry.name, entry)
        if known.evaluate.key != entry.evaluate.key:
            raise UserError(f"two tables call different networks {entry.name!r}: rename one")
        found[entry.name] = replace(entry, against=tuple(dict.fromkeys((*known.against, *entry.against))))
    return tuple(found.values())


def tenth(recipe: Recipe) -> Recipe:
    """The same science in a tenth of the epochs: milestones are moved, a warm-up keeps an epoch at least."""
    return replace(
        recipe,
        epochs=max(1, round(recipe.epochs / 10)),
        milestones=tuple(round(milestone / 10) for milestone in recipe.milestones),
        warmup_epochs=max(min(1, recipe.warmup_epochs), round(recipe.warmup_epochs / 10)),
    )
