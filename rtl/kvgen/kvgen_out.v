// SPDX-License-Identifier: Apache-2.0
// Sends the beats of finished vectors to their places: a slot of a ring buffer, and memory.
//
// Why: a generated vector is used at once by SU-FA and kept for later tiles. The places of the
// tokens wait here, in order, one queue for K and one for V, because K and V of a token are not
// neighbours in the order of completion. A beat waits in one register until the ring's write port
// is free and the write-back took it.
// Not done here: fetch's beats (they go first, the top merges), answers of memory (kvgen_wb).
// Latency: one cycle from s_valid to the ports. Throughput: a beat every two cycles.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module kvgen_out #(
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 16,
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Bits of a slot of a ring buffer, 3..6.
    parameter KSLOT_W = 4,
    // Tokens between their queue and the last beat, 2 or more.
    parameter TOKENS = 12
) (
    input  wire                   clk,
    input  wire                   rst,

    input  wire [8:0]             cfg_d,

    // Token put into the queue
    input  wire                   t_valid,
    output wire                   t_ready,
    input  wire [16:0]            t_key,
    input  wire [1:0]             t_buf,
    input  wire [KSLOT_W-1:0]     t_slot,
    input  wire [ADDR_W-1:0]      t_kaddr,
    input  wire [ADDR_W-1:0]      t_vaddr,

    // Beats of vectors (kvgen_order)
    input  wire                   s_valid,
    output wire                   s_ready,
    input  wire                   s_v,
    input  wire                   s_last,
    input  wire [8*BUS_BYTES-1:0] s_data,

    // Write ports of the rings; busy: fetch writes in this cycle
    input  wire                   k_busy,
    output wire                   k_valid,
    input  wire                   v_busy,
    output wire                   v_valid,
    output wire [1:0]             wr_buf,
    output wire [KSLOT_W-1:0]     wr_slot,
    output wire [7:0]             wr_beat,
    output wire [8*BUS_BYTES-1:0] wr_data,
    // The last beat of a vector is being written
    output wire                   k_done,
    output wire                   v_done,

    // Write-back; mark: last beat of both vectors of the key
    output wire                   wb_valid,
    input  wire                   wb_ready,
    output wire [ADDR_W-1:0]      wb_addr,
    output wire [8*BUS_BYTES-1:0] wb_data,
    output wire [BUS_BYTES-1:0]   wb_strb,
    output wire                   wb_mark,
    output wire [16:0]            wb_key,

    // No token is between the queue and the write-back
    output wire                   empty
);

    generate
        if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES))
                || ADDR_W < 32 || ADDR_W > 48 || TOKENS < 2) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_kvgen_out_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    localparam BYTE_W = $clog2(BUS_BYTES);
    localparam PLACE_W = 2 + KSLOT_W + ADDR_W;
    localparam LEVEL_W = $clog2(TOKENS + 1);
    localparam [31:0] BEAT_I = BUS_BYTES;
    localparam [47:0] BEAT_BYTES = {16'd0, BEAT_I};

    // -----------------------------------------------------------------------------------------
    // Places of the tokens
    // -----------------------------------------------------------------------------------------
    wire               kq_ready, vq_ready;
    wire               kq_valid, vq_valid;
    wire               kq_take, vq_take;
    wire [PLACE_W-1:0] k_place, v_place;
    wire [16:0]        v_key;
    wire [LEVEL_W-1:0] unused_k_level, unused_v_level;

    assign t_ready = kq_ready && vq_ready;

    sync_fifo #(
        .WIDTH (PLACE_W),
        .DEPTH (TOKENS)
    ) k_queue_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (t_valid && vq_ready),
        .s_ready (kq_ready),
        .s_data  ({t_buf, t_slot, t_kaddr}),
        .m_valid (kq_valid),
        .m_ready (kq_take),
        .m_data  (k_place),
        .level   (unused_k_level)
    );

    sync_fifo #(
        .WIDTH (PLACE_W + 17),
        .DEPTH (TOKENS)
    ) v_queue_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (t_valid && kq_ready),
        .s_ready (vq_ready),
        .s_data  ({t_key, t_buf, t_slot, t_vaddr}),
        .m_valid (vq_valid),
        .m_ready (vq_take),
        .m_data  ({v_key, v_place}),
        .level   (unused_v_level)
    );

    // -----------------------------------------------------------------------------------------
    // The beat on its way
    // -----------------------------------------------------------------------------------------
    reg                   ring_reg, ring_next;
    reg                   wb_reg, wb_next;
    reg                   v_reg, last_reg;
    reg [8*BUS_BYTES-1:0] data_reg;
    reg [1:0]             buf_reg;
    reg [KSLOT_W-1:0]     slot_reg;
    reg [ADDR_W-1:0]      addr_reg;
    reg [16:0]            key_reg;
    // Number of the beat in the register; the next one goes on, or starts a vector.
    reg [7:0]             beat_reg;

    wire               take = s_valid && s_ready;
    wire               ring_fire = ring_reg && !(v_reg ? v_busy : k_busy);
    wire [PLACE_W-1:0] place = s_v ? v_place : k_place;
    assign s_ready  = !ring_reg && !wb_reg;
    assign kq_take  = take && s_last && !s_v;
    assign vq_take  = take && s_last && s_v;
    assign k_valid  = ring_fire && !v_reg;
    assign v_valid  = ring_fire && v_reg;
    assign wr_buf   = buf_reg;
    assign wr_slot  = slot_reg;
    assign wr_beat  = beat_reg;
    assign wr_data  = data_reg;
    assign k_done   = k_valid && last_reg;
    assign v_done   = v_valid && last_reg;
    assign wb_valid = wb_reg;
    assign wb_addr  = addr_reg;
    assign wb_data  = data_reg;
    assign wb_mark  = v_reg && last_reg;
    assign wb_key   = key_reg;
    assign empty    = !kq_valid && !vq_valid && !ring_reg && !wb_reg;

    // Vectors are multiples of 16 bytes.
    genvar i;
    generate
        if (BUS_BYTES <= 16) begin : g_strb
            assign wb_strb = {BUS_BYTES{1'b1}};
        end else begin : g_strb
            localparam UNITS = BUS_BYTES / 16;
            // 16-byte units of a vector in its last beat, 0: all of them.
            wire [BYTE_W-5:0] rest = cfg_d[BYTE_W-2:3];
            wire [UNITS-1:0]  used = ~({UNITS{1'b1}} << rest);
            for (i = 0; i < UNITS; i = i + 1) begin : g_unit
                assign wb_strb[i*16 +: 16] =
                    {16{!last_reg || rest == {(BYTE_W - 4){1'b0}} || used[i]}};
            end
        end
    endgenerate

    always @* begin
        ring_next = ring_reg;
        wb_next   = wb_reg;
        if (ring_fire) begin
            ring_next = 1'b0;
        end
        if (wb_reg && wb_ready) begin
            wb_next = 1'b0;
        end
        if (take) begin
            ring_next = 1'b1;
            wb_next   = 1'b1;
        end
    end

    always @(posedge clk) begin
        ring_reg <= ring_next;
        wb_reg   <= wb_next;
        if (take) begin
            v_reg    <= s_v;
            last_reg <= s_last;
            data_reg <= s_data;
            key_reg  <= v_key;
            {buf_reg, slot_reg} <= place[PLACE_W-1:ADDR_W];
            if (last_reg) begin
                addr_reg <= place[ADDR_W-1:0];
                beat_reg <= 8'd0;
            end else begin
                addr_reg <= addr_reg + BEAT_BYTES[ADDR_W-1:0];
                beat_reg <= beat_reg + 8'd1;
            end
        end

        if (rst) begin
            ring_reg <= 1'b0;
            wb_reg   <= 1'b0;
            last_reg <= 1'b1;
        end
    end

    wire unused = &{1'b0, cfg_d};

endmodule

`resetall
