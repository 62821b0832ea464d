# SPDX-License-Identifier: Apache-2.0
"""Complexity of SOFA's three ideas, one after the other, from counted operations.

    facts = facts_of_call(call, quota=16, radius=6.0)       # counted on a real selection
    for name, counts in ablation(facts).items(): ...
    savings(facts, PRICES["full-adder bits"])               # {"DLZS": .., "SADS": .., "SU-FA": ..}

The baseline predicts with 4-bit multipliers, sorts whole rows and computes with FlashAttention-2.
DLZS replaces the prediction, SADS the sort, SU-FA the computation. The paper claims 18, 25 and
28 % less than the baseline, each with the ones before, but prints neither its counts nor its
prices; so several price tables are offered, and ``needed`` says what a stage would have to cost
for the printed figure. All stages work on the same selected pairs.

Decisions of ours, where the paper is silent:
    4-bit prediction  a product of 4 x 4 bits and an addition of 8 + log2(d) bits an element
    DLZS              a shift of the 8-bit operand with its SC_FRAC fraction bits and an addition of
                      SC_W bits an element; a leading-one detector for every element of Q
    keys              both also predict K from X with H elements, once per KV head (h = 0: K given);
                      weight codes are made offline
    full sort         of the row's visible keys, by merging: n log2 n comparisons; or a bitonic
                      network of n/4 log2(n) (log2(n) + 1)
    SADS              one comparison a key for clipping, CORE_COMPARISONS for every CORE keys
                      that are not clipped (docs/sads.md)
    FlashAttention-2  a tile at a time: comparison, subtraction, exp, addition a pair; exp, and a
                      product for l and each element of o, a tile (arXiv 2307.08691, algorithm 1)
    SU-FA             subtraction, exp, addition a pair; a comparison a tile; a tile's rescale only
                      when the row's maximum rises there
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ... import dlzs, oracle
from ...config import clog2
from ...first import head, plan
from ...first.config import Config
from ...sads import reach
from ..methods import counts
from ..methods.counts import Counts
from ..methods.machine import CORE, CORE_COMPARISONS
from ..methods.method import Call

PUBLISHED = {"DLZS": 0.18, "SADS": 0.25, "SU-FA": 0.28}
"""Saved against the baseline, each step with those before it (SOFA, MICRO 2024)."""

SORTS = ("merge", "bitonic")
"""Full sorts that the baseline may use."""


@dataclass(frozen=True)
class Facts:
    """What the operations are counted from, over all rows and heads.

    rows, keys, d     query rows; keys of all KV heads together; head dimension
    visible, selected pairs
    merge, bitonic    comparisons of a full sort of every row's visible keys
    row_tiles         (row, tile) pairs with a selected key
    rises             those of them in which the row's maximum rises, without each row's first
    survivors         keys that are not clipped when they reach the sort core
    h                 elements of X that a key is predicted from, 0: K is given
    """

    rows: int
    keys: int
    d: int
    visible: int
    selected: int
    merge: float
    bitonic: float
    row_tiles: int
    rises: int
    survivors: int
    h: int = 0


def sort_comparisons(visible: np.ndarray) -> tuple[float, float]:
    """(merge, bitonic) comparisons to sort rows of so many keys each, summed."""
    n = np.asarray(visible, np.float64)
    log = np.log2(np.maximum(n, 1))
    return float((n * log).sum()), float((n / 4 * log * (log + 1)).sum())


def facts_of_shape(rows: int, keys: int, d: int, keep: float, bc: int = 64, h: int = 0) -> Facts:
    """Of one head in which every row sees all keys and takes ceil(keep*bc) of each tile.

    Keys arrive in random order: the i-th of a tile is among the best q so far, and not clipped,
    with probability min(1, q/i). The maximum is taken to rise in the tiles 2, 3 .. with probability
    1/tile. Radius: none.
    """
    q, tiles = math.ceil(keep * bc), -(-keys // bc)
    survive = sum(min(1.0, q / i) for i in range(1, bc + 1))
    rises = sum(1 / t for t in range(2, tiles + 1))
    merge, bitonic = sort_comparisons(np.full(rows, keys))
    return Facts(rows=rows, keys=keys, d=d, visible=rows * keys, selected=rows * tiles * q,
                 merge=merge, bitonic=bitonic, row_tiles=rows * tiles, rises=round(rows * rises),
                 survivors=round(rows * tiles * survive), h=h)


def facts_of_call(
    call: Call, quota: int = 16, radius: float | None = 6.0, bc: int = 64, snap: int = dlzs.FLOOR,
    h: int = 0, cfg: Config | None = None,
) -> Facts:
    """Counted on the selection that DLZS and SADS make of a captured layer. radius: nats."""
    cfg = cfg or Config.from_name("paper")
    low = np.iinfo(np.int64).min
    row_tiles = rises = survivors = selected = 0
    for numbers, job in plan.plan_heads(call.q, call.k, call.v, cfg, causal=call.causal, bc=bc,
                                        quota=quota, radius_nats=radius, snap=snap):
        done = head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, job, cfg)
        selected += done.stats.selected
        limit = reach(job.radius, cfg)
        for block in done.heads[0].blocks:
            best = None
            for tile, score, chosen in zip(block.tiles, block.scores, block.lists, strict=True):
                n = len(score)
                seen = tile.allowed(n) if tile.causal else np.ones(score.shape, bool)
                used = chosen.valid.any(axis=1)
                survivors += count_survivors(score, seen, best, quota, limit)
                peak = np.where(seen, score, low).max(axis=1)
                row_tiles += int(used.sum())
                if best is not None:
                    rises += int((used & (peak > best) & (best > low)).sum())
                best = peak if best is None else np.maximum(best, peak)
    heads, mask = len(call.q), call.mask()
    merge, bitonic = sort_comparisons(mask.sum(axis=1))
    return Facts(rows=heads * len(mask), keys=len(call.k) * call.k.shape[1], d=call.d,
                 visible=int(mask.sum()) * heads, selected=selected, merge=heads * merge,
                 bitonic=heads * bitonic, row_tiles=row_tiles, rises=rises, survivors=survivors,
                 h=h)


def count_survivors(
    score: np.ndarray, seen: np.ndarray, best: np.ndarray | None, quota: int, limit: int
) -> int:
    """Keys of a tile that reach the sort core: when its word of CORE keys comes, a key is above
    the largest score so far less ``limit`` and above the least of ``quota`` that the row holds.

    score int64 [R, n], seen bool [R, n]; best int64 [R]: maximum of earlier tiles, None: none.
    """
    low = np.iinfo(np.int64).min // 2
    score = np.where(seen, score, low)
    held = np.full((len(score), quota), low)
    peak = np.full(len(score), low) if best is None else np.maximum(best, low)
    total = 0
    for first in range(0, score.shape[1], CORE):
        word = score[:, first : first + CORE]
        threshold = np.maximum(peak - limit, held.min(axis=1))
        total += int(((word > threshold[:, None]) & (word > low)).sum())
        held = -np.sort(-np.concatenate([held, word], axis=1), axis=1)[:, :quota]
        peak = np.maximum(peak, word.max(axis=1))
    return total


# ---- operations of the stages --------------------------------------------------------------------


def predict_4bit(facts: Facts, total: Counts) -> None:
    """Scores, and keys from X, with 4-bit multipliers."""
    for n, terms in ((facts.visible * facts.d, facts.d), (facts.keys * facts.h * facts.d, facts.h)):
        if n:
            total.add("predict", "mul4x4", n)
            total.add("predict", f"add{8 + clog2(terms)}", n)


def predict_dlzs(facts: Facts, total: Counts, frac: int = 3) -> None:
    """Scores, and keys from X, with shifts; frac: fraction bits of a term."""
    total.add("predict", "lz16", facts.rows * facts.d)
    for n, terms in ((facts.visible * facts.d, facts.d), (facts.keys * facts.h * facts.d, facts.h)):
        if n:
            total.add("predict", f"shift{8 + frac}", n)
            total.add("predict", f"add{8 + frac + clog2(terms)}", n)


def sort_full(facts: Facts, total: Counts, sort: str = "merge") -> None:
    """Whole rows, of predicted scores of 18 bits."""
    if sort not in SORTS:
        raise ValueError(f"sort = {sort!r}, legal: {', '.join(SORTS)}")
    total.add("select", "cmp18", facts.merge if sort == "merge" else facts.bitonic)


def sort_sads(facts: Facts, total: Counts) -> None:
    """Tiles, clipped."""
    total.add("select", "cmp18", facts.visible + facts.survivors * CORE_COMPARISONS / CORE)


def _products(facts: Facts, total: Counts) -> None:
    """What both ways to compute share: Q.K, P.V, softmax weights and sum, division."""
    pairs = facts.selected
    total.add("compute", "mul16x16", 2 * pairs * facts.d)
    total.add("compute", "add32", 2 * pairs * facts.d)
    total.add("compute", "add16", pairs)
    total.add("compute", "exp16", pairs)
    total.add("compute", "add32", pairs)
    total.add("compute", "div16", facts.rows * facts.d)


def compute_fa2(facts: Facts, total: Counts) -> None:
    """FlashAttention-2 over the selected pairs."""
    _products(facts, total)
    total.add("compute", "cmp16", facts.selected)
    total.add("compute", "add16", facts.row_tiles)
    total.add("compute", "exp16", facts.row_tiles)
    total.add("compute", "mul16x16", facts.row_tiles * (facts.d + 1))


def compute_sufa(facts: Facts, total: Counts) -> None:
    """SU-FA over the selected pairs."""
    _products(facts, total)
    total.add("compute", "cmp16", facts.row_tiles)
    total.add("compute", "add16", facts.rises)
    total.add("compute", "exp16", facts.rises)
    total.add("compute", "mul16x16", facts.rises * (facts.d + 1))


def softmax_steps(keys: int) -> dict[str, Counts]:
    """Operations that keys of one row cost besides the products and the rescale of o, by the order
    in which they come: "FA-2" (none), "ascending", "descending" (SU-FA).

    A key of an ascending order raises the maximum: the sum so far is multiplied by the exp of the
    difference, and the key itself adds 1.
    """
    orders = {name: Counts() for name in ("FA-2", "ascending", "descending")}
    for name, total in orders.items():
        for kind in ("add16", "exp16", "add32"):
            total.add("compute", kind, keys)
        if name != "descending":
            total.add("compute", "cmp16" if name == "FA-2" else "mul16x16", keys)
    return orders


def ablation(facts: Facts, sort: str = "merge") -> dict[str, Counts]:
    """Operations of the baseline and with one step more each: baseline, DLZS, SADS, SU-FA."""
    result = {}
    for name, predictor, sads, formal in (
        ("baseline", predict_4bit, False, compute_fa2),
        ("DLZS", predict_dlzs, False, compute_fa2),
        ("SADS", predict_dlzs, True, compute_fa2),
        ("SU-FA", predict_dlzs, True, compute_sufa),
    ):
        total = Counts(visible=facts.visible, selected=facts.selected)
        predictor(facts, total)
        if sads:
            sort_sads(facts, total)
        else:
            sort_full(facts, total, sort)
        formal(facts, total)
        result[name] = total
    return result


# ---- prices --------------------------------------------------------------------------------------

Price = Callable[[str], float]


def one(kind: str) -> float:
    """Every operation counts the same."""
    counts.price(kind)
    return 1.0


def wired(kind: str) -> float:
    """Full-adder bits, with shifts for nothing: the most that a shift can be worth."""
    return 0.0 if kind.startswith("shift") else counts.price(kind)


PRICES: dict[str, Price] = {
    "full-adder bits": counts.price,
    "every operation 1": one,
    "shifts free": wired,
}


def cost(total: Counts, price: Price, stage: str | None = None) -> float:
    """Price of all operations, or of those of a stage."""
    stages = counts.STAGES if stage is None else (stage,)
    return sum(price(kind) * n for s in stages for kind, n in total.ops[s].items())


def shares(total: Counts, price: Price) -> dict[str, float]:
    """Share of each stage in the cost."""
    whole = cost(total, price)
    return {stage: cost(total, price, stage) / whole for stage in counts.STAGES}


def savings(facts: Facts, price: Price, sort: str = "merge") -> dict[str, float]:
    """Saved share of the baseline's cost after each step, negative where it costs more."""
    steps = ablation(facts, sort)
    base = cost(steps["baseline"], price)
    return {name: 1 - cost(steps[name], price) / base for name in PUBLISHED}


