# SPDX-License-Identifier: Apache-2.0
"""What the checks of the test environment itself are made of.

prove_list   the proofs of scripts/prove.py, as data
prove_run    one proof: properties, traces to its covers, planted bugs
"""
