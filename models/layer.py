# SPDX-License-Identifier: Apache-2.0
"""A whole layer from X: its integers and registers, and the reference result of its two jobs.

    plan = plan_layer(x, wk, wv, q, cfg, rope_theta=1e4, causal=True)     # float arrays
    result = run_layer(plan, cfg)                                         # bit-exact

The first job predicts K8 of all KV heads from X8 and 4-bit weight codes; the second is attention
that makes K and V of the selected keys when they are first wanted and reads them afterwards.
Source: docs/architecture.md section 10.

Biases. A bias of V shifts every output by itself, since weights of a row sum to 1: the host adds
it. A bias of K without RoPE adds the same to all scores of a row, which softmax does not see.
With RoPE it matters: `with_bias` then hides biases in the weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models import dlzs, kvgen, rope
from models.config import Config, ConfigError, check
from models.head import HeadResult, Job, KeySource, Stats, head_of_blocks
from models.plan import check_scores, default_quota
from models.quantise import check_finite, log2_multiplier, quantise, radius_to_int

SMOOTHING = 0.5
"""Default exponent of smooth()."""


@dataclass(frozen=True)
class KeyPlan:
    """What predicts the keys: the fields of LayerPlan of these names."""

    x8: np.ndarray
    codes: np.ndarray
    kp_exp: int
    kp_bias: int
    kp_shift: int
    smooth8: np.ndarray
    sx8: float
    sk8: float


@dataclass(frozen=True)
class LayerPlan:
    """Integers, registers and scales of a layer; value = integer * scale.

    q        int16 [heads, rows, d]; x8 int8 [keys, H]; x int16 [keys, H]
    codes    uint8 [kv_heads, H, d], 4-bit weight codes; wk, wv int16 [kv_heads, H, d]; all in
             natural order
    rt       int16 [keys, d], RoPE table in pair order, None without RoPE
    mode     rope.OFF, INTERLEAVED or HALF
    kp_exp, kp_bias, kp_shift, kg_shift_k, kg_shift_v   registers, one for all KV heads
    job      the other settings of the attention job
    smooth8  float [H], x8 holds channel h of X times smooth8[h] and the codes hold Wk over it;
             smooth: likewise for x, wk and wv
    sq, sx8, sx, sk8, sk, sv   scales of q, x8, x, predicted keys, K, and V and O
    """

    q: np.ndarray
    x8: np.ndarray
    x: np.ndarray
    codes: np.ndarray
    wk: np.ndarray
    wv: np.ndarray
    rt: np.ndarray | None
    mode: int
    kp_exp: int
    kp_bias: int
    kp_shift: int
    kg_shift_k: int
    kg_shift_v: int
    job: Job
    smooth8: np.ndarray
    smooth: np.ndarray
    sq: float
    sx8: float
    sx: float
    sk8: float
    sk: float
    sv: float

    @property
    def heads(self) -> int:
        """Query heads."""
        return len(self.q)

    @property
    def kv_heads(self) -> int:
        """KV heads."""
        return len(self.codes)

    @property
    def keys(self) -> int:
        """Tokens of X."""
        return len(self.x)

    @property
    def h(self) -> int:
        """Model dimension."""
        return self.x.shape[1]

    @property
    def d(self) -> int:
        """Head dimension."""
        return self.job.d

    def code_image(self, cfg: Config) -> np.ndarray:
        """WC in memory, uint8 [chunks, H, ROWS//2]."""
        return dlzs.pack_codes(self.codes, cfg, self.mode)

    def weight_image(self, cfg: Config) -> np.ndarray:
        """W in memory, int16 [kv_heads, P, H, ROWS]."""
        pairs = zip(self.wk, self.wv, strict=True)
        return np.stack([kvgen.pack_weights(k, v, cfg, self.mode) for k, v in pairs])


@dataclass
class LayerResult:
    """What both jobs leave behind.

    k8      int8 [kv_heads, keys, d], as the first job writes it
    k, v    int16 [kv_heads, keys, d] of every key; valid bool [kv_heads, keys]: those that are in
            memory after the second job
    order   per KV head: keys in the order in which they were made, int64
    out     int16 [heads, rows, d]; heads: results of the query heads in job order, whose blocks
            hold tiles, lists, phases and the keys that each phase made
    predict, stats   counts of the first and of the second job
    """

    k8: np.ndarray
    k: np.ndarray
    v: np.ndarray
    valid: np.ndarray
    order: list[np.ndarray]
    out: np.ndarray
    heads: list[HeadResult]
    predict: Stats
    stats: Stats

    def valid_image(self, cfg: Config) -> np.ndarray:
        """VB in memory, uint8 [kv_heads, bytes], whole beats."""
        return pack_valid(self.valid, cfg)


# ---- planning ---------------------------------------------------------------------------------


def smooth(x: np.ndarray, w: np.ndarray, share: float) -> np.ndarray:
    """Factors a > 0 for the channels of X, float [H]: x*a and w/a have the same product.

    x [keys, H], w [heads, H, d]; a = peak(w)**share / peak(x)**(1-share), per channel over all
    tokens or all outputs. Without it a few large channels set the step of X8 and of X and leave
    few bits to the others; weight codes lose nothing by it, since they have the same relative
    error at every size. The host folds a into the gain of the norm before the layer.
    """
    px, pw = np.abs(x).max(axis=0), np.abs(w).max(axis=(0, 2))
    used = (px > 0) & (pw > 0)
    a = np.where(used, pw, 1.0) ** share / np.where(used, px, 1.0) ** (1 - share)
    return np.where(used, a, 1.0)


def smooth_heads(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """smooth, in which every head of w counts alike, however large its weights are."""
    peak = np.abs(w).max(axis=(1, 2), keepdims=True)
    return smooth(x, w / np.where(peak > 0, peak, 1.0), SMOOTHING)


def largest_sums(x8: np.ndarray, codes: np.ndarray, cfg: Config, exp: int) -> int:
    """Bound of |accumulator| over all orders of signs: for each output the sum over h of the
    largest term that a token with |x8[:, h]| up to the channel's peak can add; the most of all
    outputs and of every partial sum. x8 int8 [n, H], codes [..., H, d]."""
    peak = np.abs(np.asarray(x8, np.int64)).max(axis=0) << cfg.SC_FRAC
    e = np.asarray(codes, np.int64) & 7
    # Cut towards minus infinity and complemented: at most one more than the shifted peak.
    term = np.where(e > 0, (peak[:, None] >> np.clip(15 - exp - e, 0, 15)) + 1, 0)
    return int(term.sum(axis=-2).max())


def choose_exp(x8: np.ndarray, codes: np.ndarray, cfg: Config) -> int:
    """Largest KP_EXP 0..8 with which no sum can leave SC_W bits; ConfigError when none is."""
    for exp in range(8, -1, -1):
        if largest_sums(x8, codes, cfg, exp) < 1 << (cfg.SC_W - 1):
            return exp
    raise ConfigError(
        f"sums of {x8.shape[1]} products may need more than SC_W = {cfg.SC_W} bits, legal: a "
        f"larger D_MAX or a smaller SC_FRAC"
    )


def expected_bias(codes: np.ndarray, cfg: Config, exp: int) -> int:
    """KP_BIAS: what truncation takes from an accumulator on average, plus the half that makes the
    cut to 16 bits a rounding.

    With u low bits of a term cut, each value of them equally likely, a positive term loses
    (1 - 2**-u)/2 units and a negative one, which is complemented, 1 - (1 - 2**-u)/2.
    """
    codes = np.asarray(codes, np.int64)
    e, negative = codes & 7, codes >> 3 & 1
    cut = np.maximum(15 - exp - e - cfg.SC_FRAC, 0)
    loss = (1 - 2.0**-cut) / 2
    loss = np.where(e > 0, np.where(negative == 1, 1 - loss, loss), 0)
    half = (1 << max(cfg.SC_W - 16, 0)) >> 1
    return round(float(loss.sum(axis=-2).mean())) + half


def choose_shift8(t: np.ndarray) -> int:
    """KP_SHIFT 0..15 with the least squared error of t against its 8-bit copy."""
    def error(shift: int) -> float:
        return float(np.square(t - (dlzs.key8(t, shift).astype(np.int64) << shift)).sum())

    return min(range(16), key=error)


def plan_keys(
    x: np.ndarray,
    wk: np.ndarray,
    cfg: Config,
    mode: int,
    rt: np.ndarray | None,
    *,
    code_snap: int = dlzs.NEAREST,
    smoothing: float | None = SMOOTHING,
    corrected: bool = True,
) -> KeyPlan:
    """Prediction of the keys of float x [keys, H], wk [kv_heads, H, d], with one scale for the
    codes of all KV heads; arguments as plan_layer's. corrected: False leaves expected_bias out."""
    a = np.ones(x.shape[1]) if smoothing is None else smooth(x, wk, smoothing)
    return _plan_keys(*quantise(x * a, 8, "x"), a, wk, cfg, mode, rt, code_snap, corrected)


def plan_heads_keys(
    x: np.ndarray, wk: np.ndarray, cfg: Config, mode: int, rt: np.ndarray | None
) -> list[KeyPlan]:
    """plan_keys with codes, scale and registers for each KV head by itself, all of them over one
    X8 (smooth_heads): that is all that heads have in common."""
    a = smooth_heads(x, wk)
    x8, sx8 = quantise(x * a, 8, "x")
    return [_plan_keys(x8, sx8, a, wk[h : h + 1], cfg, mode, rt, dlzs.NEAREST, True)
            for h in range(len(wk))]


def _plan_keys(x8: np.ndarray, sx8: float, a: np.ndarray, wk: np.ndarray, cfg: Config, mode: int,
               rt: np.ndarray | None, code_snap: int, corrected: bool) -> KeyPlan:
    """The rest of plan_keys, from X times a in 8 bits."""
    codes, sc = dlzs.code_weights(wk / a[:, None], code_snap)
    kp_exp = choose_exp(x8, codes, cfg)
    kp_bias = expected_bias(codes, cfg, kp_exp) if corrected else 0
    if not -32768 <= kp_bias <= 32767:
        raise ConfigError(f"KP_BIAS = {kp_bias}, legal: -32768..32767")
    kp_shift = choose_shift8(turned_t(x8, codes, cfg, kp_exp, kp_bias, mode, rt))
    # A code of e = 7 at KP_EXP = 8 passes x8 << SC_FRAC unshifted.
    unit = 2.0 ** (8 - kp_exp - cfg.SC_FRAC + max(cfg.SC_W - 16, 0) + kp_shift)
    return KeyPlan(x8, codes, kp_exp, kp_bias, kp_shift, a, sx8, sx8 * sc * unit)


def turned_t(
    x8: np.ndarray, codes: np.ndarray, cfg: Config, exp: int, bias: int, mode: int, rt
) -> np.ndarray:
    """Predicted keys before they are cut to 8 bits, after RoPE, int64 [kv_heads, keys, d]."""
    t = np.stack([dlzs.predict_t(dlzs.predict_sums(x8, c, cfg, exp), cfg, bias) for c in codes])
    return rope.rotate_natural(t, rt, mode)


def choose_shift(acc: np.ndarray, mode: int, rt: np.ndarray | None) -> int:
    """Least shift 0..40 with which no element saturates, before or after RoPE. acc int64
    [..., keys, d]."""
    for shift in range(41):
        half = (1 << shift) >> 1
        # The largest element decides before the whole array is looked at.
        if (max(int(acc.max()), -int(acc.min())) + half) >> shift > 32767:
            continue
        y = rope.rotate_natural(kvgen.narrow(acc, shift), rt, mode)
        if np.abs(y).max() <= 32766 or mode == rope.OFF:
            return shift
    raise ConfigError("sums beyond 55 bits")


def with_bias(
    x: np.ndarray, wk: np.ndarray, wv: np.ndarray, bk: np.ndarray, bv: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, wk, wv with 8 more channels, of which the first is constant and carries the biases.

    x [keys, H], wk and wv [kv_heads, H, d], bk and bv [kv_heads, d], all float. The constant is
    the largest value in x, so that it costs no other channel a bit.
    """
    top = float(np.abs(x).max()) or 1.0
    x = np.concatenate([x, np.zeros((len(x), 8))], axis=1)
    x[:, -8] = top
    wide = []
    for w, b in ((wk, bk), (wv, bv)):
        w = np.concatenate([w, np.zeros((len(w), 8, w.shape[2]))], axis=1)
        w[:, -8] = np.asarray(b) / top
        wide.append(w)
    return x, *wide


def plan_layer(
    x: np.ndarray,
    wk: np.ndarray,
    wv: np.ndarray,
    q: np.ndarray,
    cfg: Config,
    *,
    rope_theta: float = 0.0,
    mode: int | None = None,
    causal: bool = False,
    offset: int | None = None,
    bc: int | None = None,
    quota: int | None = None,
    radius_nats: float | None = None,
    snap: int = dlzs.FLOOR,
    code_snap: int = dlzs.NEAREST,
    smoothing: float | None = SMOOTHING,
    dense: bool = False,
    interleaved: bool = True,
) -> LayerPlan:
    """Integers and registers for float x [keys, H], wk and wv [kv_heads, H, d], q [heads, rows, d].

    Args:
        rope_theta: base of the rotary embedding of K; q comes rotated. 0: there is none.
        mode: which dimensions rotate together (models.rope); default interleaved with a
            rope_theta.
        causal, offset, bc, quota, radius_nats, snap, dense, interleaved: as in models.plan.plan.
        code_snap: how Wk is coded, dlzs.FLOOR or NEAREST.
        smoothing: exponent of smooth(), None for all factors 1.
    """
    x, wk, wv, q = (np.asarray(a, np.float64) for a in (x, wk, wv, q))
    if mode is None:
        mode = rope.INTERLEAVED if rope_theta else rope.OFF
    check_layer(x, wk, wv, q, rope_theta, mode, cfg)
    keys, d = len(x), q.shape[-1]
    rt = rope.table(keys, d, rope_theta) if mode else None
    key_plan = plan_keys(x, wk, cfg, mode, rt, code_snap=code_snap, smoothing=smoothing)
    # Both kinds of weights count alike, however large their scales are.
    both = np.concatenate([w / (np.abs(w).max() or 1.0) for w in (wk, wv)])
    a = np.ones(x.shape[1]) if smoothing is None else smooth(x, both, smoothing)
    x16, sx = quantise(x * a, 16)
    wk16, swk = quantise(wk / a[:, None], 16)
    wv16, swv = quantise(wv / a[:, None], 16)
    sums_k = np.stack([kvgen.sums(x16, w) for w in wk16])
    shift_k = choose_shift(sums_k, mode, rt)
    shift_v = choose_shift(np.stack([kvgen.sums(x16, w) for w in wv16]), rope.OFF, None)
    q16, sq = quantise(q, 16)
    sk = sx * swk * 2.0**shift_k
    scale_m, scale_shift = log2_multiplier(sq, sk, d, cfg)
    bc = cfg.BC_MAX if bc is None else bc
    if offset is None:
        offset = max(keys - q.shape[1], 0) if causal else 0
    job = Job(d=d, scale_m=scale_m, scale_shift=scale_shift, bc=bc,
              quota=default_quota(bc) if quota is None else quota,
              radius=radius_to_int(radius_nats, sq, key_plan.sk8, d, snap, cfg), snap=snap,
              dense=dense, causal=causal, offset=offset, interleaved=interleaved).checked(cfg)
    check_scores(q16, rope.rotate_natural(kvgen.narrow(sums_k, shift_k), rt, mode), sq, sk, job,
                 cfg)
    return LayerPlan(q=q16, x=x16, wk=wk16, wv=wv16, rt=rt, mode=mode, kg_shift_k=shift_k,
                     kg_shift_v=shift_v, job=job, smooth=a, sq=sq, sx=sx, sk=sk,
                     sv=swv * sx * 2.0**shift_v, **vars(key_plan))


def check_layer(x, wk, wv, q, theta: float, mode: int, cfg: Config) -> None:
    """Refuse arrays that do not fit each other or the configuration."""
    for name, array, axes in (("x", x, 2), ("wk", wk, 3), ("wv", wv, 3), ("q", q, 3)):
        if array.ndim != axes:
            raise ConfigError(f"{name} has shape {array.shape}, legal: {axes} axes")
    d = cfg.check_d(q.shape[2])
    h = check("model dimension", x.shape[1], 8, cfg.H_MAX)
    if h % 8:
        raise ConfigError(f"model dimension = {h}, legal: multiple of 8, 8..{cfg.H_MAX}")
    for name, array in (("x", x), ("wk", wk), ("wv", wv), ("q", q)):
        check_finite(name, array)
    for name, w in (("wk", wk), ("wv", wv)):
        if w.shape != (len(wk), h, d):
            raise ConfigError(f"{name} has shape {w.shape}, legal: [kv_heads, {h}, {d}]")
    if not len(wk) or not len(q) or len(q) % len(wk):
        raise ConfigError(f"heads = {len(q)}, legal: multiple of kv_heads = {len(wk)}")
    words = -(-2 * d // cfg.ROWS) * h
    if words > cfg.WGT_WORDS:
        raise ConfigError(f"the weights of a head take {words} words, legal: {cfg.WGT_WORDS}")
    check("keys", len(x), 1, cfg.KEYS_MAX)
    check("query rows", q.shape[1], 1, cfg.KEYS_MAX)
    check("mode", mode, 0, 2)
    if mode and not (math.isfinite(theta) and theta > 0):
        raise ConfigError(f"rope_theta = {theta}, legal: above 0 with mode {mode}")


# ---- running ----------------------------------------------------------------------------------


def of_each(register, plan: LayerPlan) -> list[int]:
    """A register for each KV head; the plan has one for all, or an array of one for each."""
    return np.broadcast_to(register, plan.kv_heads).tolist()


def predict_layer(plan: LayerPlan, cfg: Config) -> tuple[np.ndarray, Stats]:
    """The first job: K8 int8 [kv_heads, keys, d] and its counts."""
    registers = (of_each(r, plan) for r in (plan.kp_exp, plan.kp_bias, plan.kp_shift))
    k8 = np.stack([
        dlzs.predict_keys(plan.x8, codes, cfg, exp, bias, shift, plan.mode, plan.rt)
        for codes, exp, bias, shift in zip(plan.codes, *registers, strict=True)
    ])
    return k8, prediction_stats(plan.keys, plan.kv_heads, plan.h, plan.d, plan.mode, cfg)


def prediction_stats(
    keys: int, kv_heads: int, h: int, d: int, mode: int, cfg: Config
) -> Stats:
    """Counts of the first job."""
    stats = Stats()
    for rows in dlzs.chunks(kv_heads, d, cfg):
        codes, table, out = chunk_beats(rows, h, d, mode, cfg)
        stats.move("w", -(-keys // cfg.COLS), codes, cfg)
        stats.move("k8", keys, cfg.beats8(h), cfg)
        stats.move("r", keys if mode else 0, table, cfg)
        stats.move("wb", keys, out, cfg)
    return stats


def project_layer(plan: LayerPlan) -> tuple[np.ndarray, np.ndarray]:
    """K and V of every key, int16 [kv_heads, keys, d] each."""
    shifts = (of_each(shift, plan) for shift in (plan.kg_shift_k, plan.kg_shift_v))
    both = [
        kvgen.project(plan.x, wk, wv, shift_k, shift_v, plan.mode, plan.rt)
        for wk, wv, shift_k, shift_v in zip(plan.wk, plan.wv, *shifts, strict=True)
    ]
    k, v = (np.stack(parts) for parts in zip(*both, strict=True))
    return k, v


def chunk_beats(
    rows: list[tuple[int, int]], h: int, d: int, mode: int, cfg: Config
) -> tuple[int, int, int]:
    """Beats that a chunk (an entry of dlzs.chunks) moves: codes, once for each group of tokens;
    the table row and predicted keys written, for each token."""
    dims = rope.pair_dims(d, mode)
    table = cfg.beats16(d) if mode else 0
    # Bus words of the head's vector in which the predicted elements lie.
    out = len({(r, int(dims[o]) // cfg.BUS_BYTES) for r, o in rows})
    return h * cfg.ROWS // (2 * cfg.BUS_BYTES), table, out


def run_layer(
    plan: LayerPlan, cfg: Config, valid: np.ndarray | None = None, trace: bool = False
) -> LayerResult:
    """Both jobs. valid: bool [kv_heads, keys], K and V that an earlier job has left in memory
    (VB_LOAD); None: there are none."""
    k8, predict = predict_layer(plan, cfg)
    k, v = project_layer(plan)
    load = valid is not None
    valid = np.array(valid, bool) if load else np.zeros(k.shape[:2], bool)
    group = plan.heads // plan.kv_heads
    sources = [KeySource(*parts) for parts in zip(k, v, valid, strict=True)]
    heads = [
        head_of_blocks(plan.q[h], sources[h // group], k8[h // group], plan.job, cfg, trace)
        for h in range(plan.heads)
    ]
    stats = Stats()
    for head in heads:
        stats += head.stats
    count_generation(stats, plan, load, cfg)
    order = [
        np.concatenate([
            new
            for head in heads[kv * group : (kv + 1) * group]
            for block in head.blocks
            for made in block.made
            for new in made
        ])
        for kv in range(plan.kv_heads)
    ]
    return LayerResult(k8, k, v, valid, order, np.stack([h.out for h in heads]), heads, predict,
                       stats)


def count_generation(stats: Stats, plan: LayerPlan, load: bool, cfg: Config) -> None:
    """Add the traffic of KVGEN: X, RT, weights and VB in, K, V and VB out."""
    made = sum(stats.generated)
    stats.move("x", made, cfg.beats16(plan.h), cfg)
    if plan.mode:
        stats.move("x", made, cfg.beats16(plan.d), cfg)
    stats.move("x", plan.kv_heads * weight_words(plan.h, plan.d, cfg), 2 * cfg.ROWS
               // cfg.BUS_BYTES, cfg)
    bits = valid_beats(plan.keys, cfg)
    stats.move("x", plan.kv_heads if load else 0, bits, cfg)
    stats.move("wb", 2 * made, cfg.beats16(plan.d), cfg)
    stats.move("wb", plan.kv_heads, bits, cfg)


def weight_words(h: int, d: int, cfg: Config) -> int:
    """Words of ROWS weights of one KV head."""
    return -(-2 * d // cfg.ROWS) * h


def valid_beats(keys: int, cfg: Config) -> int:
    """Beats of the valid bits of one KV head."""
    return -(-keys // (8 * cfg.BUS_BYTES))


def pack_valid(valid: np.ndarray, cfg: Config) -> np.ndarray:
    """VB in memory, uint8 [kv_heads, bytes], of bool [kv_heads, keys]: key k is bit k%8 of byte
    k//8, bytes up to the end of the last beat are 0."""
    packed = np.packbits(np.asarray(valid, bool), axis=-1, bitorder="little")
    size = valid_beats(valid.shape[-1], cfg) * cfg.BUS_BYTES
    return np.pad(packed, ((0, 0), (0, size - packed.shape[-1])))


# ---- what other ways of getting K and V would cost ----------------------------------------------


@dataclass(frozen=True)
class Traffic:
    """What K and V of a layer cost: 16-bit multiply-adds, bytes read and written (whole beats).
    Q, K8 and O are the same for all ways and not in it."""

    macs: int
    read: int
    written: int


def traffic(plan: LayerPlan, result: LayerResult, cfg: Config) -> dict[str, Traffic]:
    """Cost of K and V by four ways, for the selections of a result without VB_LOAD.

    on-demand   this machine: made when first wanted, read afterwards
    all         every key is made at first and written, unions are read block by block
    per-block   the union of every tile is made anew in each block, nothing is written
    per-row     every key is made at first and written, every row reads its own selected keys
    """
    stats = result.stats
    unit = cfg.BUS_BYTES
    vectors = 2 * cfg.beats16(plan.d) * unit
    token = (cfg.beats16(plan.h) + (cfg.beats16(plan.d) if plan.mode else 0)) * unit
    weights = plan.kv_heads * weight_words(plan.h, plan.d, cfg) * 2 * cfg.ROWS
    bits = plan.kv_heads * valid_beats(plan.keys, cfg) * unit
    macs = 2 * plan.h * plan.d
    every, made = plan.kv_heads * plan.keys, sum(stats.generated)
    union = sum(stats.union)
    return {
        "on-demand": Traffic(made * macs, weights + made * token + sum(stats.reused) * vectors,
                             made * vectors + bits),
        "all": Traffic(every * macs, weights + every * token + union * vectors, every * vectors),
        "per-block": Traffic(union * macs, weights + union * token, 0),
        "per-row": Traffic(every * macs, weights + every * token + stats.selected * vectors,
                           every * vectors),
    }
