# SPDX-License-Identifier: Apache-2.0
"""The one list of supported configurations of the accelerator.

``CONFIGS`` maps a name to the Verilog parameters of the top level. Everything which
builds, lints, tests or measures the machine takes its parameter sets from here.

Parameters:
    ROWS       query rows of a block (rows of the prediction array)
    COLS       key columns of the prediction array
    D_MAX      largest head dimension, elements
    BC_MAX     largest number of keys in a tile
    BUS_BYTES  width of the memory bus, bytes per cycle
    KEYS_MAX   largest number of keys of a job
    K8_BUFS    tile buffers between fetch and prediction; the third hides memory latency
    PLACES     most blocks of query rows in residence
    STORE_BEATS  beats of Q, and of output sums, in residence
    LAND       keys of the landing buffer; LAND_BEATS: beats of their K and V
    FIFO       keys in the queue of a unit of SU-FA
    SORT       1: sort cores and score buffer; without them the row's sum selects
    TWO_TERM   1: cells of the prediction add the bit after the leading one
    H_MAX      largest model dimension, elements
    KG_TOK     tokens which KVGEN projects together
    WGT_WORDS  words (ROWS x 16 bits) of the KVGEN weight memory
    ROPE_PAIRS pairs which the key prediction rotates in a cycle
"""


class Config(dict):
    """Verilog parameters (name -> int) of one configuration, with its ``name``."""

    def __init__(self, name, **parameters):
        super().__init__(parameters)
        self.name = name

    def pick(self, *names, **extra):
        """Return a dict of only the parameters ``names``, extended by ``extra``."""
        return {**{n: self[n] for n in names}, **extra}


CONFIGS = {
    c.name: c
    for c in (
        # Formal proofs, mutation runs and Icarus in seconds.
        Config("tiny", ROWS=4, COLS=4, D_MAX=16, BC_MAX=16, BUS_BYTES=8, KEYS_MAX=256, K8_BUFS=2,
               PLACES=4, STORE_BEATS=32, LAND=8, LAND_BEATS=32, FIFO=8, SORT=1, H_MAX=64, KG_TOK=1,
               WGT_WORDS=512, ROPE_PAIRS=1, TWO_TERM=1),
        # Tests on both simulators.
        Config("small", ROWS=16, COLS=8, D_MAX=64, BC_MAX=32, BUS_BYTES=16, KEYS_MAX=4096,
               K8_BUFS=2, PLACES=4, STORE_BEATS=256, LAND=16, LAND_BEATS=128, FIFO=16, SORT=1,
               H_MAX=1024, KG_TOK=2, WGT_WORDS=4608, ROPE_PAIRS=1, TWO_TERM=1),
        # The machine itself: Verilator, benchmarks, synthesis.
        Config("paper", ROWS=128, COLS=32, D_MAX=128, BC_MAX=64, BUS_BYTES=64, KEYS_MAX=4096,
               K8_BUFS=3, PLACES=8, STORE_BEATS=1536, LAND=64, LAND_BEATS=256, FIFO=16, SORT=1,
               H_MAX=1024, KG_TOK=4, WGT_WORDS=768, ROPE_PAIRS=4, TWO_TERM=1),
        # The same without sort cores and score buffer.
        Config("lean", ROWS=128, COLS=32, D_MAX=128, BC_MAX=64, BUS_BYTES=64, KEYS_MAX=4096,
               K8_BUFS=3, PLACES=8, STORE_BEATS=1536, LAND=64, LAND_BEATS=256, FIFO=16, SORT=0,
               H_MAX=1024, KG_TOK=4, WGT_WORDS=768, ROPE_PAIRS=4, TWO_TERM=1),
    )
}
