from __future__ import annotations

from dropout_service.kernels.streams import Purpose, stream
from dropout_service.nn.mode import EVALUATION, Mode


def test_dropout_is_active_in_training_and_in_samples_only():
    assert [mode.noisy for mode in (Mode.training(1, 2), Mode.monte_carlo(1, 2), EVALUATION)] == [True, True, False]


def test_a_training_and_a_sample_never_share_a_stream():
    assert Mode.training(1, 2).offset(3) == stream(Purpose.DROPOUT, layer=3, step=2)
    assert Mode.monte_carlo(1, 2).offset(3) == stream(Purpose.MC_SAMPLE, layer=3, step=2)


def test_the_seed_of_rows_is_that_of_the_pass_and_differs_between_passes():
    seeds = [Mode.monte_carlo(7, 0, first_row=row).seed_of_rows for row in range(0, 64 * 1000, 64)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 1 << 64 for seed in seeds)
