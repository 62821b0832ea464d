// SPDX-License-Identifier: Apache-2.0
// Counts the toggles of every net of a gate netlist with cell delays: an event-driven simulation of
// one clock, which scripts/silicon/toggle.py compiles, feeds and reads.
//
// A cycle: registers, clock gates and memories take what they see, their outputs and the inputs of
// the block change after their delays, and events run until nothing changes. A gate's pulse that is
// shorter than its delay is lost (inertial delay). All state is 0 at first.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 8192, PINS = 6 };

typedef struct {
    int32_t out, pins, in[PINS], delay[2];
    uint64_t table;
} gate_t;

typedef struct {
    int32_t d, domain, q[2], delay[2];
} reg_t;

typedef struct {
    int32_t words, bits, address, wr_en, rd_en, wr_addr, wr_data, rd_addr, rd_data;
} mem_t;

typedef struct {
    int32_t net, next;
} event_t;

static int32_t nets, gates;
static gate_t *gate;
static int32_t *first, *user;
static uint8_t *val, *want, *start;
static int32_t *pending;
static event_t *event;
static int32_t event_room, event_free, live, slot[SLOTS];
static int32_t *touched, touches;
static uint8_t *seen;

static void put(int32_t net, int32_t value, int64_t at) {
    if (event_free < 0) {
        int32_t old = event_room;
        event_room = old ? 2 * old : 1 << 16;
        event = realloc(event, sizeof(event_t) * event_room);
        for (int32_t i = old; i < event_room; i++) event[i].next = i + 1 < event_room ? i + 1 : -1;
        event_free = old;
    }
    int32_t e = event_free;
    event_free = event[e].next;
    event[e].net = net;
    event[e].next = slot[at % SLOTS];
    slot[at % SLOTS] = e;
    pending[net] = e;
    want[net] = value;
    live++;
}

static void aim(int32_t net, int32_t value, int64_t at) {
    if (pending[net] >= 0) {
        if (want[net] == value) return;
        pending[net] = -1;
    }
    if (val[net] != value) put(net, value, at);
}

static void evaluate(const gate_t *g, int64_t now) {
    int32_t index = 0;
    for (int32_t i = 0; i < g->pins; i++) index |= val[g->in[i]] << i;
    int32_t v = g->table >> index & 1;
    aim(g->out, v, now + g->delay[v]);
}

// Runs until nothing is pending; 0, or -1 when it does not end.
static int settle(uint64_t *toggles) {
    for (int64_t now = 1; live; now++) {
        if (now > 64 * SLOTS) return -1;
        int32_t *head = &slot[now % SLOTS];
        while (*head >= 0) {
            int32_t e = *head, net = event[e].net;
            *head = event[e].next;
            event[e].next = event_free;
            event_free = e;
            live--;
            if (pending[net] != e) continue;
            pending[net] = -1;
            if (val[net] == want[net]) continue;
            if (!seen[net]) {
                seen[net] = 1;
                start[net] = val[net];
                touched[touches++] = net;
            }
            val[net] = want[net];
            if (toggles) toggles[net]++;
            for (int32_t u = first[net]; u < first[net + 1]; u++) evaluate(&gate[user[u]], now);
        }
    }
    return 0;
}