def needed(facts: Facts, price: Price, sort: str = "merge") -> dict[str, float]:
    """What the new stage would have to cost, over what the old one does, so that each step saves
    its published share of the baseline: 0 is free, negative cannot be."""
    parts = shares(ablation(facts, sort)["baseline"], price)
    own = dict(zip(PUBLISHED, np.diff([0.0, *PUBLISHED.values()]), strict=True))
    return {name: 1 - own[name] / parts[stage]
            for name, stage in zip(PUBLISHED, counts.STAGES, strict=True)}


def stage_ratios(facts: Facts, price: Price, sort: str = "merge") -> dict[str, float]:
    """What the new stage costs over what the old one does."""
    steps = ablation(facts, sort)
    old = dict(zip(PUBLISHED, ("baseline", "DLZS", "SADS"), strict=True))
    return {name: cost(steps[name], price, stage) / cost(steps[old[name]], price, stage)
            for name, stage in zip(PUBLISHED, counts.STAGES, strict=True)}


def predictor_recall(call: Call, keep: float = 0.1, cfg: Config | None = None) -> dict[str, float]:
    """Share of the true best ``keep`` of each row's visible keys that each predictor finds, mean
    over rows and heads: Q and K rounded to 4 bits with one scale a head, and DLZS."""
    cfg = cfg or Config.from_name("paper")
    mask = call.mask()
    number = oracle.row_topk(mask, keep)
    found = {"4-bit": [], "DLZS": []}
    planned = plan.plan_heads(call.q, call.k, call.v, cfg, causal=call.causal)
    for h, (q, (numbers, _)) in enumerate(zip(call.q, planned, strict=True)):
        k = call.k[h // call.group]
        truth = oracle.topk(oracle.logits(q, k), mask, number)
        guess = dlzs.scores(dlzs.encode(numbers.q[0], dlzs.FLOOR), numbers.k8[0], cfg)
        q4, k4 = (np.rint(x / np.abs(x).max() * 7) for x in (q, k))
        for name, scores in (("4-bit", q4 @ k4.T), ("DLZS", guess)):
            found[name].append(oracle.recall(oracle.topk(scores, mask, number), truth))
    return {name: float(np.mean(values)) for name, values in found.items()}


def report() -> str:
    """The tables of docs/costs.md, made from the committed cases."""
    from ... import workloads

    cases = [(name, workloads.load_case(name), h) for name, h in (
        ("smollm2_novel_s1024_l05", 0), ("smollm2_code_s0512_l23", 0),
        ("minilm_novel_s0512_l03", 0))]
    cases += [(name, workloads.load_layer(name), workloads.load_layer(name).projection.x.shape[1])
              for name in workloads.list_layers()]
    rows, recalls = [], []
    for name, case, h in cases:
        call = Call(case.q, case.k, case.v, case.causal)
        recalls.append(f"{name}: recall of the true best 10 %: " + ", ".join(
            f"{kind} {value:.3f}" for kind, value in predictor_recall(call).items()))
        rows.append((f"{name}{', keys from X' if h else ''}", facts_of_call(call, h=h)))
    rows += [(f"shape S = 2048, d = 128, {n} of 64 kept", facts_of_shape(2048, 2048, 128, n / 64))
             for n in (3, 4, 7, 16)]
    lines = ["| case | keep | prices | sort | predict, select, compute | " +
             " | ".join(f"{n} (paper {p:.0%})" for n, p in PUBLISHED.items()) +
             " | new / old stage | needed |", "|" + "---|" * 10]
    for name, facts in rows:
        for label, price in PRICES.items():
            for sort in SORTS:
                part = shares(ablation(facts, sort)["baseline"], price)
                saved = savings(facts, price, sort)
                ratio, need = stage_ratios(facts, price, sort), needed(facts, price, sort)
                lines.append("| " + " | ".join((
                    name, f"{facts.selected / facts.visible:.1%}", label, sort,
                    ", ".join(f"{x:.1%}" for x in part.values()),
                    *(f"{x:.1%}" for x in saved.values()),
                    ", ".join(f"{x:.2f}" for x in ratio.values()),
                    ", ".join(f"{x:.2f}" for x in need.values()))) + " |")
    return "\n".join([*lines, "", *recalls])


if __name__ == "__main__":
    print(report())
