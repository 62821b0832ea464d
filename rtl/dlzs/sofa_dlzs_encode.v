// SPDX-License-Identifier: Apache-2.0
// Leading-zero encoder: 16-bit number to sign and exponent (DLZS phase 1.2).
//
// Why: the prediction multiplies by powers of two only; this snaps a query element to one once,
// so that the array's cells need a shift instead of a multiplication. Only Q loses its mantissa.
// Not done here: the both-operand scheme (K8 stays linear).
// Latency: combinational. Throughput: one number every cycle.
// Source: SOFA, MICRO 2024, DLZS; formats in docs/architecture.md 5.1.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_dlzs_encode #(
    // 1: the code carries the bit after the leading one. 0: snap rule 2 acts as 0.
    parameter TWO_TERM = 0,
    // Bits of a code. Derived: leave at its default.
    parameter CODE_W = 5 + TWO_TERM
) (
    // 0 floor, 1 nearest, 2 two-term
    input  wire [1:0]        snap,
    input  wire [15:0]       q,
    // {[next,] sign, exp[3:0]}; all zero for |q| < 2
    output wire [CODE_W-1:0] code
);

    generate
        if (TWO_TERM < 0 || TWO_TERM > 1 || CODE_W != 5 + TWO_TERM) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_dlzs_encode_needs_TWO_TERM_0_or_1_CODE_W_derived stop ();
        end
    endgenerate

    localparam [1:0] SNAP_NEAREST = 2'd1;

    wire        sign = q[15];
    // 32768 fits: the magnitude is unsigned.
    wire [15:0] a = sign ? ~q + 16'd1 : q;

    // Normalise: after each step the leading one lies in the upper half of what is left.
    wire        e3 = |a[15:8];
    wire [15:0] a3 = e3 ? a : {a[7:0], 8'd0};
    wire        e2 = |a3[15:12];
    wire [15:0] a2 = e2 ? a3 : {a3[11:0], 4'd0};
    wire        e1 = |a2[15:14];
    wire [15:0] a1 = e1 ? a2 : {a2[13:0], 2'd0};
    wire        e0 = a1[15];
    // Bit after the leading one; a zero follows the ones place.
    wire        next = e0 ? a1[14] : a1[13];

    wire [3:0]  exp_floor = {e3, e2, e1, e0};
    wire        zero = exp_floor == 4'd0;
    // No exponent above 15 arises: the only number with 15 is -32768, whose next bit is 0.
    wire        up = snap == SNAP_NEAREST && next;
    wire [3:0]  exp = exp_floor + {3'd0, up};
    wire [4:0]  base = {sign, exp} & {5{!zero}};

    generate
        if (TWO_TERM == 0) begin : g_code
            assign code = base;
        end else begin : g_code
            assign code = {snap == 2'd2 && next && !zero, base};
        end
    endgenerate

    wire unused_low = &{1'b0, a1[12:0]};

`ifdef FORMAL
    wire [16:0] f_a = q[15] ? 17'd0 - {1'b1, q} : {1'b0, q};
    wire [3:0]  f_exp = code[3:0];
    // The number's leading one, and the code's value without a sign, twice, so that 1.5 is whole
    wire [3:0]  f_floor = f_exp - (snap == SNAP_NEAREST && f_a < (17'd1 << f_exp));
    wire [17:0] f_next = f_a >> (f_floor - 4'd1);

    always @* begin
        // 1. Numbers below 2 give the zero code, all others an exponent.
        assert ((f_a < 17'd2) == (f_exp == 4'd0));
        assert (f_exp != 4'd0 || code == 0);
        if (f_exp != 4'd0) begin
            // 2. The sign is the number's.
            assert (code[4] == q[15]);
            // 3. The floor of log2 |q|; by rule nearest one more, from 1.5 * 2^floor on.
            assert (f_floor != 4'd0 && (17'd1 << f_floor) <= f_a && f_a < (17'd2 << f_floor));
            assert (snap != SNAP_NEAREST || (f_exp != f_floor) == (2 * f_a >= (18'd3 << f_floor)));
        end
        // 4. By rule two-term the code has the bit after the leading one, else never; not with 15.
        if (TWO_TERM != 0) begin
            assert (code[CODE_W-1] == (snap == 2'd2 && f_exp != 4'd0 && f_next[0]));
            assert (!code[CODE_W-1] || f_exp != 4'd15);
        end

        cover (q == 16'h8000 && snap == SNAP_NEAREST);
        cover (snap == SNAP_NEAREST && f_exp == 4'd15 && !q[15]);
        cover (snap == 2'd2 && code[4] && f_next[0]);
    end
`endif

endmodule

`resetall
