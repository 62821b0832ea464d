// SPDX-License-Identifier: Apache-2.0
// Chooses which client of the read master asks memory next.
//
// Why: everybody waits for the same bus, and the order decides whether stages starve.
//   - K/V gather and K8 take turns: K8 creates the work of everything behind it, the gather feeds
//     SU-FA, and both stop by themselves when their rings are full.
//   - Q of the next block has a whole block's time, so it only fills gaps (and gets one of
//     AGE + 1 grants otherwise), until K8 requests have reached its block: then it takes turns too.
//   - Of the gather, the older tile goes first, K before V of the same tile: SU-FA needs K(t),
//     V(t), K(t+1) in this order.
// So the bus never idles while anybody asks, and nobody starves.
// Not done here: registers in the path; grant is combinational on the requests.
// Latency: none. Throughput: one grant every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module fetch_arb (
    input  wire       clk,
    input  wire       rst,

    // Requests and the one-hot grant: bit 0 Q, 1 K8, 2 K, 3 V
    input  wire [3:0] req,
    output wire [3:0] grant,
    // The granted request leaves at this edge
    input  wire       take,

    // Q of a block is missing whose K8 was asked for
    input  wire       q_urgent,
    // V's walker is at an older tile than K's
    input  wire       v_first
);

    // Grants of others after which a waiting Q takes a turn.
    localparam [2:0] AGE = 3'd7;

    // Client which had the latest turn.
    localparam [1:0] TURN_KV = 2'd0;
    localparam [1:0] TURN_K8 = 2'd1;
    localparam [1:0] TURN_Q  = 2'd2;

    reg [1:0] turn_reg, turn_next;
    reg [2:0] age_reg, age_next;

    wire kv   = req[2] || req[3];
    wire k8   = req[1];
    wire q    = req[0] && (q_urgent || age_reg == AGE || !(kv || k8));
    wire pick_v = req[3] && (v_first || !req[2]);

    reg [1:0] pick;

    assign grant = {kv && pick == TURN_KV && pick_v, kv && pick == TURN_KV && !pick_v,
                    k8 && pick == TURN_K8, q && pick == TURN_Q};

    always @* begin
        turn_next = turn_reg;
        age_next  = age_reg;

        case (turn_reg)
            TURN_KV: pick = k8 ? TURN_K8 : q ? TURN_Q : TURN_KV;
            TURN_K8: pick = q ? TURN_Q : kv ? TURN_KV : TURN_K8;
            default: pick = kv ? TURN_KV : k8 ? TURN_K8 : TURN_Q;
        endcase

        if (take) begin
            turn_next = pick;
            if (grant[0]) begin
                age_next = 3'd0;
            end else if (req[0] && age_reg != AGE) begin
                age_next = age_reg + 3'd1;
            end
        end
    end

    always @(posedge clk) begin
        turn_reg <= turn_next;
        age_reg  <= age_next;

        if (rst) begin
            turn_reg <= TURN_KV;
            age_reg  <= 3'd0;
        end
    end

endmodule

`resetall
