# SPDX-License-Identifier: Apache-2.0
"""A Method in place of PyTorch's attention, and of that of the `transformers` models.

    out = scaled_dot_product_attention(query, key, value, is_causal=True, method=Sofa())

    record = register(Sofa(), "sofa")
    model = AutoModel.from_pretrained(..., attn_implementation="sofa")
    with torch.no_grad():
        model(**inputs)
    record.counts.keep

Every sequence of a batch is a Call of its own, and so is every row set of its mask
(models.lab.masks). Tensors may be float32, float16 or bfloat16 and on any device; the work is
done by the processor. There are no gradients. Needs torch (and transformers for `register`), an
optional extra; written for transformers 5.24.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from models.lab.counts import Counts
from models.lab.masks import LEGAL, MaskError, row_sets
from models.lab.method import Call, Method
from models.lab.sofa import Sofa

INSTALL = "scripts/setup.sh lab torch"

try:
    import torch
except ImportError as error:
    raise ImportError(
        f"models.lab.torch_sdpa needs torch: {INSTALL}"
    ) from error

DTYPES = (torch.float32, torch.float16, torch.bfloat16)

MASKED = -1e4
"""An entry of an additive mask that is this or less hides its pair."""

UNSUPPORTED = ("softcap", "position_bias", "s_aux", "head_mask")
"""Arguments of transformers' attention functions that change scores or probabilities."""


@dataclass
class Record:
    """What a Method has done, layer after layer, and the state it keeps within a pass.

    counts  sum over all calls so far; `counts.keep` is the share of visible pairs that were used
    """

    method: Method
    counts: Counts = field(default_factory=Counts)
    _sessions: dict = field(default_factory=dict)
    _layer: int = -1

    def enter(self, layer: int) -> None:
        """Begin a layer; a number not above the one before begins a new pass."""
        if layer <= self._layer:
            self._sessions.clear()
        self._layer = layer

    def run(self, call: Call, sequence: tuple) -> np.ndarray:
        """One Call; sequence: what it has in common with the Calls of other layers."""
        if sequence not in self._sessions:
            self._sessions[sequence] = self.method.start()
        done = self._sessions[sequence](call)
        self.counts += done.counts
        return done.out


def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None,
    enable_gqa=False, *, method: Method | Record | None = None, layer: int = 0, layers: int = 1,
):
    """torch.nn.functional.scaled_dot_product_attention by a Method.

    query [..., Hq, L, d]; key, value [..., Hkv, S, d]; Hkv = Hq unless enable_gqa. attn_mask,
    boolean (True: visible) or additive (0 and MASKED or less), broadcasts to [..., Hq, L, S]; see
    models.lab.masks.LEGAL. is_causal: row i sees the keys 0 .. i, as in torch. A row without a
    visible key gives 0. method: default Sofa(); a Record adds up counts. layer, layers: for
    settings by layer. ValueError for what is not supported.
    """
    _check(query, key, value, dropout_p, enable_gqa)
    if is_causal and attn_mask is not None:
        raise ValueError("is_causal with an attn_mask, legal: one of them")
    record = method if isinstance(method, Record) else Record(method or Sofa())
    record.enter(layer)
    d = query.shape[-1]
    # A Call divides by sqrt(d).
    factor = 1.0 if scale is None else scale * math.sqrt(d)
    q, k, v = (_batches(x) for x in (query * factor if factor != 1.0 else query, key, value))
    mask = _mask(attn_mask, query.shape, key.shape, is_causal)
    out = np.zeros(q.shape, np.float32)
    for item in range(len(q)):
        for number, part in enumerate(row_sets(mask[item % len(mask)])):
            call = Call(q[item][:, part.rows], k[item][:, part.keys], v[item][:, part.keys],
                        causal=part.causal, layer=layer, layers=layers)
            out[item][:, part.rows] = record.run(call, (item, number))
    return torch.from_numpy(out).reshape(query.shape).to(query)


