# SPDX-License-Identifier: Apache-2.0
"""What the algorithm is worth: SOFA and its peers on trained models (docs/lab.md, docs/costs.md).

method      what every way to do attention has in common; counts: its operations and bytes
sofa        this machine, and dense attention; lists: changed selections
sums        the second machine; machine: what both have in common
torch_sdpa  any of them behind PyTorch's function; masks: which masks it takes; stacks: which layer
            of a model calls
rules       predictors and selection rules in any combination
complexity  the paper's three ideas in counted operations
cycles      cycle model of the machine; pipeline, generation: its parts
organisations   rows, lanes and tiles organised otherwise; bands: cycles of the second machine
evaluate    whole models against themselves when dense; subjects: what each is measured by
grid        which settings are evaluated; pool: processes; store: results by content
curves, tables, figures, page, report, rowtypes   what the results show; published: the paper's
explore     search of settings layer by layer
"""
