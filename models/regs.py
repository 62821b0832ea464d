# SPDX-License-Identifier: Apache-2.0
"""Registers of the core: offsets, fields, counters, error codes.

Written by scripts/regmap.py: change the table there, not this file.

OFFSETS   register name -> byte offset
ACCESS    register name -> RO, RW, W1C, W1P
RESETS    register name -> value after reset (absent: set by parameters)
WIDTHS    register name -> number of the lowest bits that are defined
FIELDS    register name -> {field name: (lowest bit, bits)}
JOB       names of the job registers in order; locked while a job runs
COUNTERS  names of the counters in order; the register is CNT_<name>
ERRORS    code -> (name, sentence, meaning of the info field)
"""

ID_VALUE = 0x534F4641
VERSION_VALUE = 0x00010000
INC_W = 16

OFFSETS = {
    "ID": 0x000,
    "VERSION": 0x004,
    "CAP_ROWS": 0x010,
    "CAP_COLS": 0x014,
    "CAP_D_MAX": 0x018,
    "CAP_BC_MAX": 0x01C,
    "CAP_BUS_BYTES": 0x020,
    "CAP_KEYS_MAX": 0x024,
    "CAP_ADDR_W": 0x028,
    "CAP_SC_FRAC": 0x02C,
    "CAP_TWO_TERM": 0x030,
    "CAP_SC_W": 0x034,
    "CTRL": 0x040,
    "STATUS": 0x044,
    "ERROR": 0x048,
    "IRQ_ENABLE": 0x04C,
    "IRQ_STATUS": 0x050,
    "MODE": 0x100,
    "HEAD_DIM": 0x104,
    "QUERY_ROWS": 0x108,
    "KEYS": 0x10C,
    "HEADS": 0x110,
    "KV_HEADS": 0x114,
    "CAUSAL_OFFSET": 0x118,
    "TILE_KEYS": 0x11C,
    "QUOTA": 0x120,
    "RADIUS": 0x124,
    "SCALE_MULT": 0x128,
    "SCALE_SHIFT": 0x12C,
    "Q_BASE_LO": 0x130,
    "Q_BASE_HI": 0x134,
    "Q_ROW_STRIDE": 0x138,
    "Q_HEAD_STRIDE": 0x13C,
    "K8_BASE_LO": 0x140,
    "K8_BASE_HI": 0x144,
    "K8_ROW_STRIDE": 0x148,
    "K8_HEAD_STRIDE": 0x14C,
    "K_BASE_LO": 0x150,
    "K_BASE_HI": 0x154,
    "K_ROW_STRIDE": 0x158,
    "K_HEAD_STRIDE": 0x15C,
    "V_BASE_LO": 0x160,
    "V_BASE_HI": 0x164,
    "V_ROW_STRIDE": 0x168,
    "V_HEAD_STRIDE": 0x16C,
    "O_BASE_LO": 0x170,
    "O_BASE_HI": 0x174,
    "O_ROW_STRIDE": 0x178,
    "O_HEAD_STRIDE": 0x17C,
    "CNT_CYCLES": 0x200,
    "CNT_DLZS_BUSY": 0x204,
    "CNT_DLZS_STALL": 0x208,
    "CNT_SADS_BUSY": 0x20C,
    "CNT_SADS_STALL": 0x210,
    "CNT_SUFA_BUSY": 0x214,
    "CNT_SUFA_STALL": 0x218,
    "CNT_SUFA_STARVE": 0x21C,
    "CNT_FETCH_STALL": 0x220,
    "CNT_STORE_STALL": 0x224,
    "CNT_TILES": 0x228,
    "CNT_BLOCKS": 0x22C,
    "CNT_SELECTED": 0x230,
    "CNT_UNION": 0x234,
    "CNT_STEPS": 0x238,
    "CNT_MAX_UPDATES": 0x23C,
    "CNT_BEATS_Q": 0x240,
    "CNT_BEATS_K8": 0x244,
    "CNT_BEATS_K": 0x248,
    "CNT_BEATS_V": 0x24C,
    "CNT_BEATS_O": 0x250,
}

