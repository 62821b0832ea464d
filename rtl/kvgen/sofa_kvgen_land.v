// SPDX-License-Identifier: Apache-2.0
// Landing buffer: vectors come in any order, and leave in the order in which places were given.
//
//   put -> descriptors ---------------------------------+
//   fetch, maker -> write register ->[ ]-> beats ->[ ]--+-> kv
//                                      \-> complete ----^
//
// Why: the only place where order is restored. A ring of places of 2c beats, c of K and c of V,
// c = ceil(d/W); so many as LAND and LAND_BEATS allow at this d. The front of the ring leaves
// when both of its vectors are complete; one vector follows the other without a gap, across
// places, too. The end of a block has only V, its mean; without cfg_mean zeros, that nobody writes.
// An empty ring goes on with place 0, so that d may change then.
// Not done here: who fills a place. Fetch's beats are never refused, the maker waits for them.
// Latency: the last beat written to kv_valid 3 cycles. Throughput: one beat written and one sent a
// cycle. kv_ready enables the memories' read registers, from which kv_* come.
// Source: docs/architecture.md section 7.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_land #(
    // Elements of a beat, a power of two, 4..32.
    parameter W = 8,
    // Largest head dimension, a power of two, max(16, W)..256.
    parameter D_MAX = 64,
    // Places at most, a power of two, 4..64.
    parameter LAND = 16,
    // Beats, a power of two, 4*D_MAX/W..4096.
    parameter LAND_BEATS = 128,
    // Bits of a mask, of the number of a block's place.
    parameter MASK_W = 64,
    parameter PLACE_W = 2,
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Derived: leave at its default.
    parameter LAND_W = $clog2(LAND)
) (
    input  wire               clk,
    input  wire               rst,

    input  wire [8:0]         cfg_d,
    input  wire               cfg_mean,

    // The next place, its number, and what it holds: a key, or the end of a block
    output wire               room,
    output wire [LAND_W-1:0]  index,
    input  wire               put,
    input  wire               put_end,
    input  wire [MASK_W-1:0]  put_mask,
    input  wire [PLACE_W-1:0] put_place,
    input  wire [7:0]         put_rows,
    input  wire [ADDR_W-1:0]  put_addr,

    // Beats from fetch, one of the two in a cycle
    input  wire               k_wr_valid,
    input  wire [LAND_W-1:0]  k_wr_land,
    input  wire [7:0]         k_wr_beat,
    input  wire               k_wr_last,
    input  wire               v_wr_valid,
    input  wire [LAND_W-1:0]  v_wr_land,
    input  wire [7:0]         v_wr_beat,
    input  wire               v_wr_last,
    input  wire [W*16-1:0]    kv_wr_data,

    // Beats of the maker
    input  wire               m_valid,
    output wire               m_ready,
    input  wire               m_v,
    input  wire [LAND_W-1:0]  m_land,
    input  wire [7:0]         m_beat,
    input  wire               m_last,
    input  wire [W*16-1:0]    m_data,

    // To the units
    output wire               kv_valid,
    input  wire               kv_ready,
    output wire               kv_first,
    output wire [W*16-1:0]    kv_data,
    output wire [MASK_W-1:0]  kv_mask,
    output wire               kv_end,
    output wire [PLACE_W-1:0] kv_end_place,
    output wire [7:0]         kv_end_rows,
    output wire [ADDR_W-1:0]  kv_end_addr,

    output wire               empty
);

    generate
        if (W < 4 || W > 32 || W != (1 << $clog2(W)) || D_MAX < 16 || D_MAX < W || D_MAX > 256
                || D_MAX != (1 << $clog2(D_MAX)) || LAND < 4 || LAND > 64
                || LAND != (1 << $clog2(LAND)) || LAND_BEATS < 4 * D_MAX / W || LAND_BEATS > 4096
                || LAND_BEATS != (1 << $clog2(LAND_BEATS))) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_land_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    // Address of a beat; sums of one and two vectors more than the memory holds need a bit more.
    localparam BEAT_W = $clog2(LAND_BEATS);
    localparam INFO_W = MASK_W + 1 + PLACE_W + 8 + ADDR_W;
    localparam W_LOG = $clog2(W);
    localparam [31:0] W_LESS_1 = W - 1;
    localparam [31:0] BEATS_I = LAND_BEATS;
    localparam [31:0] LAST_I = LAND - 1;

    wire [12:0]       c_round = {4'd0, cfg_d} + W_LESS_1[12:0];
    wire [12:0]       c_wide = c_round >> W_LOG;
    wire [BEAT_W-1:0] c = c_wide[BEAT_W-1:0];
    wire [BEAT_W-1:0] c2 = {c[BEAT_W-2:0], 1'b0};
    wire [BEAT_W-1:0] c2_less_1 = c2 - 1'b1;

    // -----------------------------------------------------------------------------------------
    // Ring: {turn, number} and first beat of the place to be given, and of the front
    // -----------------------------------------------------------------------------------------
    reg  [LAND_W:0]   wr_reg, wr_next, rd_reg, rd_next;
    reg  [BEAT_W-1:0] wr_base_reg, wr_base_next, rd_base_reg, rd_base_next;
    wire              some = wr_reg != rd_reg;
    wire [LAND_W-1:0] front = rd_reg[LAND_W-1:0];
    // A place behind the one at hand does not fit.
    wire [BEAT_W:0]   wr_end = {1'b0, wr_base_reg} + {c2, 1'b0};
    wire [BEAT_W:0]   rd_end = {1'b0, rd_base_reg} + {c2, 1'b0};
    wire              wr_wrap = wr_end > BEATS_I[BEAT_W:0] || index == LAST_I[LAND_W-1:0];
    wire              rd_wrap = rd_end > BEATS_I[BEAT_W:0] || front == LAST_I[LAND_W-1:0];
    wire              free;
    // What wr_reg is after the next put. Room is seen a cycle after a place became free.
    wire [LAND_W:0]   wr_after = wr_wrap ? {!wr_reg[LAND_W], {LAND_W{1'b0}}} : wr_reg + 1'b1;
    wire              room_now = wr_reg != {!rd_reg[LAND_W], front};
    wire              room_after = wr_after != {!rd_reg[LAND_W], front};
    reg               room_reg;

    assign index = wr_reg[LAND_W-1:0];
    assign room  = room_reg;

    always @* begin
        wr_next      = wr_reg;
        wr_base_next = wr_base_reg;
        rd_next      = rd_reg;
        rd_base_next = rd_base_reg;

        if (put) begin
            wr_next      = wr_after;
            wr_base_next = wr_wrap ? {BEAT_W{1'b0}} : wr_base_reg + c2;
        end
        if (free) begin
            rd_next      = rd_wrap ? {!rd_reg[LAND_W], {LAND_W{1'b0}}} : rd_reg + 1'b1;
            rd_base_next = rd_wrap ? {BEAT_W{1'b0}} : rd_base_reg + c2;
        end
        if (!some && !put) begin
            wr_next      = {(LAND_W + 1){1'b0}};
            wr_base_next = {BEAT_W{1'b0}};
            rd_next      = {(LAND_W + 1){1'b0}};
            rd_base_next = {BEAT_W{1'b0}};
        end
    end

    // -----------------------------------------------------------------------------------------
    // Write register
    // -----------------------------------------------------------------------------------------
    reg               w_valid_reg, w_v_reg, w_last_reg;
    reg [LAND_W-1:0]  w_land_reg;
    reg [7:0]         w_beat_reg;
    reg [W*16-1:0]    w_data_reg;

    wire              f_valid = k_wr_valid || v_wr_valid;
    wire              w_v = f_valid ? v_wr_valid : m_v;
    wire [LAND_W-1:0] w_land = v_wr_valid ? v_wr_land : k_wr_valid ? k_wr_land : m_land;
    wire [7:0]        w_beat = v_wr_valid ? v_wr_beat : k_wr_valid ? k_wr_beat : m_beat;
    wire              w_last = v_wr_valid ? v_wr_last : k_wr_valid ? k_wr_last : m_last;
    // Where it goes is worked out behind the register: places come late, from fetch's memory.
    wire [19:0]       w_base = {14'd0, w_land_6} * {8'd0, c2_12};
    wire [19:0]       w_sum = w_base + {12'd0, w_beat_reg} + (w_v_reg ? {8'd0, c_12} : 20'd0);
    wire [5:0]        w_land_6;
    wire [11:0]       c_12, c2_12;

    assign m_ready = !f_valid;

    generate
        if (LAND_W == 6) begin : g_land
            assign w_land_6 = w_land_reg;
        end else begin : g_land
            assign w_land_6 = {{(6 - LAND_W){1'b0}}, w_land_reg};
        end
        if (BEAT_W == 12) begin : g_beats
            assign c_12  = c;
            assign c2_12 = c2;
        end else begin : g_beats
            assign c_12  = {{(12 - BEAT_W){1'b0}}, c};
            assign c2_12 = {{(12 - BEAT_W){1'b0}}, c2};
        end
    endgenerate

    always @(posedge clk) begin
        w_valid_reg <= f_valid || m_valid;
        w_v_reg     <= w_v;
        w_last_reg  <= w_last;
        w_land_reg  <= w_land;
        w_beat_reg  <= w_beat;
        w_data_reg  <= f_valid ? kv_wr_data : m_data;
        if (rst) begin
            w_valid_reg <= 1'b0;
        end
    end

    // -----------------------------------------------------------------------------------------
    // What is complete
    // -----------------------------------------------------------------------------------------
    // A place is not complete before it is given nor after its first beat left. Both are put down
    // a cycle late: an end's begin, the first beat.
    reg [LAND-1:0]   end_reg, k_ok_reg, v_ok_reg;
    reg              put_reg, put_end_reg, sent_reg;
    reg [LAND_W-1:0] put_index_reg, sent_index_reg;
    wire             begins;

    always @(posedge clk) begin
        put_reg        <= put;
        put_end_reg    <= put_end;
        put_index_reg  <= index;
        sent_reg       <= begins;
        sent_index_reg <= front;
        if (rst) begin
            put_reg  <= 1'b0;
            sent_reg <= 1'b0;
        end
    end

    genvar i;
    generate
        for (i = 0; i < LAND; i = i + 1) begin : g_place
            localparam [31:0] I = i;
            wire w_done = w_valid_reg && w_last_reg && w_land_reg == I[LAND_W-1:0];
            wire put_here = put_reg && put_index_reg == I[LAND_W-1:0];
            wire sent_here = sent_reg && sent_index_reg == I[LAND_W-1:0];

            always @(posedge clk) begin
                if (put_here) begin
                    end_reg[i] <= put_end_reg;
                end
                k_ok_reg[i] <= !sent_here && (k_ok_reg[i] || (w_done && !w_v_reg)
                                              || (put_here && put_end_reg));
                v_ok_reg[i] <= !sent_here && (v_ok_reg[i] || (w_done && w_v_reg)
                                              || (put_here && put_end_reg && !cfg_mean));
                if (rst) begin
                    k_ok_reg[i] <= 1'b0;
                    v_ok_reg[i] <= 1'b0;
                end
            end
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // Sender
    // -----------------------------------------------------------------------------------------
    // A place is sent, and its next beat; what the memories' registers hold.
    reg               within_reg, valid_reg, first_reg, zero_reg;
    reg [BEAT_W-1:0]  beat_reg;

    wire              en = !valid_reg || kv_ready;
    // Both of each place in front of the choice, so that there is one choice for the two.
    wire [LAND-1:0]   ok = k_ok_reg & v_ok_reg;
    wire              go = within_reg || ok[front];
    wire              send = en && go;
    wire [BEAT_W-1:0] start = end_reg[front] ? c : {BEAT_W{1'b0}};
    wire [BEAT_W-1:0] beat = within_reg ? beat_reg : start;
    wire              last = beat == c2_less_1;
    wire [BEAT_W-1:0] rd_addr = rd_base_reg + beat;
    wire [W*16-1:0]   rd_data;

    assign begins   = send && !within_reg;
    assign free     = send && last;
    assign kv_valid = valid_reg;
    assign kv_first = first_reg;
    assign kv_data  = zero_reg ? {(W * 16){1'b0}} : rd_data;
    assign empty    = !some && !valid_reg;

    sofa_ram_1r1w #(
        .WIDTH  (W * 16),
        .DEPTH  (LAND_BEATS),
        .ADDR_W (BEAT_W)
    ) beat_ram_inst (
        .clk     (clk),
        .wr_en   (w_valid_reg),
        .wr_addr (w_sum[BEAT_W-1:0]),
        .wr_data (w_data_reg),
        .rd_en   (send),
        .rd_addr (rd_addr),
        .rd_data (rd_data)
    );

    sofa_ram_1r1w #(
        .WIDTH  (INFO_W),
        .DEPTH  (LAND),
        .ADDR_W (LAND_W)
    ) info_ram_inst (
        .clk     (clk),
        .wr_en   (put),
        .wr_addr (index),
        .wr_data ({put_mask, put_end, put_place, put_rows, put_addr}),
        .rd_en   (begins),
        .rd_addr (front),
        .rd_data ({kv_mask, kv_end, kv_end_place, kv_end_rows, kv_end_addr})
    );

    always @(posedge clk) begin
        wr_reg      <= wr_next;
        wr_base_reg <= wr_base_next;
        room_reg    <= put ? room_after : room_now;
        rd_reg      <= rd_next;
        rd_base_reg <= rd_base_next;
        if (en) begin
            valid_reg <= go;
            first_reg <= !within_reg;
        end
        if (send) begin
            within_reg <= !last;
            beat_reg   <= beat + 1'b1;
        end
        if (begins) begin
            zero_reg <= end_reg[front] && !cfg_mean;
        end

        if (rst) begin
            wr_reg      <= {(LAND_W + 1){1'b0}};
            wr_base_reg <= {BEAT_W{1'b0}};
            rd_reg      <= {(LAND_W + 1){1'b0}};
            rd_base_reg <= {BEAT_W{1'b0}};
            room_reg    <= 1'b1;
            within_reg  <= 1'b0;
            valid_reg   <= 1'b0;
        end
    end

    wire unused = &{1'b0, c_wide, w_sum};

endmodule

`resetall
