"""The plan of a chaos run."""

from lab.chaos.schedule import KINDS, plan


def test_a_seed_gives_the_same_plan_and_another_seed_another() -> None:
    assert plan(seed=7, duration_s=60, pause_s=4) == plan(seed=7, duration_s=60, pause_s=4)
    assert plan(seed=7, duration_s=60, pause_s=4) != plan(seed=8, duration_s=60, pause_s=4)


def test_every_kind_of_blow_comes_before_any_comes_twice() -> None:
    for seed in range(20):
        first = plan(seed=seed, duration_s=120, pause_s=4)[: len(KINDS)]

        assert {blow.kind for blow in first} == set(KINDS)
        assert all(blow.part in KINDS[blow.kind][1] for blow in first)
