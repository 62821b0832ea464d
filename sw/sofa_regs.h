/* SPDX-License-Identifier: Apache-2.0 */
/* Written by scripts/regmap.py: change models/spec/registers.py, not this file. */
/* Register offsets (bytes), fields, job registers as they lie in a descriptor, entries of the
   table of heads, error codes. */
#ifndef SOFA_REGS_H
#define SOFA_REGS_H

#include <stdint.h>

/* Values of ID and VERSION, of TIMEOUT after reset */
#define SOFA_ID_VALUE                     0x534f4641u
#define SOFA_VERSION_VALUE                0x00040000u
#define SOFA_TIMEOUT_RESET                0x00100000u

/* Byte offsets */
#define SOFA_REG_ID                       0x000u
#define SOFA_REG_VERSION                  0x004u
#define SOFA_REG_CAP_ROWS                 0x010u
#define SOFA_REG_CAP_COLS                 0x014u
#define SOFA_REG_CAP_D_MAX                0x018u
#define SOFA_REG_CAP_BC_MAX               0x01cu
#define SOFA_REG_CAP_BUS_BYTES            0x020u
#define SOFA_REG_CAP_KEYS_MAX             0x024u
#define SOFA_REG_CAP_ADDR_W               0x028u
#define SOFA_REG_CAP_SC_FRAC              0x02cu
#define SOFA_REG_CAP_TWO_TERM             0x030u
#define SOFA_REG_CAP_SC_W                 0x034u
#define SOFA_REG_CAP_PLACES               0x060u
#define SOFA_REG_CAP_H_MAX                0x064u
#define SOFA_REG_CAP_KG_TOK               0x068u
#define SOFA_REG_CAP_WGT_WORDS            0x06cu
#define SOFA_REG_CAP_ROPE_PAIRS           0x070u
#define SOFA_REG_CAP_STORE_BEATS          0x074u
#define SOFA_REG_CAP_SORT                 0x078u
#define SOFA_REG_CAP_LOG_FRAC             0x07cu
#define SOFA_REG_CAP_F_FRAC               0x080u
#define SOFA_REG_CAP_VM_W                 0x084u
#define SOFA_REG_CAP_LAND                 0x088u
#define SOFA_REG_CTRL                     0x040u
#define SOFA_REG_STATUS                   0x044u
#define SOFA_REG_ERROR                    0x048u
#define SOFA_REG_IRQ_ENABLE               0x04cu
#define SOFA_REG_IRQ_STATUS               0x050u
#define SOFA_REG_JOBS                     0x054u
#define SOFA_REG_TIMEOUT                  0x058u
#define SOFA_REG_MODE                     0x100u
#define SOFA_REG_HEAD_DIM                 0x104u
#define SOFA_REG_QUERY_ROWS               0x108u
#define SOFA_REG_KEYS                     0x10cu
#define SOFA_REG_HEADS                    0x110u
#define SOFA_REG_KV_HEADS                 0x114u
#define SOFA_REG_CAUSAL_OFFSET            0x118u
#define SOFA_REG_TILE_KEYS                0x11cu
#define SOFA_REG_QUOTA                    0x120u
#define SOFA_REG_BAND                     0x124u
#define SOFA_REG_FALL                     0x128u
#define SOFA_REG_WINDOW                   0x12cu
#define SOFA_REG_MODEL_DIM                0x130u
#define SOFA_REG_RESERVED_13              0x134u
#define SOFA_REG_RESERVED_14              0x138u
#define SOFA_REG_RESERVED_15              0x13cu
#define SOFA_REG_RESERVED_16              0x140u
#define SOFA_REG_RESERVED_17              0x144u
#define SOFA_REG_NEXT_LO                  0x148u
#define SOFA_REG_NEXT_HI                  0x14cu
#define SOFA_REG_Q_BASE_LO                0x150u
#define SOFA_REG_Q_BASE_HI                0x154u
#define SOFA_REG_Q_ROW_STRIDE             0x158u
#define SOFA_REG_Q_HEAD_STRIDE            0x15cu
#define SOFA_REG_K8_BASE_LO               0x160u
#define SOFA_REG_K8_BASE_HI               0x164u
#define SOFA_REG_K8_ROW_STRIDE            0x168u
#define SOFA_REG_K8_HEAD_STRIDE           0x16cu
#define SOFA_REG_K_BASE_LO                0x170u
#define SOFA_REG_K_BASE_HI                0x174u
#define SOFA_REG_K_ROW_STRIDE             0x178u
#define SOFA_REG_K_HEAD_STRIDE            0x17cu
#define SOFA_REG_V_BASE_LO                0x180u
#define SOFA_REG_V_BASE_HI                0x184u
#define SOFA_REG_V_ROW_STRIDE             0x188u
#define SOFA_REG_V_HEAD_STRIDE            0x18cu
#define SOFA_REG_O_BASE_LO                0x190u
#define SOFA_REG_O_BASE_HI                0x194u
#define SOFA_REG_O_ROW_STRIDE             0x198u
#define SOFA_REG_O_HEAD_STRIDE            0x19cu
#define SOFA_REG_X8_BASE_LO               0x1a0u
#define SOFA_REG_X8_BASE_HI               0x1a4u
#define SOFA_REG_X8_ROW_STRIDE            0x1a8u
#define SOFA_REG_X8_HEAD_STRIDE           0x1acu
#define SOFA_REG_HT_BASE_LO               0x1a0u
#define SOFA_REG_HT_BASE_HI               0x1a4u
#define SOFA_REG_HT_ROW_STRIDE            0x1a8u
#define SOFA_REG_HT_HEAD_STRIDE           0x1acu
#define SOFA_REG_WC_BASE_LO               0x1b0u
#define SOFA_REG_WC_BASE_HI               0x1b4u
#define SOFA_REG_WC_ROW_STRIDE            0x1b8u
#define SOFA_REG_WC_HEAD_STRIDE           0x1bcu
#define SOFA_REG_VM_BASE_LO               0x1b0u
#define SOFA_REG_VM_BASE_HI               0x1b4u
#define SOFA_REG_VM_ROW_STRIDE            0x1b8u
#define SOFA_REG_VM_HEAD_STRIDE           0x1bcu
#define SOFA_REG_X_BASE_LO                0x1c0u
#define SOFA_REG_X_BASE_HI                0x1c4u
#define SOFA_REG_X_ROW_STRIDE             0x1c8u
#define SOFA_REG_X_HEAD_STRIDE            0x1ccu
#define SOFA_REG_W_BASE_LO                0x1d0u
#define SOFA_REG_W_BASE_HI                0x1d4u
#define SOFA_REG_W_ROW_STRIDE             0x1d8u
#define SOFA_REG_W_HEAD_STRIDE            0x1dcu
#define SOFA_REG_RT_BASE_LO               0x1e0u
#define SOFA_REG_RT_BASE_HI               0x1e4u
#define SOFA_REG_RT_ROW_STRIDE            0x1e8u
#define SOFA_REG_RT_HEAD_STRIDE           0x1ecu
#define SOFA_REG_VB_BASE_LO               0x1f0u
#define SOFA_REG_VB_BASE_HI               0x1f4u
#define SOFA_REG_VB_ROW_STRIDE            0x1f8u
#define SOFA_REG_VB_HEAD_STRIDE           0x1fcu
#define SOFA_REG_CNT_CYCLES               0x200u
#define SOFA_REG_CNT_DLZS_BUSY            0x204u
#define SOFA_REG_CNT_DLZS_STALL           0x208u
#define SOFA_REG_CNT_SADS_BUSY            0x20cu
#define SOFA_REG_CNT_SADS_STALL           0x210u
#define SOFA_REG_CNT_SUFA_BUSY            0x214u
#define SOFA_REG_CNT_SUFA_FLUSH           0x218u
#define SOFA_REG_CNT_SUFA_STALL           0x21cu
#define SOFA_REG_CNT_SUFA_STARVE          0x220u
#define SOFA_REG_CNT_FETCH_STALL          0x224u
#define SOFA_REG_CNT_STORE_STALL          0x228u
#define SOFA_REG_CNT_TILES                0x22cu
#define SOFA_REG_CNT_BLOCKS               0x230u
#define SOFA_REG_CNT_SELECTED             0x234u
#define SOFA_REG_CNT_UNION                0x238u
#define SOFA_REG_CNT_MAX_UPDATES          0x23cu
#define SOFA_REG_CNT_BEATS_Q              0x240u
#define SOFA_REG_CNT_BEATS_K8             0x244u
#define SOFA_REG_CNT_BEATS_K              0x248u
#define SOFA_REG_CNT_BEATS_V              0x24cu
#define SOFA_REG_CNT_BEATS_O              0x250u
#define SOFA_REG_CNT_RASS_STALL           0x254u
#define SOFA_REG_CNT_KVGEN_BUSY           0x258u
#define SOFA_REG_CNT_KVGEN_STALL          0x25cu
#define SOFA_REG_CNT_KVGEN_STARVE         0x260u
#define SOFA_REG_CNT_GENERATED            0x264u
#define SOFA_REG_CNT_REUSED               0x268u
#define SOFA_REG_CNT_BEATS_W              0x26cu
#define SOFA_REG_CNT_BEATS_R              0x270u
#define SOFA_REG_CNT_BEATS_X              0x274u
#define SOFA_REG_CNT_BEATS_D              0x278u
#define SOFA_REG_CNT_BEATS_WB             0x27cu
#define SOFA_REG_CNT_PREDICT              0x280u

