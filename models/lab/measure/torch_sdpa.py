# SPDX-License-Identifier: Apache-2.0
"""A Method in place of PyTorch's attention, and of that of the `transformers` models.

    out = scaled_dot_product_attention(query, key, value, is_causal=True, method=Sofa())

    record = register(Sofa(), "sofa")
    model = AutoModel.from_pretrained(..., attn_implementation="sofa")
    with torch.no_grad():
        model(**inputs)
    record.counts.keep

Every sequence of a batch is a Call of its own, and so is every row set of its mask
(models.lab.measure.masks). A decoding step is a causal Call of one row, the last of its keys.
Tensors may be float32, float16 or bfloat16 and on any device; the work is done by the processor, in
float32 from the first operation on. There are no gradients.
torch.compile leaves these functions out of its graphs: the result is that of eager mode, and
fullgraph=True is refused with this reason. torch.export and torch.jit.trace are refused. Needs
torch (and transformers for `register`), an optional extra; written for transformers 5.24.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from threading import Lock

import numpy as np

from ...config import check
from ..methods.counts import Counts
from ..methods.method import Call, Method
from ..methods.sofa import Sofa
from .masks import LEGAL, MASKED, MaskError, Seen
from .progress import Progress

INSTALL = "scripts/setup.sh lab torch"

try:
    import torch
except ImportError as error:
    raise ImportError(
        f"models.lab.measure.torch_sdpa needs torch: {INSTALL}"
    ) from error

from torch.nn.attention.bias import CausalBias, CausalVariant  # noqa: E402

from .stacks import Places, Run  # noqa: E402

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
NAMES = ", ".join(str(t).removeprefix("torch.") for t in DTYPES)

UNSUPPORTED = ("softcap", "position_bias", "s_aux", "head_mask")
"""Arguments of transformers' attention functions that change scores or probabilities."""

_outside_of_graphs = torch.compiler.disable(
    reason="attention by a Method runs in numpy, outside of graphs; legal: fullgraph=False")


@dataclass
class Record:
    """What a Method has done, layer after layer, and the state it keeps within a pass.

    counts  sum over all calls so far; `counts.keep` is the share of visible pairs that were used
    places  where the calls come from (models.lab.measure.stacks)
    lock    threads attend one after the other
    bar     shows on stderr how far a pass is, None: nothing does
    """

    method: Method
    counts: Counts = field(default_factory=Counts)
    places: Places = field(default_factory=Places)
    lock: Lock = field(default_factory=Lock, repr=False)
    bar: Progress | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.method, Method):
            raise ValueError(f"method = {self.method!r}, legal: a models.lab.methods.method.Method")

    def attend(self, call: Call, run: Run, sequence: tuple) -> np.ndarray:
        """One Call; sequence: what it has in common with the Calls of other layers."""
        with self.lock:
            if sequence not in run.sessions:
                run.sessions[sequence] = self.method.start()
            done = run.sessions[sequence](call)
            self.counts += done.counts
            if self.bar:
                self.bar.tell(call, self.counts)
        return done.out


@_outside_of_graphs
def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None,
    enable_gqa=False, *, method: Method | Record | None = None, layer: int | None = None,
    layers: int | None = None,
):
    """torch.nn.functional.scaled_dot_product_attention by a Method.

    query [..., Hq, L, d]; key, value [..., Hkv, S, d]; Hkv = Hq unless enable_gqa. attn_mask
    broadcasts to [..., Hq, L, S]; boolean (True: visible) or additive (0, and MASKED or less to
    hide a pair), or torch.nn.attention.bias.causal_upper_left or causal_lower_right; see
    models.lab.measure.masks.LEGAL. is_causal: row i sees the keys 0 .. i, as in torch. One row over
    S keys is a decoding step, the last row of a causal prefix, with causal_lower_right(1, S);
    without a mask, or with another one, it is a row of another sequence than the keys'.

    As in torch: a row of which a boolean mask or -inf hides every key gives 0 (torch before 2.5:
    NaN), and so does S = 0; one of which finite numbers hide every key gives the softmax over
    the keys with its largest number, or their mean where the number swallows the scores in
    float32 (models.lab.measure.masks.Seen). Empty tensors give an empty one.

    method: default Sofa(); a Record adds up counts. layer, layers: number of the layer, from 0,
    and how many there are; a Method that goes by layers or keeps state refuses to do without. A
    number not above that of the Record's call before begins a new pass. ValueError for what is
    not supported.
    """
    record = method if isinstance(method, Record) else Record(method or Sofa())
    if (layer is None) != (layers is None):
        raise ValueError(f"layer = {layer}, layers = {layers}, legal: both or none")
    if layer is not None:
        check("layer", layer, 0, check("layers", layers, 1, 65536) - 1)
    return _attend(query=query, key=key, value=value, attn_mask=attn_mask, dropout_p=dropout_p,
                   is_causal=is_causal, scale=scale, enable_gqa=enable_gqa, record=record,
                   run=record.places.loose, layer=layer, layers=layers,
                   in_sequence=is_causal or isinstance(attn_mask, CausalBias))


