# SPDX-License-Identifier: Apache-2.0
"""Bus models, stream endpoints and the scoreboard shared by all test benches (see README.md)."""
