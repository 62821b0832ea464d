// SPDX-License-Identifier: Apache-2.0
// Which row needs which key of a tile, one bit each, read a key at a time.
//
// Why: lists say what a row needs, the schedule asks which rows need a key. Every row turns its
// list entries into a mask of keys; a key's column is one bit of every row.
// Not done here: counting; the lists' memory.
// Latency: an entry is in the mask one cycle after wr_en, a column is there one cycle after rd_en
// and stays while rd_en is low. Throughput: a list word (4 entries of every row) and a column
// every cycle.
// Source: docs/architecture.md section 10.3.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module rass_matrix #(
    // Query rows, power of two, 4..128.
    parameter ROWS = 16,
    // Largest tile, power of two, 8..64.
    parameter BC_MAX = 32,
    // Bits of a tile slot. Derived: leave at its default.
    parameter SLOT_W = $clog2(BC_MAX)
) (
    input  wire                         clk,

    // No row needs any key
    input  wire                         clear,

    // List word: entry i of row r at index r*4 + i: {valid, slot}
    input  wire                         wr_en,
    input  wire [ROWS*4*(SLOT_W+1)-1:0] wr_data,

    // Rows that need the key
    input  wire                         rd_en,
    input  wire [SLOT_W-1:0]            rd_key,
    output wire [ROWS-1:0]              column
);

    generate
        if (ROWS < 4 || ROWS > 128 || (1 << $clog2(ROWS)) != ROWS
                || BC_MAX < 8 || BC_MAX > 64 || (1 << SLOT_W) != BC_MAX) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_rass_matrix_needs_powers_of_2_ROWS_4_128_BC_MAX_8_64 stop ();
        end
    endgenerate

    localparam ENT_W = SLOT_W + 1;

    genvar r, i;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            // The four entries as masks of keys, one behind the other
            wire [4*BC_MAX-1:0] hit;
            for (i = 0; i < 4; i = i + 1) begin : g_entry
                wire [ENT_W-1:0] entry = wr_data[(r*4+i)*ENT_W +: ENT_W];
                // The slot of an invalid entry has no meaning, maybe no value.
                wire [SLOT_W-1:0] slot = entry[SLOT_W-1:0] & {SLOT_W{entry[SLOT_W]}};
                assign hit[i*BC_MAX +: BC_MAX] = {{(BC_MAX-1){1'b0}}, entry[SLOT_W]} << slot;
            end

            reg [BC_MAX-1:0] need_reg;
            reg              column_reg;
            assign column[r] = column_reg;

            always @(posedge clk) begin
                if (wr_en) begin
                    need_reg <= need_reg | hit[0 +: BC_MAX] | hit[BC_MAX +: BC_MAX]
                                | hit[2*BC_MAX +: BC_MAX] | hit[3*BC_MAX +: BC_MAX];
                end
                if (clear) begin
                    need_reg <= {BC_MAX{1'b0}};
                end
                if (rd_en) begin
                    column_reg <= need_reg[rd_key];
                end
            end
        end
    endgenerate

endmodule

`resetall
