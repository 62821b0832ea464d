# SPDX-License-Identifier: Apache-2.0
"""Reference of the first machine (docs/models.md), with which the laboratory compares: rows in
lockstep, lists, selection by quota and radius. Modules are named as those of models, and have what
differs.
"""
