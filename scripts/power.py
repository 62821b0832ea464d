# SPDX-License-Identifier: Apache-2.0
"""wip"""
import sys
from pathlib import Path
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from models import workloads  # noqa: E402
from models.config import Config  # noqa: E402
from scripts.bench import WAYS  # noqa: E402
from scripts.configs import CONFIGS  # noqa: E402
from scripts.silicon import activity, machine  # noqa: E402
CASE, ROWS, HEAD = "smollm2_novel_s1024_l05", 256, 0
def main(config, ways):
    from tb import runner
    from tb.system.simulate import JobSpec, Options, simulate
    cfg = Config.from_parameters(CONFIGS[config], config)
    q, k, v = workloads.load_case(CASE).head(HEAD)
    if config == "tiny":
        q, k, v = q[:, :16], k[:96, :16], v[:96, :16]; rows = 8; q = q[:96]
    else: rows = ROWS
    rules = Path(f"/tmp/record-{config}.vlt")
    for way in ways:
        spec = JobSpec.planned(f"{way}", q[None, -rows:], k[None], v[None], cfg, causal=True, **WAYS[way])
        [done] = simulate([spec], config, waves=True, options=Options(taps=False),
                          sources=[runner.find_module("sofa"), rules])
        print(way, done.counters["CYCLES"], done.stats.selected, done.stats.visible, done.cpu_s)
        print(runner.RECORDS[-1]["results_dir"])
main(sys.argv[1], sys.argv[2].split(","))
