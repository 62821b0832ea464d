# SPDX-License-Identifier: Apache-2.0
"""Registers of the core: offsets, fields, counters, error codes.

Written by scripts/regmap.py: change the table there, not this file.

OFFSETS   register name -> byte offset
ACCESS    register name -> RO, RW, W1C, W1P
RESETS    register name -> value after reset (absent: set by parameters)
WIDTHS    register name -> number of the lowest bits that are defined
FIELDS    register name -> {field name: (lowest bit, bits)}
JOB       names of the job registers in order; locked while a job runs; a descriptor in memory
          is their image, 4 bytes each, little endian
BUFFERS   names of the buffers in order of their numbers
SHARED    buffer of attention jobs -> the buffer of predict jobs with the same registers
COUNTERS  names of the counters in order; the register is CNT_<name>
ERRORS    code -> (name, sentence, meaning of the info field)
"""

ID_VALUE = 0x534F4641
VERSION_VALUE = 0x00040000
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
    "CAP_PLACES": 0x060,
    "CAP_H_MAX": 0x064,
    "CAP_KG_TOK": 0x068,
    "CAP_WGT_WORDS": 0x06C,
    "CAP_ROPE_PAIRS": 0x070,
    "CAP_STORE_BEATS": 0x074,
    "CAP_SORT": 0x078,
    "CAP_LOG_FRAC": 0x07C,
    "CAP_F_FRAC": 0x080,
    "CAP_VM_W": 0x084,
    "CAP_LAND": 0x088,
    "CTRL": 0x040,
    "STATUS": 0x044,
    "ERROR": 0x048,
    "IRQ_ENABLE": 0x04C,
    "IRQ_STATUS": 0x050,
    "JOBS": 0x054,
    "TIMEOUT": 0x058,
    "MODE": 0x100,
    "HEAD_DIM": 0x104,
    "QUERY_ROWS": 0x108,
    "KEYS": 0x10C,
    "HEADS": 0x110,
    "KV_HEADS": 0x114,
    "CAUSAL_OFFSET": 0x118,
    "TILE_KEYS": 0x11C,
    "QUOTA": 0x120,
    "BAND": 0x124,
    "FALL": 0x128,
    "WINDOW": 0x12C,
    "MODEL_DIM": 0x130,
    "RESERVED_13": 0x134,
    "RESERVED_14": 0x138,
    "RESERVED_15": 0x13C,
    "RESERVED_16": 0x140,
    "RESERVED_17": 0x144,
    "NEXT_LO": 0x148,
    "NEXT_HI": 0x14C,
    "Q_BASE_LO": 0x150,
    "Q_BASE_HI": 0x154,
    "Q_ROW_STRIDE": 0x158,
    "Q_HEAD_STRIDE": 0x15C,
    "K8_BASE_LO": 0x160,
    "K8_BASE_HI": 0x164,
    "K8_ROW_STRIDE": 0x168,
    "K8_HEAD_STRIDE": 0x16C,
    "K_BASE_LO": 0x170,
    "K_BASE_HI": 0x174,
    "K_ROW_STRIDE": 0x178,
    "K_HEAD_STRIDE": 0x17C,
    "V_BASE_LO": 0x180,
    "V_BASE_HI": 0x184,
    "V_ROW_STRIDE": 0x188,
    "V_HEAD_STRIDE": 0x18C,
    "O_BASE_LO": 0x190,
    "O_BASE_HI": 0x194,
    "O_ROW_STRIDE": 0x198,
    "O_HEAD_STRIDE": 0x19C,
    "X8_BASE_LO": 0x1A0,
    "X8_BASE_HI": 0x1A4,
    "X8_ROW_STRIDE": 0x1A8,
    "X8_HEAD_STRIDE": 0x1AC,
    "HT_BASE_LO": 0x1A0,
    "HT_BASE_HI": 0x1A4,
    "HT_ROW_STRIDE": 0x1A8,
    "HT_HEAD_STRIDE": 0x1AC,
    "WC_BASE_LO": 0x1B0,
    "WC_BASE_HI": 0x1B4,
    "WC_ROW_STRIDE": 0x1B8,
    "WC_HEAD_STRIDE": 0x1BC,
    "VM_BASE_LO": 0x1B0,
    "VM_BASE_HI": 0x1B4,
    "VM_ROW_STRIDE": 0x1B8,
    "VM_HEAD_STRIDE": 0x1BC,
    "X_BASE_LO": 0x1C0,
    "X_BASE_HI": 0x1C4,
    "X_ROW_STRIDE": 0x1C8,
    "X_HEAD_STRIDE": 0x1CC,
    "W_BASE_LO": 0x1D0,
    "W_BASE_HI": 0x1D4,
    "W_ROW_STRIDE": 0x1D8,
    "W_HEAD_STRIDE": 0x1DC,
    "RT_BASE_LO": 0x1E0,
    "RT_BASE_HI": 0x1E4,
    "RT_ROW_STRIDE": 0x1E8,
    "RT_HEAD_STRIDE": 0x1EC,
    "VB_BASE_LO": 0x1F0,
    "VB_BASE_HI": 0x1F4,
    "VB_ROW_STRIDE": 0x1F8,
    "VB_HEAD_STRIDE": 0x1FC,
    "CNT_CYCLES": 0x200,
    "CNT_DLZS_BUSY": 0x204,
    "CNT_DLZS_STALL": 0x208,
    "CNT_SADS_BUSY": 0x20C,
    "CNT_SADS_STALL": 0x210,
    "CNT_SUFA_BUSY": 0x214,
    "CNT_SUFA_FLUSH": 0x218,
    "CNT_SUFA_STALL": 0x21C,
    "CNT_SUFA_STARVE": 0x220,
    "CNT_FETCH_STALL": 0x224,
    "CNT_STORE_STALL": 0x228,
    "CNT_TILES": 0x22C,
    "CNT_BLOCKS": 0x230,
    "CNT_SELECTED": 0x234,
    "CNT_UNION": 0x238,
    "CNT_MAX_UPDATES": 0x23C,
    "CNT_BEATS_Q": 0x240,
    "CNT_BEATS_K8": 0x244,
    "CNT_BEATS_K": 0x248,
    "CNT_BEATS_V": 0x24C,
    "CNT_BEATS_O": 0x250,
    "CNT_RASS_STALL": 0x254,
    "CNT_KVGEN_BUSY": 0x258,
    "CNT_KVGEN_STALL": 0x25C,
    "CNT_KVGEN_STARVE": 0x260,
    "CNT_GENERATED": 0x264,
    "CNT_REUSED": 0x268,
    "CNT_BEATS_W": 0x26C,
    "CNT_BEATS_R": 0x270,
    "CNT_BEATS_X": 0x274,
    "CNT_BEATS_D": 0x278,
    "CNT_BEATS_WB": 0x27C,
    "CNT_PREDICT": 0x280,
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
    "CAP_PLACES": "RO",
    "CAP_H_MAX": "RO",
    "CAP_KG_TOK": "RO",
    "CAP_WGT_WORDS": "RO",
    "CAP_ROPE_PAIRS": "RO",
    "CAP_STORE_BEATS": "RO",
    "CAP_SORT": "RO",
    "CAP_LOG_FRAC": "RO",
    "CAP_F_FRAC": "RO",
    "CAP_VM_W": "RO",
    "CAP_LAND": "RO",
    "CTRL": "W1P",
    "STATUS": "RO",
    "ERROR": "RO",
    "IRQ_ENABLE": "RW",
    "IRQ_STATUS": "W1C",
    "JOBS": "RO",
    "TIMEOUT": "RW",
    "MODE": "RW",
    "HEAD_DIM": "RW",
    "QUERY_ROWS": "RW",
    "KEYS": "RW",
    "HEADS": "RW",
    "KV_HEADS": "RW",
    "CAUSAL_OFFSET": "RW",
    "TILE_KEYS": "RW",
    "QUOTA": "RW",
    "BAND": "RW",
    "FALL": "RW",
    "WINDOW": "RW",
    "MODEL_DIM": "RW",
    "RESERVED_13": "RW",
    "RESERVED_14": "RW",
    "RESERVED_15": "RW",
    "RESERVED_16": "RW",
    "RESERVED_17": "RW",
    "NEXT_LO": "RW",
    "NEXT_HI": "RW",
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
    "X8_BASE_LO": "RW",
    "X8_BASE_HI": "RW",
    "X8_ROW_STRIDE": "RW",
    "X8_HEAD_STRIDE": "RW",
    "HT_BASE_LO": "RW",
    "HT_BASE_HI": "RW",
    "HT_ROW_STRIDE": "RW",
    "HT_HEAD_STRIDE": "RW",
    "WC_BASE_LO": "RW",
    "WC_BASE_HI": "RW",
    "WC_ROW_STRIDE": "RW",
    "WC_HEAD_STRIDE": "RW",
    "VM_BASE_LO": "RW",
    "VM_BASE_HI": "RW",
    "VM_ROW_STRIDE": "RW",
    "VM_HEAD_STRIDE": "RW",
    "X_BASE_LO": "RW",
    "X_BASE_HI": "RW",
    "X_ROW_STRIDE": "RW",
    "X_HEAD_STRIDE": "RW",
    "W_BASE_LO": "RW",
    "W_BASE_HI": "RW",
    "W_ROW_STRIDE": "RW",
    "W_HEAD_STRIDE": "RW",
    "RT_BASE_LO": "RW",
    "RT_BASE_HI": "RW",
    "RT_ROW_STRIDE": "RW",
    "RT_HEAD_STRIDE": "RW",
    "VB_BASE_LO": "RW",
    "VB_BASE_HI": "RW",
    "VB_ROW_STRIDE": "RW",
    "VB_HEAD_STRIDE": "RW",
    "CNT_CYCLES": "RO",
    "CNT_DLZS_BUSY": "RO",
    "CNT_DLZS_STALL": "RO",
    "CNT_SADS_BUSY": "RO",
    "CNT_SADS_STALL": "RO",
    "CNT_SUFA_BUSY": "RO",
    "CNT_SUFA_FLUSH": "RO",
    "CNT_SUFA_STALL": "RO",
    "CNT_SUFA_STARVE": "RO",
    "CNT_FETCH_STALL": "RO",
    "CNT_STORE_STALL": "RO",
    "CNT_TILES": "RO",
    "CNT_BLOCKS": "RO",
    "CNT_SELECTED": "RO",
    "CNT_UNION": "RO",
    "CNT_MAX_UPDATES": "RO",
    "CNT_BEATS_Q": "RO",
    "CNT_BEATS_K8": "RO",
    "CNT_BEATS_K": "RO",
    "CNT_BEATS_V": "RO",
    "CNT_BEATS_O": "RO",
    "CNT_RASS_STALL": "RO",
    "CNT_KVGEN_BUSY": "RO",
    "CNT_KVGEN_STALL": "RO",
    "CNT_KVGEN_STARVE": "RO",
    "CNT_GENERATED": "RO",
    "CNT_REUSED": "RO",
    "CNT_BEATS_W": "RO",
    "CNT_BEATS_R": "RO",
    "CNT_BEATS_X": "RO",
    "CNT_BEATS_D": "RO",
    "CNT_BEATS_WB": "RO",
    "CNT_PREDICT": "RO",
}

