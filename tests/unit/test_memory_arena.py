"""The arena against a plain list of the same vectors, whatever is added and removed."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton_node.memory import arena as arenas
from caxton_node.memory.arena import VectorArena, _largest

DIMENSIONS = 8


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)
    return vector / np.linalg.norm(vector)


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "drop"]), st.integers(0, 3), st.integers(0, 400)),
    max_size=300,
)


@settings(deadline=None, max_examples=50)
@given(STEPS, st.sets(st.integers(0, 3)))
def test_it_holds_exactly_what_was_put_in_and_not_taken_out(steps, scopes):
    arena, model = VectorArena(DIMENSIONS), {}
    for what, scope, one in steps:
        match what:
            case "add":
                vector = unit(scope * 1_000 + one)
                arena.add_rows([(scope, one, vector.tobytes())])
                model[scope, one] = vector
            case "remove":
                arena.remove(scope, [one, one + 1])
                model.pop((scope, one), None)
                model.pop((scope, one + 1), None)
            case "drop":
                arena.drop(scope)
                model = {key: vector for key, vector in model.items() if key[0] != scope}
    assert len(arena) == len(model)
    found = arena.search(unit(5).tobytes(), sorted(scopes), 10_000)
    wanted = [(one, float(v @ unit(5))) for (scope, one), v in model.items() if scope in scopes]
    assert sorted(one for one, _ in found) == sorted(one for one, _ in wanted)
    assert np.allclose(sorted(c for _, c in found), sorted(c for _, c in wanted), atol=2e-5)


def test_a_hundred_rounds_of_change_do_not_make_it_grow():
    arena = VectorArena(DIMENSIONS)
    for turn in range(100):
        rows = [(1, turn * 1_000 + n, unit(n).tobytes()) for n in range(100)]
        arena.add_rows(rows)
        arena.remove(1, [one for _, one, _ in rows])
    assert len(arena) == 0
    assert arena.size_bytes < 20_000


def test_the_same_id_again_replaces_its_vector():
    arena = VectorArena(DIMENSIONS)
    for seed in (1, 2):
        arena.add_rows([(1, 7, unit(seed).tobytes())])
    assert len(arena) == 1
    ((found, cosine),) = arena.search(unit(2).tobytes(), [1], 5)
    assert (found, round(cosine, 4)) == (7, 1.0)


@given(st.integers(1, 5_000), st.integers(1, 80), st.integers(0, 9))
def test_the_largest_scores_are_found_without_sorting_all(count, limit, seed):
    scores = np.random.default_rng(seed).integers(0, 1_000, count).astype(np.float32)
    found = _largest(scores, limit)
    assert sorted(scores[found]) == sorted(scores)[-min(limit, count) :]


def test_nothing_matches_in_an_empty_arena():
    assert VectorArena(DIMENSIONS).search(unit(1).tobytes(), [1, 2], 5) == []


def clusters(count: int, seed: int, dimensions: int = 96) -> np.ndarray:
    """Vectors around a few dozen centers, all of them on one side of the origin."""
    dice = np.random.default_rng(seed)
    centers = np.random.default_rng(1).standard_normal((40, dimensions)) + 0.5
    found = centers[dice.integers(0, 40, count)] + dice.standard_normal((count, dimensions))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def filled(vectors: np.ndarray) -> VectorArena:
    arena = VectorArena(vectors.shape[1])
    for start in range(0, len(vectors), 1_000):
        rows = vectors[start : start + 1_000]
        arena.add_rows([(1, start + n, row.tobytes()) for n, row in enumerate(rows)])
    return arena


def missed(arena: VectorArena, vectors: np.ndarray, alive: np.ndarray) -> float:
    """Return the share of the ten nearest that are not among sixty-four candidates."""
    lost = 0
    for query in clusters(50, seed=9):
        order = alive[np.argsort(-(vectors[alive] @ query))[:10]]
        found = {one for one, _ in arena.search(query.tobytes(), [1], 64)}
        lost += len(set(order.tolist()) - found)
    return lost / 500


def test_a_large_shelf_is_looked_at_through_its_sketch_and_hardly_anything_is_missed(monkeypatch):
    monkeypatch.setattr(arenas, "SKETCHED_FROM", 1_000)
    vectors = clusters(30_000, seed=2)
    arena = filled(vectors)
    assert arena._shelves[1]._sketch is not None
    assert missed(arena, vectors, np.arange(len(vectors))) <= 0.02


def test_a_sketch_follows_what_is_removed_and_packed_anew(monkeypatch):
    monkeypatch.setattr(arenas, "SKETCHED_FROM", 1_000)
    vectors = clusters(20_000, seed=2)
    arena = filled(vectors)
    arena.remove(1, range(0, 20_000, 2))
    alive = np.arange(1, 20_000, 2)
    assert missed(arena, vectors, alive) <= 0.02
    assert {one % 2 for one, _ in arena.search(vectors[0].tobytes(), [1], 64)} == {1}
