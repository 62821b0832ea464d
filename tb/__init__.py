# SPDX-License-Identifier: Apache-2.0
"""Test benches: one folder per stage, one test file per module."""
