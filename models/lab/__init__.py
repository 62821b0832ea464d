# SPDX-License-Identifier: Apache-2.0
"""What the algorithm is worth: SOFA and its peers on trained models (docs/lab.md, docs/costs.md).

method      what every way to do attention has in common; counts: its operations and bytes
sofa        SOFA, the machine of docs/second.md; first: the first machine, whose RTL stands in rtl/;
            machine: what both have in common; dense: exact attention, peaks for scales
rtl         jobs of Sofa(engine="rtl") on the compiled Verilog; forward: all of SmolLM2 so
torch_sdpa  any of them behind PyTorch's function; masks: which masks it takes; stacks: which layer
            of a model calls; progress: a bar over the layers
rules       predictors and selection rules in any combination; twopass: SOFA with a second look at
            the scores of a tile
complexity  the paper's three ideas in counted operations
cycles      cycle model of the first machine; pipeline, generation: its parts
bands       cycle model of SOFA; band_kernel: its loop
evaluate    whole models against themselves when dense; subjects: what each is measured by
grid        which settings are evaluated; pool: processes; store: results by content; record:
            results that documents quote; lengths: the threshold from length alone
curves, tables, figures, page, report, rowtypes   what the results show; published: the paper's
explore     search of settings layer by layer
"""
