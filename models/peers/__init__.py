# SPDX-License-Identifier: Apache-2.0
"""The systems that SOFA is compared with, as models of their published rules.

peer      selects by                                                learns
a3        greedy search in sorted columns of K, then exact scores   -
dota      low-rank INT4 detector, the same number of keys a row     detector of each layer
elsa      hashes of signs, angle and length against a threshold     threshold of each layer
energon   two rounds of low-bit scores against row statistics       -
sanger    4-bit scores, predicted probability above a threshold     -

Each file names its publication's rule, what had to be assumed, its operations and its DRAM flow.
``python -m models.peers`` runs them on the captured heads; docs/peers.md has the figures.
"""

from models.lab.method import Method
from models.peers.a3 import A3
from models.peers.dota import Dota
from models.peers.elsa import Elsa
from models.peers.energon import Energon
from models.peers.sanger import Sanger

PEERS: dict[str, type[Method]] = {
    "a3": A3,
    "dota": Dota,
    "elsa": Elsa,
    "energon": Energon,
    "sanger": Sanger,
}
"""Short name -> class."""
