# SPDX-License-Identifier: Apache-2.0
"""Nets of models/nets against the same of transformers, with random weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (requirements-torch.txt)")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed (requirements-torch.txt)")

from models.nets import Gemma3, gemma3  # noqa: E402


def test_gemma3_equals_transformers():
    """Twelve layers, so that two of them have no window; windows as long as the input."""
    theirs = transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(
        vocab_size=40, hidden_size=24, intermediate_size=20, num_hidden_layers=12,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=8,
        sliding_window=30, attn_implementation="eager")).eval()
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
             "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
             "input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm",
             "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
             "embed_tokens": "token_embd", "norm": "output_norm"}
    weights, rng = {}, np.random.default_rng(9)
    with torch.no_grad():
        for name, parameter in theirs.model.named_parameters():
            made = rng.standard_normal(parameter.shape).astype(np.float32)
            parameter.copy_(torch.from_numpy(made))
            if parameter.ndim == 1:
                made = 1 + made  # as the file has it
            key = name.removesuffix(".weight")
            block = ""
            if key.startswith("layers."):
                _, number, key = key.split(".", 2)
                block = f"blk.{number}."
            weights[block + names[key]] = made
        tokens = rng.integers(0, 40, 30)
        want = theirs(torch.from_numpy(tokens)[None]).logits[0].numpy()
    net = Gemma3(parts=(gemma3.Config(12, 4, 2, 1e6, 30, 1e-6), weights, None))
    np.testing.assert_allclose(net.forward(tokens) @ net.embedding.T, want,
                               atol=1e-4 * np.abs(want).max())
