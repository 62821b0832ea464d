// SPDX-License-Identifier: Apache-2.0
// One query row of the SU-FA array: two QK multipliers, two SV multipliers, output memory.
//
// Why: everything a row needs for itself. What is the same for all rows comes from outside: the
// stage enables, the list half, the K and V words. The row names the bank that holds its own key
// (k_sel, v_sel) and gets that bank's element back, so that all rows gather different keys in
// lockstep. Output stationary: o[e] stays in the row over all steps and tiles of a block. The
// first step of a block ignores the old content, so nothing needs to be cleared; so does the flush
// of a block without steps.
// The flush of a block uses the same shifter and the same multiplier: o[e] is read, shifted by
// `dm` (then the position of the sum's leading one), rounded, and multiplied by `p_a` (then the
// reciprocal of the sum).
// An invalid entry feeds zeros to its multipliers; whatever the buffers hold there has no effect.
// Not done here: addresses, order of steps, the weights (sufa_exp.v), the reciprocal
// (sufa_div.v).
// Latency: K word to s 4 cycles after the last element; V word to the sum in memory 4 cycles;
// o[e] to out 6 cycles. Throughput: one element of two keys per cycle, QK and SV each.
// Source: SOFA (MICRO 2024), SU-FA; docs/architecture.md section 5.4.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sufa_row #(
    // Largest head dimension, power of two, 16..256.
    parameter D_MAX = 128,
    // Bits of a slot number, 3..6.
    parameter SLOT_W = 6,
    // Bits of an output sum, 26 or more.
    parameter O_W = 36,
    // Bits of an element number. Derived: leave at its default.
    parameter ELEM_W = $clog2(D_MAX),
    // Bits of an exact dot product and of what is kept of it. Derived: leave at their defaults.
    parameter S_W = 32 + ELEM_W,
    parameter SD_W = S_W - 8
) (
    input  wire              clk,

    // The two list entries of a step: {valid, slot}
    input  wire [SLOT_W:0]   ent_a,
    input  wire [SLOT_W:0]   ent_b,

    // QK: take the entries; K and Q word present; products; sums; copy the sums out
    input  wire              qk_ld,
    input  wire              qk_in_en,
    input  wire              qk_mul_en,
    input  wire              qk_acc_en,
    input  wire              qk_acc_first,
    input  wire              qk_cap,
    output wire [SLOT_W-1:0] k_sel_a,
    output wire [SLOT_W-1:0] k_sel_b,
    input  wire [15:0]       k_a,
    input  wire [15:0]       k_b,
    input  wire [15:0]       q,

    // Scores of the last step, top SD_W bits, stable until the next qk_cap
    output wire [SD_W-1:0]   s_a,
    output wire [SD_W-1:0]   s_b,
    output wire [1:0]        s_valid,

    // Weights and shift of the next step, or reciprocal and shift of the flush
    input  wire              w_wr,
    input  wire [15:0]       w_pa,
    input  wire [15:0]       w_pb,
    input  wire [5:0]        w_dm,

    // SV: take the entries, the weights, the shift; stage enables
    input  wire              sv_ld,
    input  wire              sv_ld_p,
    input  wire              sv_ld_dm,
    input  wire              sv_in_en,
    input  wire              sv_fin_en,
    input  wire              sv_mul_en,
    input  wire              sv_sum_en,
    input  wire              sv_sum_fin,
    output wire [SLOT_W-1:0] v_sel_a,
    output wire [SLOT_W-1:0] v_sel_b,
    input  wire [15:0]       v_a,
    input  wire [15:0]       v_b,

    // Output memory: read, shift, write back
    input  wire              o_rd_en,
    input  wire [ELEM_W-1:0] o_rd_elem,
    input  wire              o_sh_en,
    input  wire              o_sh_first,
    input  wire              o_wr_en,
    input  wire [ELEM_W-1:0] o_wr_elem,

    // Normalised output
    input  wire              out_en,
    output wire [15:0]       out,

    // Taps: o' one cycle after sv_fin_en, and the reciprocal
    output wire [15:0]       tap_o,
    output wire [15:0]       tap_r
);

    generate
        if (D_MAX < 16 || D_MAX > 256 || D_MAX != (1 << $clog2(D_MAX)) || SLOT_W < 3 || SLOT_W > 6
                || O_W < 26 || ELEM_W != $clog2(D_MAX) || S_W != 32 + ELEM_W
                || SD_W != S_W - 8) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sufa_row_needs_D_MAX_16_256_SLOT_W_3_6_O_W_26_up stop ();
        end
    endgenerate

    // Weights carry 15 fraction bits, output sums 7: 8 bits are rounded away.
    localparam [33:0] ROUND_STEP = 34'd128;
    // out = (o' * R) / 2^15, rounded.
    localparam [33:0] ROUND_FIN = 34'd16384;

    // -----------------------------------------------------------------------------------------
    // QK
    // -----------------------------------------------------------------------------------------
    reg [SLOT_W-1:0] k_sel_a_reg, k_sel_b_reg;
    // Entry valid: while its elements enter; while its sums grow; beside the captured scores.
    reg [1:0]        qk_valid_reg, acc_valid_reg, s_valid_reg;
    reg [15:0]       q_reg, k_a_reg, k_b_reg;
    reg [31:0]       qk_a_reg, qk_b_reg;
    reg [S_W-1:0]    acc_a_reg, acc_b_reg;
    reg [SD_W-1:0]   s_a_reg, s_b_reg;

    wire [S_W-1:0] qk_a_ext = {{(S_W - 32){qk_a_reg[31]}}, qk_a_reg};
    wire [S_W-1:0] qk_b_ext = {{(S_W - 32){qk_b_reg[31]}}, qk_b_reg};
    wire [S_W-1:0] acc_a_old = qk_acc_first ? {S_W{1'b0}} : acc_a_reg;
    wire [S_W-1:0] acc_b_old = qk_acc_first ? {S_W{1'b0}} : acc_b_reg;

    assign k_sel_a = k_sel_a_reg;
    assign k_sel_b = k_sel_b_reg;
    assign s_a = s_a_reg;
    assign s_b = s_b_reg;
    assign s_valid = s_valid_reg;

    always @(posedge clk) begin
        if (qk_ld) begin
            k_sel_a_reg <= ent_a[SLOT_W-1:0];
            k_sel_b_reg <= ent_b[SLOT_W-1:0];
            qk_valid_reg <= {ent_b[SLOT_W], ent_a[SLOT_W]};
        end else if (qk_in_en) begin
            // Element e of a slot lies in bank (slot + e) mod BC_MAX.
            k_sel_a_reg <= k_sel_a_reg + 1'b1;
            k_sel_b_reg <= k_sel_b_reg + 1'b1;
        end
        if (qk_in_en) begin
            q_reg <= q;
            k_a_reg <= qk_valid_reg[0] ? k_a : 16'd0;
            k_b_reg <= qk_valid_reg[1] ? k_b : 16'd0;
        end
        if (qk_mul_en) begin
            qk_a_reg <= $signed(q_reg) * $signed(k_a_reg);
            qk_b_reg <= $signed(q_reg) * $signed(k_b_reg);
        end
        if (qk_acc_en) begin
            acc_a_reg <= acc_a_old + qk_a_ext;
            acc_b_reg <= acc_b_old + qk_b_ext;
            if (qk_acc_first) begin
                acc_valid_reg <= qk_valid_reg;
            end
        end
        if (qk_cap) begin
            s_a_reg <= acc_a_reg[S_W-1:8];
            s_b_reg <= acc_b_reg[S_W-1:8];
            s_valid_reg <= acc_valid_reg;
        end
    end

    // -----------------------------------------------------------------------------------------
    // SV
    // -----------------------------------------------------------------------------------------
    reg [15:0]       next_pa_reg, next_pb_reg;
    reg [5:0]        next_dm_reg;
    reg [15:0]       pa_reg, pb_reg;
    reg [5:0]        dm_reg;
    reg [SLOT_W-1:0] v_sel_a_reg, v_sel_b_reg;
    reg [1:0]        sv_valid_reg;
    reg [15:0]       x_a_reg, x_b_reg;
    reg [32:0]       sv_a_reg, sv_b_reg;
    reg [25:0]       sum_reg;
    reg [O_W-1:0]    o_sh_reg;
    reg [15:0]       out_reg;

    wire [O_W-1:0] o_rd_data;
    wire [O_W-1:0] o_shifted = $signed(o_rd_data) >>> dm_reg;
    wire [O_W-1:0] o_new = o_sh_reg + {{(O_W - 26){sum_reg[25]}}, sum_reg};

    wire [33:0] sum = {sv_a_reg[32], sv_a_reg} + {sv_b_reg[32], sv_b_reg}
                      + (sv_sum_fin ? ROUND_FIN : ROUND_STEP);
    wire        unused_sum = &{1'b0, sum[7:0]};

    // o' = (o + 1) / 2 and out = sum / 2^15, saturated to 16 bits. (o + 1) / 2 is o / 2 plus the
    // bit shifted out.
    wire [O_W-1:0] fin_half = {o_sh_reg[O_W-1], o_sh_reg[O_W-1:1]}
                              + {{(O_W - 1){1'b0}}, o_sh_reg[0]};
    wire           fin_fits = &fin_half[O_W-1:15] || !(|fin_half[O_W-1:15]);
    wire [15:0]    fin_sat = fin_fits ? fin_half[15:0] : {fin_half[O_W-1], {15{!fin_half[O_W-1]}}};
    wire           out_fits = &sum_reg[25:22] || !(|sum_reg[25:22]);
    wire [15:0]    out_sat = out_fits ? sum_reg[22:7] : {sum_reg[25], {15{!sum_reg[25]}}};

    assign v_sel_a = v_sel_a_reg;
    assign v_sel_b = v_sel_b_reg;
    assign out = out_reg;
    assign tap_o = x_a_reg;
    assign tap_r = pa_reg;

    always @(posedge clk) begin
        if (w_wr) begin
            next_pa_reg <= w_pa;
            next_pb_reg <= w_pb;
            next_dm_reg <= w_dm;
        end
        if (sv_ld) begin
            v_sel_a_reg <= ent_a[SLOT_W-1:0];
            v_sel_b_reg <= ent_b[SLOT_W-1:0];
            sv_valid_reg <= {ent_b[SLOT_W], ent_a[SLOT_W]};
        end else if (sv_in_en) begin
            v_sel_a_reg <= v_sel_a_reg + 1'b1;
            v_sel_b_reg <= v_sel_b_reg + 1'b1;
        end
        if (sv_ld_p) begin
            pa_reg <= next_pa_reg;
            pb_reg <= next_pb_reg;
        end
        if (sv_ld_dm) begin
            dm_reg <= next_dm_reg;
        end
        if (sv_in_en) begin
            x_a_reg <= sv_valid_reg[0] ? v_a : 16'd0;
            x_b_reg <= sv_valid_reg[1] ? v_b : 16'd0;
        end else if (sv_fin_en) begin
            x_a_reg <= fin_sat;
            x_b_reg <= 16'd0;
        end
        if (sv_mul_en) begin
            sv_a_reg <= $signed({1'b0, pa_reg}) * $signed(x_a_reg);
            sv_b_reg <= $signed({1'b0, pb_reg}) * $signed(x_b_reg);
        end
        if (sv_sum_en) begin
            sum_reg <= sum[33:8];
        end
        if (o_sh_en) begin
            o_sh_reg <= o_sh_first ? {O_W{1'b0}} : o_shifted;
        end
        if (out_en) begin
            out_reg <= out_sat;
        end
    end

    ram_1r1w #(
        .WIDTH (O_W),
        .DEPTH (D_MAX)
    ) o_ram_inst (
        .clk     (clk),
        .wr_en   (o_wr_en),
        .wr_addr (o_wr_elem),
        .wr_data (o_new),
        .rd_en   (o_rd_en),
        .rd_addr (o_rd_elem),
        .rd_data (o_rd_data)
    );

endmodule

`resetall
