// SPDX-License-Identifier: Apache-2.0
// The machine that Verilator makes of the Verilog, with clock, memory and register bus, behind
// functions that compiled.py calls through ctypes.
//
// Memory: an AXI4 slave over bytes, in order, full bus width. A read beat comes read_latency cycles
// after its address at the earliest, an answer write_latency cycles after the last write beat (or
// its address, when that is later); one beat a cycle, no stalls, up to OPEN bursts at a time. Write
// data may come before its address. Addresses outside of it answer DECERR. In every cycle it does
// what AxiMemory of the test benches does with these latencies.

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <type_traits>

#include "Vsofa.h"
#include "verilated.h"

namespace {

constexpr unsigned BUS = sizeof(std::remove_reference_t<decltype(Vsofa::m_axi_rdata)>);
constexpr size_t OPEN = 256;
constexpr uint8_t OKAY = 0, DECERR = 3;
// Bytes of a read beat that is answered with an error, so that its use shows.
constexpr uint8_t POISON = 0xE7;
// Cycles that a register access may take.
constexpr int PATIENCE = 1000;

struct Burst {
    uint64_t address;
    unsigned left;
    uint8_t id;
    uint8_t response;
    uint64_t due;
};

struct Beat {
    uint8_t data[BUS];
    uint64_t strobe;
};

class Machine {
public:
    Machine(uint64_t base, uint8_t* memory, uint64_t size, uint64_t read_latency,
            uint64_t write_latency)
        : base_(base), memory_(memory), size_(size), read_latency_(read_latency), write_latency_(write_latency),
          top_(new Vsofa(&context_, "sofa")) {
        top_->clk = 0;
        top_->eval();
    }

    ~Machine() { top_->final(); }

    void reset() {
        top_->rst = 1;
        top_->s_axil_awvalid = top_->s_axil_wvalid = top_->s_axil_arvalid = 0;
        top_->s_axil_bready = top_->s_axil_rready = 0;
        top_->eval();
        for (int i = 0; i < 4; ++i) edge();
        top_->rst = 0;
        top_->eval();
        edge();
    }

    // The response, or -1 without one.
    int write(uint32_t offset, uint32_t value) {
        top_->s_axil_awaddr = offset;
        top_->s_axil_wdata = value;
        top_->s_axil_wstrb = 15;
        top_->s_axil_awvalid = top_->s_axil_wvalid = top_->s_axil_bready = 1;
        top_->eval();
        int response = -1;
        for (int i = 0; i < PATIENCE && response < 0; ++i) {
            const bool address = top_->s_axil_awready, data = top_->s_axil_wready;
            if (top_->s_axil_bvalid) response = top_->s_axil_bresp;
            edge();
            if (address) top_->s_axil_awvalid = 0;
            if (data) top_->s_axil_wvalid = 0;
            if (response >= 0) top_->s_axil_bready = 0;
            top_->eval();
        }
        top_->s_axil_awvalid = top_->s_axil_wvalid = top_->s_axil_bready = 0;
        top_->eval();
        return response;
    }

    int read(uint32_t offset, uint32_t* value) {
        top_->s_axil_araddr = offset;
        top_->s_axil_arvalid = top_->s_axil_rready = 1;
        top_->eval();
        int response = -1;
        for (int i = 0; i < PATIENCE && response < 0; ++i) {
            const bool address = top_->s_axil_arready;
            if (top_->s_axil_rvalid) {
                response = top_->s_axil_rresp;
                *value = top_->s_axil_rdata;
            }
            edge();
            if (address) top_->s_axil_arvalid = 0;
            if (response >= 0) top_->s_axil_rready = 0;
            top_->eval();
        }
        top_->s_axil_arvalid = top_->s_axil_rready = 0;
        top_->eval();
        return response;
    }

    // Runs until the interrupt is up, at most limit cycles; whether it is.
    int wait(uint64_t limit) {
        for (uint64_t i = 0; i < limit && !top_->irq; ++i) edge();
        return top_->irq;
    }

    uint64_t cycle = 0;

    uint64_t reads() const { return reads_.size() + (top_->m_axi_rvalid && top_->m_axi_rlast); }
    uint64_t writes() const { return to_write_.size() + answers_.size() + top_->m_axi_bvalid; }

private:
    bool inside(uint64_t address) const {
        return address >= base_ && address + BUS <= base_ + size_;
    }

    void write_beat(const Beat& beat) {
        Burst& burst = to_write_.front();
        if (!inside(burst.address)) {
            burst.response = DECERR;
        } else {
            uint8_t* at = memory_ + (burst.address - base_);
            for (unsigned i = 0; i < BUS; ++i)
                if (beat.strobe >> i & 1) at[i] = beat.data[i];
        }
        burst.address += BUS;
        if (--burst.left == 0) {
            burst.due = cycle + write_latency_ - 1;
            answers_.push_back(burst);
            to_write_.pop_front();
        }
    }

