// SPDX-License-Identifier: Apache-2.0
// Chooses which client of the read master asks memory next.
//
// Why: everybody waits for the same bus, and the order decides whether stages starve.
//   - Keys (K and V), K8, Q and the four streams take turns, a request each: all stop by themselves
//     when their places, rings or FIFOs are full.
//   - While prediction has blocks but no tile (q_later) and K8 asks, Q only fills gaps. While it
//     has tiles enough (k8_later) and Q asks, K8 only fills gaps: tiles to come are worth nothing
//     before Q of their part is there.
//   - Who only fills gaps has a turn all the same after AGE grants of others.
// So the bus never idles while anybody asks, and nobody starves: a party which takes turns waits
// for at most one grant of each of the six others, Q and K8 for at most AGE + 6.
// Not done here: registers in the path; grant is combinational on the requests.
// Latency: none. Throughput: one grant every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_fetch_arb (
    input  wire       clk,
    input  wire       rst,

    // Requests and the one-hot grant: bit 0 Q, 1 K8, 2 K, 3 V, 4 W, 5 R, 6 X, 7 D; K before V
    input  wire [7:0] req,
    output wire [7:0] grant,
    // The granted request leaves at this edge
    input  wire       take,

    // K8 first; Q first. Not both: q_later wins
    input  wire       q_later,
    input  wire       k8_later
);

    // Grants of others after which a waiting Q or K8 takes a turn.
    localparam [2:0] AGE = 3'd7;

    // Parties in the order of their turns: bit 0 keys, 1 K8, 2 Q, 3 W, 4 R, 5 X, 6 D.
    // Those behind the one which had the latest turn:
    reg [6:0] behind_reg, behind_next;
    reg [2:0] q_age_reg, q_age_next;
    reg [2:0] k8_age_reg, k8_age_next;

    wire kv      = req[2] || req[3];
    wire q_gaps  = q_later && req[1] && q_age_reg != AGE;
    wire k8_gaps = k8_later && !q_later && req[0] && k8_age_reg != AGE;

    wire [6:0] ask   = {req[7:4], req[0] && !q_gaps, req[1] && !k8_gaps, kv};
    // The lowest that asks behind the latest turn, else of all: nobody asks who comes before it.
    wire [6:0] pick;

    genvar i, j;
    generate
        for (i = 0; i < 7; i = i + 1) begin : g_pick
            wire [6:0] ahead;
            for (j = 0; j < 7; j = j + 1) begin : g_before
                if (j < i) begin : g_order
                    assign ahead[j] = behind_reg[j] || !behind_reg[i];
                end else begin : g_order
                    assign ahead[j] = behind_reg[j] && !behind_reg[i];
                end
            end
            assign pick[i] = ask[i] && (ask & ahead) == 7'd0;
        end
    endgenerate

    assign grant = {pick[6:3], pick[0] && !req[2], pick[0] && req[2], pick[1], pick[2]};

    always @* begin
        behind_next = behind_reg;
        q_age_next  = q_age_reg;
        k8_age_next = k8_age_reg;

        if (take) begin
            behind_next = ~(pick | (pick - 7'd1));
            if (grant[0]) begin
                q_age_next = 3'd0;
            end else if (req[0] && q_age_reg != AGE) begin
                q_age_next = q_age_reg + 3'd1;
            end
            if (grant[1]) begin
                k8_age_next = 3'd0;
            end else if (req[1] && k8_age_reg != AGE) begin
                k8_age_next = k8_age_reg + 3'd1;
            end
        end
    end

    always @(posedge clk) begin
        behind_reg <= behind_next;
        q_age_reg  <= q_age_next;
        k8_age_reg <= k8_age_next;

        if (rst) begin
            // As after a turn of the keys.
            behind_reg <= 7'b1111110;
            q_age_reg  <= 3'd0;
            k8_age_reg <= 3'd0;
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    // An arbitrary party, in the order of the turns, and grants of others while it waits
    (* anyconst *) wire [2:0] f_party;
    reg  [4:0] f_wait = 5'd0;
    wire [6:0] f_asks = {req[7:4], req[0], req[1], kv};
    wire [6:0] f_gets = {grant[7:4], grant[0], grant[1], grant[2] || grant[3]};
    wire       f_gaps = f_party == 3'd1 || f_party == 3'd2;
    wire [2:0] f_age  = f_party == 3'd1 ? k8_age_reg : q_age_reg;
    // Parties which had a turn before the one behind the latest: behind_reg has ones above these
    wire [2:0] f_turn = 3'd7 - (behind_reg[0] + behind_reg[1] + behind_reg[2] + behind_reg[3]
                                + behind_reg[4] + behind_reg[5] + behind_reg[6]);
    // Turns from there to the party's own, 1..7
    wire [3:0] f_way = f_party >= f_turn ? f_party - f_turn + 4'd1 : f_party + 4'd8 - f_turn;

    initial assume (rst);

    always @* begin
        assume (f_party < 3'd7);
    end

    always @(posedge clk) begin
        started <= 1'b1;
        if (rst || !f_asks[f_party] || (take && f_gets[f_party])) begin
            f_wait <= 5'd0;
        end else if (take && grant != 8'd0) begin
            f_wait <= f_wait + 5'd1;
        end
        // The user takes only what is granted.
        assume (!take || grant != 8'd0);

        if (started) begin
            // 1. At most one is granted, and only one that asks.
            assert ((grant & (grant - 8'd1)) == 8'd0 && (grant & ~req) == 8'd0);
            // 2. Somebody is granted while anybody asks.
            assert (grant != 8'd0 || req == 8'd0);
            // 3. K goes before V.
            assert (!(grant[3] && req[2]));
            // 4. Who is to fill gaps gets nothing while the other asks, until it has waited for
            //    AGE grants.
            assert (!(grant[0] && q_later && req[1] && q_age_reg != AGE));
            assert (!(grant[1] && k8_later && !q_later && req[0] && k8_age_reg != AGE));
            // 5. Nobody starves: a party waits for at most 6 grants of others, Q and K8 for
            //    AGE + 5.
            assert (f_wait <= (f_gaps ? 5'd12 : 5'd6));
            // 6. What that follows from: the turns move on, past each party at most once.
            assert (((behind_reg << 1) & ~behind_reg & 7'h7f) == 7'd0 && behind_reg != 7'h7f);
            assert (f_gaps || f_wait + f_way <= 7);
            assert (!f_gaps || (f_age == AGE ? f_wait + f_way <= 13 : f_wait <= f_age));

            cover (f_wait == 6 && !f_gaps);
            cover (f_wait == 12 && f_party == 3'd1);
            cover (f_wait == 12 && f_party == 3'd2);
            cover (grant[3] && q_later);
        end
    end
`endif

endmodule

`resetall
