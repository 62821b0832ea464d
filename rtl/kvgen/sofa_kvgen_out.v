// SPDX-License-Identifier: Apache-2.0
// Sends the beats of made vectors to their places: in the landing buffer, and in memory.
//
// Why: a made vector is used at once by the units and read from memory by later tiles. The tokens
// wait here, in order, one queue for K and one for V, because K and V of a token are not
// neighbours in the order of completion. The address of the next K and of the next V is computed
// ahead, one after the other. A beat waits in one register until the landing buffer and the
// write-back took it, each when it can. Of a mean row's token only V counts: it is cut to VM_W
// bits and goes to the landing buffer alone.
// All tokens of a KV head come with the same bases, and no token of another head is among them.
// Not done here: fetch's beats (they go first), answers of memory (sofa_kvgen_wb).
// Latency: one cycle from s_valid to the ports. Throughput: a beat every two cycles; a token, with
// its two addresses, in KEY_W + 6.
// Source: docs/second.md, From X.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_out #(
    // Bytes of a beat, a power of two, 8..64.
    parameter BUS_BYTES = 16,
    // Address bits, 32..48; bits of a key, 6..16.
    parameter ADDR_W = 40,
    parameter KEY_W = 12,
    // Bits of the number of a landing place, 2..6.
    parameter LAND_W = 4,
    // Bits of an element of the mean, 4..16.
    parameter VM_W = 8,
    // Tokens between their queue and the last beat, 2 or more.
    parameter TOKENS = 12
) (
    input  wire                   clk,
    input  wire                   rst,

    input  wire [8:0]             cfg_d,
    input  wire [31:0]            cfg_k_stride,
    input  wire [31:0]            cfg_v_stride,

    // Token put into the queue; bases of a key
    input  wire                   t_valid,
    output wire                   t_ready,
    input  wire                   t_mean,
    input  wire [KEY_W-1:0]       t_key,
    input  wire [LAND_W-1:0]      t_land,
    input  wire [ADDR_W-1:0]      t_kbase,
    input  wire [ADDR_W-1:0]      t_vbase,

    // Beats of vectors (sofa_kvgen_order)
    input  wire                   s_valid,
    output wire                   s_ready,
    input  wire                   s_v,
    input  wire                   s_last,
    input  wire [8*BUS_BYTES-1:0] s_data,

    // Landing buffer
    output wire                   l_valid,
    input  wire                   l_ready,
    output wire                   l_v,
    output wire [LAND_W-1:0]      l_land,
    output wire [7:0]             l_beat,
    output wire                   l_last,
    output wire [8*BUS_BYTES-1:0] l_data,
    // The last beat of V of a key is being written
    output wire                   done,

    // Write-back; mark: last beat of both vectors of the key
    output wire                   wb_valid,
    input  wire                   wb_ready,
    output wire [ADDR_W-1:0]      wb_addr,
    output wire [8*BUS_BYTES-1:0] wb_data,
    output wire [BUS_BYTES-1:0]   wb_strb,
    output wire                   wb_mark,
    output wire [KEY_W-1:0]       wb_key,

    // No token is between the queue and the write-back
    output wire                   empty
);

    generate
        if (BUS_BYTES < 8 || BUS_BYTES > 64 || BUS_BYTES != (1 << $clog2(BUS_BYTES))
                || ADDR_W < 32 || ADDR_W > 48 || KEY_W < 6 || KEY_W > 16 || LAND_W < 2
                || LAND_W > 6 || VM_W < 4 || VM_W > 16 || TOKENS < 2) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_out_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    localparam BYTE_W = $clog2(BUS_BYTES);
    localparam W = BUS_BYTES / 2;
    localparam LEVEL_W = $clog2(TOKENS + 1);
    localparam [31:0] BEAT_I = BUS_BYTES;
    localparam [47:0] BEAT_BYTES = {16'd0, BEAT_I};

    // -----------------------------------------------------------------------------------------
    // Tokens
    // -----------------------------------------------------------------------------------------
    wire               kq_ready, vq_ready;
    wire               kq_valid, vq_valid;
    wire               kq_take, vq_take;
    wire               kq_mean, vq_mean;
    wire [LAND_W-1:0]  kq_land, vq_land;
    wire [KEY_W-1:0]   kq_key, vq_key;
    wire [LEVEL_W-1:0] unused_k_level, unused_v_level;

    assign t_ready = kq_ready && vq_ready;

    sofa_sync_fifo #(
        .WIDTH (1 + LAND_W + KEY_W),
        .DEPTH (TOKENS)
    ) k_queue_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (t_valid && vq_ready),
        .s_ready (kq_ready),
        .s_data  ({t_mean, t_land, t_key}),
        .m_valid (kq_valid),
        .m_ready (kq_take),
        .m_data  ({kq_mean, kq_land, kq_key}),
        .level   (unused_k_level)
    );

    sofa_sync_fifo #(
        .WIDTH (1 + LAND_W + KEY_W),
        .DEPTH (TOKENS)
    ) v_queue_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (t_valid && kq_ready),
        .s_ready (vq_ready),
        .s_data  ({t_mean, t_land, t_key}),
        .m_valid (vq_valid),
        .m_ready (vq_take),
        .m_data  ({vq_mean, vq_land, vq_key}),
        .level   (unused_v_level)
    );

    // -----------------------------------------------------------------------------------------
    // Addresses of the heads of both queues
    // -----------------------------------------------------------------------------------------
    reg  [ADDR_W-1:0] kbase_reg, vbase_reg;
    // An address is on its way, of V; addresses are there.
    reg               busy_reg, busy_v_reg;
    reg               k_ok_reg, v_ok_reg;
    reg  [ADDR_W-1:0] kaddr_reg, vaddr_reg;
    wire              k_want = kq_valid && !k_ok_reg;
    wire              start = !busy_reg && (k_want || (vq_valid && !v_ok_reg));
    wire              a_done;
    wire [ADDR_W-1:0] a_addr;
    wire              k_come = busy_reg && a_done && !busy_v_reg;
    wire              v_come = busy_reg && a_done && busy_v_reg;

    sofa_kvgen_address #(
        .KEY_W  (KEY_W),
        .ADDR_W (ADDR_W)
    ) address_inst (
        .clk    (clk),
        .rst    (rst),
        .start  (start),
        .key    (k_want ? kq_key : vq_key),
        .base   (k_want ? kbase_reg : vbase_reg),
        .stride (busy_v_reg ? cfg_v_stride : cfg_k_stride),
        .done   (a_done),
        .addr   (a_addr)
    );

    always @(posedge clk) begin
        if (t_valid && t_ready && !t_mean) begin
            kbase_reg <= t_kbase;
            vbase_reg <= t_vbase;
        end
        busy_reg <= start || (busy_reg && !a_done);
        if (start) begin
            busy_v_reg <= !k_want;
        end
        if (k_come) begin
            kaddr_reg <= a_addr;
        end
        if (v_come) begin
            vaddr_reg <= a_addr;
        end
        k_ok_reg <= (k_ok_reg && !kq_take) || k_come;
        v_ok_reg <= (v_ok_reg && !vq_take) || v_come;

        if (rst) begin
            busy_reg <= 1'b0;
            k_ok_reg <= 1'b0;
            v_ok_reg <= 1'b0;
        end
    end

    // -----------------------------------------------------------------------------------------
    // The beat on its way
    // -----------------------------------------------------------------------------------------
    reg                   land_reg, land_next;
    reg                   wb_reg, wb_next;
    reg                   v_reg, last_reg, mean_reg;
    reg [8*BUS_BYTES-1:0] data_reg;
    reg [LAND_W-1:0]      place_reg;
    reg [ADDR_W-1:0]      addr_reg, next_reg;
    reg [KEY_W-1:0]       key_reg;
    // Number of the beat in the register; the next one goes on, or starts a vector.
    reg [7:0]             beat_reg;

    wire                   take = s_valid && s_ready;
    wire                   first = last_reg;
    wire                   mean = first ? (s_v ? vq_mean : kq_mean) : mean_reg;
    wire [8*BUS_BYTES-1:0] cut;

    assign s_ready  = !land_reg && !wb_reg && (!first || (s_v ? v_ok_reg : k_ok_reg));
    assign kq_take  = take && first && !s_v;
    assign vq_take  = take && first && s_v;
    assign l_valid  = land_reg;
    assign l_v      = v_reg;
    assign l_land   = place_reg;
    assign l_beat   = beat_reg;
    assign l_last   = last_reg;
    // Cut behind the register: whose beat it is, is known late.
    assign l_data   = mean_reg ? cut : data_reg;
    assign done     = land_reg && l_ready && v_reg && last_reg && !mean_reg;
    assign wb_valid = wb_reg;
    assign wb_addr  = addr_reg;
    assign wb_data  = data_reg;
    assign wb_mark  = v_reg && last_reg;
    assign wb_key   = key_reg;
    assign empty    = !kq_valid && !vq_valid && !land_reg && !wb_reg && first;

    genvar i;
    generate
        for (i = 0; i < W; i = i + 1) begin : g_cut
            if (VM_W == 16) begin : g_all
                assign cut[i*16 +: 16] = data_reg[i*16 +: 16];
            end else begin : g_round
                localparam [16:0] HALF = 1 << (15 - VM_W);
                wire [16:0] round = {data_reg[i*16 + 15], data_reg[i*16 +: 16]} + HALF;
                // Only the largest numbers leave the range.
                wire over = round[16:15] == 2'b01;
                wire unused_rest = &{1'b0, round[15-VM_W:0]};
                assign cut[i*16 +: 16] =
                    {round[16], round[14:16-VM_W] | {(VM_W - 1){over}}, {(16 - VM_W){1'b0}}};
            end
        end
    endgenerate

    // Vectors are multiples of 16 bytes.
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
        land_next = land_reg;
        wb_next   = wb_reg;
        if (land_reg && l_ready) begin
            land_next = 1'b0;
        end
        if (wb_reg && wb_ready) begin
            wb_next = 1'b0;
        end
        if (take) begin
            land_next = !mean || s_v;
            wb_next   = !mean;
        end
    end

    always @(posedge clk) begin
        land_reg <= land_next;
        wb_reg   <= wb_next;
        // Beats are two cycles apart.
        next_reg <= addr_reg + BEAT_BYTES[ADDR_W-1:0];
        if (take) begin
            v_reg    <= s_v;
            last_reg <= s_last;
            mean_reg <= mean;
            data_reg <= s_data;
            addr_reg <= next_reg;
            beat_reg <= beat_reg + 8'd1;
            if (first) begin
                key_reg   <= vq_key;
                place_reg <= s_v ? vq_land : kq_land;
                addr_reg  <= s_v ? vaddr_reg : kaddr_reg;
                beat_reg  <= 8'd0;
            end
        end

        if (rst) begin
            land_reg <= 1'b0;
            wb_reg   <= 1'b0;
            last_reg <= 1'b1;
        end
    end

    wire unused = &{1'b0, cfg_d};

endmodule

`resetall
