# SPDX-License-Identifier: Apache-2.0
"""What the algorithm is worth: SOFA and its peers on trained models (docs/lab.md, docs/costs.md).

Five wings, each of which imports only itself and those above it:

methods   ways to do attention: SOFA, the first machine, dense, rules in any combination
peers     the systems that SOFA is compared with
cost      operations and cycles of a job
measure   whole models with a method in every attention, and what comes of it
report    what the results show: tables, figures, the page, the record that documents quote
"""
