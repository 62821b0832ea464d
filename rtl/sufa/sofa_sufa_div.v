// SPDX-License-Identifier: Apache-2.0
// Reciprocal of a row's sum of weights: R = min(65535, floor(2^31 / l16)), and the shift of o.
//
// Why: the flush of a row needs one reciprocal. l is shifted until its leading one is in bit 15
// (l16; bits below are dropped). As l16 lies in 32768..65535 the quotient's leading one is known,
// and restoring division finds the other 15 bits, one a stage. l16 = 32768 gives 65535 by itself:
// the remainder never falls below it. l = 0 (the row used no key) gives R = 0.
// Latency: 18 cycles from in_valid to out_valid. Throughput: one row a cycle.
// Source: docs/architecture.md section 5.4, step 7.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sufa_div #(
    // Bits of a sum of weights, 16..32.
    parameter L_W = 28
) (
    input  wire           clk,
    input  wire           rst,

    input  wire           in_valid,
    input  wire [L_W-1:0] in_l,

    output wire           out_valid,
    // Reciprocal; shift of o: number of l's leading one - 8
    output wire [15:0]    out_r,
    output wire [4:0]     out_shift
);

    generate
        if (L_W < 16 || L_W > 32) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_sufa_div_needs_L_W_16_32 stop ();
        end
    endgenerate

    // Quotient bits below the leading one, one stage each.
    localparam STAGES = 15;

    // -----------------------------------------------------------------------------------------
    // Normalisation: the group of four bits with the leading one, as l comes late; the place in it
    // and the shift; then 2^16 - l16
    // -----------------------------------------------------------------------------------------
    wire [31:0] l_ext = {{(32 - L_W){1'b0}}, in_l};
    // Bit i: group i has a one, and no group above it.
    wire [7:0]  some, lead;

    reg  [STAGES+2:0] valid_reg;
    reg  [L_W-1:0]    l_reg;
    reg  [7:0]        lead_reg;
    reg  [4:0]        pos_n_reg, pos_0_reg;
    reg               zero_reg, zero_n_reg, zero_0_reg;
    reg  [14:0]       den_n_reg, den_0_reg;
    reg  [15:0]       rem_0_reg;
    // The group with the leading one, its number, and the 15 bits below it.
    wire [46:0]       l_long = {{(32 - L_W){1'b0}}, l_reg, 15'd0};
    wire [18:0]       top;
    wire [2:0]        group;
    wire [1:0]        place = top[18] ? 2'd3 : top[17] ? 2'd2 : {1'b0, top[16]};
    wire [18:0]       l_top = top >> place;
    wire              unused_top = &{1'b0, l_top[18:15]};

    genvar i, b;
    generate
        for (i = 0; i < 8; i = i + 1) begin : g_group
            assign some[i] = |l_ext[4*i +: 4];
            if (i == 7) begin : g_lead
                assign lead[i] = some[i];
            end else begin : g_lead
                // unreached expr: a sum is 0 or has the weight of the row's largest key, 2^13
                assign lead[i] = some[i] && !(|some[7:i+1]);
            end
        end
        for (b = 0; b < 19; b = b + 1) begin : g_top
            wire [7:0] column;
            for (i = 0; i < 8; i = i + 1) begin : g_bit
                // unreached expr: as above, and the leading one is in the group
                assign column[i] = lead_reg[i] && l_long[4*i + b];
            end
            assign top[b] = |column;
        end
    endgenerate

    assign group = {|lead_reg[7:4], |lead_reg[7:6] || |lead_reg[3:2],
                    lead_reg[7] || lead_reg[5] || lead_reg[3] || lead_reg[1]};

    always @(posedge clk) begin
        valid_reg <= {valid_reg[STAGES+1:0], in_valid};
        if (in_valid) begin
            l_reg    <= in_l;
            lead_reg <= lead;
            zero_reg <= !(|some);
        end
        if (valid_reg[0]) begin
            den_n_reg  <= l_top[14:0];
            pos_n_reg  <= {group, place};
            zero_n_reg <= zero_reg;
        end
        if (valid_reg[1]) begin
            // At most 2^15.
            rem_0_reg  <= ~{1'b1, den_n_reg} + 16'd1;
            den_0_reg  <= den_n_reg;
            pos_0_reg  <= pos_n_reg;
            zero_0_reg <= zero_n_reg;
        end
        if (rst) begin
            valid_reg <= {(STAGES + 3){1'b0}};
        end
    end

    // -----------------------------------------------------------------------------------------
    // Division
    // -----------------------------------------------------------------------------------------
    // Divisor without its leading one, remainder, quotient so far, per stage.
    wire [14:0] den  [0:STAGES];
    wire [15:0] rem  [0:STAGES];
    wire [14:0] quo  [0:STAGES];
    wire [4:0]  pos  [0:STAGES];
    wire        zero [0:STAGES];

    assign den[0]  = den_0_reg;
    assign rem[0]  = rem_0_reg;
    assign quo[0]  = 15'd0;
    assign pos[0]  = pos_0_reg;
    assign zero[0] = zero_0_reg;

    generate
        for (i = 0; i < STAGES; i = i + 1) begin : g_stage
            // Bit 17 is the sign of the difference.
            wire [17:0] less = {1'b0, rem[i], 1'b0} - {3'b001, den[i]};
            wire        one = !less[17];
            wire        unused_less = &{1'b0, less[16]};
            reg  [14:0] den_reg, quo_reg;
            reg  [15:0] rem_reg;
            reg  [4:0]  pos_i_reg;
            reg         zero_i_reg;

            always @(posedge clk) begin
                if (valid_reg[i+2]) begin
                    den_reg    <= den[i];
                    rem_reg    <= one ? less[15:0] : {rem[i][14:0], 1'b0};
                    quo_reg    <= {quo[i][13:0], one};
                    pos_i_reg  <= pos[i];
                    zero_i_reg <= zero[i];
                end
            end

            assign den[i+1]  = den_reg;
            assign rem[i+1]  = rem_reg;
            assign quo[i+1]  = quo_reg;
            assign pos[i+1]  = pos_i_reg;
            assign zero[i+1] = zero_i_reg;
        end
    endgenerate

    wire unused_end = &{1'b0, den[STAGES], rem[STAGES]};

    assign out_valid = valid_reg[STAGES+2];
    assign out_r     = zero[STAGES] ? 16'd0 : {1'b1, quo[STAGES]};
    assign out_shift = pos[STAGES] - 5'd8;

`ifdef FORMAL
    // What runs beside the stages: l as a whole, then l16, and the quotient so far and its product
    // with l16, which grow by shifting and adding.
    reg  [L_W-1:0] f_l_n, f_l_0;
    // l from the group of the leading one on
    wire [L_W-1:0] f_group = l_reg >> {group, 2'b00};
    wire [31:0]    f_wide_n = {{(32 - L_W){1'b0}}, f_l_n};
    wire [15:0]    f_low_n = f_wide_n << (5'd15 - pos_n_reg);
    wire [15:0]    f_high_n = f_wide_n >> (pos_n_reg - 5'd15);

    reg            started = 1'b0;

    initial assume (rst);

    always @(posedge clk) begin
        started <= 1'b1;
        if (valid_reg[0]) begin
            f_l_n <= l_reg;
        end
        if (started && valid_reg[0]) begin
            // 1. The group of four bits with the leading one.
            assert (zero_reg == (l_reg == 0));
            assert (lead_reg == (zero_reg ? 8'd0 : 8'd1 << group));
            assert (zero_reg || (f_group != 0 && f_group < 16));
        end
        if (started && valid_reg[1]) begin
            // 2. l16 is l with its leading one in bit 15; bits below are dropped.
            assert (zero_n_reg == (f_l_n == 0));
            assert (zero_n_reg || f_l_n >> pos_n_reg == 1);
            assert (zero_n_reg
                    || {1'b1, den_n_reg} == (pos_n_reg < 5'd15 ? f_low_n : f_high_n));
        end

        cover (out_valid && out_r == 16'hffff && out_shift == 5'd20);
        cover (out_valid && out_r == 16'h8000);
        cover (out_valid && out_r == 16'd0);
        cover (out_valid && out_r == 16'hcafe);
    end

    generate
        for (i = 0; i <= STAGES; i = i + 1) begin : f_stage
            wire [15:0] l16;
            wire [31:0] prod;
            wire [14:0] q;
            if (i == 0) begin : f_from
                assign l16  = {1'b1, den_0_reg};
                assign prod = {16'd0, l16};
                assign q    = 15'd0;
            end else begin : f_from
                reg [15:0] l16_reg;
                reg [31:0] prod_reg;
                reg [14:0] q_reg;
                assign l16  = l16_reg;
                assign prod = prod_reg;
                assign q    = q_reg;
                always @(posedge clk) begin
                    if (valid_reg[i+1]) begin
                        l16_reg  <= f_stage[i-1].l16;
                        q_reg    <= (f_stage[i-1].q << 1) + g_stage[i-1].one;
                        prod_reg <= (f_stage[i-1].prod << 1)
                                    + (g_stage[i-1].one ? {16'd0, f_stage[i-1].l16} : 32'd0);
                    end
                end
            end
            always @(posedge clk) begin
                if (started && valid_reg[i+2]) begin
                    // 3. Quotient so far and remainder are a division of 2^(16+i) by l16: at the
                    //    end R = floor(2^31 / l16). The remainder is below l16, but for
                    //    l16 = 2^15, where it is equal and R = 65535.
                    assert (quo[i] == q);
                    assert (prod + rem[i] == 32'd65536 << i);
                    assert (l16[15] && den[i] == l16[14:0]);
                    assert (rem[i] < l16 || (rem[i] == 16'h8000 && l16 == 16'h8000));
                end
            end
        end
    endgenerate
`endif

endmodule

`resetall
