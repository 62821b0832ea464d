/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver of the machine in C99: builds jobs and chains, starts them, polls or takes the interrupt.
 *
 * Freestanding: no library, no allocation, no state of its own. Registers are reached through two
 * functions of the caller, or as memory by sofa_mmio(). Memory is the caller's: it gives bus
 * addresses, and the bytes of tables and descriptors are written where it says. What registers
 * mean, and their legal ranges: docs/registers.md. The machine checks them when a job starts.
 */
#ifndef SOFA_H
#define SOFA_H

#include <stdint.h>

#include "sofa_regs.h"

#define SOFA_DESCRIPTOR_BYTES 256u
#define SOFA_HEAD_BYTES 16u

/* What functions return; a register access that fails returns what the caller's function did. */
enum {
    SOFA_OK = 0,
    SOFA_BUSY = 1,   /* a job or chain runs */
    SOFA_FAILED = 2, /* it ended with an error */
    SOFA_IDLE = 3,   /* nothing was started, or the interrupt is another's */
    SOFA_FOREIGN = 4 /* no such machine: ID, or the major version, is another */
};

/* A machine: register accesses at byte offsets, which return 0 where they succeed. */
struct sofa {
    void *context;
    int (*read)(void *context, uint32_t offset, uint32_t *value);
    int (*write)(void *context, uint32_t offset, uint32_t value);
};

/* Registers that lie in the address space of the processor. */
struct sofa sofa_mmio(volatile uint32_t *registers);

/* Whether there is a machine of this header's major version: SOFA_OK or SOFA_FOREIGN. */
int sofa_probe(const struct sofa *machine);

/* The job registers; a descriptor in memory is their image. */
struct sofa_job {
    uint32_t word[SOFA_JOB_WORDS];
};

/* A buffer: address of its first byte, bytes from vector to vector and from head to head. */
struct sofa_buffer {
    uint64_t base;
    uint32_t row_stride;
    uint32_t head_stride;
};

/* A buffer without gaps: rows vectors of so many bytes for each head, every vector in whole words of
 * the bus. */
struct sofa_buffer sofa_packed(uint64_t base, uint32_t vector_bytes, uint32_t rows,
                               uint32_t bus_bytes);

void sofa_job_clear(struct sofa_job *job);

/* Set a job register: SOFA_REG_MODE up to SOFA_REG_VB_HEAD_STRIDE. */
void sofa_job_set(struct sofa_job *job, uint32_t reg, uint32_t value);

/* Set the registers of a buffer; first: SOFA_REG_<buffer>_BASE_LO. */
void sofa_job_buffer(struct sofa_job *job, uint32_t first, struct sofa_buffer buffer);

/* The descriptor that follows, a multiple of 256; 0: none. */
void sofa_job_next(struct sofa_job *job, uint64_t address);

/* Write the SOFA_DESCRIPTOR_BYTES of a descriptor. */
void sofa_job_write(const struct sofa_job *job, uint8_t *bytes);

/* An entry of the table of heads, HT. */
struct sofa_head {
    uint16_t scale_mult;
    uint8_t scale_shift;
    uint8_t octave;
    int16_t tau;
    uint8_t shift_k;
    uint8_t shift_v;
    uint32_t radius;
};

/* Write the SOFA_HEAD_BYTES of an entry. */
void sofa_head_write(const struct sofa_head *head, uint8_t *bytes);

/* Write the job registers and start; what NEXT points to follows. */
int sofa_start(const struct sofa *machine, const struct sofa_job *job);

/* Start the chain of descriptors at an address. */
int sofa_start_chain(const struct sofa *machine, uint64_t address);

/* How a job or chain ended: jobs that ended without an error; code, info and lost of register
 * ERROR, 0 without one. Where lost is not 0, the memory's side needs a reset before the next job. */
struct sofa_end {
    uint32_t jobs;
    uint8_t code;
    uint8_t info;
    uint8_t lost;
};

/* Name and sentence of an error code, with the legal range; in sofa_errors.c, which may be left
 * out. */
const char *sofa_error_text(uint8_t code);

/* SOFA_OK, SOFA_BUSY, SOFA_FAILED or SOFA_IDLE; fills end unless busy or idle. */
int sofa_poll(const struct sofa *machine, struct sofa_end *end);

/* Let the end of jobs raise the interrupt, or not. */
int sofa_irq_enable(const struct sofa *machine, int on);

/* For the interrupt's handler: clear it, and return what sofa_poll would; SOFA_IDLE where it is not
 * this machine's. */
int sofa_irq(const struct sofa *machine, struct sofa_end *end);

/* Abort what runs; it ends with SOFA_ERR_ABORTED. */
int sofa_abort(const struct sofa *machine);

#endif
