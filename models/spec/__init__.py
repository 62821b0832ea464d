# SPDX-License-Identifier: Apache-2.0
"""What stands once and is used as it is by models, scripts and test benches.

configs     the supported sets of Verilog parameters
exp2        tables of the base-2 exponential
registers   the register map: registers, descriptors, table of heads, counters, error codes
"""
