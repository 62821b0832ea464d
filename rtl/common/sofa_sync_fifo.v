// SPDX-License-Identifier: Apache-2.0
// Synchronous first-word fall-through FIFO made of registers.
//
// Why: decouples two neighbours whose rates differ for a short while, and breaks the path from
// m_ready to s_ready. The word on m_data is in a register of its own, which is filled from the
// others or, when these are empty, from the input: what reads it does not wait for a multiplexer of
// all words.
// Not done here: deep storage (sofa_ram_1r1w costs less area per bit), clock crossing, packets.
// Latency: a word taken at one edge is on m_data after that edge, so it can leave one cycle later.
// Throughput: one word in and one out every cycle. A full FIFO takes nothing, even in a cycle in
// which a word leaves, because s_ready does not look at m_ready.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sync_fifo #(
    // Bits of a word, at least 1.
    parameter WIDTH = 32,
    // Number of words, at least 2; need not be a power of two.
    parameter DEPTH = 4,
    // Bits of the fill level. Derived: leave at its default.
    parameter LEVEL_W = $clog2(DEPTH + 1)
) (
    input  wire               clk,
    input  wire               rst,

    // Empties the FIFO at the next edge; a word which enters or leaves in this cycle is dropped.
    input  wire               clear,

    // Input
    input  wire               s_valid,
    output wire               s_ready,
    input  wire [WIDTH-1:0]   s_data,

    // Output
    output wire               m_valid,
    input  wire               m_ready,
    output wire [WIDTH-1:0]   m_data,

    // Words stored, 0..DEPTH
    output wire [LEVEL_W-1:0] level
);

    generate
        if (WIDTH < 1 || DEPTH < 2 || LEVEL_W != $clog2(DEPTH + 1)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_sync_fifo_needs_WIDTH_1_up_DEPTH_2_up_LEVEL_W_derived stop ();
        end
    endgenerate

    // Words behind the one that is offered
    localparam WORDS = DEPTH - 1;
    localparam PTR_W = WORDS > 1 ? $clog2(WORDS) : 1;
    localparam [31:0] LAST_INDEX = WORDS - 1;
    localparam [31:0] FULL_LEVEL = DEPTH;
    localparam [31:0] ONE_LEVEL = 1;

    reg [WIDTH-1:0]   mem [0:WORDS-1];
    reg [WIDTH-1:0]   m_data_reg;
    reg [PTR_W-1:0]   wr_ptr_reg, wr_ptr_next;
    reg [PTR_W-1:0]   rd_ptr_reg, rd_ptr_next;
    reg [LEVEL_W-1:0] level_reg, level_next;
    // Copies of (level != DEPTH), (level != 0) and (level > 1), so that the handshake and the
    // choice of the next word start at registers.
    reg               s_ready_reg;
    reg               m_valid_reg;
    reg               more_reg;

    wire push = s_valid && s_ready_reg;
    wire pop  = m_valid_reg && m_ready;
    // m_data_reg takes a word: one behind it, or the one that enters
    wire load = m_ready || !m_valid_reg;

    assign s_ready = s_ready_reg;
    assign m_valid = m_valid_reg;
    assign m_data  = m_data_reg;
    assign level   = level_reg;

    always @* begin
        wr_ptr_next = wr_ptr_reg;
        rd_ptr_next = rd_ptr_reg;
        level_next  = level_reg;

        if (push && (more_reg || !load)) begin
            wr_ptr_next = (wr_ptr_reg == LAST_INDEX[PTR_W-1:0]) ? {PTR_W{1'b0}}
                                                                : wr_ptr_reg + 1'b1;
        end
        if (pop && more_reg) begin
            rd_ptr_next = (rd_ptr_reg == LAST_INDEX[PTR_W-1:0]) ? {PTR_W{1'b0}}
                                                                : rd_ptr_reg + 1'b1;
        end
        if (push && !pop) begin
            level_next = level_reg + 1'b1;
        end else if (pop && !push) begin
            level_next = level_reg - 1'b1;
        end
        if (clear) begin
            wr_ptr_next = {PTR_W{1'b0}};
            rd_ptr_next = {PTR_W{1'b0}};
            level_next  = {LEVEL_W{1'b0}};
        end
    end

    always @(posedge clk) begin
        wr_ptr_reg  <= wr_ptr_next;
        rd_ptr_reg  <= rd_ptr_next;
        level_reg   <= level_next;
        s_ready_reg <= (level_next != FULL_LEVEL[LEVEL_W-1:0]);
        m_valid_reg <= (level_next != {LEVEL_W{1'b0}});
        more_reg    <= (level_next > ONE_LEVEL[LEVEL_W-1:0]);

        // A word that goes to m_data_reg is written as well, at a place that the next one takes.
        if (push) begin
            mem[wr_ptr_reg] <= s_data;
        end
        if (load) begin
            m_data_reg <= more_reg ? mem[rd_ptr_reg] : s_data;
        end

        if (rst) begin
            wr_ptr_reg  <= {PTR_W{1'b0}};
            rd_ptr_reg  <= {PTR_W{1'b0}};
            level_reg   <= {LEVEL_W{1'b0}};
            s_ready_reg <= 1'b0;
            m_valid_reg <= 1'b0;
            more_reg    <= 1'b0;
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    // A word that is accepted at an arbitrary moment, and how many are to leave before it.
    (* anyseq *) wire  f_choose;
    reg                f_here = 1'b0;
    reg [LEVEL_W-1:0]  f_ahead;
    reg [WIDTH-1:0]    f_word;
    // Its place in the memory, where it is not the offered one
    wire [LEVEL_W:0]   f_sum = rd_ptr_reg + f_ahead - 1'b1;
    wire [LEVEL_W:0]   f_place = f_sum > LAST_INDEX[LEVEL_W:0] ? f_sum - WORDS[LEVEL_W:0] : f_sum;
    wire [PTR_W:0]     distance = (wr_ptr_reg >= rd_ptr_reg)
        ? wr_ptr_reg - rd_ptr_reg
        : wr_ptr_reg + LAST_INDEX[PTR_W:0] + 1'b1 - rd_ptr_reg;

    initial assume (rst);

    always @(posedge clk) begin
        started <= 1'b1;
        if (f_here) begin
            f_here  <= !(pop && f_ahead == 0);
            f_ahead <= f_ahead - pop;
        end else if (push && f_choose) begin
            f_here  <= 1'b1;
            f_ahead <= level_reg - pop;
            f_word  <= s_data;
        end
        if (rst || clear) begin
            f_here <= 1'b0;
        end

        if (started) begin
            // 1. The level never exceeds the depth, and the pointers stay inside the memory.
            assert (level_reg <= FULL_LEVEL[LEVEL_W-1:0]);
            assert (wr_ptr_reg <= LAST_INDEX[PTR_W-1:0] && rd_ptr_reg <= LAST_INDEX[PTR_W-1:0]);
            // 2. Beyond the offered word the level is the distance of the pointers; at equal
            //    pointers the memory is empty or full.
            assert (level_reg == distance + m_valid
                    || (distance == 0 && level_reg == FULL_LEVEL[LEVEL_W-1:0]));
            // 3. A word is offered exactly when one is stored, more when there are two.
            assert (m_valid == (level_reg != 0) && more_reg == (level_reg > 1));
            // 4. It accepts exactly when it is not full; not in the cycle after a reset.
            assert (s_ready == (level_reg != FULL_LEVEL[LEVEL_W-1:0] && !$past(rst)));
            // 5. An offered word stays until it is taken.
            if ($past(m_valid && !m_ready && !clear && !rst)) begin
                assert (m_valid && m_data == $past(m_data));
            end
            // 6. Any accepted word is inside until those before it have left, and is the next that
            //    leaves then: none is lost, doubled, changed or overtaken.
            if (f_here) begin
                assert (f_ahead < level_reg);
                assert ((f_ahead == 0 ? m_data_reg : mem[f_place[PTR_W-1:0]]) == f_word);
            end

            cover (level_reg == FULL_LEVEL[LEVEL_W-1:0]);
            cover (f_here && f_ahead + 1'b1 == FULL_LEVEL[LEVEL_W-1:0]);
            cover (f_here && f_ahead == 0 && pop && $past(f_ahead) == 1);
            cover (push && pop && distance == 0 && level_reg == 1);
            cover (push && pop && level_reg == DEPTH - 1);
            cover (clear && level_reg == FULL_LEVEL[LEVEL_W-1:0]);
        end
    end
`endif

endmodule

`resetall
