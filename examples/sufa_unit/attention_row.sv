// SPDX-License-Identifier: Apache-2.0
// Softmax attention of one query row at a time on a lifted unit of SU-FA.
//
// Why: shows all that a unit needs of its user, on ports of whole vectors. Files: rtl/sufa/sufa.f
// has more than enough; sofa.core, file set sufa_unit, names exactly those of the unit.
// A row: q with q_valid when q_ready is high; then its keys with key_valid and key_ready, the last
// one with key_last; then o_valid for one cycle with the output. o = sum(p*v)/sum(p) with
// p = 2^(q.k * scale_m / 2^(8 + scale_shift + 10)), see docs/architecture.md section 5.4.
// One row of one block in one place is used; a unit can hold PLACES_O blocks of ROWS_U rows.

`timescale 1ns / 1ps
`default_nettype none

module attention_row #(
    // Elements of a vector, multiple of W, at least 16.
    parameter int D = 16,
    // Elements of a beat, power of two, 4..32.
    parameter int W = 4
) (
    input  wire             clk,
    input  wire             rst,

    input  wire             q_valid,
    output wire             q_ready,
    input  wire [D*16-1:0]  q,
    input  wire [15:0]      scale_m,
    input  wire [5:0]       scale_shift,

    input  wire             key_valid,
    output wire             key_ready,
    input  wire             key_last,
    input  wire [D*16-1:0]  k,
    input  wire [D*16-1:0]  v,

    output logic            o_valid,
    output logic [D*16-1:0] o
);

    // D_MAX of the unit is a power of two.
    localparam int D_MAX = 1 << $clog2(D);
    localparam int BEATS = D / W;
    localparam int C_W = $clog2(D_MAX / W + 1);
    localparam int F_FRAC = 8;
    // Beats of an item on the bus: K, then V; the mean of V at the end of the block.
    localparam int N_W = $clog2(2 * BEATS + 1);
    localparam logic [N_W-1:0] LAST_V = N_W'(2 * BEATS - 1);
    localparam logic [N_W-1:0] LAST = N_W'(BEATS - 1);

    typedef enum logic [2:0] {S_IDLE, S_Q, S_KEY, S_BEATS, S_END, S_MEAN, S_OUT} state_t;
    state_t           state_reg;
    logic [N_W-1:0]   beat_reg;
    logic [D*16-1:0]  q_reg;
    logic [2*D*16-1:0] kv_reg;
    logic [15:0]      scale_m_reg;
    logic [5:0]       scale_shift_reg;
    logic             last_reg;

    wire              kv_ready, beat_valid, beat_last;
    wire [W*16-1:0]   beat_data;
    wire [C_W-1:0]    beat_number;
    // First beats wait until a whole key has room in the unit; the others never wait.
    wire              start = state_reg == S_KEY && key_valid && kv_ready;
    wire              finish = state_reg == S_END && kv_ready;

    assign q_ready   = state_reg == S_IDLE;
    assign key_ready = state_reg == S_KEY && kv_ready;

    always_ff @(posedge clk) begin
        o_valid <= 1'b0;
        case (state_reg)
            S_IDLE: if (q_valid) begin
                q_reg           <= q;
                scale_m_reg     <= scale_m;
                scale_shift_reg <= scale_shift;
                beat_reg        <= '0;
                state_reg       <= S_Q;
            end
            S_Q: begin
                q_reg    <= q_reg >> W * 16;
                beat_reg <= beat_reg + 1'b1;
                if (beat_reg == LAST) state_reg <= S_KEY;
            end
            S_KEY: if (start) begin
                // The first beat of K goes out in this cycle.
                kv_reg    <= {v, k} >> W * 16;
                last_reg  <= key_last;
                beat_reg  <= N_W'(1);
                state_reg <= S_BEATS;
            end
            S_BEATS: begin
                kv_reg   <= kv_reg >> W * 16;
                beat_reg <= beat_reg + 1'b1;
                if (beat_reg == LAST_V) state_reg <= last_reg ? S_END : S_KEY;
            end
            S_END: if (finish) begin
                beat_reg  <= N_W'(1);
                state_reg <= BEATS == 1 ? S_OUT : S_MEAN;
            end
            S_MEAN: begin
                beat_reg <= beat_reg + 1'b1;
                if (beat_reg == LAST) state_reg <= S_OUT;
            end
            S_OUT: if (beat_valid && beat_last) begin
                o_valid   <= 1'b1;
                state_reg <= S_IDLE;
            end
            default: state_reg <= S_IDLE;
        endcase
        if (beat_valid) o[beat_number * W * 16 +: W * 16] <= beat_data;
        if (rst) begin
            state_reg <= S_IDLE;
            o_valid   <= 1'b0;
        end
    end

    // Events, taps and what several blocks would need are left open.
    /* verilator lint_off PINCONNECTEMPTY */
    sofa_sufa_unit #(
        .W        (W),
        .ROWS_U   (2),
        .PLACES_Q (2),
        .PLACES_O (2),
        .D_MAX    (D_MAX),
        .F_FRAC   (F_FRAC),
        .CREDITS  (D_MAX / W),
        .TAPS     (0)
    ) unit_inst (
        .clk              (clk),
        .rst              (rst),
        .cfg_d            (9'(D)),
        // The block's place, with its scales
        .t_wr_valid       (state_reg == S_Q && beat_reg == '0),
        .t_wr_place       (1'b0),
        .t_wr_q_place     (1'b0),
        .t_wr_scale_m     (scale_m_reg),
        .t_wr_scale_shift (scale_shift_reg),
        .q_wr_valid       (state_reg == S_Q),
        .q_wr_place       (1'b0),
        .q_wr_row         (1'b0),
        .q_wr_beat        (C_W'(beat_reg)),
        .q_wr_data        (q_reg[W*16-1:0]),
        // Nothing was dropped from this row: its share is 1, and the mean below has no weight.
        .f_wr_valid       (state_reg == S_Q && beat_reg == '0),
        .f_wr_place       (1'b0),
        .f_wr_row         (1'b0),
        .f_wr_data        ({1'b1, {F_FRAC{1'b0}}}),
        .kv_valid         (start || state_reg == S_BEATS || finish || state_reg == S_MEAN),
        .kv_ready         (kv_ready),
        .kv_data          (state_reg == S_KEY ? k[W*16-1:0]
                           : state_reg == S_BEATS ? kv_reg[W*16-1:0] : '0),
        // Row 0 of place 0 wants every key; no end is without rows.
        .kv_some          (1'b1),
        .kv_mask          (4'b0001),
        .kv_end           (state_reg == S_END),
        .kv_end_place     (1'b0),
        .kv_end_rows      (2'd1),
        .q_done_valid     (),
        .q_done_place     (),
        .o_valid          (beat_valid),
        .o_data           (beat_data),
        .o_place          (),
        .o_row            (),
        .o_beat           (beat_number),
        .o_last           (beat_last),
        // The output register always has room: a credit back for every beat.
        .o_credit         (beat_valid),
        .ev_busy          (),
        .ev_flush         (),
        .ev_stall         (),
        .ev_starve        (),
        .ev_maxupd        (),
        .tap_e_valid      (),
        .tap_e_row        (),
        .tap_e_z          (),
        .tap_e_p          (),
        .tap_e_m          (),
        .tap_e_dm         (),
        .tap_e_l          (),
        .tap_l_valid      (),
        .tap_l_row        (),
        .tap_l            (),
        .tap_o_valid      (),
        .tap_o_row        (),
        .tap_o_beat       (),
        .tap_o            (),
        .tap_r            ()
    );
    /* verilator lint_on PINCONNECTEMPTY */

endmodule

`default_nettype wire
