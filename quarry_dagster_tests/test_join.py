"""The joins find what comparing every pair finds, however the vectors are cut, by each kernel."""

import subprocess
import sys
from collections.abc import Iterable
from functools import partial

import numpy as np
import psutil
import pytest

from benchmarks.cells import CellJoin, Cells
from quarry_dagster.index import Float16, Float32, Int8, MakeKernel, Pairs, ThresholdJoin

THRESHOLD = 0.85
KERNELS = [Float32, Int8, partial(Float16, device="cpu")]
"""The last is the code that runs on a GPU, on CPU tensors."""
by_each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=["float32", "int8", "float16"])


def vectors(n: int, dim: int = 96, seed: int = 0) -> np.ndarray:
    """Unit vectors of which some directions matter more, a third of them near another at all distances."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(n, dim)) / np.sqrt(1 + np.arange(dim))
    near = rng.random(n) < 0.33
    made[near] = made[rng.integers(n, size=near.sum())] + made[near] * rng.random((near.sum(), 1))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def every_pair(a: np.ndarray, b: np.ndarray) -> dict[tuple[int, int], np.float32]:
    """What brute force finds in float64."""
    cosines = (a.astype(np.float64) @ b.T.astype(np.float64)).astype(np.float32)
    return {(i, j): cosines[i, j] for i, j in np.argwhere(cosines >= np.float32(THRESHOLD)).tolist()}


def found(join: Iterable[Pairs]) -> dict[tuple[int, int], np.float32]:
    pairs = [(i, j, c) for p in join for i, j, c in zip(p.a.tolist(), p.b.tolist(), p.cosine, strict=True)]
    made = {(i, j): c for i, j, c in pairs}
    assert len(made) == len(pairs), "a pair came twice"
    return made


@by_each_kernel
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_it_finds_what_comparing_every_pair_finds(kernel: MakeKernel, dtype: type) -> None:
    mine, others = vectors(3000).astype(dtype), vectors(5000, seed=1).astype(dtype)
    others[:50] = mine[:50]
    join = ThresholdJoin(mine, THRESHOLD, kernel)
    within = {pair: c for pair, c in every_pair(mine, mine).items() if pair[0] < pair[1]}
    assert len(within) > 300
    assert found(join.within()) == within
    against = every_pair(mine, others)
    assert len(against) > 50
    assert found(join.against(others)) == against


@by_each_kernel
def test_no_pair_is_lost_at_the_threshold_itself(kernel: MakeKernel) -> None:
    """Cosines packed around the threshold, a rounding error apart; in one plane, where the bound is the cosine."""
    near = np.arccos(THRESHOLD) + np.linspace(-1e-6, 1e-6, 2001)
    dim = 96
    mine, others = np.zeros((1, dim), np.float32), np.zeros((2001, dim), np.float32)
    mine[0, 0] = 1
    others[:, 0], others[:, 1] = np.cos(near), np.sin(near)
    wanted = every_pair(mine, others)
    assert 0 < len(wanted) < 2001
    assert found(ThresholdJoin(mine, THRESHOLD, kernel).against(others)) == wanted
    assert found(ThresholdJoin(others, THRESHOLD, kernel).against(mine)) == {(j, i): c for (i, j), c in wanted.items()}


@by_each_kernel
def test_vectors_unlike_those_it_was_made_for_are_found(kernel: MakeKernel) -> None:
    """Each with all its weight in one coordinate, more than a byte holds at the scale of the others."""
    dim = 384
    spread = np.random.default_rng(0).choice([-1, 1], size=(500, dim)) / np.sqrt(dim)
    peaks = np.repeat(np.eye(dim), 2, axis=0) + vectors(2 * dim, dim) * 0.3
    mine = np.concatenate([spread, peaks[:10]])
    mine, peaks = (x.astype(np.float32) / np.linalg.norm(x, axis=1, keepdims=True) for x in (mine, peaks))
    wanted = every_pair(mine, peaks)
    assert len(wanted) > 10
    assert found(ThresholdJoin(mine, THRESHOLD, kernel).against(peaks)) == {p: np.float32(c) for p, c in wanted.items()}


def test_new_against_old_and_new_is_the_whole_join_bit_for_bit() -> None:
    whole = vectors(4000)
    wanted = found(ThresholdJoin(whole, THRESHOLD).within())
    for cut in (1, 700, 3999):
        old, new = whole[:cut], whole[cut:]
        pieces = found(ThresholdJoin(old, THRESHOLD).within())
        join = ThresholdJoin(new, THRESHOLD)
        pieces |= {(a + cut, b + cut): c for (a, b), c in found(join.within()).items()}
        pieces |= {(b, a + cut): c for (a, b), c in found(join.against(old)).items()}
        assert pieces == wanted


def test_few_comparisons_do_without_torch() -> None:
    """To import it takes longer, and more memory, than they do."""
    code = """if True:
        import sys
        import numpy as np
        from quarry_dagster.index import Float32, ThresholdJoin, fastest
        kernel = fastest(10_000_000, gpu=True)
        found = sum(len(pairs.a) for pairs in ThresholdJoin(np.eye(8, dtype=np.float32), -1, kernel).within())
        print(kernel is Float32, found, "torch" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "28", "False"]


