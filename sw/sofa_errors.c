/* SPDX-License-Identifier: Apache-2.0 */
/* Written by scripts/regmap.py: change models/spec/registers.py, not this file. */
#include "sofa.h"

const char *sofa_error_text(uint8_t code)
{
    switch (code) {
    case SOFA_ERR_NONE:
        return "NONE: No error.";
    case SOFA_ERR_HEAD_DIM:
        return "HEAD_DIM: HEAD_DIM must be a multiple of 8 in 8..D_MAX.";
    case SOFA_ERR_QUERY_ROWS:
        return "QUERY_ROWS: QUERY_ROWS must be in 1..KEYS_MAX.";
    case SOFA_ERR_KEYS:
        return "KEYS: KEYS must be in 1..KEYS_MAX.";
    case SOFA_ERR_HEADS:
        return "HEADS: HEADS must be in 1..1024.";
    case SOFA_ERR_KV_HEADS:
        return "KV_HEADS: KV_HEADS must be in 1..HEADS and divide HEADS, with PREDICT in "
                "1..1024.";
    case SOFA_ERR_CAUSAL_OFFSET:
        return "CAUSAL_OFFSET: CAUSAL_OFFSET must be in 0..KEYS_MAX-1.";
    case SOFA_ERR_TILE_KEYS:
        return "TILE_KEYS: TILE_KEYS must be a power of two in max(COLS, 4)..BC_MAX.";
    case SOFA_ERR_QUOTA:
        return "QUOTA: QUOTA must be in 1..BC_MAX.";
    case SOFA_ERR_BAND:
        return "BAND: BAND must be in 1 to the blocks that the stores hold at HEAD_DIM.";
    case SOFA_ERR_FALL:
        return "FALL: FALL must be in 0..255.";
    case SOFA_ERR_SNAP:
        return "SNAP: MODE.SNAP must be 0 or 1, or 2 where CAP_TWO_TERM = 1.";
    case SOFA_ERR_BASE_ALIGN:
        return "BASE_ALIGN: A base address must be a multiple of BUS_BYTES.";
    case SOFA_ERR_STRIDE_ALIGN:
        return "STRIDE_ALIGN: A row stride must be a multiple of BUS_BYTES.";
    case SOFA_ERR_HEAD_STRIDE_ALIGN:
        return "HEAD_STRIDE_ALIGN: A head stride must be a multiple of BUS_BYTES.";
    case SOFA_ERR_STRIDE_SMALL:
        return "STRIDE_SMALL: A row stride must be at least the bytes of a vector, rounded up to"
                " BUS_BYTES.";
    case SOFA_ERR_ADDR_RANGE:
        return "ADDR_RANGE: A buffer must end within 2^ADDR_W bytes, and the vectors of one head"
                " must span less than 4 GiB.";
    case SOFA_ERR_OVERLAP:
        return "OVERLAP: The address range of a buffer that is written (O; with PREDICT K8; with"
                " GENERATE also K, V and VB) must not overlap that of another one.";
    case SOFA_ERR_SELECT:
        return "SELECT: This build has no sort cores: MODE.SORT must be 0.";
    case SOFA_ERR_MODE:
        return "MODE: Bits of MODE above SHARE must be 0.";
    case SOFA_ERR_HEAD_STRIDE_SMALL:
        return "HEAD_STRIDE_SMALL: With more than one head, a head stride must be at least the "
                "bytes of a vector, rounded up to BUS_BYTES.";
    case SOFA_ERR_MODEL_DIM:
        return "MODEL_DIM: MODEL_DIM must be a multiple of 8 in 8..H_MAX.";
    case SOFA_ERR_WEIGHTS:
        return "WEIGHTS: `ceil(2*HEAD_DIM/ROWS)*MODEL_DIM` must be at most WGT_WORDS: the "
                "weights of a KV head have to fit their memory.";
    case SOFA_ERR_ROPE:
        return "ROPE: MODE.ROPE must be 0, 1 or 2.";
    case SOFA_ERR_KIND:
        return "KIND: MODE.PREDICT excludes DENSE, GENERATE and SHARE, VB_LOAD needs GENERATE; "
                "at most one of DENSE, SORT and BLEND may be set.";
    case SOFA_ERR_NEXT:
        return "NEXT: NEXT must be a multiple of 256 below 2^ADDR_W, and not 0 with START_CHAIN.";
    case SOFA_ERR_HEAD_ENTRY:
        return "HEAD_ENTRY: An entry of HT must have SCALE_SHIFT in 0..47, OCTAVE in 0..SC_W-1, "
                "TAU in `-32*2^LOG_FRAC..0`, RADIUS in 0..2^SC_W-1, KG_SHIFT_K and KG_SHIFT_V in "
                "0..40, without GENERATE 0.";
    case SOFA_ERR_READ_SLVERR:
        return "READ_SLVERR: The memory answered a read with SLVERR.";
    case SOFA_ERR_READ_DECERR:
        return "READ_DECERR: The memory answered a read with DECERR: no such address.";
    case SOFA_ERR_WRITE_SLVERR:
        return "WRITE_SLVERR: The memory answered a write with SLVERR.";
    case SOFA_ERR_WRITE_DECERR:
        return "WRITE_DECERR: The memory answered a write with DECERR: no such address.";
    case SOFA_ERR_READ_PROTOCOL:
        return "READ_PROTOCOL: The memory sent read data that nobody had asked for with that "
                "RID, or RLAST at a wrong beat.";
    case SOFA_ERR_WRITE_PROTOCOL:
        return "WRITE_PROTOCOL: The memory answered a write that nobody had made with that BID, "
                "or before it had taken all of it.";
    case SOFA_ERR_READ_TIMEOUT:
        return "READ_TIMEOUT: The memory owed something to the read master and did nothing for "
                "TIMEOUT cycles.";
    case SOFA_ERR_WRITE_TIMEOUT:
        return "WRITE_TIMEOUT: The memory owed something to the write master and did nothing for"
                " TIMEOUT cycles.";
    case SOFA_ERR_SHARE:
        return "SHARE: With MODE.SHARE, `QUERY_ROWS*HEADS/KV_HEADS` must be at most ROWS, and "
                "BAND 1.";
    case SOFA_ERR_WINDOW:
        return "WINDOW: WINDOW must be in 0..KEYS_MAX, 0 without CAUSAL, and, where it is not 0,"
                " above `CAUSAL_OFFSET + QUERY_ROWS - KEYS`; SINKS in 0..TILE_KEYS, 0 without a "
                "window; other bits of the register 0.";
    case SOFA_ERR_ABORTED:
        return "ABORTED: CTRL.SOFT_RESET ended the job.";
    default:
        return "unknown error code";
    }
}
