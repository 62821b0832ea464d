// SPDX-License-Identifier: Apache-2.0
// Corner-turning ring buffer: written as vectors (some elements of one lane a beat), read as
// element e of all lanes at once.
//
// Why: memory delivers one vector (row or key) after the other, the arrays consume one element
// of every vector a cycle. Lane b's element e lies in bank (b + e) mod LANES at address {buf, e}:
// the elements of a beat fall into different banks, and a read uses the same address in all
// banks, so both ports run at full rate without conflicts, arbitration or staging.
// Not done here: no full/empty state (the users pass buffers by handshakes), no guard against
// reading a buffer that is being written, no clearing: elements never written are undefined.
// Latency: one cycle from rd_en to rd_data, for ROTATE = 0 and 1. The rotator lies between the
// banks' output registers and rd_data (clog2(LANES) multiplexers); the user places the pipeline
// register behind it, with the enable of its own pipeline.
// rd_data holds its value while rd_en is low. Written data is readable in the next cycle.
// Throughput: one beat and one read every cycle.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_corner_buffer #(
    // Lanes (vectors side by side), a power of two, 2..256.
    parameter LANES = 16,
    // Elements of a lane, 2..256*BEAT.
    parameter ELEMS = 16,
    // Bits of an element, at least 1.
    parameter WIDTH = 8,
    // Elements of a write beat, a power of two, 1..LANES.
    parameter BEAT = 8,
    // Buffers in the ring, 1..4.
    parameter BUFS = 2,
    // 1: slice b of rd_data is lane b. 0: slice k is bank k, lane b's element e is in slice
    // (b + e) mod LANES, for users that select lanes by a multiplexer anyway.
    parameter ROTATE = 1,
    // Bits of ports. Derived: leave at their defaults.
    parameter BUF_W = BUFS > 1 ? $clog2(BUFS) : 1,
    parameter LANE_W = $clog2(LANES),
    parameter ELEM_W = $clog2(ELEMS)
) (
    input  wire                   clk,

    // Write port: elements BEAT*wr_beat .. +BEAT-1 of lane wr_lane; those from ELEMS on are dropped
    input  wire                   wr_valid,
    input  wire [BUF_W-1:0]       wr_buf,
    input  wire [LANE_W-1:0]      wr_lane,
    input  wire [7:0]             wr_beat,
    input  wire [BEAT*WIDTH-1:0]  wr_data,

    // Read port: element rd_elem of all lanes
    input  wire                   rd_en,
    input  wire [BUF_W-1:0]       rd_buf,
    input  wire [ELEM_W-1:0]      rd_elem,
    output wire [LANES*WIDTH-1:0] rd_data
);

    generate
        if (LANES < 2 || LANES > 256 || LANES != (1 << $clog2(LANES)) || ELEMS < 2
                || ELEMS > 256 * BEAT || WIDTH < 1 || BEAT < 1 || BEAT > LANES
                || BEAT != (1 << $clog2(BEAT)) || BUFS < 1 || BUFS > 4
                || ROTATE < 0 || ROTATE > 1) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_corner_buffer_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam BEAT_W = $clog2(BEAT);
    localparam ADDR_W = $clog2(BUFS << ELEM_W);
    // An element number as the write port can express it, with one spare bit for END.
    localparam WR_ELEM_W = 8 + BEAT_W + 1;
    localparam [WR_ELEM_W-1:0] END = ELEMS[WR_ELEM_W-1:0];

    genvar k;

    // -----------------------------------------------------------------------------------------
    // Write: position m of the beat, rotated by the lane, serves the banks m, m + BEAT, ...
    // -----------------------------------------------------------------------------------------
    wire [BEAT*WIDTH-1:0] wr_rotated;

    generate
        if (BEAT == 1) begin : g_wr
            assign wr_rotated = wr_data;
        end else begin : g_wr
            sofa_lane_rotate #(
                .LANES (BEAT),
                .WIDTH (WIDTH),
                .LEFT  (1)
            ) rotate_inst (
                .amount   (wr_lane[BEAT_W-1:0]),
                .in_data  (wr_data),
                .out_data (wr_rotated)
            );
        end

        for (k = 0; k < BEAT; k = k + 1) begin : g_pos
            wire [WR_ELEM_W-1:0] elem;
            // unreached toggle: a beat that fills all lanes has a bank for each position
            wire [LANE_W-1:0]    bank = elem[LANE_W-1:0] + wr_lane;
            wire                 en = wr_valid && elem < END;
            wire [ADDR_W-1:0]    addr;
            if (BEAT == 1) begin : g_elem
                assign elem = {1'b0, wr_beat};
            end else begin : g_elem
                localparam [BEAT_W-1:0] K = k;
                wire [BEAT_W-1:0] offset = K - wr_lane[BEAT_W-1:0];
                assign elem = {1'b0, wr_beat, offset};
            end
            if (BUFS == 1) begin : g_addr
                assign addr = elem[ELEM_W-1:0];
            end else begin : g_addr
                assign addr = {wr_buf, elem[ELEM_W-1:0]};
            end
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // Banks
    // -----------------------------------------------------------------------------------------
    wire [ADDR_W-1:0]      rd_addr;
    wire [LANES*WIDTH-1:0] bank_data;

    generate
        if (BUFS == 1) begin : g_rd_addr
            wire unused_buf = &{1'b0, wr_buf, rd_buf};
            assign rd_addr = rd_elem;
        end else begin : g_rd_addr
            assign rd_addr = {rd_buf, rd_elem};
        end

        for (k = 0; k < LANES; k = k + 1) begin : g_bank
            localparam M = k % BEAT;
            localparam [LANE_W-1:0] K = k;

            sofa_ram_1r1w #(
                .WIDTH (WIDTH),
                .DEPTH (BUFS << ELEM_W)
            ) ram_inst (
                .clk     (clk),
                .wr_en   (g_pos[M].en && g_pos[M].bank == K),
                .wr_addr (g_pos[M].addr),
                .wr_data (wr_rotated[M*WIDTH +: WIDTH]),
                .rd_en   (rd_en),
                .rd_addr (rd_addr),
                .rd_data (bank_data[k*WIDTH +: WIDTH])
            );
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // Read
    // -----------------------------------------------------------------------------------------
    generate
        if (ROTATE == 0) begin : g_rd
            assign rd_data = bank_data;
        end else begin : g_rd
            // Bits of an element number that name a bank.
            localparam AMOUNT_W = ELEM_W < LANE_W ? ELEM_W : LANE_W;
            reg  [AMOUNT_W-1:0] elem_reg;
            wire [LANE_W-1:0]   amount;
            if (ELEM_W < LANE_W) begin : g_amount
                assign amount = {{(LANE_W - ELEM_W){1'b0}}, elem_reg};
            end else begin : g_amount
                assign amount = elem_reg;
            end

            always @(posedge clk) begin
                if (rd_en) begin
                    elem_reg <= rd_elem[AMOUNT_W-1:0];
                end
            end

            sofa_lane_rotate #(
                .LANES (LANES),
                .WIDTH (WIDTH)
            ) rotate_inst (
                .amount   (amount),
                .in_data  (bank_data),
                .out_data (rd_data)
            );
        end
    endgenerate

`ifdef FORMAL
    reg started = 1'b0;
    // An arbitrary element, and what was last written there
    (* anyconst *) wire [BUF_W-1:0]  f_buf;
    (* anyconst *) wire [LANE_W-1:0] f_lane;
    (* anyconst *) wire [ELEM_W-1:0] f_elem;
    reg             f_known = 1'b0;
    reg [WIDTH-1:0] f_word;
    // Where it is in a beat, and in what is read
    wire [31:0]      f_place = f_elem % BEAT;
    wire [LANE_W:0]  f_bank = f_lane + f_elem;
    wire [31:0]      f_slice = ROTATE != 0 ? f_lane : f_bank % LANES;

    always @* begin
        assume (f_buf < BUFS && f_elem < ELEMS);
        assume (!wr_valid || wr_buf < BUFS);
        assume (!rd_en || (rd_buf < BUFS && rd_elem < ELEMS));
    end

    always @(posedge clk) begin
        started <= 1'b1;
        if (wr_valid && wr_buf == f_buf && wr_lane == f_lane && wr_beat == f_elem / BEAT) begin
            f_known <= 1'b1;
            f_word  <= wr_data[f_place*WIDTH +: WIDTH];
        end
        if (started && $past(rd_en && rd_buf == f_buf && rd_elem == f_elem && f_known)) begin
            // 1. A read returns of every lane the element that was last written there.
            assert (rd_data[f_slice*WIDTH +: WIDTH] == $past(f_word));
            cover (f_lane == LANES - 1 && f_elem == ELEMS - 1 && f_buf == BUFS - 1);
            cover ($past(wr_valid && wr_buf == f_buf && wr_lane == f_lane));
        end
        // 2. Between reads the data stays.
        if (started && !$past(rd_en)) begin
            assert (rd_data == $past(rd_data));
        end
    end
`endif

endmodule

`resetall
