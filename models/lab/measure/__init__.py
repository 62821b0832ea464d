# SPDX-License-Identifier: Apache-2.0
"""Whole models with a method in every attention of every layer.

evaluate    whole models against themselves when dense; subjects: what each is measured by;
            rowtypes: the paper's types of rows
grid        which settings are evaluated; pool: processes; store: results by content
curves      from results to points: pooling over texts, standard errors, keep ratio at a loss
torch_sdpa  any method behind PyTorch's function; masks: which masks it takes; stacks: which layer
            of a model calls; progress: a bar over the layers
forward     all of SmolLM2 on the compiled Verilog; chunks: generation with a KV cache
explore     search of settings layer by layer; tail: the coarse tail
"""
