# SPDX-License-Identifier: Apache-2.0
"""Measure on the committed heads what the number formats cost. Prints Markdown tables.

Tables (choose with --tables, default all):
    recall    share of the true top-k found by each prediction scheme, at several keep ratios
    keys      the same on whole layers for keys that are themselves predicted from X, and for
              what that prediction is made of
    frac      the same for SC_FRAC = 0..6, which sets the width of the prediction accumulator
    formats   relative L2 error of the formal path for GUARD, Z_FRAC and O_FRAC

True top-k: k = round(keep * visible keys) of every row, by exact float scores; rows with k = 0
are left out. Error: against float64 softmax of the float inputs over the same selected keys.
Results also go to build/recall*.csv and build/recall.md.

    .venv/bin/python scripts/recall.py
    .venv/bin/python scripts/recall.py --tables frac --cases smollm2_code_s0512_l23
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

# As in models/__init__.py; it must come before numpy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402  (the path is set above)

from models import dlzs, layer, oracle, quantise, rope, workloads  # noqa: E402
from models.config import ConfigError, Sizes  # noqa: E402
from models.first.config import Config  # noqa: E402
from models.first.head import Job, run_head, run_job  # noqa: E402

SCHEMES = ("exact-int8", "two-term", "nearest", "floor", "both")
"""Prediction schemes, best expected first."""

FRACS = range(7)
"""SC_FRAC values of the sweep."""

RECALL_LOSS, RECALL_LOSS_WORST = 0.002, 0.01
"""Recall that truncation may cost on the mean and on the worst head (see pick_frac)."""

ERROR_BAR = 0.002
"""Largest relative L2 error of the formal path on any head."""

FORMATS = (
    {},
    {"GUARD": 0},
    {"GUARD": 2},
    {"GUARD": 3},
    {"Z_FRAC": 8},
    {"Z_FRAC": 9},
    {"Z_FRAC": 12},
    {"O_FRAC": 4},
    {"O_FRAC": 6},
    {"O_FRAC": 8},
)
"""Changes to the configuration tried one at a time."""


def heads(names: list[str]):
    """Yield (case, number of the head in the case, q, k, v) of the named cases."""
    for name in names:
        case = workloads.load_case(name)
        for h in range(case.n_heads):
            yield case, h, *case.head(h)


def dlzs_scores(q16, k8, snap: int, frac: int, cfg: Config) -> np.ndarray:
    """Predicted scores as the hardware computes them, with SC_FRAC = frac."""
    wide = cfg.replace(SC_FRAC=frac, TWO_TERM=1)
    return dlzs.scores(dlzs.encode(q16, snap), k8, wide)


def scheme_scores(scheme: str, q16, k8, frac: int, cfg: Config) -> np.ndarray:
    """Predicted scores of one scheme; schemes outside the hardware are not truncated."""
    if scheme == "exact-int8":
        return dlzs.scores_exact(quantise.quantise(q16, 8)[0], k8)
    if scheme == "both":
        return dlzs.scores_both(q16, k8)
    snap = {name: number for number, name in dlzs.SNAPS.items()}[scheme]
    return dlzs_scores(q16, k8, snap, frac, cfg)


class Truth:
    """True top-k of one head at several keep ratios."""

    def __init__(self, q, k, causal: bool, keeps: list[float]):
        self.mask = oracle.causal_mask(len(q), len(k), causal)
        self.scores = oracle.logits(q, k)
        self.k = {keep: oracle.row_topk(self.mask, keep) for keep in keeps}
        self.best = {keep: oracle.topk(self.scores, self.mask, self.k[keep]) for keep in keeps}

    def recalls(self, predicted) -> dict[float, float]:
        """Recall of a prediction at every keep ratio."""
        # One sort serves all ratios: the rank of each key in its row.
        lowered = np.where(self.mask, -np.asarray(predicted, np.float64), np.inf)
        order = np.argsort(lowered, axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(order.shape[1])[None, :], axis=1)
        return {
            keep: oracle.recall((rank < self.k[keep][:, None]) & self.mask, self.best[keep])
            for keep in self.best
        }


def cut_keys(t: np.ndarray, bits: int) -> np.ndarray:
    """Predicted keys t, 16 bits, cut to fewer bits with the least squared error, int64."""
    top = (1 << (bits - 1)) - 1

    def cut(shift):
        return np.clip((t + (1 << shift >> 1)) >> shift, -top, top)

    if bits == 16:
        return t
    return cut(min(range(16), key=lambda s: np.square(t - (cut(s) << s), dtype=float).sum()))


def predicted_keys(
    case, cfg: Config, bits: int = 8, exact: str = "", seen: float = 1.0, **choices
) -> np.ndarray:
    """Keys of all KV heads predicted from X, int64 [kv_heads, S, d]. choices: those of
    layer.plan_keys; exact: "weights" or "inputs" names the factor that keeps full precision;
    seen: share of the tokens, the first ones, that the plan is made from."""
    x, wk = case.projection.x.astype(np.float64), case.projection.wk.astype(np.float64)
    mode = rope.INTERLEAVED if case.rope_theta else rope.OFF
    rt = rope.table(case.length, case.d, case.rope_theta) if mode else None
    known = round(seen * len(x))
    plan = layer.plan_keys(x[:known], wk, cfg, mode, rt if rt is None else rt[:known], **choices)
    if seen < 1:
        x8 = np.clip(np.rint(x * plan.smooth8 / plan.sx8), -127, 127).astype(np.int8)
        t = layer.turned_t(x8, plan.codes, cfg, plan.kp_exp, plan.kp_bias, mode, rt)
        return dlzs.key8(t, plan.kp_shift).astype(np.int64)
    if exact:
        left = x * plan.smooth8 if exact == "inputs" else plan.x8
        right = dlzs.decode_weights(plan.codes)
        if exact == "weights":
            right = wk / plan.smooth8[:, None]
        return quantise.quantise(workloads.rope(left @ right, case.rope_theta), 8)[0]
    t = layer.turned_t(plan.x8, plan.codes, cfg, plan.kp_exp, plan.kp_bias, mode, rt)
    return cut_keys(t, bits)


KEY_SCHEMES = {
    "exact int8 Q and K": None,
    "one phase: Q codes, K rounded to 8 bits": {},
    "two phases: Q codes, predicted K (as built)": {},
    "planned from the first half of the tokens": {"seen": 0.5},
    "planned from the first eighth of the tokens": {"seen": 0.125},
    "codes by floor": {"code_snap": dlzs.FLOOR},
    "no bias correction": {"corrected": False},
    "no smoothing": {"smoothing": None},
    "smoothing 0.25": {"smoothing": 0.25},
    "smoothing 0.75": {"smoothing": 0.75},
    "K^ with exact weights": {"exact": "weights"},
    "K^ with exact X": {"exact": "inputs"},
    **{f"K^ of {bits} bits": {"bits": bits} for bits in (4, 5, 6, 7, 16)},
}
"""Row of the table -> what it changes in predicted_keys."""


def measure_keys(names: list[str], keeps: list[float], cfg: Config):
    """Rows (layer, head, scheme, keep, recall) of the heads of whole layers."""
    rows = []
    for name in names:
        case = workloads.load_layer(name)
        truths = [Truth(*case.head(h)[:2], case.causal, keeps) for h in range(case.n_heads)]
        q16 = [quantise.quantise(q, 16)[0] for q in case.q]
        codes = [dlzs.encode(q, dlzs.FLOOR) for q in q16]
        for scheme, choices in KEY_SCHEMES.items():
            if scheme.startswith(("exact", "one")):
                keys = quantise.quantise(case.k, 8)[0]
            else:
                keys = predicted_keys(case, cfg, **choices)
            for h, truth in enumerate(truths):
                k = keys[h // case.group]
                if choices is None:
                    predicted = scheme_scores("exact-int8", q16[h], k, 0, cfg)
                else:
                    predicted = dlzs.scores(codes[h], k, cfg)
                for keep, value in truth.recalls(predicted).items():
                    rows.append([name, h, scheme, keep, value])
    return rows


def keys_table(rows: list[list], keeps: list[float]) -> str:
    """Mean recall of each scheme, with the worst head in brackets, by layer and keep."""
    layers = list(dict.fromkeys(row[0] for row in rows))
    lines = []
    for scheme in KEY_SCHEMES:
        cells = [scheme]
        for name in layers:
            for keep in keeps:
                values = [r[4] for r in rows if r[:1] + r[2:4] == [name, scheme, keep]]
                cells.append(f"{np.mean(values):.3f} ({min(values):.3f})")
        lines.append(cells)
    header = ["prediction"]
    header += [f"{n.split('_')[0]} {100 * keep:g} %" for n in layers for keep in keeps]
    return table(header, lines)


def table(header: list[str], rows: list[list]) -> str:
    """A Markdown table; floats are printed as they are given (strings)."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows])


