// SPDX-License-Identifier: Apache-2.0
// Memory with one read port and one write port.
//
// Why: the only memory wrapper of the project. A port to a technology with compiled memories
// replaces this one file; nothing else infers a memory.
// Not done here: initial contents (undefined until written), byte enables, error correction,
// forwarding of new data.
// Latency: a read takes one cycle. rd_data holds its value while rd_en is low. A read of the
// address being written in the same cycle returns the OLD word.
// Throughput: one read and one write every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_ram_1r1w #(
    // Bits of a word, at least 1.
    parameter WIDTH = 32,
    // Number of words, at least 2; need not be a power of two. Accesses beyond it are not allowed.
    parameter DEPTH = 64,
    // Bits of an address. Derived: leave at its default.
    parameter ADDR_W = $clog2(DEPTH)
) (
    input  wire              clk,

    // Write port
    input  wire              wr_en,
    input  wire [ADDR_W-1:0] wr_addr,
    input  wire [WIDTH-1:0]  wr_data,

    // Read port
    input  wire              rd_en,
    input  wire [ADDR_W-1:0] rd_addr,
    output wire [WIDTH-1:0]  rd_data
);

    generate
        if (WIDTH < 1 || DEPTH < 2 || ADDR_W != $clog2(DEPTH)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_ram_1r1w_needs_WIDTH_1_up_DEPTH_2_up_ADDR_W_derived stop ();
        end
    endgenerate

    reg [WIDTH-1:0] mem [0:DEPTH-1];
    reg [WIDTH-1:0] rd_data_reg;

    assign rd_data = rd_data_reg;

    always @(posedge clk) begin
        if (wr_en) begin
            mem[wr_addr] <= wr_data;
        end
        if (rd_en) begin
            rd_data_reg <= mem[rd_addr];
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    // An arbitrary word, and what was last written there
    (* anyconst *) wire [ADDR_W-1:0] f_addr;
    reg             f_known = 1'b0;
    reg [WIDTH-1:0] f_word;

    always @* begin
        assume (f_addr < DEPTH && (!wr_en || wr_addr < DEPTH) && (!rd_en || rd_addr < DEPTH));
    end

    always @(posedge clk) begin
        started <= 1'b1;
        if (wr_en && wr_addr == f_addr) begin
            f_known <= 1'b1;
            f_word  <= wr_data;
        end
        // 1. Every word keeps what was last written to it.
        assert (!f_known || mem[f_addr] == f_word);
        if (started && $past(rd_en && rd_addr == f_addr && f_known)) begin
            // 2. A read returns that a cycle later; of a word that is being written, the old one.
            assert (rd_data == $past(f_word));
            cover ($past(wr_en && wr_addr == f_addr) && rd_data != f_word);
        end
        // 3. Between reads the data stays.
        if (started && !$past(rd_en)) begin
            assert (rd_data == $past(rd_data));
        end

        cover (started && !$past(rd_en) && f_known && rd_data == f_word && f_word != 0);
    end
`endif

endmodule

`resetall