    // One rising edge. The memory sees the signals as they are before it, as registers do, and
    // what it drives changes after it.
    void edge() {
        Vsofa& t = *top_;
        bool arready = false, awready = false, wready = false, rvalid = false, bvalid = false;
        bool offered = false, answered = false;
        Beat read{};
        uint8_t rid = 0, rresp = OKAY, rlast = 0, bid = 0, bresp = OKAY;

        if (t.rst) {
            reads_.clear();
            to_write_.clear();
            answers_.clear();
            early_.clear();
        } else {
            if (t.m_axi_arvalid && t.m_axi_arready)
                reads_.push_back({t.m_axi_araddr, t.m_axi_arlen + 1u, uint8_t(t.m_axi_arid), OKAY,
                                  cycle + read_latency_ - 1});
            rvalid = t.m_axi_rvalid && !t.m_axi_rready;
            const bool waits = rvalid && t.m_axi_rlast;
            arready = reads_.size() + waits < OPEN;
            if (!rvalid && !reads_.empty() && reads_.front().due <= cycle) {
                Burst& burst = reads_.front();
                offered = rvalid = true;
                if (inside(burst.address)) {
                    std::memcpy(read.data, memory_ + (burst.address - base_), BUS);
                } else {
                    std::memset(read.data, POISON, BUS);
                    rresp = DECERR;
                }
                rid = burst.id;
                burst.address += BUS;
                rlast = --burst.left == 0;
                if (rlast) reads_.pop_front();
            }

            if (t.m_axi_awvalid && t.m_axi_awready) {
                to_write_.push_back({t.m_axi_awaddr, t.m_axi_awlen + 1u, uint8_t(t.m_axi_awid),
                                     OKAY, 0});
                while (!early_.empty() && !to_write_.empty()) {
                    write_beat(early_.front());
                    early_.pop_front();
                }
            }
            if (t.m_axi_wvalid && t.m_axi_wready) {
                Beat beat;
                std::memcpy(beat.data, &t.m_axi_wdata, BUS);
                beat.strobe = t.m_axi_wstrb;
                if (to_write_.empty()) early_.push_back(beat);
                else write_beat(beat);
            }
            bvalid = t.m_axi_bvalid && !t.m_axi_bready;
            if (!bvalid && !answers_.empty() && answers_.front().due <= cycle) {
                answered = bvalid = true;
                bid = answers_.front().id;
                bresp = answers_.front().response;
                answers_.pop_front();
            }
            awready = to_write_.size() + answers_.size() + bvalid < OPEN;
            wready = true;
        }

        t.clk = 1;
        t.eval();
        t.clk = 0;
        t.m_axi_arready = arready;
        t.m_axi_awready = awready;
        t.m_axi_wready = wready;
        t.m_axi_rvalid = rvalid;
        t.m_axi_bvalid = bvalid;
        if (offered) {
            std::memcpy(&t.m_axi_rdata, read.data, BUS);
            t.m_axi_rid = rid;
            t.m_axi_rresp = rresp;
            t.m_axi_rlast = rlast;
        }
        if (answered) {
            t.m_axi_bid = bid;
            t.m_axi_bresp = bresp;
        }
        t.eval();
        ++cycle;
    }

    uint64_t base_;
    uint8_t* memory_;
    uint64_t size_, read_latency_, write_latency_;
    VerilatedContext context_;
    std::unique_ptr<Vsofa> top_;
    std::deque<Burst> reads_, to_write_, answers_;
    std::deque<Beat> early_;
};

}  // namespace

extern "C" {

// memory: size bytes of the caller's, from address base on.
void* sofa_make(uint64_t base, uint8_t* memory, uint64_t size, uint64_t read_latency,
                uint64_t write_latency) {
    return new Machine(base, memory, size, read_latency, write_latency);
}
void sofa_free(void* machine) { delete static_cast<Machine*>(machine); }
void sofa_reset(void* machine) { static_cast<Machine*>(machine)->reset(); }
int sofa_write(void* machine, uint32_t offset, uint32_t value) {
    return static_cast<Machine*>(machine)->write(offset, value);
}
int sofa_read(void* machine, uint32_t offset, uint32_t* value) {
    return static_cast<Machine*>(machine)->read(offset, value);
}
int sofa_wait(void* machine, uint64_t limit) {
    return static_cast<Machine*>(machine)->wait(limit);
}
uint64_t sofa_cycle(void* machine) { return static_cast<Machine*>(machine)->cycle; }
uint64_t sofa_reads(void* machine) { return static_cast<Machine*>(machine)->reads(); }
uint64_t sofa_writes(void* machine) { return static_cast<Machine*>(machine)->writes(); }

}  // extern "C"
