"""Figures: derived from rows, the same bytes each time, drawn only of what is known."""

import dataclasses
import math
import random
import re
from xml.etree import ElementTree

import matplotlib
import pytest

from harness.leaderboard.figures import _look, to_svgs
from harness.row import Row
from tests.leaderboard.toy import over_seeds, with_values

DENSE = over_seeds("dense", 0, [91.0, 92.0], sparsity=0.0)
LAYERS = [[["stem.weight", 10, 20], ["conv.weight", 0, 20]], [["stem.weight", 20, 20], ["conv.weight", 0, 20]]]


def sparse(name: str, position: int, *sparsities: int) -> list[Row]:
    """Entries called `<name> <sparsity> %`, of two seeds each."""
    return [
        row
        for place, percent in enumerate(sparsities)
        for row in over_seeds(f"{name} {percent} %", position + place, [90.0, 90.5], sparsity=percent / 100)
    ]


def said(svg: str) -> list[str]:
    """Every text in a figure."""
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def curves(svg: str) -> list[list[tuple[float, float]]]:
    """The points of all lines but the grid's, in the SVG's own units: y grows downward."""
    lines = re.findall(r'<path d="([^"]*)" clip-path="[^"]*" style="fill: none; stroke: (?!#dddddd)[^"]*"', svg)
    numbers = [[float(number) for number in re.findall(r"[\d.]+", line)] for line in lines]
    return [list(zip(line[::2], line[1::2], strict=True)) for line in numbers]


def colours(svg: str) -> list[str]:
    """Of the same lines, in the same order."""
    return re.findall(r'<path d="[^"]*" clip-path="[^"]*" style="fill: none; stroke: (?!#dddddd)([^;]*);', svg)


def noise(seed: int) -> list[float]:
    """Losses of 300 epochs that no line through fewer points tells."""
    return [random.Random(f"{seed} {epoch}").random() for epoch in range(300)]


def test_nothing_is_drawn_of_what_nobody_knows() -> None:
    assert to_svgs(DENSE) == {}
    assert to_svgs([*DENSE, *sparse("EPSD", 1, 90)]) == {}, "one sparsity makes no curve"


def test_the_same_rows_give_the_same_bytes_whatever_a_person_has_set() -> None:
    rows = [*with_values(DENSE, losses=[[2.0, 1.0], [2.5, 1.5]]), *sparse("EPSD", 1, 90, 95)]
    first = to_svgs(rows)
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "other", "axes.linewidth": 5}):
        assert to_svgs(rows) == first
        assert matplotlib.rcParams["font.size"] == 20
    assert list(first) == ["-loss.svg", "-sparsity.svg"]
    assert not any("<dc:date>" in svg or "matplotlib.org" in svg for svg in first.values())


def test_density_is_of_sparse_entries_in_the_networks_order() -> None:
    rows = [*with_values(DENSE, layers=LAYERS), *with_values(sparse("EPSD", 1, 90), layers=LAYERS)]
    svg = to_svgs(rows)["-density.svg"]
    texts = said(svg)
    assert [text for text in texts if text in ("stem", "conv", "layer")] == ["stem", "conv", "layer"]
    assert {"EPSD", "sparsity 90 %"} <= set(texts)
    assert "dense" not in texts


def test_density_has_a_panel_for_each_network_and_sparsity() -> None:
    """A family is one line of the legend, and has one look in all panels of a network."""
    rows = [
        *with_values([*sparse("A", 0, 80, 90), *sparse("B", 2, 80, 90)], layers=LAYERS * 4),
        *with_values(sparse("VGG A", 4, 90), layers=[[["vgg.weight", 1, 2]]] * 2),
    ]
    svg = to_svgs(rows)["-density.svg"]
    panels = ["sparsity 80 %", "sparsity 90 %", "sparsity 90 %"]
    assert [text for text in said(svg) if text.startswith("sparsity")] == panels
    assert [text for text in said(svg) if text in ("A", "B", "VGG A")] == ["A", "B", "VGG A"]
    assert [text for text in said(svg) if text in ("stem", "vgg")] == ["stem", "stem", "vgg"]
    first, second, *_ = lines = colours(svg)
    assert lines[:4] == [first, second] * 2
    assert first != second


