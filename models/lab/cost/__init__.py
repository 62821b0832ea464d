# SPDX-License-Identifier: Apache-2.0
"""What a job costs in operations and cycles (docs/costs.md).

complexity  the paper's three ideas in counted operations
bands       cycle model of SOFA; band_kernel: its loop
cycles      cycle model of the first machine; pipeline, generation: its parts
"""
