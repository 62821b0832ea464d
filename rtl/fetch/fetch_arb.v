// SPDX-License-Identifier: Apache-2.0
// Chooses which client of the read master asks memory next.
//
// Why: everybody waits for the same bus, and the order decides whether stages starve.
//   - The K/V gather, K8 and the four streams take turns: K8 creates the work of everything behind
//     it, the gather feeds SU-FA, the streams feed key prediction and generation, and all stop by
//     themselves when their rings or FIFOs are full.
//   - Q of the next block has a whole block's time, so it only fills gaps (and gets one of
//     AGE + 1 grants otherwise), until K8 requests have reached its block: then it takes turns too.
//   - Of the gather, the older tile goes first, K before V of the same tile: SU-FA needs K(t),
//     V(t), K(t+1) in this order.
// So the bus never idles while anybody asks, and nobody starves: a party which takes turns waits
// for at most one grant of each of the six others, Q for at most AGE + 6.
// Not done here: registers in the path; grant is combinational on the requests.
// Latency: none. Throughput: one grant every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module fetch_arb (
    input  wire       clk,
    input  wire       rst,

    // Requests and the one-hot grant: bit 0 Q, 1 K8, 2 K, 3 V, 4 W, 5 R, 6 X, 7 D
    input  wire [7:0] req,
    output wire [7:0] grant,
    // The granted request leaves at this edge
    input  wire       take,

    // Q of a block is missing whose K8 was asked for
    input  wire       q_urgent,
    // V's walker is at an older tile than K's
    input  wire       v_first
);

    // Grants of others after which a waiting Q takes a turn.
    localparam [2:0] AGE = 3'd7;

    // Parties in the order of their turns: bit 0 gather, 1 K8, 2 Q, 3 W, 4 R, 5 X, 6 D.
    // Those behind the one which had the latest turn:
    reg [6:0] behind_reg, behind_next;
    reg [2:0] age_reg, age_next;

    wire kv     = req[2] || req[3];
    wire others = req[7:1] != 7'd0;
    wire q      = req[0] && (q_urgent || age_reg == AGE || !others);
    wire pick_v = req[3] && (v_first || !req[2]);

    wire [6:0] ask   = {req[7:4], q, req[1], kv};
    wire [6:0] ahead = ask & behind_reg;
    wire [6:0] from  = (ahead != 7'd0) ? ahead : ask;
    // The lowest bit.
    wire [6:0] pick  = from & (~from + 7'd1);

    assign grant = {pick[6:3], pick[0] && pick_v, pick[0] && !pick_v, pick[1], pick[2]};

    always @* begin
        behind_next = behind_reg;
        age_next    = age_reg;

        if (take) begin
            behind_next = ~(pick | (pick - 7'd1));
            if (grant[0]) begin
                age_next = 3'd0;
            end else if (req[0] && age_reg != AGE) begin
                age_next = age_reg + 3'd1;
            end
        end
    end

    always @(posedge clk) begin
        behind_reg <= behind_next;
        age_reg    <= age_next;

        if (rst) begin
            // As after a turn of the gather.
            behind_reg <= 7'b1111110;
            age_reg    <= 3'd0;
        end
    end

endmodule

`resetall
