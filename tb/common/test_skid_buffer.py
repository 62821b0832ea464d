# SPDX-License-Identifier: Apache-2.0
"""sofa_skid_buffer: behaves as a FIFO of two words, so the FIFO's bench drives it."""

import pytest

from tb.runner import BuildError, build, run


@pytest.mark.parametrize("width", [1, 77])
def test_skid_buffer(sim, seed, width):
    run("sofa_skid_buffer", "tb.common.test_sync_fifo", {"WIDTH": width}, sim, seed=seed,
        testcase=["idle_and_backpressure", "full_rate", "reset_from_every_level"])


def test_illegal_parameters_are_refused(sim):
    with pytest.raises(BuildError, match="illegal_parameter_sofa_skid_buffer"):
        build("sofa_skid_buffer", {"WIDTH": 0}, sim)
