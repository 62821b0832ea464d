// SPDX-License-Identifier: Apache-2.0
// Register slice for a valid/ready stream: every output comes from a register.
//
// Why: put between two blocks it cuts all combinational paths, also the one of ready, without
// losing throughput.
// Not done here: storage beyond the two words which this needs (use sofa_sync_fifo).
// Latency: one cycle. Throughput: one word every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_skid_buffer #(
    // Bits of a word, at least 1.
    parameter WIDTH = 32
) (
    input  wire             clk,
    input  wire             rst,

    // Input
    input  wire             s_valid,
    output wire             s_ready,
    input  wire [WIDTH-1:0] s_data,

    // Output
    output wire             m_valid,
    input  wire             m_ready,
    output wire [WIDTH-1:0] m_data
);

    generate
        if (WIDTH < 1) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_skid_buffer_needs_WIDTH_1_up stop ();
        end
    endgenerate

    reg             m_valid_reg, m_valid_next;
    reg [WIDTH-1:0] m_data_reg, m_data_next;
    // The word which was accepted while the output was stalled, because ready answers a cycle late.
    reg             skid_valid_reg, skid_valid_next;
    reg [WIDTH-1:0] skid_data_reg, skid_data_next;
    // Low only while the skid word is occupied (and in reset).
    reg             s_ready_reg;

    assign s_ready = s_ready_reg;
    assign m_valid = m_valid_reg;
    assign m_data  = m_data_reg;

    wire push = s_valid && s_ready_reg;
    wire free = m_ready || !m_valid_reg;

    always @* begin
        m_valid_next    = m_valid_reg;
        m_data_next     = m_data_reg;
        skid_valid_next = skid_valid_reg;
        skid_data_next  = skid_data_reg;

        if (free) begin
            m_valid_next    = skid_valid_reg || push;
            m_data_next     = skid_valid_reg ? skid_data_reg : s_data;
            skid_valid_next = 1'b0;
        end else if (push) begin
            skid_valid_next = 1'b1;
            skid_data_next  = s_data;
        end
    end

    always @(posedge clk) begin
        m_valid_reg    <= m_valid_next;
        m_data_reg     <= m_data_next;
        skid_valid_reg <= skid_valid_next;
        skid_data_reg  <= skid_data_next;
        s_ready_reg    <= !skid_valid_next;

        if (rst) begin
            m_valid_reg    <= 1'b0;
            skid_valid_reg <= 1'b0;
            s_ready_reg    <= 1'b0;
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    // A word that is accepted at an arbitrary moment, and how many are to leave before it.
    (* anyseq *) wire f_choose;
    reg               f_here = 1'b0;
    reg               f_ahead;
    reg [WIDTH-1:0]   f_word;
    wire              pop = m_valid && m_ready;
    wire [1:0]        level = m_valid_reg + skid_valid_reg;

    initial assume (rst);

    always @(posedge clk) begin
        started <= 1'b1;
        if (f_here) begin
            f_here  <= !(pop && !f_ahead);
            f_ahead <= f_ahead && !pop;
        end else if (push && f_choose) begin
            f_here  <= 1'b1;
            f_ahead <= level != pop;
            f_word  <= s_data;
        end
        if (rst) begin
            f_here <= 1'b0;
        end

        if (started) begin
            // 1. The skid word is used only behind an occupied output.
            assert (!skid_valid_reg || m_valid_reg);
            // 2. Nothing is accepted while the skid word is occupied.
            assert (!(s_ready_reg && skid_valid_reg));
            // 3. An offered word stays until it is taken.
            if ($past(m_valid && !m_ready && !rst)) begin
                assert (m_valid && m_data == $past(m_data));
            end
            // 4. Any accepted word is inside until those before it have left, and is the next that
            //    leaves then: none is lost, doubled, changed or overtaken.
            if (f_here) begin
                assert (level > f_ahead);
                assert ((f_ahead ? skid_data_reg : m_data_reg) == f_word);
            end
            // 5. It accepts whenever it is not full, so that a word a cycle passes.
            assert (s_ready == !skid_valid_reg || $past(rst));

            cover (skid_valid_reg && m_valid && m_ready);
            cover (f_here && f_ahead);
            cover (f_here && !f_ahead && pop);
            cover (push && pop);
        end
    end
`endif

endmodule

`resetall