ACCESS = {
    "ID": "RO",
    "VERSION": "RO",
    "CAP_ROWS": "RO",
    "CAP_COLS": "RO",
    "CAP_D_MAX": "RO",
    "CAP_BC_MAX": "RO",
    "CAP_BUS_BYTES": "RO",
    "CAP_KEYS_MAX": "RO",
    "CAP_ADDR_W": "RO",
    "CAP_SC_FRAC": "RO",
    "CAP_TWO_TERM": "RO",
    "CAP_SC_W": "RO",
    "CTRL": "W1P",
    "STATUS": "RO",
    "ERROR": "RO",
    "IRQ_ENABLE": "RW",
    "IRQ_STATUS": "W1C",
    "MODE": "RW",
    "HEAD_DIM": "RW",
    "QUERY_ROWS": "RW",
    "KEYS": "RW",
    "HEADS": "RW",
    "KV_HEADS": "RW",
    "CAUSAL_OFFSET": "RW",
    "TILE_KEYS": "RW",
    "QUOTA": "RW",
    "RADIUS": "RW",
    "SCALE_MULT": "RW",
    "SCALE_SHIFT": "RW",
    "Q_BASE_LO": "RW",
    "Q_BASE_HI": "RW",
    "Q_ROW_STRIDE": "RW",
    "Q_HEAD_STRIDE": "RW",
    "K8_BASE_LO": "RW",
    "K8_BASE_HI": "RW",
    "K8_ROW_STRIDE": "RW",
    "K8_HEAD_STRIDE": "RW",
    "K_BASE_LO": "RW",
    "K_BASE_HI": "RW",
    "K_ROW_STRIDE": "RW",
    "K_HEAD_STRIDE": "RW",
    "V_BASE_LO": "RW",
    "V_BASE_HI": "RW",
    "V_ROW_STRIDE": "RW",
    "V_HEAD_STRIDE": "RW",
    "O_BASE_LO": "RW",
    "O_BASE_HI": "RW",
    "O_ROW_STRIDE": "RW",
    "O_HEAD_STRIDE": "RW",
    "CNT_CYCLES": "RO",
    "CNT_DLZS_BUSY": "RO",
    "CNT_DLZS_STALL": "RO",
    "CNT_SADS_BUSY": "RO",
    "CNT_SADS_STALL": "RO",
    "CNT_SUFA_BUSY": "RO",
    "CNT_SUFA_STALL": "RO",
    "CNT_SUFA_STARVE": "RO",
    "CNT_FETCH_STALL": "RO",
    "CNT_STORE_STALL": "RO",
    "CNT_TILES": "RO",
    "CNT_BLOCKS": "RO",
    "CNT_SELECTED": "RO",
    "CNT_UNION": "RO",
    "CNT_STEPS": "RO",
    "CNT_MAX_UPDATES": "RO",
    "CNT_BEATS_Q": "RO",
    "CNT_BEATS_K8": "RO",
    "CNT_BEATS_K": "RO",
    "CNT_BEATS_V": "RO",
    "CNT_BEATS_O": "RO",
}

RESETS = {
    "ID": 0x534F4641,
    "VERSION": 0x10000,
    "CTRL": 0x0,
    "STATUS": 0x0,
    "ERROR": 0x0,
    "IRQ_ENABLE": 0x0,
    "IRQ_STATUS": 0x0,
    "MODE": 0x0,
    "HEAD_DIM": 0x0,
    "QUERY_ROWS": 0x0,
    "KEYS": 0x0,
    "HEADS": 0x0,
    "KV_HEADS": 0x0,
    "CAUSAL_OFFSET": 0x0,
    "TILE_KEYS": 0x0,
    "QUOTA": 0x0,
    "RADIUS": 0x0,
    "SCALE_MULT": 0x0,
    "SCALE_SHIFT": 0x0,
    "Q_BASE_LO": 0x0,
    "Q_BASE_HI": 0x0,
    "Q_ROW_STRIDE": 0x0,
    "Q_HEAD_STRIDE": 0x0,
    "K8_BASE_LO": 0x0,
    "K8_BASE_HI": 0x0,
    "K8_ROW_STRIDE": 0x0,
    "K8_HEAD_STRIDE": 0x0,
    "K_BASE_LO": 0x0,
    "K_BASE_HI": 0x0,
    "K_ROW_STRIDE": 0x0,
    "K_HEAD_STRIDE": 0x0,
    "V_BASE_LO": 0x0,
    "V_BASE_HI": 0x0,
    "V_ROW_STRIDE": 0x0,
    "V_HEAD_STRIDE": 0x0,
    "O_BASE_LO": 0x0,
    "O_BASE_HI": 0x0,
    "O_ROW_STRIDE": 0x0,
    "O_HEAD_STRIDE": 0x0,
    "CNT_CYCLES": 0x0,
    "CNT_DLZS_BUSY": 0x0,
    "CNT_DLZS_STALL": 0x0,
    "CNT_SADS_BUSY": 0x0,
    "CNT_SADS_STALL": 0x0,
    "CNT_SUFA_BUSY": 0x0,
    "CNT_SUFA_STALL": 0x0,
    "CNT_SUFA_STARVE": 0x0,
    "CNT_FETCH_STALL": 0x0,
    "CNT_STORE_STALL": 0x0,
    "CNT_TILES": 0x0,
    "CNT_BLOCKS": 0x0,
    "CNT_SELECTED": 0x0,
    "CNT_UNION": 0x0,
    "CNT_STEPS": 0x0,
    "CNT_MAX_UPDATES": 0x0,
    "CNT_BEATS_Q": 0x0,
    "CNT_BEATS_K8": 0x0,
    "CNT_BEATS_K": 0x0,
    "CNT_BEATS_V": 0x0,
    "CNT_BEATS_O": 0x0,
}

