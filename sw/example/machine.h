/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of the compiled machine (models/driver/machine.cpp). */
#ifndef SOFA_EXAMPLE_MACHINE_H
#define SOFA_EXAMPLE_MACHINE_H

#include <stdint.h>

/* A machine with memory, size bytes of the caller's from address base on; latencies in cycles. */
void *sofa_make(uint64_t base, uint8_t *memory, uint64_t size, uint64_t read_latency,
                uint64_t write_latency);
void sofa_free(void *machine);
void sofa_reset(void *machine);

/* Register accesses; the AXI response, 0 where they succeed, -1 without one. */
int sofa_read(void *machine, uint32_t offset, uint32_t *value);
int sofa_write(void *machine, uint32_t offset, uint32_t value);

/* Run until the interrupt is up, at most so many cycles; whether it is. */
int sofa_wait(void *machine, uint64_t limit);

#endif