/* Fields: lowest bit, and mask in place */
#define SOFA_VERSION_MINOR_LSB            0
#define SOFA_VERSION_MINOR_MASK           0xffffu
#define SOFA_VERSION_MAJOR_LSB            16
#define SOFA_VERSION_MAJOR_MASK           0xffff0000u
#define SOFA_CTRL_START_LSB               0
#define SOFA_CTRL_START_MASK              0x1u
#define SOFA_CTRL_SOFT_RESET_LSB          1
#define SOFA_CTRL_SOFT_RESET_MASK         0x2u
#define SOFA_CTRL_START_CHAIN_LSB         2
#define SOFA_CTRL_START_CHAIN_MASK        0x4u
#define SOFA_STATUS_BUSY_LSB              0
#define SOFA_STATUS_BUSY_MASK             0x1u
#define SOFA_STATUS_DONE_LSB              1
#define SOFA_STATUS_DONE_MASK             0x2u
#define SOFA_STATUS_ERROR_LSB             2
#define SOFA_STATUS_ERROR_MASK            0x4u
#define SOFA_ERROR_CODE_LSB               0
#define SOFA_ERROR_CODE_MASK              0xffu
#define SOFA_ERROR_INFO_LSB               8
#define SOFA_ERROR_INFO_MASK              0xff00u
#define SOFA_ERROR_READS_LOST_LSB         16
#define SOFA_ERROR_READS_LOST_MASK        0x10000u
#define SOFA_ERROR_WRITES_LOST_LSB        17
#define SOFA_ERROR_WRITES_LOST_MASK       0x20000u
#define SOFA_IRQ_ENABLE_DONE_LSB          0
#define SOFA_IRQ_ENABLE_DONE_MASK         0x1u
#define SOFA_IRQ_ENABLE_ERROR_LSB         1
#define SOFA_IRQ_ENABLE_ERROR_MASK        0x2u
#define SOFA_IRQ_STATUS_DONE_LSB          0
#define SOFA_IRQ_STATUS_DONE_MASK         0x1u
#define SOFA_IRQ_STATUS_ERROR_LSB         1
#define SOFA_IRQ_STATUS_ERROR_MASK        0x2u
#define SOFA_MODE_DENSE_LSB               0
#define SOFA_MODE_DENSE_MASK              0x1u
#define SOFA_MODE_CAUSAL_LSB              1
#define SOFA_MODE_CAUSAL_MASK             0x2u
#define SOFA_MODE_CONTIGUOUS_LSB          2
#define SOFA_MODE_CONTIGUOUS_MASK         0x4u
#define SOFA_MODE_SNAP_LSB                3
#define SOFA_MODE_SNAP_MASK               0x18u
#define SOFA_MODE_GENERATE_LSB            5
#define SOFA_MODE_GENERATE_MASK           0x20u
#define SOFA_MODE_PREDICT_LSB             6
#define SOFA_MODE_PREDICT_MASK            0x40u
#define SOFA_MODE_ROPE_LSB                7
#define SOFA_MODE_ROPE_MASK               0x180u
#define SOFA_MODE_VB_LOAD_LSB             9
#define SOFA_MODE_VB_LOAD_MASK            0x200u
#define SOFA_MODE_SORT_LSB                10
#define SOFA_MODE_SORT_MASK               0x400u
#define SOFA_MODE_BLEND_LSB               11
#define SOFA_MODE_BLEND_MASK              0x800u
#define SOFA_MODE_SHARE_LSB               12
#define SOFA_MODE_SHARE_MASK              0x1000u
#define SOFA_WINDOW_WINDOW_LSB            0
#define SOFA_WINDOW_WINDOW_MASK           0x1ffffu
#define SOFA_WINDOW_SINKS_LSB             24
#define SOFA_WINDOW_SINKS_MASK            0x7f000000u