def test_many_layers_are_numbered() -> None:
    many = [[f"layer{number}.weight", 1, 2] for number in range(60)]
    texts = said(to_svgs(with_values(sparse("A", 0, 90), layers=[many] * 2))["-density.svg"])
    assert "60" in texts
    assert "layer1" not in texts


def test_the_loss_has_a_panel_for_each_size_and_sparsity() -> None:
    small = over_seeds("small", 3, [70.0], sparsity=0.0, parameters=99)
    other = over_seeds("small student", 4, [70.0], sparsity=0.0, parameters=99)
    rows = [*DENSE, *sparse("A", 1, 80, 90), *small, *other]
    texts = said(to_svgs(with_values(rows, losses=[[2.0, 1.0]] * 8))["-loss.svg"])
    titles = [text for text in texts if re.search(r"^sparsity|parameters$", text)]
    assert sorted(titles) == ["12,345 parameters", "99 parameters", "sparsity 80 %", "sparsity 90 %"]
    assert texts.count("dense") == 2 + 1, "both networks have such a panel, and one an entry of this name"
    assert "training loss, each method's own terms" in texts


def test_networks_of_which_each_has_a_size_of_its_own_stand_together() -> None:
    rows = [row for size in (7, 8, 9) for row in over_seeds(f"less {size}", size, [70.0], parameters=size)]
    texts = said(to_svgs(with_values(rows, losses=[[2.0, 1.0]] * 3))["-loss.svg"])
    assert [text for text in texts if "parameters" in text] == ["other numbers of parameters"]
    assert texts[-3:] == ["less 7", "less 8", "less 9"]


def test_a_long_training_ends_where_it_ended() -> None:
    """Only some of its epochs are drawn, the last among them."""
    flat = with_values(DENSE, losses=[[2.0] * 300] * 2)
    falling = with_values(over_seeds("last falls", 1, [90.0], sparsity=0.0), losses=[[2.0] * 299 + [1.0]])
    one, other = curves(to_svgs([*flat, *falling])["-loss.svg"])
    assert one[-1][0] == other[-1][0]
    assert other[-1][1] > other[0][1], "its last epoch lost less"
    epochs = with_values(DENSE, losses=[[math.sin(epoch) for epoch in range(1000)]] * 2)
    (many,) = curves(to_svgs(epochs)["-loss.svg"])
    assert len(many) < 100


def test_the_cost_is_drawn_where_it_differs() -> None:
    dear = over_seeds("student of a teacher 59 %", 1, [93.0, 94.0], sparsity=0.0, image_passes=8000)
    texts = said(to_svgs([*DENSE, *dear])["-cost.svg"])
    assert {"image passes", "top-1 %", "12,345 parameters"} <= set(texts)
    assert [text for text in texts if text in ("dense", dear[0].entry)] == [dear[0].entry, "dense"], "the best first"
    same = over_seeds("student", 1, [93.0, 94.0], sparsity=0.0, image_passes=6000)
    assert to_svgs([*DENSE, *same]) == {}
    published = over_seeds("published", 2, [95.0], sparsity=0.0, image_passes=0)
    assert to_svgs([*DENSE, *published]) == {}, "what cost nothing has no place on a log axis"


def test_a_large_suite_stays_a_small_file() -> None:
    """As many lines and epochs as a suite of 128 entries has in each twelfth of its panels."""
    names = [f"ResNet18 {how} {method}" for method in ("CS-KD", "PS-KD", "DLB") for how in ("simple", "random", "EPSD")]
    rows = [
        dataclasses.replace(row, image_passes=4000 * (1 + row.position), losses=noise(row.position), layers=LAYERS[0])
        for place, name in enumerate(names)
        for row in sparse(name, 2 * place, 90)
    ]
    svgs = to_svgs(rows)
    assert list(svgs) == ["-density.svg", "-loss.svg", "-cost.svg"]
    assert max(map(len, svgs.values())) * 12 < 500_000