def write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    """Write rows with a header line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(header)
        writer.writerows(rows)


def measure_recall(names: list[str], keeps: list[float], cfg: Config, with_frac: bool):
    """Rows (case, head, scheme, SC_FRAC or -1, keep, recall) of all heads."""
    rows = []
    for case, h, q, k, _ in heads(names):
        q16, _ = quantise.quantise(q, 16)
        k8, _ = quantise.quantise(k, 8)
        truth = Truth(q, k, case.causal, keeps)
        for scheme in SCHEMES:
            in_hardware = scheme in dlzs.SNAPS.values()
            fracs = [cfg.SC_FRAC] if in_hardware else [-1]
            if in_hardware and with_frac:
                # 8 truncates so little that it stands for no truncation.
                fracs = sorted({*FRACS, 8, cfg.SC_FRAC})
            for frac in fracs:
                predicted = scheme_scores(scheme, q16, k8, max(frac, 0), cfg)
                for keep, value in truth.recalls(predicted).items():
                    rows.append([case.name, h, scheme, frac, keep, value])
    return rows


def recall_table(rows: list[list], keeps: list[float], cfg: Config) -> str:
    """Mean recall of each scheme, with the worst head in brackets, by model and keep."""
    lines = []
    models = sorted({row[0].split("_")[0] for row in rows})
    for scheme in SCHEMES:
        cells = [scheme]
        for model in models:
            for keep in keeps:
                values = [
                    r[5] for r in rows
                    if r[2] == scheme and r[3] in (-1, cfg.SC_FRAC) and r[4] == keep
                    and r[0].startswith(model)
                ]
                cells.append(f"{np.mean(values):.3f} ({min(values):.3f})")
        lines.append(cells)
    header = ["prediction"] + [f"{m} {100 * keep:g} %" for m in models for keep in keeps]
    return table(header, lines)


def frac_losses(rows: list[list], scheme: str, frac: int) -> np.ndarray:
    """Recall lost by truncating to ``frac`` bits against 8, for every head and keep."""
    at = {(r[0], r[1], r[4]): r[5] for r in rows if r[2] == scheme and r[3] == frac}
    full = {(r[0], r[1], r[4]): r[5] for r in rows if r[2] == scheme and r[3] == 8}
    return np.array([full[key] - at[key] for key in full])


def pick_frac(rows: list[list], scheme: str) -> int:
    """Fewest fraction bits whose recall loss stays within the limits above."""
    for frac in FRACS:
        loss = frac_losses(rows, scheme, frac)
        if loss.mean() <= RECALL_LOSS and loss.max() <= RECALL_LOSS_WORST:
            return frac
    return FRACS[-1]


def frac_table(rows: list[list], keeps: list[float], cfg: Config) -> str:
    """Mean recall over all heads by scheme and SC_FRAC, and the loss on the worst head."""
    header = ["SC_FRAC", f"score bits (d {cfg.D_MAX})"]
    for scheme in dlzs.SNAPS.values():
        header += [f"{scheme} {100 * keep:g} %" for keep in keeps] + ["worst loss"]
    lines = []
    for frac in (*FRACS, 8):
        cells = [frac, cfg.replace(SC_FRAC=frac).SC_W]
        for scheme in dlzs.SNAPS.values():
            for keep in keeps:
                values = [r[5] for r in rows if r[2:5] == [scheme, frac, keep]]
                cells.append(f"{np.mean(values):.4f}")
            cells.append(f"{frac_losses(rows, scheme, frac).max():.4f}")
        lines.append(cells)
    chosen = ", ".join(f"{s}: {pick_frac(rows, s)}" for s in dlzs.SNAPS.values())
    return table(header, lines) + (
        f"\n\nFewest bits within {RECALL_LOSS} mean and {RECALL_LOSS_WORST} worst-head loss: "
        f"{chosen}"
    )


def formal_jobs(z: quantise.Quantised, d: int, causal: bool, quota: int, nats: float, cfg: Config):
    """The selections under which the formal path is measured: name -> Job."""
    common = dict(d=d, scale_m=z.scale_m, scale_shift=z.scale_shift, bc=cfg.BC_MAX, causal=causal)
    return {
        "dense": Job(**common, dense=True),
        f"quota {quota}": Job(**common, quota=quota),
        f"quota {quota}, {nats:g} nats": Job(
            **common, quota=quota, radius=z.radius(nats, dlzs.FLOOR, cfg)
        ),
    }


def measure_formats(names: list[str], quota: int, nats: float, base: Config):
    """Rows (change, case, head, selection, keep, max updates, error, error of the path alone,
    error with one scale for all heads of the case; nan when not measured)."""
    rows = []
    for change in FORMATS:
        try:
            cfg = base.replace(**change)
        except ConfigError:
            continue
        label = " ".join(f"{n}={v}" for n, v in change.items()) or "as built"
        for name in names:
            case = workloads.load_case(name)
            shared = quantise.quantise_attention(case.q, case.k, case.v, cfg)
            for h in range(case.n_heads):
                q, k, v = case.head(h)
                z = quantise.quantise_attention(q, k, v, cfg)
                for kind, job in formal_jobs(z, case.d, case.causal, quota, nats, cfg).items():
                    got = run_head(z.q, z.k, z.v, z.k8, job, cfg)
                    alone = oracle.attention(z.q * z.sq, z.k * z.sk, z.v * z.sv, got.selected)
                    true = oracle.attention(q, k, v, got.selected)
                    rows.append([
                        label, name, h, kind, got.stats.keep, got.stats.max_updates,
                        oracle.relative_error(got.out * z.sv, true),
                        oracle.relative_error(got.out * z.sv, alone), float("nan"),
                    ])
            jobs = formal_jobs(shared, case.d, case.causal, quota, nats, cfg)
            for kind, job in jobs.items():
                got = run_job(shared.q, shared.k, shared.v, shared.k8, job, cfg)
                for h, head in enumerate(got.heads):
                    true = oracle.attention(*case.head(h), head.selected)
                    row = next(r for r in rows if r[:4] == [label, name, h, kind])
                    row[8] = oracle.relative_error(head.out * shared.sv, true)
    return rows


def formats_table(rows: list[list]) -> str:
    """Error of each format change: worst head of each selection, and updates per 1000 pairs."""
    kinds = list(dict.fromkeys(row[3] for row in rows))
    lines = []
    for label in dict.fromkeys(row[0] for row in rows):
        cells = [label]
        for kind in kinds:
            values = [r[6] for r in rows if r[0] == label and r[3] == kind]
            cells.append(f"{100 * np.mean(values):.4f} / {100 * max(values):.4f}")
        mine = [r for r in rows if r[0] == label]
        cells.append(f"{100 * max(r[7] for r in mine):.4f}")
        cells.append(f"{100 * max(r[8] for r in mine):.4f}")
        cells.append(sum(r[5] for r in mine if r[3] == kinds[0]))
        cells.append(sum(r[5] for r in mine if r[3] == kinds[-1]))
        cells.append("yes" if max(r[6] for r in mine) <= ERROR_BAR else "NO")
        lines.append(cells)
    header = ["format"] + [f"{kind}: mean / worst %" for kind in kinds]
    header += ["worst %, inputs exact", "worst %, one scale a case",
               f"updates, {kinds[0]}", f"updates, {kinds[-1]}",
               f"all within {100 * ERROR_BAR:g} %"]
    return table(header, lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", help="comma-separated case names (default: all committed)")
    parser.add_argument("--layers", help="comma-separated layer names (default: all committed)")
    parser.add_argument("--keep", default="5,10,20", help="keep ratios in percent")
    parser.add_argument("--tables", default="recall,keys,frac,formats", help="which tables to make")
    parser.add_argument("--config", default="paper", help="configuration of models/spec/configs.py")
    parser.add_argument("--quota", type=int, default=16, help="keys per row and tile (formats)")
    parser.add_argument("--radius", type=float, default=6.0, help="radius in nats (formats)")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="folder for the results")
    options = parser.parse_args(arguments)
    known = {"recall", "keys", "frac", "formats"}
    options.tables = set(options.tables.split(","))
    if options.tables - known:
        parser.error(f"--tables knows {', '.join(sorted(known))}")
    try:
        options.keep = [float(k) / 100 for k in options.keep.split(",")]
    except ValueError:
        parser.error("--keep wants numbers in percent, for example 5,10,20")
    if not all(0 < k <= 1 for k in options.keep):
        parser.error("--keep wants percents above 0, up to 100")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write."""
    options = parse(arguments)
    try:
        # The prediction is that of the machine as it is.
        cfg = Config.from_name(options.config).replace(SC_FRAC=Sizes.SC_FRAC)
        names = options.cases.split(",") if options.cases else workloads.list_cases()
        parts = []
        if options.tables & {"recall", "frac"}:
            rows = measure_recall(names, options.keep, cfg, "frac" in options.tables)
            write_csv(options.out / "recall.csv",
                      ["case", "head", "scheme", "sc_frac", "keep", "recall"], rows)
            if "recall" in options.tables:
                parts.append("Recall of the true top-k, mean over heads (worst head), "
                             f"SC_FRAC = {cfg.SC_FRAC}\n\n"
                             + recall_table(rows, options.keep, cfg))
            if "frac" in options.tables:
                parts.append("Recall by fraction bits of a prediction term, mean over heads\n\n"
                             + frac_table(rows, options.keep, cfg))
        if "keys" in options.tables:
            layers = options.layers.split(",") if options.layers else workloads.list_layers()
            rows = measure_keys(layers, options.keep, cfg)
            write_csv(options.out / "recall_keys.csv",
                      ["layer", "head", "scheme", "keep", "recall"], rows)
            parts.append("Recall of the true top-k on whole layers, mean over heads (worst head)"
                         "\n\n" + keys_table(rows, options.keep))
        if "formats" in options.tables:
            rows = measure_formats(names, options.quota, options.radius, cfg)
            write_csv(options.out / "recall_formats.csv",
                      ["format", "case", "head", "selection", "keep", "max_updates", "error",
                       "error_exact_inputs", "error_shared_scale"], rows)
            parts.append("Relative L2 error of the formal path, %\n\n" + formats_table(rows))
    except (ConfigError, workloads.WorkloadError) as error:
        print(f"recall.py: {error}", file=sys.stderr)
        return 1
    text = "\n\n".join(parts) + "\n"
    (options.out / "recall.md").write_text(text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