/* A descriptor: the job registers, little endian, at a multiple of 256 */
struct sofa_job {
    uint32_t mode;
    uint32_t head_dim;
    uint32_t query_rows;
    uint32_t keys;
    uint32_t heads;
    uint32_t kv_heads;
    uint32_t causal_offset;
    uint32_t tile_keys;
    uint32_t quota;
    uint32_t band;
    uint32_t fall;
    uint32_t window;
    uint32_t model_dim;
    uint32_t reserved_13;
    uint32_t reserved_14;
    uint32_t reserved_15;
    uint32_t reserved_16;
    uint32_t reserved_17;
    uint32_t next_lo;
    uint32_t next_hi;
    uint32_t q_base_lo;
    uint32_t q_base_hi;
    uint32_t q_row_stride;
    uint32_t q_head_stride;
    uint32_t k8_base_lo;
    uint32_t k8_base_hi;
    uint32_t k8_row_stride;
    uint32_t k8_head_stride;
    uint32_t k_base_lo;
    uint32_t k_base_hi;
    uint32_t k_row_stride;
    uint32_t k_head_stride;
    uint32_t v_base_lo;
    uint32_t v_base_hi;
    uint32_t v_row_stride;
    uint32_t v_head_stride;
    uint32_t o_base_lo;
    uint32_t o_base_hi;
    uint32_t o_row_stride;
    uint32_t o_head_stride;
    union {
        uint32_t x8_base_lo;
        uint32_t ht_base_lo;
    };
    union {
        uint32_t x8_base_hi;
        uint32_t ht_base_hi;
    };
    union {
        uint32_t x8_row_stride;
        uint32_t ht_row_stride;
    };
    union {
        uint32_t x8_head_stride;
        uint32_t ht_head_stride;
    };
    union {
        uint32_t wc_base_lo;
        uint32_t vm_base_lo;
    };
    union {
        uint32_t wc_base_hi;
        uint32_t vm_base_hi;
    };
    union {
        uint32_t wc_row_stride;
        uint32_t vm_row_stride;
    };
    union {
        uint32_t wc_head_stride;
        uint32_t vm_head_stride;
    };
    uint32_t x_base_lo;
    uint32_t x_base_hi;
    uint32_t x_row_stride;
    uint32_t x_head_stride;
    uint32_t w_base_lo;
    uint32_t w_base_hi;
    uint32_t w_row_stride;
    uint32_t w_head_stride;
    uint32_t rt_base_lo;
    uint32_t rt_base_hi;
    uint32_t rt_row_stride;
    uint32_t rt_head_stride;
    uint32_t vb_base_lo;
    uint32_t vb_base_hi;
    uint32_t vb_row_stride;
    uint32_t vb_head_stride;
};

