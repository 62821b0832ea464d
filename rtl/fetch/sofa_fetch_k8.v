// SPDX-License-Identifier: Apache-2.0
// Asks memory for the 8-bit key vectors of a tile and tells when the tile has arrived.
//
// Why: the prediction reads every visible key, so this stream has no selection: slot b is at
// addr + b * inc. The requests of a tile start while the data of the one before still arrives,
// as far as the ring has room. Slots come back in their order, so the write port's are counted, and
// stand in registers long before the data.
// Not done here: anything with the data (sofa_axi_read delivers it to the write port), what a tile
// is for (its turns go from seq to dlzs).
// Latency: one cycle from the command to the first request; one from the last beat at the write
// port to commit. Throughput: one slot every cycle, one idle cycle between tiles.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_fetch_k8 #(
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Buffers of the K8 ring, 2..4.
    parameter K8_BUFS = 2
) (
    input  wire              clk,
    input  wire              rst,

    // Command: one tile of tc_n slots, at least 1
    input  wire              tc_valid,
    output wire              tc_ready,
    input  wire [ADDR_W-1:0] tc_addr,
    input  wire [31:0]       tc_inc,
    input  wire [7:0]        tc_n,

    // Requests; last: of its tile
    output wire              req_valid,
    input  wire              req_ready,
    output wire [ADDR_W-1:0] req_addr,
    output wire              req_last,

    // The last beat of a vector, and of a tile, is at the write port; buffer and slot of the beat
    input  wire              wr_end,
    input  wire              done,
    output wire [1:0]        wr_buf,
    output wire [6:0]        wr_slot,

    // The oldest tile is complete, and the release of its buffer
    output wire              commit,
    input  wire              free,

    // Tiles not released: none is complete; one is asked for as a whole; two or more are complete
    output wire              none,
    output wire              asked,
    output wire              ample,
    // A command waits for a free buffer
    output wire              ev_stall
);

    generate
        if (K8_BUFS < 2 || K8_BUFS > 4) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_fetch_k8_needs_K8_BUFS_2_to_4 stop ();
        end
    endgenerate

    localparam [31:0] LAST = K8_BUFS - 1;

    reg              req_valid_reg, req_valid_next;
    reg [ADDR_W-1:0] addr_reg, addr_next;
    reg [31:0]       inc_reg, inc_next;
    reg [7:0]        left_reg, left_next;
    reg [6:0]        slot_reg, slot_next;
    reg [1:0]        buf_reg, buf_next;
    // Tiles complete and not released.
    reg [2:0]        held_reg, held_next;
    // Tiles asked for as a whole and not released.
    reg [2:0]        asked_reg, asked_next;
    reg              none_reg;
    reg              ample_reg;
    reg              commit_reg;

    wire avail;
    wire take = tc_valid && tc_ready;

    assign tc_ready = !req_valid_reg && avail;
    assign ev_stall = tc_valid && !req_valid_reg && !avail;

    assign req_valid = req_valid_reg;
    assign req_addr  = addr_reg;
    assign req_last  = left_reg == 8'd1;
    assign wr_slot   = slot_reg;
    assign wr_buf    = buf_reg;

    assign commit = commit_reg;
    assign none   = none_reg;
    assign asked  = asked_reg != 3'd0;
    assign ample  = ample_reg;

    sofa_ring_credit credit_inst (
        .clk   (clk),
        .rst   (rst),
        .last  (LAST[2:0]),
        .avail (avail),
        .take  (take),
        .free  (free)
    );

    always @* begin
        req_valid_next = req_valid_reg;
        addr_next      = addr_reg;
        inc_next       = inc_reg;
        slot_next      = slot_reg;
        left_next      = left_reg;
        buf_next       = buf_reg;
        held_next      = held_reg;
        asked_next     = asked_reg + {2'd0, req_valid && req_ready && req_last} - {2'd0, free};

        if (take) begin
            req_valid_next = 1'b1;
            addr_next      = tc_addr;
            inc_next       = tc_inc;
            left_next      = tc_n;
        end else if (req_valid_reg && req_ready) begin
            req_valid_next = !req_last;
            addr_next      = addr_reg + {{(ADDR_W - 32){1'b0}}, inc_reg};
            left_next      = left_reg - 8'd1;
        end

        if (wr_end) begin
            slot_next = slot_reg + 7'd1;
        end
        if (done) begin
            slot_next = 7'd0;
            buf_next  = buf_reg == LAST[1:0] ? 2'd0 : buf_reg + 2'd1;
        end

        if (done && !free) begin
            held_next = held_reg + 3'd1;
        end else if (free && !done) begin
            held_next = held_reg - 3'd1;
        end
    end

    always @(posedge clk) begin
        req_valid_reg <= req_valid_next;
        addr_reg      <= addr_next;
        inc_reg       <= inc_next;
        slot_reg      <= slot_next;
        left_reg      <= left_next;
        buf_reg       <= buf_next;
        held_reg      <= held_next;
        asked_reg     <= asked_next;
        none_reg      <= held_next == 3'd0;
        ample_reg     <= held_next >= 3'd2;
        commit_reg    <= done;

        if (rst) begin
            req_valid_reg <= 1'b0;
            slot_reg      <= 7'd0;
            buf_reg       <= 2'd0;
            held_reg      <= 3'd0;
            asked_reg     <= 3'd0;
            none_reg      <= 1'b1;
            ample_reg     <= 1'b0;
            commit_reg    <= 1'b0;
        end
    end

endmodule

`resetall