RESETS = {
    "ID": 0x534F4641,
    "VERSION": 0x40000,
    "CTRL": 0x0,
    "STATUS": 0x0,
    "ERROR": 0x0,
    "IRQ_ENABLE": 0x0,
    "IRQ_STATUS": 0x0,
    "JOBS": 0x0,
    "TIMEOUT": 0x100000,
    "MODE": 0x0,
    "HEAD_DIM": 0x0,
    "QUERY_ROWS": 0x0,
    "KEYS": 0x0,
    "HEADS": 0x0,
    "KV_HEADS": 0x0,
    "CAUSAL_OFFSET": 0x0,
    "TILE_KEYS": 0x0,
    "QUOTA": 0x0,
    "BAND": 0x0,
    "FALL": 0x0,
    "WINDOW": 0x0,
    "MODEL_DIM": 0x0,
    "RESERVED_13": 0x0,
    "RESERVED_14": 0x0,
    "RESERVED_15": 0x0,
    "RESERVED_16": 0x0,
    "RESERVED_17": 0x0,
    "NEXT_LO": 0x0,
    "NEXT_HI": 0x0,
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
    "X8_BASE_LO": 0x0,
    "X8_BASE_HI": 0x0,
    "X8_ROW_STRIDE": 0x0,
    "X8_HEAD_STRIDE": 0x0,
    "HT_BASE_LO": 0x0,
    "HT_BASE_HI": 0x0,
    "HT_ROW_STRIDE": 0x0,
    "HT_HEAD_STRIDE": 0x0,
    "WC_BASE_LO": 0x0,
    "WC_BASE_HI": 0x0,
    "WC_ROW_STRIDE": 0x0,
    "WC_HEAD_STRIDE": 0x0,
    "VM_BASE_LO": 0x0,
    "VM_BASE_HI": 0x0,
    "VM_ROW_STRIDE": 0x0,
    "VM_HEAD_STRIDE": 0x0,
    "X_BASE_LO": 0x0,
    "X_BASE_HI": 0x0,
    "X_ROW_STRIDE": 0x0,
    "X_HEAD_STRIDE": 0x0,
    "W_BASE_LO": 0x0,
    "W_BASE_HI": 0x0,
    "W_ROW_STRIDE": 0x0,
    "W_HEAD_STRIDE": 0x0,
    "RT_BASE_LO": 0x0,
    "RT_BASE_HI": 0x0,
    "RT_ROW_STRIDE": 0x0,
    "RT_HEAD_STRIDE": 0x0,
    "VB_BASE_LO": 0x0,
    "VB_BASE_HI": 0x0,
    "VB_ROW_STRIDE": 0x0,
    "VB_HEAD_STRIDE": 0x0,
    "CNT_CYCLES": 0x0,
    "CNT_DLZS_BUSY": 0x0,
    "CNT_DLZS_STALL": 0x0,
    "CNT_SADS_BUSY": 0x0,
    "CNT_SADS_STALL": 0x0,
    "CNT_SUFA_BUSY": 0x0,
    "CNT_SUFA_FLUSH": 0x0,
    "CNT_SUFA_STALL": 0x0,
    "CNT_SUFA_STARVE": 0x0,
    "CNT_FETCH_STALL": 0x0,
    "CNT_STORE_STALL": 0x0,
    "CNT_TILES": 0x0,
    "CNT_BLOCKS": 0x0,
    "CNT_SELECTED": 0x0,
    "CNT_UNION": 0x0,
    "CNT_MAX_UPDATES": 0x0,
    "CNT_BEATS_Q": 0x0,
    "CNT_BEATS_K8": 0x0,
    "CNT_BEATS_K": 0x0,
    "CNT_BEATS_V": 0x0,
    "CNT_BEATS_O": 0x0,
    "CNT_RASS_STALL": 0x0,
    "CNT_KVGEN_BUSY": 0x0,
    "CNT_KVGEN_STALL": 0x0,
    "CNT_KVGEN_STARVE": 0x0,
    "CNT_GENERATED": 0x0,
    "CNT_REUSED": 0x0,
    "CNT_BEATS_W": 0x0,
    "CNT_BEATS_R": 0x0,
    "CNT_BEATS_X": 0x0,
    "CNT_BEATS_D": 0x0,
    "CNT_BEATS_WB": 0x0,
    "CNT_PREDICT": 0x0,
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
    "CAP_PLACES": 32,
    "CAP_H_MAX": 32,
    "CAP_KG_TOK": 32,
    "CAP_WGT_WORDS": 32,
    "CAP_ROPE_PAIRS": 32,
    "CAP_STORE_BEATS": 32,
    "CAP_SORT": 32,
    "CAP_LOG_FRAC": 32,
    "CAP_F_FRAC": 32,
    "CAP_VM_W": 32,
    "CAP_LAND": 32,
    "CTRL": 3,
    "STATUS": 3,
    "ERROR": 18,
    "IRQ_ENABLE": 2,
    "IRQ_STATUS": 2,
    "JOBS": 32,
    "TIMEOUT": 32,
    "MODE": 13,
    "HEAD_DIM": 32,
    "QUERY_ROWS": 32,
    "KEYS": 32,
    "HEADS": 32,
    "KV_HEADS": 32,
    "CAUSAL_OFFSET": 32,
    "TILE_KEYS": 32,
    "QUOTA": 32,
    "BAND": 32,
    "FALL": 32,
    "WINDOW": 31,
    "MODEL_DIM": 32,
    "RESERVED_13": 32,
    "RESERVED_14": 32,
    "RESERVED_15": 32,
    "RESERVED_16": 32,
    "RESERVED_17": 32,
    "NEXT_LO": 32,
    "NEXT_HI": 16,
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
    "X8_BASE_LO": 32,
    "X8_BASE_HI": 16,
    "X8_ROW_STRIDE": 32,
    "X8_HEAD_STRIDE": 32,
    "HT_BASE_LO": 32,
    "HT_BASE_HI": 16,
    "HT_ROW_STRIDE": 32,
    "HT_HEAD_STRIDE": 32,
    "WC_BASE_LO": 32,
    "WC_BASE_HI": 16,
    "WC_ROW_STRIDE": 32,
    "WC_HEAD_STRIDE": 32,
    "VM_BASE_LO": 32,
    "VM_BASE_HI": 16,
    "VM_ROW_STRIDE": 32,
    "VM_HEAD_STRIDE": 32,
    "X_BASE_LO": 32,
    "X_BASE_HI": 16,
    "X_ROW_STRIDE": 32,
    "X_HEAD_STRIDE": 32,
    "W_BASE_LO": 32,
    "W_BASE_HI": 16,
    "W_ROW_STRIDE": 32,
    "W_HEAD_STRIDE": 32,
    "RT_BASE_LO": 32,
    "RT_BASE_HI": 16,
    "RT_ROW_STRIDE": 32,
    "RT_HEAD_STRIDE": 32,
    "VB_BASE_LO": 32,
    "VB_BASE_HI": 16,
    "VB_ROW_STRIDE": 32,
    "VB_HEAD_STRIDE": 32,
    "CNT_CYCLES": 32,
    "CNT_DLZS_BUSY": 32,
    "CNT_DLZS_STALL": 32,
    "CNT_SADS_BUSY": 32,
    "CNT_SADS_STALL": 32,
    "CNT_SUFA_BUSY": 32,
    "CNT_SUFA_FLUSH": 32,
    "CNT_SUFA_STALL": 32,
    "CNT_SUFA_STARVE": 32,
    "CNT_FETCH_STALL": 32,
    "CNT_STORE_STALL": 32,
    "CNT_TILES": 32,
    "CNT_BLOCKS": 32,
    "CNT_SELECTED": 32,
    "CNT_UNION": 32,
    "CNT_MAX_UPDATES": 32,
    "CNT_BEATS_Q": 32,
    "CNT_BEATS_K8": 32,
    "CNT_BEATS_K": 32,
    "CNT_BEATS_V": 32,
    "CNT_BEATS_O": 32,
    "CNT_RASS_STALL": 32,
    "CNT_KVGEN_BUSY": 32,
    "CNT_KVGEN_STALL": 32,
    "CNT_KVGEN_STARVE": 32,
    "CNT_GENERATED": 32,
    "CNT_REUSED": 32,
    "CNT_BEATS_W": 32,
    "CNT_BEATS_R": 32,
    "CNT_BEATS_X": 32,
    "CNT_BEATS_D": 32,
    "CNT_BEATS_WB": 32,
    "CNT_PREDICT": 32,
}