// Nets 0 and 1 are the constants. Memory pins are places in ``pin``, lists of nets. Domains: 0 is the
// clock; domain i has a parent and an enable. changes: (net, value) of cycle c from change_at[c] on,
// likewise expect, which outputs are compared with. Counted are cycles from ``from`` to ``to``.
// Results: toggles; settled: toggles without those that a cycle takes back; wrong: cycles in which a
// compared net differed; clocks of domains; reads and writes of memories. -1: gates oscillate.
int simulate(int32_t nets_, int32_t gates_, gate_t *gate_, int32_t *first_, int32_t *user_,
             int32_t regs, reg_t *reg, int32_t domains, int32_t *parent, int32_t *enable,
             int32_t mems, mem_t *mem, int32_t *pin, int32_t mem_delay, int32_t in_delay,
             int32_t cycles, int64_t *change_at, int32_t *change, int64_t *expect_at,
             int32_t *expect, int32_t compared, int32_t *compare, int32_t from, int32_t to,
             uint64_t *toggles, uint64_t *settled, uint64_t *wrong, uint64_t *clocks,
             uint64_t *reads, uint64_t *writes) {
    nets = nets_, gates = gates_, gate = gate_, first = first_, user = user_;
    val = calloc(nets, 1), want = calloc(nets, 1), start = calloc(nets, 1), seen = calloc(nets, 1);
    pending = malloc(4 * nets), touched = malloc(4 * nets);
    memset(pending, 0xff, 4 * nets);
    memset(slot, 0xff, sizeof slot);
    event = NULL, event_room = 0, event_free = -1, live = 0, touches = 0;
    uint8_t *expected = calloc(nets, 1), *on = calloc(domains, 1), *next = calloc(regs + 1, 1);
    uint8_t **store = calloc(mems + 1, sizeof *store), **word = calloc(mems + 1, sizeof *word);
    for (int32_t m = 0; m < mems; m++) {
        store[m] = calloc((size_t)mem[m].words * mem[m].bits, 1);
        word[m] = calloc(mem[m].bits, 1);
    }
    val[1] = 1;
    for (int32_t r = 0; r < regs; r++)
        if (reg[r].q[1] >= 0) put(reg[r].q[1], 1, 1);
    for (int32_t g = 0; g < gates; g++) evaluate(&gate[g], 0);
    int status = settle(NULL);
    for (int32_t c = 0; c < cycles && !status; c++) {
        int count = c >= from && c < to;
        for (int32_t i = 0; i < touches; i++) seen[touched[i]] = 0;
        touches = 0;
        on[0] = 1;
        for (int32_t d = 1; d < domains; d++) on[d] = on[parent[d]] && val[enable[d]];
        if (count)
            for (int32_t d = 0; d < domains; d++) clocks[d] += on[d];
        for (int32_t r = 0; r < regs; r++) next[r] = on[reg[r].domain] ? val[reg[r].d] : 2;
        for (int32_t m = 0; m < mems; m++) {
            const mem_t *k = &mem[m];
            int64_t ra = 0, wa = 0;
            for (int32_t i = 0; i < k->address; i++) {
                ra |= (int64_t)val[pin[k->rd_addr + i]] << i;
                wa |= (int64_t)val[pin[k->wr_addr + i]] << i;
            }
            if (val[pin[k->rd_en]]) {
                if (ra < k->words) memcpy(word[m], store[m] + ra * k->bits, k->bits);
                reads[m] += count;
                for (int32_t i = 0; i < k->bits; i++)
                    if (pin[k->rd_data + i] >= 0) aim(pin[k->rd_data + i], word[m][i], mem_delay);
            }
            if (val[pin[k->wr_en]]) {
                writes[m] += count;
                for (int32_t i = 0; i < k->bits && wa < k->words; i++)
                    store[m][wa * k->bits + i] = val[pin[k->wr_data + i]];
            }
        }
        for (int32_t r = 0; r < regs; r++)
            for (int32_t i = 0; i < 2 && next[r] < 2; i++)
                if (reg[r].q[i] >= 0) aim(reg[r].q[i], next[r] ^ i, reg[r].delay[next[r] ^ i]);
        for (int64_t i = change_at[c]; i < change_at[c + 1]; i++)
            aim(change[2 * i], change[2 * i + 1], in_delay);
        status = settle(count ? toggles : NULL);
        for (int64_t i = expect_at[c]; i < expect_at[c + 1]; i++)
            expected[expect[2 * i]] = expect[2 * i + 1];
        if (count) {
            for (int32_t i = 0; i < touches; i++)
                settled[touched[i]] += val[touched[i]] != start[touched[i]];
            for (int32_t i = 0; i < compared; i++)
                wrong[compare[i]] += val[compare[i]] != expected[compare[i]];
        }
    }
    for (int32_t m = 0; m < mems; m++) free(store[m]), free(word[m]);
    free(val), free(want), free(start), free(seen), free(pending), free(touched), free(event);
    free(expected), free(on), free(next), free(store), free(word);
    return status;
}
