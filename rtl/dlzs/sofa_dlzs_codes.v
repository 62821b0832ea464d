// SPDX-License-Identifier: Apache-2.0
// Codes of the resident blocks: encodes Q as it is written, delivers an element of all rows.
//
// Why: a block's Q is read once for every pass over its keys; codes are stored instead of numbers,
// a third of the bits, and QE encoders do for all rows. A block lies at place*cfg_beats beats of
// every row, so that small heads have more places. Rows are kept in corner memories of QE rows
// each, the narrowest that takes a beat, which keeps the rotators small.
// Not done here: which places are in use.
// Latency: written codes are readable two cycles after wr_valid; rd_code follows rd_en by one
// cycle and holds while rd_en is low. Throughput: one beat and one read every cycle.
// Errors: none are found; (place + 1)*cfg_beats must not exceed BEATS.
// Source: SOFA, MICRO 2024, DLZS phase 1.2; docs/dlzs.md.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_dlzs_codes #(
    // Query rows, a power of two, QE..128.
    parameter ROWS = 4,
    // Elements of a beat, a power of two, 4..32.
    parameter QE = 4,
    // Largest head dimension, a power of two, 2*QE..256.
    parameter D_MAX = 16,
    // Most blocks, a power of two, 2..8.
    parameter PLACES = 4,
    // Beats of a row, for all its places, 2*D_MAX/QE..256.
    parameter BEATS = 8,
    // 1: codes carry the bit after the leading one.
    parameter TWO_TERM = 0,
    // Bits of ports. Derived: leave at their defaults.
    parameter CODE_W = 5 + TWO_TERM,
    parameter ROW_W = $clog2(ROWS),
    parameter ELEM_W = $clog2(D_MAX),
    parameter PLACE_W = $clog2(PLACES),
    parameter BEAT_W = $clog2(BEATS)
) (
    input  wire                   clk,
    input  wire                   rst,

    // Snap rule: 0 floor, 1 nearest, 2 two-term; beats of a vector, ceil(d/QE)
    input  wire [1:0]             cfg_snap,
    input  wire [6:0]             cfg_beats,

    // Elements QE*wr_beat .. +QE-1 of a row
    input  wire                   wr_valid,
    input  wire [PLACE_W-1:0]     wr_place,
    input  wire [ROW_W-1:0]       wr_row,
    input  wire [7:0]             wr_beat,
    input  wire [QE*16-1:0]       wr_data,

    // Element rd_elem of all rows of the block that begins at beat rd_base
    input  wire                   rd_en,
    input  wire [BEAT_W-1:0]      rd_base,
    input  wire [ELEM_W-1:0]      rd_elem,
    output wire [ROWS*CODE_W-1:0] rd_code
);

    generate
        if (QE < 4 || QE > 32 || QE != (1 << $clog2(QE))) begin : g_illegal
            // No such modules exist: elaboration stops at the first with a message that names it.
            illegal_parameter_QE_needs_power_of_two_4_to_32 stop ();
        end else if (ROWS < QE || ROWS > 128 || ROWS != (1 << $clog2(ROWS))) begin : g_illegal
            illegal_parameter_ROWS_needs_power_of_two_QE_to_128 stop ();
        end else if (D_MAX < 2 * QE || D_MAX > 256 || D_MAX != (1 << $clog2(D_MAX)))
        begin : g_illegal
            illegal_parameter_D_MAX_needs_power_of_two_2_QE_to_256 stop ();
        end else if (PLACES < 2 || PLACES > 8 || PLACES != (1 << $clog2(PLACES)))
        begin : g_illegal
            illegal_parameter_PLACES_needs_power_of_two_2_to_8 stop ();
        end else if (BEATS < 2 * D_MAX / QE || BEATS > 256) begin : g_illegal
            illegal_parameter_BEATS_needs_two_blocks_of_D_MAX_to_256 stop ();
        end else if (TWO_TERM < 0 || TWO_TERM > 1 || CODE_W != 5 + TWO_TERM
                || ROW_W != $clog2(ROWS) || ELEM_W != $clog2(D_MAX)
                || PLACE_W != $clog2(PLACES) || BEAT_W != $clog2(BEATS)) begin : g_illegal
            illegal_parameter_TWO_TERM_needs_0_or_1_widths_are_derived stop ();
        end
    endgenerate

    localparam LANE_W = $clog2(QE);
    localparam GROUPS = ROWS / QE;

    wire [QE*CODE_W-1:0] encoded;
    wire [9:0]           wr_base = {{(10 - PLACE_W){1'b0}}, wr_place} * {3'd0, cfg_beats};
    wire [9:0]           wr_sum = wr_base + {2'd0, wr_beat};
    wire [BEAT_W-1:0]    rd_beat = rd_base + {{(BEAT_W + LANE_W - ELEM_W){1'b0}},
                                              rd_elem[ELEM_W-1:LANE_W]};
    wire                 unused_sum = &{1'b0, wr_sum};

    reg                  valid_reg;
    reg  [ROW_W-1:0]     row_reg;
    // By how many lanes the row's elements move
    reg  [LANE_W-1:0]    amount_reg;
    reg  [BEAT_W-1:0]    beat_reg;
    reg  [QE*CODE_W-1:0] encoded_reg;
    wire                 unused_row = &{1'b0, row_reg};

    genvar i;
    generate
        for (i = 0; i < QE; i = i + 1) begin : g_encode
            sofa_dlzs_encode #(
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

            sofa_dlzs_corner #(
                .LANES (QE),
                .BEATS (BEATS),
                .WIDTH (CODE_W)
            ) corner_inst (
                .clk       (clk),
                .wr_valid  (valid_reg && here),
                .wr_amount (amount_reg),
                .wr_beat   (beat_reg),
                .wr_data   (encoded_reg),
                .rd_en     (rd_en),
                .rd_beat   (rd_beat),
                .rd_offset (rd_elem[LANE_W-1:0]),
                .rd_data   (rd_code[i*QE*CODE_W +: QE*CODE_W])
            );
        end
    endgenerate

    always @(posedge clk) begin
        valid_reg <= wr_valid;
        if (wr_valid) begin
            row_reg     <= wr_row;
            amount_reg  <= -wr_row[LANE_W-1:0];
            beat_reg    <= wr_sum[BEAT_W-1:0];
            encoded_reg <= encoded;
        end

        if (rst) begin
            valid_reg <= 1'b0;
        end
    end

endmodule

`resetall
