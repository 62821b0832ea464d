# SPDX-License-Identifier: Apache-2.0
"""A whole layer from X: its integers and registers, and the reference result of its two jobs.

    plan = plan_layer(x, wk, wv, q, cfg, rope_theta=1e4, causal=True)     # float arrays
    result = run_layer(plan, cfg)                                         # bit-exact

The first job predicts K8 of all KV heads from X8 and 4-bit weight codes, with scales, exponents,
biases and shifts for each KV head. The second selects by K8, makes K and V of a key when the first
band wants it and reads them for the bands after; the mean of V that stands in for the rest is V of
a mean row of X, so that V of a key that no row takes is never made. Source: docs/architecture.md
section 10.

Biases. A bias of V shifts every output by itself, since weights of a row sum to 1, and what stands
in too, since f and 1 - f do: the host adds it. A bias of K without RoPE adds the same to all scores
of a row, which softmax does not see. With RoPE it matters: `with_bias` then hides biases in the
weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from . import dlzs, head, kvgen, rass, rope, sufa
from .config import Config, ConfigError, check
from .head import KeySource, Part, Stats, means_of, parts, turns
from .plan import group_peaks, job_of, octaves_of
from .quantise import check_finite, quantise

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
class LayerNumbers:
    """Integers, registers and scales of a layer; value = integer * scale.

    q        int16 [heads, rows, d]; x8 int8 [keys, H]; x int16 [keys, H]
    codes    uint8 [kv_heads, H, d], 4-bit weight codes; wk, wv int16 [kv_heads, H, d]; all in
             natural order
    rt       int16 [keys, d], RoPE table in pair order, None without RoPE
    mode     rope.OFF, INTERLEAVED or HALF
    kp_exp, kp_bias, kp_shift, kg_shift_k, kg_shift_v   one for all KV heads
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
    job: head.Job
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

    @property
    def shifts(self) -> list[tuple[int, int]]:
        """(kg_shift_k, kg_shift_v) of each KV head."""
        return list(zip(of_each(self.kg_shift_k, self), of_each(self.kg_shift_v, self),
                        strict=True))

    def code_image(self, cfg: Config) -> np.ndarray:
        """WC in memory, uint8 [chunks, bytes]."""
        entries = [dlzs.pack_entry(*one) for one in zip(
            *(of_each(n, self) for n in (self.kp_exp, self.kp_bias, self.kp_shift)), strict=True)]
        return dlzs.pack_codes(self.codes, entries, cfg, self.mode)

    def weight_image(self, cfg: Config) -> np.ndarray:
        """W in memory, int16 [kv_heads, P, H, ROWS]."""
        pairs = zip(self.wk, self.wv, strict=True)
        return np.stack([kvgen.pack_weights(k, v, cfg, self.mode) for k, v in pairs])


