# SPDX-License-Identifier: Apache-2.0
"""What the algorithm is worth: SOFA and its peers on trained models.

counts      operations and DRAM bytes, priced alike for all systems
method      what every way to do attention has in common
"""