def _attend(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa,
            record: Record, run: Run, layer: int | None, layers: int | None, in_sequence: bool):
    """scaled_dot_product_attention at a known place; in_sequence: see masks.row_sets."""
    _check(query, key, value, dropout_p, enable_gqa)
    if is_causal and attn_mask is not None:
        raise ValueError("is_causal with an attn_mask, legal: one of them")
    seen = _seen(attn_mask, query.shape, key.shape, is_causal)
    run.enter(layer)
    if 0 in query.shape or 0 in key.shape:
        return query.new_zeros(query.shape)
    d = query.shape[-1]
    q, k, v = (_batches(x) for x in (query, key, value))
    if scale is not None:
        # A Call divides by sqrt(d).
        with np.errstate(over="ignore"):
            scaled = q * np.float32(scale * math.sqrt(d))
        if not np.isfinite(scaled[np.isfinite(q)]).all():
            raise ValueError(f"scale = {scale}, legal: finite, and query * scale * sqrt(d) within "
                             f"float32")
        q = scaled
    out = np.zeros(q.shape, np.float32)
    for item in range(len(q)):
        whole = Call(q[item], k[item], v[item], layer=layer, layers=layers)
        rows = seen[item % len(seen)]
        whole, sets = replace(whole, q=rows.queries(whole)), rows.sets(in_sequence)
        for number, part in enumerate(sets):
            if part.window and not record.method.windows:
                name = record.method.name or type(record.method).__name__
                raise MaskError(f"rows of the mask see a sliding window, which the method {name} "
                                f"does not do, legal masks: {LEGAL}")
            call = replace(whole, q=whole.q[:, part.rows], k=whole.k[:, part.keys],
                           v=whole.v[:, part.keys], causal=part.causal, window=part.window,
                           sinks=part.sinks, past=part.past)
            out[item][:, part.rows] = record.attend(call, run, (item, number))
    return torch.from_numpy(out).reshape(query.shape).to(query)


def _check(query, key, value, dropout_p: float, enable_gqa: bool) -> None:
    """Refuse what no Method does."""
    if torch.jit.is_tracing() or torch.compiler.is_exporting():
        raise ValueError("traced by torch.jit or torch.export, legal: eager, or torch.compile")
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.dtype not in DTYPES:
            raise ValueError(f"{name} has dtype {x.dtype}, legal: {NAMES}")
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
    if heads != kv_heads and not (enable_gqa and kv_heads and heads % kv_heads == 0):
        more = f" or a divisor of it with enable_gqa, here {enable_gqa}"
        raise ValueError(f"key has {kv_heads} heads, legal: {heads} as the query{more}")


def _batches(x) -> np.ndarray:
    """float32 [batch, heads, length, d]."""
    return x.detach().float().cpu().reshape(-1, *x.shape[-3:]).numpy()