WIDTHS = {
    "ID": 32,
    "VERSION": 32,
    "CAP_ROWS": 32,
    "CAP_COLS": 32,
    "CAP_D_MAX": 32,
    "CAP_BC_MAX": 32,
    "CAP_BUS_BYTES": 32,
    "CAP_KEYS_MAX": 32,
    "CAP_ADDR_W": 32,
    "CAP_SC_FRAC": 32,
    "CAP_TWO_TERM": 32,
    "CAP_SC_W": 32,
    "CTRL": 2,
    "STATUS": 3,
    "ERROR": 16,
    "IRQ_ENABLE": 2,
    "IRQ_STATUS": 2,
    "MODE": 5,
    "HEAD_DIM": 32,
    "QUERY_ROWS": 32,
    "KEYS": 32,
    "HEADS": 32,
    "KV_HEADS": 32,
    "CAUSAL_OFFSET": 32,
    "TILE_KEYS": 32,
    "QUOTA": 32,
    "RADIUS": 32,
    "SCALE_MULT": 32,
    "SCALE_SHIFT": 32,
    "Q_BASE_LO": 32,
    "Q_BASE_HI": 16,
    "Q_ROW_STRIDE": 32,
    "Q_HEAD_STRIDE": 32,
    "K8_BASE_LO": 32,
    "K8_BASE_HI": 16,
    "K8_ROW_STRIDE": 32,
    "K8_HEAD_STRIDE": 32,
    "K_BASE_LO": 32,
    "K_BASE_HI": 16,
    "K_ROW_STRIDE": 32,
    "K_HEAD_STRIDE": 32,
    "V_BASE_LO": 32,
    "V_BASE_HI": 16,
    "V_ROW_STRIDE": 32,
    "V_HEAD_STRIDE": 32,
    "O_BASE_LO": 32,
    "O_BASE_HI": 16,
    "O_ROW_STRIDE": 32,
    "O_HEAD_STRIDE": 32,
    "CNT_CYCLES": 32,
    "CNT_DLZS_BUSY": 32,
    "CNT_DLZS_STALL": 32,
    "CNT_SADS_BUSY": 32,
    "CNT_SADS_STALL": 32,
    "CNT_SUFA_BUSY": 32,
    "CNT_SUFA_STALL": 32,
    "CNT_SUFA_STARVE": 32,
    "CNT_FETCH_STALL": 32,
    "CNT_STORE_STALL": 32,
    "CNT_TILES": 32,
    "CNT_BLOCKS": 32,
    "CNT_SELECTED": 32,
    "CNT_UNION": 32,
    "CNT_STEPS": 32,
    "CNT_MAX_UPDATES": 32,
    "CNT_BEATS_Q": 32,
    "CNT_BEATS_K8": 32,
    "CNT_BEATS_K": 32,
    "CNT_BEATS_V": 32,
    "CNT_BEATS_O": 32,
}

FIELDS = {
    "VERSION": {
        "MINOR": (0, 16),
        "MAJOR": (16, 16),
    },
    "CTRL": {
        "START": (0, 1),
        "SOFT_RESET": (1, 1),
    },
    "STATUS": {
        "BUSY": (0, 1),
        "DONE": (1, 1),
        "ERROR": (2, 1),
    },
    "ERROR": {
        "CODE": (0, 8),
        "INFO": (8, 8),
    },
    "IRQ_ENABLE": {
        "DONE": (0, 1),
        "ERROR": (1, 1),
    },
    "IRQ_STATUS": {
        "DONE": (0, 1),
        "ERROR": (1, 1),
    },
    "MODE": {
        "DENSE": (0, 1),
        "CAUSAL": (1, 1),
        "CONTIGUOUS": (2, 1),
        "SNAP": (3, 2),
    },
}

