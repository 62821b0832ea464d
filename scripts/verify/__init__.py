# SPDX-License-Identifier: Apache-2.0
"""What the verification commands of scripts/ share."""