@dataclass
class LayerOutcome:
    """What both jobs leave behind.

    k8      int8 [kv_heads, keys, d], as the first job writes it
    k, v    int16 [kv_heads, keys, d] of every key; valid bool [kv_heads, keys]: those that are in
            memory after the second job
    order   per KV head: keys in the order in which they were made, int64
    out     int16 [heads, rows, d]; heads: results of the query heads in job order
    predict, stats   counts of the first and of the second job
    """

    k8: np.ndarray
    k: np.ndarray
    v: np.ndarray
    valid: np.ndarray
    order: list[np.ndarray]
    out: np.ndarray
    heads: list
    predict: Stats
    stats: Stats

    def valid_image(self, cfg: Config) -> np.ndarray:
        """VB in memory, uint8 [kv_heads, bytes], whole beats."""
        return pack_valid(self.valid, cfg)


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
    return [_plan_keys(x8=x8, sx8=sx8, a=a, wk=wk[h : h + 1], cfg=cfg, mode=mode, rt=rt,
                       code_snap=dlzs.NEAREST, corrected=True)
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


def of_each(number, plan: LayerNumbers) -> list[int]:
    """A number for each KV head; the plan has one for all, or an array of one for each."""
    return np.broadcast_to(number, plan.kv_heads).tolist()


def predict_layer(plan: LayerPlan, cfg: Config) -> tuple[np.ndarray, Stats]:
    """The first job: K8 int8 [kv_heads, keys, d] and its counts."""
    numbers = (of_each(n, plan) for n in (plan.kp_exp, plan.kp_bias, plan.kp_shift))
    k8 = np.stack([
        dlzs.predict_keys(plan.x8, codes, cfg, exp, bias, shift, plan.mode, plan.rt)
        for codes, exp, bias, shift in zip(plan.codes, *numbers, strict=True)
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
    both = [
        kvgen.project(plan.x, wk, wv, *shifts, plan.mode, plan.rt)
        for wk, wv, shifts in zip(plan.wk, plan.wv, plan.shifts, strict=True)
    ]
    k, v = (np.stack(parts) for parts in zip(*both, strict=True))
    return k, v


def chunk_beats(
    rows: list[tuple[int, int]], h: int, d: int, mode: int, cfg: Config
) -> tuple[int, int, int]:
    """Beats that a chunk (an entry of dlzs.chunks) moves: codes with their header, once for each
    group of tokens; the table row and predicted keys written, for each token."""
    dims = rope.pair_dims(d, mode)
    table = cfg.beats16(d) if mode else 0
    # Bus words of the head's vector in which the predicted elements lie.
    out = len({(r, int(dims[o]) // cfg.BUS_BYTES) for r, o in rows})
    return cfg.code_beats(h), table, out


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


@dataclass(frozen=True)
class LayerPlan(LayerNumbers):
    """LayerNumbers in which what belongs to a head is an array: sq [heads]; kp_exp,
    kp_bias, kp_shift, kg_shift_k, kg_shift_v, sk8, sk, sv [kv_heads]. job: of models.head.

    xm   int16 [blocks, H], mean row of x for each block of query rows, in x's scale
    """

    xm: np.ndarray

    @property
    def out_scale(self) -> np.ndarray:
        """Scale of the output of each query head, [heads, 1, 1]."""
        return np.repeat(self.sv, self.heads // self.kv_heads)[:, None, None]


@dataclass
class LayerResult(LayerOutcome):
    """LayerOutcome: heads are those of models.head, none of the compiled path;
    of stats, slots has an entry for each tile scored, union, generated and reused one for each
    Turn, and nothing is said of phases and steps.

    means    int16 [kv_heads, blocks, d]; selected bool [heads, rows, keys]; f int64 [heads, rows]
    turns    every tile of every part that is selected from, in the order of issue
    updates  references raised
    """

    means: np.ndarray
    selected: np.ndarray
    f: np.ndarray
    turns: list[rass.Turn]
    updates: int


# ---- planning ---------------------------------------------------------------------------------


def plan_layer(
    x: np.ndarray, wk: np.ndarray, wv: np.ndarray, q: np.ndarray, cfg: Config, *,
    rope_theta: float = 0.0, mode: int | None = None, q_peaks: tuple[float, ...] | None = None,
    snap: int = dlzs.FLOOR, **settings,
) -> LayerPlan:
    """Integers and registers for float x [keys, H], wk and wv [kv_heads, H, d], q [heads, rows, d].

    Args:
        rope_theta: base of the rotary embedding of K; q comes rotated. 0: there is none.
        mode: which dimensions rotate together (models.rope); default interleaved with a
            rope_theta.
        q_peaks: values of each query head that become the largest integers, larger ones saturate;
            default: the data's.
        snap, settings: those of models.plan.job_of; no coarse keys, whose V would have to
            be made.
    """
    if settings.get("coarse") is not None:
        raise ConfigError(f"coarse = {settings['coarse']}, legal: None where V is made from X")
    x, wk, wv, q = (np.asarray(a, np.float64) for a in (x, wk, wv, q))
    if mode is None:
        mode = rope.INTERLEAVED if rope_theta else rope.OFF
    check_layer(x, wk, wv, q, rope_theta, mode, cfg)
    heads, rows, d = q.shape
    rt = rope.table(len(x), d, rope_theta) if mode else None
    predicted = plan_heads_keys(x, wk, cfg, mode, rt)
    smooth = smooth_heads(x, np.concatenate([wk, wv]))
    x16, sx = quantise(x * smooth, 16, "x")
    wk16, k, shift_k, sk = _projected(x16, sx, wk / smooth[:, None], mode, rt)
    wv16, _, shift_v, sv = _projected(x16, sx, wv / smooth[:, None], rope.OFF, None)
    sk8 = np.array([one.sk8 for one in predicted])
    if q_peaks is None:
        q_peaks = tuple(np.abs(q).max(axis=(1, 2)))
    elif len(q_peaks) != heads:
        raise ConfigError(f"peaks of q has {len(q_peaks)} entries, legal: one for each of {heads} "
                          f"heads")
    if settings.get("share"):
        q_peaks = group_peaks(q_peaks, heads // len(wk))
    octaves, q_peaks = octaves_of(q_peaks, sk8, d, snap, cfg)
    both = [quantise(q[h], 16, f"query head {h}: q", peak) for h, peak in enumerate(q_peaks)]
    q16, sq = np.stack([part[0] for part in both]), np.array([part[1] for part in both])
    job = job_of(q16, k, sq, sk, sk8, octaves, cfg, snap=snap, **settings)
    return LayerPlan(
        q=q16, x8=predicted[0].x8, x=x16, codes=np.concatenate([one.codes for one in predicted]),
        wk=wk16, wv=wv16, rt=rt, mode=mode, kg_shift_k=shift_k, kg_shift_v=shift_v, job=job,
        smooth8=predicted[0].smooth8, smooth=smooth, sq=sq, sx8=predicted[0].sx8, sx=sx, sk8=sk8,
        sk=sk, sv=sv, xm=means_of(x16[None], rows, job, cfg, 16)[0],
        **{name: np.array([getattr(one, name) for one in predicted])
           for name in ("kp_exp", "kp_bias", "kp_shift")})


def _projected(
    x16: np.ndarray, sx: float, w: np.ndarray, mode: int, rt: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(weights int16 [kv_heads, H, d], what they make of x16 [kv_heads, keys, d], its shifts and
    its scales [kv_heads]) of float w."""
    done = []
    for one in w:
        w16, scale = quantise(one, 16)
        acc = kvgen.sums(x16, w16)
        shift = choose_shift(acc, mode, rt)
        made = rope.rotate_natural(kvgen.narrow(acc, shift), rt, mode).astype(np.int16)
        done.append((w16, made, shift, sx * scale * 2.0**shift))
    return tuple(map(np.array, zip(*done, strict=True)))


# ---- running ----------------------------------------------------------------------------------


def project_means(plan: LayerPlan, cfg: Config) -> np.ndarray:
    """V of the mean rows, int16 [kv_heads, blocks, d], VM_W bits: 16 bits as of a key, then cut to
    VM_W with halves rounded up, saturated."""
    v = np.stack([kvgen.narrow(kvgen.sums(plan.xm, wv), shift)
                  for wv, (_, shift) in zip(plan.wv, plan.shifts, strict=True)])
    return sufa.cut(v, cfg.VM_W)


def run_layer(
    plan: LayerPlan, cfg: Config, valid: np.ndarray | None = None, run=head.run_job
) -> LayerResult:
    """Both jobs.

    valid: bool [kv_heads, keys], K and V that an earlier job has left in memory (VB_LOAD); None:
    there are none. run: models.head.run_job, or that of models.fast.
    """
    k8, predict = predict_layer(plan, cfg)
    k, v = project_layer(plan)
    load = valid is not None
    valid = np.array(valid, bool) if load else np.zeros(k.shape[:2], bool)
    if valid.shape != k.shape[:2]:
        raise ConfigError(f"valid has shape {valid.shape}, legal: {k.shape[:2]}")
    means = project_means(plan, cfg)
    done = run(plan.q, k, v, k8, means, plan.job, cfg)
    walk = parts(plan.heads, plan.kv_heads, plan.q.shape[1], plan.keys, plan.job, cfg)
    sources = [KeySource(*one) for one in zip(k, v, valid, strict=True)]
    issued = rass.issue(done.selected, walk, sources, plan.job)
    stats = count(plan, done, walk, issued, load, cfg)
    order = [
        np.concatenate([turn.made for turn in issued if turn.part.kv == kv])
        for kv in range(plan.kv_heads)
    ]
    return LayerResult(k8=k8, k=k, v=v, valid=valid, order=order, out=done.out, heads=done.heads,
                       predict=predict, stats=stats, means=means, selected=done.selected, f=done.f,
                       turns=issued, updates=done.updates)


def count(
    plan: LayerPlan, done: head.JobResult, walk: list[Part], issued: list[rass.Turn], load: bool,
    cfg: Config,
) -> Stats:
    """Counts of the second job. K8 of a band is read once, tile 0 twice in a sum job; mean rows of
    X once for each block of a part."""
    job = plan.job
    rows = plan.q.shape[1]
    stats = Stats(
        selected=int(np.count_nonzero(done.selected)),
        visible=job.visible(rows, plan.keys) * plan.heads,
        slots=[part.band.tiles[t].n for part in walk for t, _ in turns(len(part.band.tiles), job)],
        union=[len(turn.made) + len(turn.read) for turn in issued],
        generated=[len(turn.made) for turn in issued],
        reused=[len(turn.read) for turn in issued])
    vector = cfg.beats16(plan.d)
    dense = job.dense
    stats.move("q", plan.heads * rows, vector, cfg)
    stats.move("k8", 0 if dense else sum(stats.slots), cfg.beats8(plan.d), cfg)
    stats.move("k", sum(stats.reused), vector, cfg)
    stats.move("v", sum(stats.reused), vector, cfg)
    stats.move("o", plan.heads * rows, vector, cfg)
    count_generation(stats, plan, load, cfg)
    stats.move("x", mean_tokens(walk, job), cfg.beats16(plan.h), cfg)
    return stats


def mean_tokens(walk: list[Part], job: head.Job) -> int:
    """Mean rows that a job projects: one for each block of a part where the mean blends in."""
    blends = job.select == head.SUM and job.blend
    return sum(len(part.band.blocks) for part in walk) if blends else 0