def test_density_is_the_mean_over_seeds() -> None:
    """Of a half and the whole of the first layer: as one that keeps three quarters of it under both seeds."""
    three_quarters = [["stem.weight", 15, 20], ["conv.weight", 0, 20]]
    rows = with_values(
        [*sparse("EPSD", 1, 90), *sparse("SNIP", 2, 90)], layers=[*LAYERS, three_quarters, three_quarters]
    )
    one, other = curves(to_svgs(rows)["-density.svg"])
    assert one == other
    (_, first), (_, second) = one
    assert first < second


def test_an_entry_of_which_one_seed_does_not_know_is_left_out() -> None:
    assert to_svgs(with_values(sparse("EPSD", 1, 90), layers=[LAYERS[0], None])) == {}
    assert to_svgs(with_values(DENSE, losses=[None, [1.0, 2.0]])) == {}


def test_the_loss_is_the_mean_over_seeds() -> None:
    """Where one entry loses 1 and 3, then 1 and 2, and the other 2, then 1.5, their lines are the same and fall."""
    uneven = with_values(DENSE, losses=[[1.0, 1.0], [3.0, 2.0]])
    even = with_values(over_seeds("even", 1, [91.0, 92.0], sparsity=0.0), losses=[[2.0, 1.5], [2.0, 1.5]])
    one, other = curves(to_svgs([*uneven, *even])["-loss.svg"])
    assert one == other
    (_, first), (_, second) = one
    assert first < second


def test_entries_that_differ_in_sparsity_alone_are_one_line() -> None:
    rows = [*DENSE, *sparse("EPSD (CS-KD)", 1, 95, 80, 90), *sparse("SNIP,", 4, 80, 90)]
    svg = to_svgs(rows)["-sparsity.svg"]
    texts = said(svg)
    assert texts[-3:] == ["dense", "EPSD (CS-KD)", "SNIP"], "the legend, in the order of the suite"
    assert "top-1 %" in texts
    assert "ECE" in texts
    assert "compactness" not in texts
    top1, ece = (curve for curve in curves(svg) if len(curve) == 3)
    assert top1 == sorted(top1)
    assert ece == sorted(ece)


def test_another_percentage_in_a_name_stays() -> None:
    """It is the teacher's, say."""
    rows = [*sparse("student of a teacher pruned 59 %, itself", 0, 80, 90)]
    assert said(to_svgs(rows)["-sparsity.svg"])[-1] == "student of a teacher pruned 59 %, itself"


def test_dense_entries_of_another_size_are_left_out() -> None:
    small = over_seeds("small", 9, [70.0], sparsity=0.0, parameters=99)
    assert "small" not in said(to_svgs([*DENSE, *sparse("EPSD", 1, 80, 90), *small])["-sparsity.svg"])


def test_what_is_measured_has_panels_of_its_own() -> None:
    rows = with_values(sparse("EPSD", 1, 80, 90), compactness=[0.5, 0.6, 0.4, 0.5], gradient_flow=[1.0, 1.1, None, 1])
    texts = said(to_svgs(rows)["-sparsity.svg"])
    assert [text for text in texts if text in ("top-1 %", "ECE", "compactness", "gradient flow")] == [
        "top-1 %", "ECE", "compactness", "gradient flow",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a < b & c", "$x$ and $y$"])
def test_a_name_is_shown_as_it_is(name: str) -> None:
    rows = with_values(over_seeds(name, 0, [90.0]), losses=[[2.0, 1.0]])
    assert said(to_svgs(rows)["-loss.svg"])[-1] == name


def test_more_than_fifty_lines_are_told_apart() -> None:
    looks = {tuple(_look(number).values()) for number in range(56)}
    assert len(looks) == 56