def _seen(attn_mask, q_shape, k_shape, is_causal: bool) -> list[Seen]:
    """What the rows of every sequence see; one for all of them where they see the same. None for
    empty tensors."""
    rows, keys = q_shape[-2], k_shape[-2]
    if attn_mask is None:
        full = np.ones((rows, keys), bool)
        return [Seen.boolean(np.tril(full) if is_causal else full)]
    if isinstance(attn_mask, CausalBias):
        # A shape and a variant: its elements are not set.
        if (attn_mask.seq_len_q, attn_mask.seq_len_kv) != (rows, keys):
            raise MaskError(f"attn_mask is a causal bias of {attn_mask.seq_len_q} x "
                            f"{attn_mask.seq_len_kv}, legal: {rows} x {keys}")
        last = keys - rows if attn_mask.variant == CausalVariant.LOWER_RIGHT else 0
        return [Seen.boolean(np.tril(np.ones((rows, keys), bool), last))]
    if attn_mask.dtype not in (torch.bool, *DTYPES):
        raise MaskError(f"attn_mask has dtype {attn_mask.dtype}, legal: bool, {NAMES}")
    try:
        mask = attn_mask.expand(*q_shape[:-1], keys)
    except RuntimeError:
        raise MaskError(f"attn_mask has shape {tuple(attn_mask.shape)}, legal: what broadcasts to "
                        f"{(*q_shape[:-1], keys)}") from None
    if 0 in mask.shape:
        return []
    first = mask[..., :1, :, :]
    if not ((mask == first) | mask.isnan() & first.isnan()).all():
        raise MaskError(f"attn_mask differs between heads, legal masks: {LEGAL}")
    mask = mask[..., 0, :, :].reshape(-1, rows, keys).cpu()
    if mask.dtype == torch.bool:
        return [Seen.boolean(item) for item in mask.numpy()]
    masked = float(torch.tensor(MASKED, dtype=mask.dtype))
    return [Seen.additive(item, masked) for item in mask.float().numpy()]


def register(method: Method | None = None, name: str = "sofa",
             progress: bool | None = None) -> Record:
    """Make a Method (default Sofa()) an attention implementation of transformers, by this name.

    Models are then made with attn_implementation=name. The record returned is that of all models
    that use the name; registering the name again replaces it. Numbers of layers:
    models.lab.measure.stacks. A row by itself is a decoding step where the module, or the call,
    says that it is causal. progress: a bar over the layers of each pass; None: where the Verilog
    does the work.
    """
    try:
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask
    except ImportError as error:
        raise ImportError(
            f"register needs transformers: {INSTALL}"
        ) from error
    method = method or Sofa()
    if progress is None:
        progress = getattr(method, "engine", "") == "rtl"
    record = Record(method, bar=Progress(name) if progress else None)

    @_outside_of_graphs
    def forward(module, query, key, value, attention_mask, dropout=0.0, scaling=None,
                is_causal=None, **others):
        for argument in UNSUPPORTED:
            if others.get(argument) is not None:
                raise ValueError(f"{name}: this model's attention uses {argument}, legal: None")
        in_sequence = decodes(module, is_causal)
        if is_causal is None:
            is_causal = getattr(module, "is_causal", True)
        # As in transformers' own function: a single query sees all keys that there are.
        causal = bool(is_causal) and attention_mask is None and query.shape[2] > 1
        run, layer, layers = record.places.find(module)
        out = _attend(query=query, key=key, value=value, attn_mask=attention_mask,
                      dropout_p=dropout, is_causal=causal, scale=scaling, enable_gqa=True,
                      record=record, run=run, layer=layer, layers=layers, in_sequence=in_sequence)
        return out.transpose(1, 2).contiguous(), None

    AttentionInterface.register(name, forward)
    # The masks that torch's own function gets: none where is_causal says it all, else boolean.
    AttentionMaskInterface.register(name, sdpa_mask)
    return record


def decodes(module, is_causal: bool | None) -> bool:
    """Whether queries of an attention of transformers are tokens of the sequence of its keys.

    Modules say so of themselves, or the call does. One that says nothing is not taken at the
    default, which transformers uses for several queries only, and a cross-attention that calls
    itself causal (GPT-BigCode's) is none.
    """
    said = getattr(module, "is_causal", False) if is_causal is None else is_causal
    return bool(said) and not getattr(module, "is_cross_attention", False)