VERSION_MINOR_LSB = 0
VERSION_MINOR_BITS = 16
VERSION_MAJOR_LSB = 16
VERSION_MAJOR_BITS = 16
CTRL_START_LSB = 0
CTRL_START_BITS = 1
CTRL_SOFT_RESET_LSB = 1
CTRL_SOFT_RESET_BITS = 1
STATUS_BUSY_LSB = 0
STATUS_BUSY_BITS = 1
STATUS_DONE_LSB = 1
STATUS_DONE_BITS = 1
STATUS_ERROR_LSB = 2
STATUS_ERROR_BITS = 1
ERROR_CODE_LSB = 0
ERROR_CODE_BITS = 8
ERROR_INFO_LSB = 8
ERROR_INFO_BITS = 8
IRQ_ENABLE_DONE_LSB = 0
IRQ_ENABLE_DONE_BITS = 1
IRQ_ENABLE_ERROR_LSB = 1
IRQ_ENABLE_ERROR_BITS = 1
IRQ_STATUS_DONE_LSB = 0
IRQ_STATUS_DONE_BITS = 1
IRQ_STATUS_ERROR_LSB = 1
IRQ_STATUS_ERROR_BITS = 1
MODE_DENSE_LSB = 0
MODE_DENSE_BITS = 1
MODE_CAUSAL_LSB = 1
MODE_CAUSAL_BITS = 1
MODE_CONTIGUOUS_LSB = 2
MODE_CONTIGUOUS_BITS = 1
MODE_SNAP_LSB = 3
MODE_SNAP_BITS = 2

JOB = (
    "MODE",
    "HEAD_DIM",
    "QUERY_ROWS",
    "KEYS",
    "HEADS",
    "KV_HEADS",
    "CAUSAL_OFFSET",
    "TILE_KEYS",
    "QUOTA",
    "RADIUS",
    "SCALE_MULT",
    "SCALE_SHIFT",
    "Q_BASE_LO",
    "Q_BASE_HI",
    "Q_ROW_STRIDE",
    "Q_HEAD_STRIDE",
    "K8_BASE_LO",
    "K8_BASE_HI",
    "K8_ROW_STRIDE",
    "K8_HEAD_STRIDE",
    "K_BASE_LO",
    "K_BASE_HI",
    "K_ROW_STRIDE",
    "K_HEAD_STRIDE",
    "V_BASE_LO",
    "V_BASE_HI",
    "V_ROW_STRIDE",
    "V_HEAD_STRIDE",
    "O_BASE_LO",
    "O_BASE_HI",
    "O_ROW_STRIDE",
    "O_HEAD_STRIDE",
)

COUNTERS = (
    "CYCLES",
    "DLZS_BUSY",
    "DLZS_STALL",
    "SADS_BUSY",
    "SADS_STALL",
    "SUFA_BUSY",
    "SUFA_STALL",
    "SUFA_STARVE",
    "FETCH_STALL",
    "STORE_STALL",
    "TILES",
    "BLOCKS",
    "SELECTED",
    "UNION",
    "STEPS",
    "MAX_UPDATES",
    "BEATS_Q",
    "BEATS_K8",
    "BEATS_K",
    "BEATS_V",
    "BEATS_O",
)

ERR_NONE = 0
ERR_HEAD_DIM = 1
ERR_QUERY_ROWS = 2
ERR_KEYS = 3
ERR_HEADS = 4
ERR_KV_HEADS = 5
ERR_CAUSAL_OFFSET = 6
ERR_TILE_KEYS = 7
ERR_QUOTA = 8
ERR_RADIUS = 9
ERR_SCALE_SHIFT = 10
ERR_SNAP = 11
ERR_BASE_ALIGN = 12
ERR_STRIDE_ALIGN = 13
ERR_HEAD_STRIDE_ALIGN = 14
ERR_STRIDE_SMALL = 15
ERR_ADDR_RANGE = 16
ERR_OVERLAP = 17
ERR_SCALE_MULT = 18
ERR_MODE = 19
ERR_HEAD_STRIDE_SMALL = 20
ERR_READ_SLVERR = 32
ERR_READ_DECERR = 33
ERR_WRITE_SLVERR = 34
ERR_WRITE_DECERR = 35
ERR_ABORTED = 48

