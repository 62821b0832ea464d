/* SPDX-License-Identifier: Apache-2.0 */
#include "sofa.h"

/* Evaluates an access and returns from the function where it fails. */
#define TRY(access)              \
    do {                         \
        const int result = (access); \
        if (result != 0)         \
            return result;       \
    } while (0)

static int mmio_read(void *context, uint32_t offset, uint32_t *value)
{
    *value = ((volatile uint32_t *)context)[offset / 4];
    return 0;
}

static int mmio_write(void *context, uint32_t offset, uint32_t value)
{
    ((volatile uint32_t *)context)[offset / 4] = value;
    return 0;
}

struct sofa sofa_mmio(volatile uint32_t *registers)
{
    const struct sofa machine = {(void *)(uintptr_t)registers, mmio_read, mmio_write};

    return machine;
}

int sofa_probe(const struct sofa *machine)
{
    uint32_t id, version;

    TRY(machine->read(machine->context, SOFA_REG_ID, &id));
    TRY(machine->read(machine->context, SOFA_REG_VERSION, &version));
    if (id != SOFA_ID_VALUE || version >> 16 != SOFA_VERSION_VALUE >> 16)
        return SOFA_FOREIGN;
    return SOFA_OK;
}

static void put(uint8_t *bytes, uint32_t value, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; ++i)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

struct sofa_buffer sofa_packed(uint64_t base, uint32_t vector_bytes, uint32_t rows,
                               uint32_t bus_bytes)
{
    struct sofa_buffer buffer;

    buffer.base = base;
    buffer.row_stride = (vector_bytes + bus_bytes - 1) / bus_bytes * bus_bytes;
    buffer.head_stride = buffer.row_stride * rows;
    return buffer;
}

void sofa_job_clear(struct sofa_job *job)
{
    unsigned i;

    for (i = 0; i < SOFA_JOB_WORDS; ++i)
        job->word[i] = 0;
}

void sofa_job_set(struct sofa_job *job, uint32_t reg, uint32_t value)
{
    job->word[(reg - SOFA_JOB_FIRST) / 4] = value;
}

void sofa_job_buffer(struct sofa_job *job, uint32_t first, struct sofa_buffer buffer)
{
    sofa_job_set(job, first, (uint32_t)buffer.base);
    sofa_job_set(job, first + 4, (uint32_t)(buffer.base >> 32));
    sofa_job_set(job, first + 8, buffer.row_stride);
    sofa_job_set(job, first + 12, buffer.head_stride);
}

void sofa_job_next(struct sofa_job *job, uint64_t address)
{
    sofa_job_set(job, SOFA_REG_NEXT_LO, (uint32_t)address);
    sofa_job_set(job, SOFA_REG_NEXT_HI, (uint32_t)(address >> 32));
}

void sofa_job_write(const struct sofa_job *job, uint8_t *bytes)
{
    unsigned i;

    for (i = 0; i < SOFA_JOB_WORDS; ++i)
        put(bytes + 4 * i, job->word[i], 4);
}

void sofa_head_write(const struct sofa_head *head, uint8_t *bytes)
{
    put(bytes, head->scale_mult, 2);
    put(bytes + 2, head->scale_shift, 1);
    put(bytes + 3, head->octave, 1);
    put(bytes + 4, (uint16_t)head->tau, 2);
    put(bytes + 6, head->shift_k, 1);
    put(bytes + 7, head->shift_v, 1);
    put(bytes + 8, head->radius, 4);
    put(bytes + 12, 0, 4);
}

int sofa_start(const struct sofa *machine, const struct sofa_job *job)
{
    unsigned i;

    for (i = 0; i < SOFA_JOB_WORDS; ++i)
        TRY(machine->write(machine->context, SOFA_JOB_FIRST + 4 * i, job->word[i]));
    return machine->write(machine->context, SOFA_REG_CTRL, SOFA_CTRL_START_MASK);
}

int sofa_start_chain(const struct sofa *machine, uint64_t address)
{
    TRY(machine->write(machine->context, SOFA_REG_NEXT_LO, (uint32_t)address));
    TRY(machine->write(machine->context, SOFA_REG_NEXT_HI, (uint32_t)(address >> 32)));
    return machine->write(machine->context, SOFA_REG_CTRL, SOFA_CTRL_START_CHAIN_MASK);
}

int sofa_poll(const struct sofa *machine, struct sofa_end *end)
{
    uint32_t status, error;

    TRY(machine->read(machine->context, SOFA_REG_STATUS, &status));
    if (status & SOFA_STATUS_BUSY_MASK)
        return SOFA_BUSY;
    if (!(status & (SOFA_STATUS_DONE_MASK | SOFA_STATUS_ERROR_MASK)))
        return SOFA_IDLE;
    TRY(machine->read(machine->context, SOFA_REG_JOBS, &end->jobs));
    TRY(machine->read(machine->context, SOFA_REG_ERROR, &error));
    end->code = (uint8_t)((error & SOFA_ERROR_CODE_MASK) >> SOFA_ERROR_CODE_LSB);
    end->info = (uint8_t)((error & SOFA_ERROR_INFO_MASK) >> SOFA_ERROR_INFO_LSB);
    end->lost = (uint8_t)((error & (SOFA_ERROR_READS_LOST_MASK | SOFA_ERROR_WRITES_LOST_MASK))
                          >> SOFA_ERROR_READS_LOST_LSB);
    return status & SOFA_STATUS_ERROR_MASK ? SOFA_FAILED : SOFA_OK;
}

int sofa_irq_enable(const struct sofa *machine, int on)
{
    return machine->write(machine->context, SOFA_REG_IRQ_ENABLE,
                          on ? SOFA_IRQ_ENABLE_DONE_MASK | SOFA_IRQ_ENABLE_ERROR_MASK : 0);
}

int sofa_irq(const struct sofa *machine, struct sofa_end *end)
{
    uint32_t pending;

    TRY(machine->read(machine->context, SOFA_REG_IRQ_STATUS, &pending));
    if (!pending)
        return SOFA_IDLE;
    TRY(machine->write(machine->context, SOFA_REG_IRQ_STATUS, pending));
    return sofa_poll(machine, end);
}

int sofa_abort(const struct sofa *machine)
{
    return machine->write(machine->context, SOFA_REG_CTRL, SOFA_CTRL_SOFT_RESET_MASK);
}