FIELDS = {
    "VERSION": {
        "MINOR": (0, 16),
        "MAJOR": (16, 16),
    },
    "CTRL": {
        "START": (0, 1),
        "SOFT_RESET": (1, 1),
        "START_CHAIN": (2, 1),
    },
    "STATUS": {
        "BUSY": (0, 1),
        "DONE": (1, 1),
        "ERROR": (2, 1),
    },
    "ERROR": {
        "CODE": (0, 8),
        "INFO": (8, 8),
        "READS_LOST": (16, 1),
        "WRITES_LOST": (17, 1),
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
        "GENERATE": (5, 1),
        "PREDICT": (6, 1),
        "ROPE": (7, 2),
        "VB_LOAD": (9, 1),
        "SORT": (10, 1),
        "BLEND": (11, 1),
        "SHARE": (12, 1),
    },
    "WINDOW": {
        "WINDOW": (0, 17),
        "SINKS": (24, 7),
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
CTRL_START_CHAIN_LSB = 2
CTRL_START_CHAIN_BITS = 1
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
ERROR_READS_LOST_LSB = 16
ERROR_READS_LOST_BITS = 1
ERROR_WRITES_LOST_LSB = 17
ERROR_WRITES_LOST_BITS = 1
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
MODE_GENERATE_LSB = 5
MODE_GENERATE_BITS = 1
MODE_PREDICT_LSB = 6
MODE_PREDICT_BITS = 1
MODE_ROPE_LSB = 7
MODE_ROPE_BITS = 2
MODE_VB_LOAD_LSB = 9
MODE_VB_LOAD_BITS = 1
MODE_SORT_LSB = 10
MODE_SORT_BITS = 1
MODE_BLEND_LSB = 11
MODE_BLEND_BITS = 1
MODE_SHARE_LSB = 12
MODE_SHARE_BITS = 1
WINDOW_WINDOW_LSB = 0
WINDOW_WINDOW_BITS = 17
WINDOW_SINKS_LSB = 24
WINDOW_SINKS_BITS = 7

SHARED = {
    "HT": "X8",
    "VM": "WC",
}

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
    "BAND",
    "FALL",
    "WINDOW",
    "MODEL_DIM",
    "RESERVED_13",
    "RESERVED_14",
    "RESERVED_15",
    "RESERVED_16",
    "RESERVED_17",
    "NEXT_LO",
    "NEXT_HI",
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
    "X8_BASE_LO",
    "X8_BASE_HI",
    "X8_ROW_STRIDE",
    "X8_HEAD_STRIDE",
    "WC_BASE_LO",
    "WC_BASE_HI",
    "WC_ROW_STRIDE",
    "WC_HEAD_STRIDE",
    "X_BASE_LO",
    "X_BASE_HI",
    "X_ROW_STRIDE",
    "X_HEAD_STRIDE",
    "W_BASE_LO",
    "W_BASE_HI",
    "W_ROW_STRIDE",
    "W_HEAD_STRIDE",
    "RT_BASE_LO",
    "RT_BASE_HI",
    "RT_ROW_STRIDE",
    "RT_HEAD_STRIDE",
    "VB_BASE_LO",
    "VB_BASE_HI",
    "VB_ROW_STRIDE",
    "VB_HEAD_STRIDE",
)

BUFFERS = (
    "Q",
    "K8",
    "K",
    "V",
    "O",
    "X8",
    "WC",
    "X",
    "W",
    "RT",
    "VB",
)

COUNTERS = (
    "CYCLES",
    "DLZS_BUSY",
    "DLZS_STALL",
    "SADS_BUSY",
    "SADS_STALL",
    "SUFA_BUSY",
    "SUFA_FLUSH",
    "SUFA_STALL",
    "SUFA_STARVE",
    "FETCH_STALL",
    "STORE_STALL",
    "TILES",
    "BLOCKS",
    "SELECTED",
    "UNION",
    "MAX_UPDATES",
    "BEATS_Q",
    "BEATS_K8",
    "BEATS_K",
    "BEATS_V",
    "BEATS_O",
    "RASS_STALL",
    "KVGEN_BUSY",
    "KVGEN_STALL",
    "KVGEN_STARVE",
    "GENERATED",
    "REUSED",
    "BEATS_W",
    "BEATS_R",
    "BEATS_X",
    "BEATS_D",
    "BEATS_WB",
    "PREDICT",
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
ERR_BAND = 9
ERR_FALL = 10
ERR_SNAP = 11
ERR_BASE_ALIGN = 12
ERR_STRIDE_ALIGN = 13
ERR_HEAD_STRIDE_ALIGN = 14
ERR_STRIDE_SMALL = 15
ERR_ADDR_RANGE = 16
ERR_OVERLAP = 17
ERR_SELECT = 18
ERR_MODE = 19
ERR_HEAD_STRIDE_SMALL = 20
ERR_MODEL_DIM = 21
ERR_WEIGHTS = 22
ERR_ROPE = 28
ERR_KIND = 29
ERR_NEXT = 30
ERR_HEAD_ENTRY = 31
ERR_READ_SLVERR = 32
ERR_READ_DECERR = 33
ERR_WRITE_SLVERR = 34
ERR_WRITE_DECERR = 35
ERR_READ_PROTOCOL = 36
ERR_WRITE_PROTOCOL = 37
ERR_READ_TIMEOUT = 38
ERR_WRITE_TIMEOUT = 39
ERR_SHARE = 40
ERR_WINDOW = 41
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
        "KV_HEADS must be in 1..HEADS and divide HEADS, with PREDICT in 1..1024.",
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
    ERR_BAND: (
        "BAND",
        "BAND must be in 1 to the blocks that the stores hold at HEAD_DIM.",
        "",
    ),
    ERR_FALL: (
        "FALL",
        "FALL must be in 0..255.",
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
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O, 5 X8 or HT, 6 WC or VM, 7 X, 8 W, 9 RT, 10 VB",
    ),
    ERR_STRIDE_ALIGN: (
        "STRIDE_ALIGN",
        "A row stride must be a multiple of BUS_BYTES.",
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O, 5 X8 or HT, 6 WC or VM, 7 X, 8 W, 9 RT, 10 VB",
    ),
    ERR_HEAD_STRIDE_ALIGN: (
        "HEAD_STRIDE_ALIGN",
        "A head stride must be a multiple of BUS_BYTES.",
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O, 5 X8 or HT, 6 WC or VM, 7 X, 8 W, 9 RT, 10 VB",
    ),
    ERR_STRIDE_SMALL: (
        "STRIDE_SMALL",
        "A row stride must be at least the bytes of a vector, rounded up to BUS_BYTES.",
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O, 5 X8 or HT, 6 WC or VM, 7 X, 8 W, 9 RT, 10 VB",
    ),
    ERR_ADDR_RANGE: (
        "ADDR_RANGE",
        "A buffer must end within 2^ADDR_W bytes, and the vectors of one head must span less "
        "than 4 GiB.",
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O, 5 X8 or HT, 6 WC or VM, 7 X, 8 W, 9 RT, 10 VB",
    ),
    ERR_OVERLAP: (
        "OVERLAP",
        "The address range of a buffer that is written (O; with PREDICT K8; with GENERATE also "
        "K, V and VB) must not overlap that of another one.",
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O, 5 X8 or HT, 6 WC or VM, 7 X, 8 W, 9 RT, 10 VB",
    ),
    ERR_SELECT: (
        "SELECT",
        "This build has no sort cores: MODE.SORT must be 0.",
        "",
    ),
    ERR_MODE: (
        "MODE",
        "Bits of MODE above SHARE must be 0.",
        "",
    ),
    ERR_HEAD_STRIDE_SMALL: (
        "HEAD_STRIDE_SMALL",
        "With more than one head, a head stride must be at least the bytes of a vector, rounded "
        "up to BUS_BYTES.",
        "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O, 5 X8 or HT, 6 WC or VM, 7 X, 8 W, 9 RT, 10 VB",
    ),
    ERR_MODEL_DIM: (
        "MODEL_DIM",
        "MODEL_DIM must be a multiple of 8 in 8..H_MAX.",
        "",
    ),
    ERR_WEIGHTS: (
        "WEIGHTS",
        "`ceil(2*HEAD_DIM/ROWS)*MODEL_DIM` must be at most WGT_WORDS: the weights of a KV head "
        "have to fit their memory.",
        "",
    ),
    ERR_ROPE: (
        "ROPE",
        "MODE.ROPE must be 0, 1 or 2.",
        "",
    ),
    ERR_KIND: (
        "KIND",
        "MODE.PREDICT excludes DENSE, GENERATE and SHARE, VB_LOAD needs GENERATE; at most one of "
        "DENSE, SORT and BLEND may be set.",
        "",
    ),
    ERR_NEXT: (
        "NEXT",
        "NEXT must be a multiple of 256 below 2^ADDR_W, and not 0 with START_CHAIN.",
        "",
    ),
    ERR_HEAD_ENTRY: (
        "HEAD_ENTRY",
        "An entry of HT must have SCALE_SHIFT in 0..47, OCTAVE in 0..SC_W-1, TAU in "
        "`-32*2^LOG_FRAC..0`, RADIUS in 0..2^SC_W-1, KG_SHIFT_K and KG_SHIFT_V in 0..40, without "
        "GENERATE 0.",
        "number of the head, modulo 256",
    ),
    ERR_READ_SLVERR: (
        "READ_SLVERR",
        "The memory answered a read with SLVERR.",
        "read stream: 0 Q, 1 K8 or X8, 2 K, 3 V or VM, 4 WC, 5 RT for the prediction, 6 X, W, "
        "RT, VB or VM for made keys, 7 descriptor or HT",
    ),
    ERR_READ_DECERR: (
        "READ_DECERR",
        "The memory answered a read with DECERR: no such address.",
        "read stream: 0 Q, 1 K8 or X8, 2 K, 3 V or VM, 4 WC, 5 RT for the prediction, 6 X, W, "
        "RT, VB or VM for made keys, 7 descriptor or HT",
    ),
    ERR_WRITE_SLVERR: (
        "WRITE_SLVERR",
        "The memory answered a write with SLVERR.",
        "write stream: 0 O, 1 K8, K, V or VB",
    ),
    ERR_WRITE_DECERR: (
        "WRITE_DECERR",
        "The memory answered a write with DECERR: no such address.",
        "write stream: 0 O, 1 K8, K, V or VB",
    ),
    ERR_READ_PROTOCOL: (
        "READ_PROTOCOL",
        "The memory sent read data that nobody had asked for with that RID, or RLAST at a wrong "
        "beat.",
        "read stream: 0 Q, 1 K8 or X8, 2 K, 3 V or VM, 4 WC, 5 RT for the prediction, 6 X, W, "
        "RT, VB or VM for made keys, 7 descriptor or HT (RID)",
    ),
    ERR_WRITE_PROTOCOL: (
        "WRITE_PROTOCOL",
        "The memory answered a write that nobody had made with that BID, or before it had taken "
        "all of it.",
        "write stream: 0 O, 1 K8, K, V or VB; others: BID",
    ),
    ERR_READ_TIMEOUT: (
        "READ_TIMEOUT",
        "The memory owed something to the read master and did nothing for TIMEOUT cycles.",
        "bits: 0 AR was not taken, 1 data was missing",
    ),
    ERR_WRITE_TIMEOUT: (
        "WRITE_TIMEOUT",
        "The memory owed something to the write master and did nothing for TIMEOUT cycles.",
        "bits: 0 AW was not taken, 1 W was not taken, 2 an answer was missing",
    ),
    ERR_SHARE: (
        "SHARE",
        "With MODE.SHARE, `QUERY_ROWS*HEADS/KV_HEADS` must be at most ROWS, and BAND 1.",
        "",
    ),
    ERR_WINDOW: (
        "WINDOW",
        "WINDOW must be in 0..KEYS_MAX, 0 without CAUSAL, and, where it is not 0, above "
        "`CAUSAL_OFFSET + QUERY_ROWS - KEYS`; SINKS in 0..TILE_KEYS, 0 without a window; other "
        "bits of the register 0.",
        "",
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