ERRORS = {
    ERR_NONE: (
        "NONE",
        "No error.",
        "",
    ),
    ERR_HEAD_DIM: (
        "HEAD_DIM",
        "HEAD_DIM must be a multiple of 8 in 8..D_MAX.",
        "",
    ),
    ERR_QUERY_ROWS: (
        "QUERY_ROWS",
        "QUERY_ROWS must be in 1..KEYS_MAX.",
        "",
    ),
    ERR_KEYS: (
        "KEYS",
        "KEYS must be in 1..KEYS_MAX.",
        "",
    ),
    ERR_HEADS: (
        "HEADS",
        "HEADS must be in 1..1024.",
        "",
    ),
    ERR_KV_HEADS: (
        "KV_HEADS",
        "KV_HEADS must be in 1..HEADS and divide HEADS.",
        "",
    ),
    ERR_CAUSAL_OFFSET: (
        "CAUSAL_OFFSET",
        "CAUSAL_OFFSET must be in 0..KEYS_MAX-1.",
        "",
    ),
    ERR_TILE_KEYS: (
        "TILE_KEYS",
        "TILE_KEYS must be a power of two in max(COLS, 4)..BC_MAX.",
        "",
    ),
    ERR_QUOTA: (
        "QUOTA",
        "QUOTA must be in 1..BC_MAX.",
        "",
    ),
    ERR_RADIUS: (
        "RADIUS",
        "RADIUS must be in 0..2^SC_W-1.",
        "",
    ),
    ERR_SCALE_SHIFT: (
        "SCALE_SHIFT",
        "SCALE_SHIFT must be in 0..47.",
        "",
    ),
    ERR_SNAP: (
        "SNAP",
        "MODE.SNAP must be 0 or 1, or 2 where CAP_TWO_TERM = 1.",
        "",
    ),
    ERR_BASE_ALIGN: (
        "BASE_ALIGN",
        "A base address must be a multiple of BUS_BYTES.",
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O",
    ),
    ERR_STRIDE_ALIGN: (
        "STRIDE_ALIGN",
        "A row stride must be a multiple of BUS_BYTES.",
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O",
    ),
    ERR_HEAD_STRIDE_ALIGN: (
        "HEAD_STRIDE_ALIGN",
        "A head stride must be a multiple of BUS_BYTES.",
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O",
    ),
    ERR_STRIDE_SMALL: (
        "STRIDE_SMALL",
        "A row stride must be at least the bytes of a vector, rounded up to BUS_BYTES.",
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O",
    ),
    ERR_ADDR_RANGE: (
        "ADDR_RANGE",
        "A buffer must end within 2^ADDR_W bytes, and the vectors of one head must span less "
        "than 4 GiB.",
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O",
    ),
    ERR_OVERLAP: (
        "OVERLAP",
        "The address ranges of O and of another buffer must not overlap.",
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O",
    ),
    ERR_SCALE_MULT: (
        "SCALE_MULT",
        "SCALE_MULT must be in 1..65535.",
        "",
    ),
    ERR_MODE: (
        "MODE",
        "Bits of MODE above SNAP must be 0.",
        "",
    ),
    ERR_HEAD_STRIDE_SMALL: (
        "HEAD_STRIDE_SMALL",
        "With more than one head, a head stride must be at least the bytes of a vector, rounded "
        "up to BUS_BYTES.",
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O",
    ),
    ERR_READ_SLVERR: (
        "READ_SLVERR",
        "The memory answered a read with SLVERR.",
        "stream: 0 Q, 1 K8, 2 K, 3 V",
    ),
    ERR_READ_DECERR: (
        "READ_DECERR",
        "The memory answered a read with DECERR: no such address.",
        "stream: 0 Q, 1 K8, 2 K, 3 V",
    ),
    ERR_WRITE_SLVERR: (
        "WRITE_SLVERR",
        "The memory answered a write with SLVERR.",
        "4 (O)",
    ),
    ERR_WRITE_DECERR: (
        "WRITE_DECERR",
        "The memory answered a write with DECERR: no such address.",
        "4 (O)",
    ),
    ERR_ABORTED: (
        "ABORTED",
        "CTRL.SOFT_RESET ended the job.",
        "",
    ),
}


def error_text(code: int) -> str:
    """Name and sentence of an error code of register ERROR."""
    if code not in ERRORS:
        return f"unknown error code {code}"
    name, sentence, _ = ERRORS[code]
    return f"{name}: {sentence}"