/* An entry of the table of heads, little endian */
struct sofa_head {
    uint16_t scale_mult;
    uint8_t scale_shift;
    uint8_t octave;
    int16_t tau;
    uint8_t kg_shift_k;
    uint8_t kg_shift_v;
    uint32_t radius;
    uint32_t rest;
};

/* Numbers of the buffers, as register ERROR gives them */
#define SOFA_BUF_Q                        0
#define SOFA_BUF_K8                       1
#define SOFA_BUF_K                        2
#define SOFA_BUF_V                        3
#define SOFA_BUF_O                        4
#define SOFA_BUF_X8                       5
#define SOFA_BUF_WC                       6
#define SOFA_BUF_X                        7
#define SOFA_BUF_W                        8
#define SOFA_BUF_RT                       9
#define SOFA_BUF_VB                       10

/* Error codes */
#define SOFA_ERR_NONE                     0
#define SOFA_ERR_HEAD_DIM                 1
#define SOFA_ERR_QUERY_ROWS               2
#define SOFA_ERR_KEYS                     3
#define SOFA_ERR_HEADS                    4
#define SOFA_ERR_KV_HEADS                 5
#define SOFA_ERR_CAUSAL_OFFSET            6
#define SOFA_ERR_TILE_KEYS                7
#define SOFA_ERR_QUOTA                    8
#define SOFA_ERR_BAND                     9
#define SOFA_ERR_FALL                     10
#define SOFA_ERR_SNAP                     11
#define SOFA_ERR_BASE_ALIGN               12
#define SOFA_ERR_STRIDE_ALIGN             13
#define SOFA_ERR_HEAD_STRIDE_ALIGN        14
#define SOFA_ERR_STRIDE_SMALL             15
#define SOFA_ERR_ADDR_RANGE               16
#define SOFA_ERR_OVERLAP                  17
#define SOFA_ERR_SELECT                   18
#define SOFA_ERR_MODE                     19
#define SOFA_ERR_HEAD_STRIDE_SMALL        20
#define SOFA_ERR_MODEL_DIM                21
#define SOFA_ERR_WEIGHTS                  22
#define SOFA_ERR_ROPE                     28
#define SOFA_ERR_KIND                     29
#define SOFA_ERR_NEXT                     30
#define SOFA_ERR_HEAD_ENTRY               31
#define SOFA_ERR_READ_SLVERR              32
#define SOFA_ERR_READ_DECERR              33
#define SOFA_ERR_WRITE_SLVERR             34
#define SOFA_ERR_WRITE_DECERR             35
#define SOFA_ERR_READ_PROTOCOL            36
#define SOFA_ERR_WRITE_PROTOCOL           37
#define SOFA_ERR_READ_TIMEOUT             38
#define SOFA_ERR_WRITE_TIMEOUT            39
#define SOFA_ERR_SHARE                    40
#define SOFA_ERR_WINDOW                   41
#define SOFA_ERR_ABORTED                  48

#endif
