"""Which clips a step sees and what it draws follow from seed and step alone."""

import torch

from diffusion_as_shader.backend.training.order import Order, generator


def test_each_clip_once_an_epoch_and_each_batch_of_one_size():
    buckets = [list(range(8)), [8, 9, 10, 11]]
    turns = Order(buckets, 4, seed=1)
    epochs = [[turns.clips_of(epoch * turns.steps_an_epoch + step) for step in range(turns.steps_an_epoch)] for epoch in range(2)]
    for batches in epochs:
        assert sorted(sum(batches, [])) == list(range(12))
        assert all(set(batch) <= set(buckets[0]) or set(batch) <= set(buckets[1]) for batch in batches)
    assert epochs[0] != epochs[1]


def test_a_last_batch_is_filled_from_the_beginning_of_its_size():
    batches = [Order([[0, 1, 2], [7]], 2, seed=0).clips_of(step) for step in range(3)]
    assert all(len(batch) == 2 for batch in batches) and [7, 7] in batches
    assert {0, 1, 2} == set(sum((batch for batch in batches if 7 not in batch), []))


def test_any_step_can_be_asked_for_first():
    asked = Order([list(range(10))], 3, seed=5).clips_of(17)
    turns = Order([list(range(10))], 3, seed=5)
    assert asked == [turns.clips_of(step) for step in range(18)][-1]
    assert asked != Order([list(range(10))], 3, seed=6).clips_of(17)


def test_draws_differ_by_step_and_place():
    drawn = {torch.randn((), generator=generator(*which)).item() for which in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))}
    assert len(drawn) == 4
    assert torch.equal(torch.randn(3, generator=generator(1, 2, 3)), torch.randn(3, generator=generator(1, 2, 3)))
