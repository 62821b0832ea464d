# SPDX-License-Identifier: Apache-2.0
"""Host driver of the machine over exchangeable transports.

accelerator  Accelerator: jobs, chains and layers from numpy arrays
transport    what a way to the machine has to do
model        the bit-accurate model in place of the machine
compiled     the Verilog, compiled to a shared library
images       what the host writes beside tensors
limits       cycles after which a job counts as hung
counters     counters that the models predict
"""

from .accelerator import Accelerator, AcceleratorError, AcceleratorTimeout, AsyncAccelerator
from .compiled import CompiledTransport
from .model import ModelTransport
from .transport import Transport, TransportError

__all__ = ["Accelerator", "AcceleratorError", "AcceleratorTimeout", "AsyncAccelerator",
           "CompiledTransport", "ModelTransport", "Transport", "TransportError"]
