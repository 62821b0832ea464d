/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One causal head on the compiled machine, configuration `tiny`, by the driver of sw/: fills Q, K and
 * V, builds the job, starts it, takes the interrupt, prints the output and the cycles.
 */
#include <stdio.h>

#include "machine.h"
#include "sofa.h"

enum { ROWS = 12, KEYS = 40, D = 16, BUS = 8, BASE = 0x1000, SIZE = 1 << 16, LIMIT = 1000000 };

static uint8_t memory[SIZE];
static uint32_t seed = 1;

/* A random element, -2000 .. 2000. */
static int element(void)
{
    seed = seed * 1103515245u + 12345u;
    return (int)((seed >> 16) % 4001u) - 2000;
}

static void put16(uint64_t address, int value)
{
    memory[address - BASE] = (uint8_t)value;
    memory[address - BASE + 1] = (uint8_t)(value >> 8);
}

/* Fill a buffer with vectors; narrow: where the high bytes of its elements go as well. */
static void fill(struct sofa_buffer buffer, unsigned rows, const struct sofa_buffer *narrow)
{
    unsigned row, i;

    for (row = 0; row < rows; ++row)
        for (i = 0; i < D; ++i) {
            const int value = element();

            put16(buffer.base + row * buffer.row_stride + 2 * i, value);
            if (narrow)
                memory[narrow->base + row * narrow->row_stride + i - BASE] = (uint8_t)(value >> 4);
        }
}

int main(void)
{
    /* Scores of 1/1024 octave: q.k >> 8, times 32768 >> 17; keys below 2^-9 of the row's sum go. */
    const struct sofa_head entry = {32768, 17, 3, -9 * 16, 0, 0, 0};
    void *const core = sofa_make(BASE, memory, SIZE, 100, 20);
    const struct sofa machine = {core, sofa_read, sofa_write};
    const struct sofa_buffer q = sofa_packed(BASE, 2 * D, ROWS, BUS);
    const struct sofa_buffer k = sofa_packed(q.base + q.head_stride, 2 * D, KEYS, BUS);
    const struct sofa_buffer v = sofa_packed(k.base + k.head_stride, 2 * D, KEYS, BUS);
    const struct sofa_buffer k8 = sofa_packed(v.base + v.head_stride, D, KEYS, BUS);
    const struct sofa_buffer o = sofa_packed(k8.base + k8.head_stride, 2 * D, ROWS, BUS);
    const struct sofa_buffer ht = sofa_packed(o.base + o.head_stride, SOFA_HEAD_BYTES, 1, BUS);
    struct sofa_job job;
    struct sofa_end end = {0, 0, 0, 0};
    uint32_t cycles;
    unsigned row, i;

    if (ht.base + ht.head_stride > BASE + SIZE) {
        fprintf(stderr, "the buffers take %u bytes, SIZE is %d\n",
                (unsigned)(ht.base + ht.head_stride - BASE), SIZE);
        return 1;
    }
    fill(q, ROWS, 0);
    fill(k, KEYS, &k8);
    fill(v, KEYS, 0);
    sofa_head_write(&entry, memory + (ht.base - BASE));

    sofa_job_clear(&job);
    sofa_job_set(&job, SOFA_REG_MODE, SOFA_MODE_CAUSAL_MASK);
    sofa_job_set(&job, SOFA_REG_HEAD_DIM, D);
    sofa_job_set(&job, SOFA_REG_QUERY_ROWS, ROWS);
    sofa_job_set(&job, SOFA_REG_KEYS, KEYS);
    sofa_job_set(&job, SOFA_REG_HEADS, 1);
    sofa_job_set(&job, SOFA_REG_KV_HEADS, 1);
    sofa_job_set(&job, SOFA_REG_CAUSAL_OFFSET, KEYS - ROWS);
    sofa_job_set(&job, SOFA_REG_TILE_KEYS, 16);
    sofa_job_set(&job, SOFA_REG_BAND, 1);
    sofa_job_buffer(&job, SOFA_REG_Q_BASE_LO, q);
    sofa_job_buffer(&job, SOFA_REG_K8_BASE_LO, k8);
    sofa_job_buffer(&job, SOFA_REG_K_BASE_LO, k);
    sofa_job_buffer(&job, SOFA_REG_V_BASE_LO, v);
    sofa_job_buffer(&job, SOFA_REG_O_BASE_LO, o);
    sofa_job_buffer(&job, SOFA_REG_HT_BASE_LO, ht);

    sofa_reset(core);
    if (sofa_probe(&machine) || sofa_irq_enable(&machine, 1) || sofa_start(&machine, &job))
        return 1;
    if (!sofa_wait(core, LIMIT)) {
        fprintf(stderr, "not done within %d cycles\n", LIMIT);
        return 1;
    }
    if (sofa_irq(&machine, &end)) {
        fprintf(stderr, "error %d, info %d: %s\n", end.code, end.info, sofa_error_text(end.code));
        return 1;
    }
    for (row = 0; row < ROWS; ++row)
        for (i = 0; i < D; ++i) {
            const uint8_t *at = memory + (o.base + row * o.row_stride + 2 * i - BASE);

            printf("%d%c", (int16_t)(at[0] | at[1] << 8), i + 1 < D ? ' ' : '\n');
        }
    if (machine.read(core, SOFA_REG_CNT_CYCLES, &cycles))
        return 1;
    fprintf(stderr, "%u cycles\n", (unsigned)cycles);
    sofa_free(core);
    return 0;
}