def _check(query, key, value, dropout_p: float, enable_gqa: bool) -> None:
    """Refuse what no Method does."""
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.dtype not in DTYPES:
            legal = ", ".join(str(t).removeprefix("torch.") for t in DTYPES)
            raise ValueError(f"{name} has dtype {x.dtype}, legal: {legal}")
        if x.ndim < 3:
            raise ValueError(f"{name} has shape {tuple(x.shape)}, legal: 3 axes or more")
        if x.requires_grad and torch.is_grad_enabled():
            raise ValueError(f"{name} wants a gradient, legal: a call under torch.no_grad()")
    if dropout_p:
        raise ValueError(f"dropout_p = {dropout_p}, legal: 0 (model.eval() switches it off)")
    if key.shape != value.shape or key.shape[-1] != query.shape[-1]:
        raise ValueError(f"key {tuple(key.shape)}, value {tuple(value.shape)}, legal: equal "
                         f"shapes, d = {query.shape[-1]} as the query")
    if query.shape[:-3] != key.shape[:-3]:
        raise ValueError(f"query {tuple(query.shape)}, key {tuple(key.shape)}, legal: the same "
                         f"batch axes")
    heads, kv_heads = query.shape[-3], key.shape[-3]
    if heads != kv_heads and not (enable_gqa and heads % kv_heads == 0):
        more = f" or a divisor of it with enable_gqa, here {enable_gqa}"
        raise ValueError(f"key has {kv_heads} heads, legal: {heads} as the query{more}")


def _batches(x) -> np.ndarray:
    """float32 [batch, heads, length, d]."""
    return x.detach().float().cpu().reshape(-1, *x.shape[-3:]).numpy()


def _mask(attn_mask, q_shape, k_shape, is_causal: bool) -> np.ndarray:
    """bool [batch or 1, L, S], True: visible."""
    rows, keys = q_shape[-2], k_shape[-2]
    if attn_mask is None:
        full = np.ones((1, rows, keys), bool)
        return np.tril(full) if is_causal else full
    mask = attn_mask
    if mask.dtype != torch.bool:
        mask = attn_mask == 0
        if not (mask | (attn_mask <= MASKED)).all():
            raise MaskError(f"attn_mask adds biases to scores, legal entries: 0, and {MASKED:g} or "
                            f"less to hide a pair")
    try:
        mask = mask.expand(*q_shape[:-1], keys)
    except RuntimeError:
        raise MaskError(f"attn_mask has shape {tuple(attn_mask.shape)}, legal: what broadcasts to "
                        f"{(*q_shape[:-1], keys)}") from None
    if not (mask == mask[..., :1, :, :]).all():
        raise MaskError(f"attn_mask differs between heads, legal masks: {LEGAL}")
    return mask[..., 0, :, :].reshape(-1, rows, keys).cpu().numpy()


def register(method: Method | None = None, name: str = "sofa") -> Record:
    """Make a Method (default Sofa()) an attention implementation of transformers, by this name.

    Models are then made with attn_implementation=name. The record returned is that of all models
    that use the name; registering the name again replaces it.
    """
    try:
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask
    except ImportError as error:
        raise ImportError(
            f"register needs transformers: {INSTALL}"
        ) from error
    record = Record(method or Sofa())

    def forward(module, query, key, value, attention_mask, dropout=0.0, scaling=None,
                is_causal=None, **others):
        for argument in UNSUPPORTED:
            if others.get(argument) is not None:
                raise ValueError(f"{name}: this model's attention uses {argument}, legal: None")
        if is_causal is None:
            is_causal = getattr(module, "is_causal", True)
        # A single query that decodes sees all keys that there are.
        causal = bool(is_causal) and attention_mask is None and query.shape[2] > 1
        layer = getattr(module, "layer_idx", None) or 0
        config = getattr(module, "config", None)
        out = scaled_dot_product_attention(
            query, key, value, attention_mask, dropout, causal, scaling, True, method=record,
            layer=layer, layers=getattr(config, "num_hidden_layers", layer + 1))
        return out.transpose(1, 2).contiguous(), None

    AttentionInterface.register(name, forward)
    # The masks that torch's own function gets: none where is_causal says it all, else boolean.
    AttentionMaskInterface.register(name, sdpa_mask)
    return record
