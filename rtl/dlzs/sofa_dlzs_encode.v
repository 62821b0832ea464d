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

    // The leading one of the magnitude is where the number first differs from its sign; bit i of d
    // says that bits i and i + 1 differ. A negative number's magnitude is ~q + 1: where only ones
    // of ~q stand behind the bit after the leading one, one more turns that bit, and where that is
    // a one too, the leading one moves up. Both are made for each place of the leading one, and the
    // sign, which has a long way to all, chooses at the end.
    wire [14:0] d = q[15:1] ^ q[14:0];

    // A difference from a bit on upwards; from it on downwards
    wire [14:1] up2    = d[14:1] | (d[14:1] >> 1);
    wire [14:1] up4    = up2 | (up2 >> 2);
    wire [14:1] up8    = up4 | (up4 >> 4);
    wire [14:1] up16   = up8 | (up8 >> 8);
    wire [13:0] down2  = d[13:0] | (d[13:0] << 1);
    wire [13:0] down4  = down2 | (down2 << 2);
    wire [13:0] down8  = down4 | (down4 << 4);
    wire [13:0] down16 = down8 | (down8 << 8);

    // Place of the leading one, one-hot; of each place, that a negative number's moves up from it,
    // and the bit after it, of a positive and of a negative number
    wire [14:0] lead  = d & ~{1'b0, up16};
    wire [14:0] moves = {~down16, 1'b1};
    wire [14:0] other = {d[13:0], 1'b0};
    wire [12:0] lone  = d[12:0] & {~down16[11:0], 1'b1};
    wire [14:0] after = (other & {lone, 2'b10}) | (~other & {down16[12:0], 2'b00});
    wire        more  = sign && |(lead & moves);
    wire        next  = sign ? |(lead & after) : |(lead[14:1] & ~d[13:0]);

    // Its number, and one more
    wire [3:0]  exp_floor = {|(lead & 15'h7f00), |(lead & 15'h70f0), |(lead & 15'h4ccc),
                             |(lead & 15'h2aaa)};
    wire [3:0]  exp_more  = {|(lead & 15'h7f80), |(lead & 15'h7878), |(lead & 15'h6666),
                             |(lead & 15'h5555)};
    wire        zero = !up16[1] && !more;
    // No exponent above 15 arises: the only number with 15 is -32768, whose next bit is 0.
    wire        up = snap == SNAP_NEAREST && next;
    wire [3:0]  exp = (more || up) ? exp_more : exp_floor;
    wire [4:0]  base = {sign, exp} & {5{!zero}};

    generate
        if (TWO_TERM == 0) begin : g_code
            assign code = base;
        end else begin : g_code
            assign code = {snap == 2'd2 && next && !zero, base};
        end
    endgenerate

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
