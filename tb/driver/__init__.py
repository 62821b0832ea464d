# SPDX-License-Identifier: Apache-2.0
"""The host driver (models/driver) over a simulation by cocotb."""