@by_each_kernel
def test_nothing_joins_with_nothing(kernel: MakeKernel) -> None:
    none, some = np.empty((0, 96), np.float32), vectors(5)
    assert found(ThresholdJoin(none, THRESHOLD, kernel).within()) == {}
    assert found(ThresholdJoin(none, THRESHOLD, kernel).against(some)) == {}
    assert found(ThresholdJoin(some, THRESHOLD, kernel).against(none)) == {}


def test_memory_is_bounded_where_every_pair_is_a_hit() -> None:
    rng = np.random.default_rng(0)
    alike = np.ones((10_000, 96)) + rng.normal(size=(10_000, 96)) * 0.01
    alike = (alike / np.linalg.norm(alike, axis=1, keepdims=True)).astype(np.float32)
    process = psutil.Process()
    count, most, before = 0, 0, process.memory_info().rss
    for pairs in ThresholdJoin(alike, THRESHOLD).within():
        count += len(pairs.a)
        most = max(most, process.memory_info().rss - before)
    assert count == 10_000 * 9_999 // 2
    assert most < 900 << 20, "the pairs alone are 1 GB"


@pytest.fixture(scope="module")
def cells() -> Cells:
    return Cells.train(vectors(4000, seed=7), 40)


def test_near_are_the_cells_within_a_margin_of_the_nearest(cells: Cells) -> None:
    mine = vectors(1000)
    cosines = mine @ cells.centroids.T
    behind = cosines.max(axis=1, keepdims=True) - cosines
    near = cells.near(mine, 0.1, 6)
    assert near.shape == (1000, 6)
    is_near = (near[:, :, None] == np.arange(40)).any(axis=1)
    assert {*is_near.sum(axis=1)} == {*range(1, 7)} and (is_near.sum(axis=1) == (near >= 0).sum(axis=1)).all()
    rounded = 2e-3
    assert (np.take_along_axis(behind, near[:, :1], axis=1) <= rounded).all()
    sixth = np.sort(behind, axis=1)[:, 5:6]
    assert (behind[is_near] <= np.minimum(0.1, sixth).repeat(40, axis=1)[is_near] + rounded).all()
    assert is_near[behind < np.minimum(0.1, sixth) - rounded].all()


@by_each_kernel
def test_the_cell_join_compares_those_that_meet_in_a_cell(cells: Cells, kernel: MakeKernel) -> None:
    mine, others = vectors(2000), vectors(3000, seed=1)
    others[:50] = mine[:50]
    near, others_near = cells.near(mine, 0.05), cells.near(others, 0.05)

    def meet(pair: tuple[int, int], b_near: np.ndarray) -> bool:
        return near[pair[0], 0] in b_near[pair[1]] or b_near[pair[1], 0] in near[pair[0]]

    join = CellJoin(mine, near, THRESHOLD, kernel)
    within = {p: c for p, c in every_pair(mine, mine).items() if p[0] < p[1]}
    meeting = {p: c for p, c in within.items() if meet(p, near)}
    assert len(meeting) < len(within)
    assert found(join.within()) == meeting
    against = every_pair(mine, others)
    assert found(join.against(others, others_near)) == {p: c for p, c in against.items() if meet(p, others_near)}


def test_the_cell_join_misses_little_and_all_cells_miss_nothing(cells: Cells) -> None:
    mine = vectors(4000)
    wanted = found(ThresholdJoin(mine, THRESHOLD).within())
    some = found(CellJoin(mine, cells.near(mine), THRESHOLD).within())
    assert some.items() <= wanted.items()
    assert len(some) > 0.98 * len(wanted)
    assert found(CellJoin(mine, cells.near(mine, 2, 40), THRESHOLD).within()) == wanted


def test_cells_of_a_vector_do_not_depend_on_its_company(cells: Cells) -> None:
    """Also not where two centroids are equally near, and sums are rounded differently in other batches."""
    twice = Cells(np.concatenate([cells.centroids, cells.centroids[::-1]]))
    mine = vectors(1000)
    together = twice.near(mine, most=5)
    assert (together[:, 0] < 40).all(), "of two equal centroids the first is home"
    alone = np.concatenate([twice.near(mine[i : i + 1], most=5) for i in range(len(mine))])
    assert (together == alone).all()
    shuffled = np.random.default_rng(0).permutation(len(mine))
    assert (twice.near(mine[shuffled], most=5) == together[shuffled]).all()
