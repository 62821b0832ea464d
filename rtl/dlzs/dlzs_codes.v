// SPDX-License-Identifier: Apache-2.0
// Ring of two buffers of query codes: encodes Q as it is written, delivers an element of all rows.
//
// Why: a block's Q is read once for every pass over its keys; codes are stored instead of numbers,
// a third of the bits, and QE encoders do for all rows. Rows are kept in corner buffers of QE rows
// each, the narrowest that takes a beat, which keeps the rotators small.
// Not done here: fill state of the ring.
// Latency: written codes are readable two cycles after wr_valid; rd_code follows rd_en by one
// cycle and holds while rd_en is low. Throughput: one beat and one read every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module dlzs_codes #(
    // Query rows, a power of two, QE..128.
    parameter ROWS = 4,
    // Elements of a beat, a power of two, 4..32.
    parameter QE = 4,
    // Largest head dimension, a power of two, QE..256.
    parameter D_MAX = 16,
    // 1: codes carry the bit after the leading one.
    parameter TWO_TERM = 0,
    // Bits of ports. Derived: leave at their defaults.
    parameter CODE_W = 5 + TWO_TERM,
    parameter ROW_W = $clog2(ROWS),
    parameter ELEM_W = $clog2(D_MAX)
) (
    input  wire                   clk,
    input  wire                   rst,

    // Snap rule: 0 floor, 1 nearest, 2 two-term
    input  wire [1:0]             cfg_snap,

    // Elements QE*wr_beat .. +QE-1 of a row
    input  wire                   wr_valid,
    input  wire                   wr_buf,
    input  wire [ROW_W-1:0]       wr_row,
    input  wire [7:0]             wr_beat,
    input  wire [QE*16-1:0]       wr_data,

    // Element rd_elem of all rows
    input  wire                   rd_en,
    input  wire                   rd_buf,
    input  wire [ELEM_W-1:0]      rd_elem,
    output wire [ROWS*CODE_W-1:0] rd_code
);

    generate
        if (ROWS < QE || ROWS > 128 || ROWS != (1 << ROW_W) || QE < 2 || QE > 32
                || QE != (1 << $clog2(QE)) || D_MAX < QE || D_MAX > 256
                || D_MAX != (1 << ELEM_W)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_dlzs_codes_needs_ROWS_power_of_two_QE_to_128_D_MAX_QE_to_256 stop ();
        end
    endgenerate

    localparam LANE_W = $clog2(QE);
    localparam GROUPS = ROWS / QE;

    wire [QE*CODE_W-1:0] encoded;

    reg                  valid_reg;
    reg                  buf_reg;
    reg  [ROW_W-1:0]     row_reg;
    reg  [7:0]           beat_reg;
    reg  [QE*CODE_W-1:0] encoded_reg;

    genvar i;
    generate
        for (i = 0; i < QE; i = i + 1) begin : g_encode
            dlzs_encode #(
                .TWO_TERM (TWO_TERM)
            ) encode_inst (
                .snap (cfg_snap),
                .q    (wr_data[i*16 +: 16]),
                .code (encoded[i*CODE_W +: CODE_W])
            );
        end

        for (i = 0; i < GROUPS; i = i + 1) begin : g_rows
            wire here;
            if (GROUPS == 1) begin : g_here
                assign here = 1'b1;
            end else begin : g_here
                localparam [ROW_W-1:0] I = i;
                assign here = row_reg[ROW_W-1:LANE_W] == I[ROW_W-LANE_W-1:0];
            end

            corner_buffer #(
                .LANES  (QE),
                .ELEMS  (D_MAX),
                .WIDTH  (CODE_W),
                .BEAT   (QE),
                .BUFS   (2),
                .ROTATE (1)
            ) buffer_inst (
                .clk      (clk),
                .wr_valid (valid_reg && here),
                .wr_buf   (buf_reg),
                .wr_lane  (row_reg[LANE_W-1:0]),
                .wr_beat  (beat_reg),
                .wr_data  (encoded_reg),
                .rd_en    (rd_en),
                .rd_buf   (rd_buf),
                .rd_elem  (rd_elem),
                .rd_data  (rd_code[i*QE*CODE_W +: QE*CODE_W])
            );
        end
    endgenerate

    always @(posedge clk) begin
        valid_reg <= wr_valid;
        if (wr_valid) begin
            buf_reg     <= wr_buf;
            row_reg     <= wr_row;
            beat_reg    <= wr_beat;
            encoded_reg <= encoded;
        end

        if (rst) begin
            valid_reg <= 1'b0;
        end
    end

endmodule

`resetall
