// SPDX-License-Identifier: Apache-2.0
// Decides for every key of a phase whether its K and V are made or read from memory.
//
// Why: a key is made when it is selected for the first time. The front takes phases in order,
// waits for a free buffer of both rings, looks every key up, queues a token for what is missing and
// passes the rest on to fetch. A KV head's first phase waits for its weights and bitmap; after the
// last one it waits until memory has everything and the bitmap is saved.
// Not done here: the bitmap (kvgen_valid), projection, reading of existing vectors (fetch).
// The ring buffer of a phase has the same number in both rings and in fetch, because every phase
// takes one of each.
// Latency: p_valid to u_valid 3 cycles without a key, else 6 and the time of the keys, with free
// buffers. Throughput: a key that exists in 2 cycles, a token in 4.
// Source: docs/architecture.md 10.3, 10.7.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_td.vh"

module kvgen_front #(
    // Slots of a tile, a power of two, KV_SLOTS..64.
    parameter BC_MAX = 32,
    // Slots of a ring buffer, a power of two, 8..BC_MAX.
    parameter KV_SLOTS = 16,
    // Buffers of the K ring and of the V ring, 2..4.
    parameter KV_BUFS = 2,
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Derived: leave at their defaults.
    parameter SLOT_W = $clog2(BC_MAX),
    parameter KSLOT_W = $clog2(KV_SLOTS)
) (
    input  wire                       clk,
    input  wire                       rst,

    input  wire                       cfg_generate,
    input  wire                       cfg_vb_load,
    input  wire [ADDR_W-1:0]          cfg_w_base,
    input  wire [31:0]                cfg_w_hstride,
    input  wire [ADDR_W-1:0]          cfg_vb_base,
    input  wire [31:0]                cfg_vb_hstride,

    // Phase
    input  wire                       p_valid,
    output wire                       p_ready,
    input  wire [`TD_W-1:0]           p_td,
    input  wire [KV_SLOTS*SLOT_W-1:0] p_slots,
    input  wire [KV_SLOTS-1:0]        p_mask,

    // The same phase to fetch, with the keys that it reads
    output wire                       u_valid,
    input  wire                       u_ready,
    output wire [KV_SLOTS-1:0]        u_mask,

    // Rings
    input  wire                       k_release,
    input  wire                       v_release,

    // Weights of the head, bitmap of the head
    output wire                       w_start,
    output wire [ADDR_W-1:0]          w_addr,
    input  wire                       w_busy,
    output wire                       vb_clear,
    output wire                       vb_load,
    output wire                       vb_save,
    output wire [ADDR_W-1:0]          vb_addr,
    input  wire                       vb_busy,

    // State of a key
    output wire                       look_valid,
    output wire [16:0]                look_key,
    input  wire                       look_done,
    input  wire                       look_claimed,
    input  wire                       look_written,

    // Token; t_more: another one may follow soon
    output wire                       t_valid,
    input  wire                       t_ready,
    output wire [16:0]                t_key,
    output wire [1:0]                 t_buf,
    output wire [KSLOT_W-1:0]         t_slot,
    output wire [ADDR_W-1:0]          t_kaddr,
    output wire [ADDR_W-1:0]          t_vaddr,
    output wire                       t_more,

    // The phase is queued, with this number of tokens
    output wire                       put,
    output wire [6:0]                 put_count,

    // No token is under way; every beat written back was answered
    input  wire                       tokens_done,
    input  wire                       wb_done,
    output wire                       kv_done,
    output wire                       rest
);

    generate
        if (KV_SLOTS < 8 || KV_SLOTS > BC_MAX || BC_MAX > 64 || KV_SLOTS != (1 << KSLOT_W)
                || BC_MAX != (1 << SLOT_W) || KV_BUFS < 2 || KV_BUFS > 4 || ADDR_W < 32
                || ADDR_W > 48) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_kvgen_front_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    localparam PROD_W = 32 + SLOT_W;

    localparam [3:0]
        // waits for a phase
        F_IDLE  = 4'd0,
        // waits for the bitmap from memory
        F_BITS  = 4'd1,
        // waits for the weights, and for the cleared bitmap
        F_WGTS  = 4'd2,
        // waits for a buffer of both rings
        F_RING  = 4'd3,
        // looks keys up, one after the other
        F_LOOK  = 4'd4,
        // computes the K address of a token
        F_KADD  = 4'd5,
        // waits for room in the token queue
        F_TOKEN = 4'd6,
        // waits until fetch takes the phase
        F_OFFER = 4'd7,
        // waits until memory has all vectors of the head
        F_QUIET = 4'd8,
        // waits until memory has the bitmap of the head
        F_SAVE  = 4'd9;

    reg [3:0]          state_reg, state_next;
    // A pulse which begins what the state waits for.
    reg                w_start_reg, w_start_next;
    reg                vb_clear_reg, vb_clear_next;
    reg                vb_load_reg, vb_load_next;
    reg                vb_save_reg, vb_save_next;
    reg                kv_done_reg, kv_done_next;
    // Offsets of the head's weights and bitmap.
    reg [ADDR_W-1:0]   w_off_reg, w_off_next;
    reg [ADDR_W-1:0]   vb_off_reg, vb_off_next;
    reg [1:0]          buf_reg, buf_next;
    // Keys for fetch; numbers of both kinds.
    reg [KV_SLOTS-1:0] mask_reg, mask_next;
    reg [6:0]          made_reg, made_next;
    // The key at hand is not in memory yet.
    reg                poll_reg, poll_next;

    wire               k_avail, v_avail;
    wire [1:0]         k_index;
    wire [1:0]         unused_v_index;
    wire               ring_take = state_reg == F_RING && k_avail && v_avail;
    wire               key_done;
    wire               walk_end;

    // -----------------------------------------------------------------------------------------
    // Walk over the used slots: lowest one; its tile slot; its key
    // -----------------------------------------------------------------------------------------
    reg [KV_SLOTS-1:0] todo_reg;
    reg                a_valid_reg, b_valid_reg, c_valid_reg;
    reg [KSLOT_W-1:0]  a_slot_reg, b_slot_reg, c_slot_reg;
    reg [SLOT_W-1:0]   b_tile_reg, c_tile_reg;
    reg [16:0]         c_key_reg;

    wire [KSLOT_W-1:0] first;
    wire               some = todo_reg != {KV_SLOTS{1'b0}};
    wire [SLOT_W-1:0]  a_tile = p_slots[a_slot_reg*SLOT_W +: SLOT_W];
    wire [16:0]        k0 = p_td[`TD_K0];
    wire [16:0]        kstep = p_td[`TD_KSTEP];
    // Keys are smaller than 2^17, so higher bits never matter.
    wire [16:0]        b_key = k0 + kstep * {{(17 - SLOT_W){1'b0}}, b_tile_reg};
    wire               c_en = !c_valid_reg || key_done;
    wire               b_en = !b_valid_reg || c_en;
    wire               a_en = !a_valid_reg || b_en;

    assign walk_end = !some && !a_valid_reg && !b_valid_reg && !c_valid_reg;

    find_first #(
        .WIDTH (KV_SLOTS)
    ) first_inst (
        .mask  (todo_reg),
        .index (first)
    );

    always @(posedge clk) begin
        if (ring_take) begin
            todo_reg <= p_mask;
        end else if (a_en) begin
            todo_reg <= todo_reg & (todo_reg - 1'b1);
        end
        if (a_en) begin
            a_valid_reg <= some;
            a_slot_reg  <= first;
        end
        if (b_en) begin
            b_valid_reg <= a_valid_reg;
            b_slot_reg  <= a_slot_reg;
            b_tile_reg  <= a_tile;
        end
        if (c_en) begin
            c_valid_reg <= b_valid_reg;
            c_slot_reg  <= b_slot_reg;
            c_tile_reg  <= b_tile_reg;
            c_key_reg   <= b_key;
        end

        if (rst) begin
            todo_reg    <= {KV_SLOTS{1'b0}};
            a_valid_reg <= 1'b0;
            b_valid_reg <= 1'b0;
            c_valid_reg <= 1'b0;
        end
    end

    // -----------------------------------------------------------------------------------------
    // Addresses of a token: one multiplier for K and V
    // -----------------------------------------------------------------------------------------
    reg  [PROD_W-1:0] prod_reg;
    reg  [ADDR_W-1:0] kaddr_reg;
    wire [47:0]       k_base = p_td[`TD_KADDR];
    wire [47:0]       v_base = p_td[`TD_VADDR];
    wire [31:0]       inc = state_reg == F_LOOK ? p_td[`TD_KINC] : p_td[`TD_VINC];
    wire [PROD_W-1:0] prod = {{SLOT_W{1'b0}}, inc} * {32'd0, c_tile_reg};
    // Addresses wrap at 2^ADDR_W.
    wire [ADDR_W-1:0] offset;
    generate
        if (PROD_W < ADDR_W) begin : g_offset
            assign offset = {{(ADDR_W - PROD_W){1'b0}}, prod_reg};
        end else if (PROD_W == ADDR_W) begin : g_offset
            assign offset = prod_reg;
        end else begin : g_offset
            wire unused_prod = &{1'b0, prod_reg[PROD_W-1:ADDR_W]};
            assign offset = prod_reg[ADDR_W-1:0];
        end
    endgenerate

    always @(posedge clk) begin
        if (state_reg == F_LOOK || state_reg == F_KADD) begin
            prod_reg <= prod;
        end
        if (state_reg == F_KADD) begin
            kaddr_reg <= k_base[ADDR_W-1:0] + offset;
        end
    end

    // -----------------------------------------------------------------------------------------
    // Rings. K counts without cfg_generate, too: the numbers of the buffers go on.
    // -----------------------------------------------------------------------------------------
    ring_credit #(
        .BUFS (KV_BUFS)
    ) k_credit_inst (
        .clk   (clk),
        .rst   (rst),
        .avail (k_avail),
        .index (k_index),
        .take  (cfg_generate ? ring_take : p_valid && u_ready),
        .free  (k_release)
    );

    ring_credit #(
        .BUFS (KV_BUFS)
    ) v_credit_inst (
        .clk   (clk),
        .rst   (rst),
        .avail (v_avail),
        .index (unused_v_index),
        .take  (ring_take),
        .free  (v_release && cfg_generate)
    );

    // -----------------------------------------------------------------------------------------
    // Sequence
    // -----------------------------------------------------------------------------------------
    wire [47:0] w_hstride = {16'd0, cfg_w_hstride};
    wire [47:0] vb_hstride = {16'd0, cfg_vb_hstride};
    wire        reused = state_reg == F_LOOK && look_done && look_claimed && look_written;
    wire        taken = state_reg == F_TOKEN && t_ready;

    assign key_done   = reused || taken;
    assign u_valid    = cfg_generate ? state_reg == F_OFFER : p_valid;
    assign p_ready    = u_ready && (!cfg_generate || state_reg == F_OFFER);
    assign u_mask     = cfg_generate ? mask_reg : p_mask;
    assign w_start    = w_start_reg;
    assign w_addr     = cfg_w_base + w_off_reg;
    assign vb_clear   = vb_clear_reg;
    assign vb_load    = vb_load_reg;
    assign vb_save    = vb_save_reg;
    assign vb_addr    = cfg_vb_base + vb_off_reg;
    assign look_valid = state_reg == F_LOOK && c_valid_reg;
    assign look_key   = c_key_reg;
    assign t_valid    = state_reg == F_TOKEN;
    assign t_key      = c_key_reg;
    assign t_buf      = buf_reg;
    assign t_slot     = c_slot_reg;
    assign t_kaddr    = kaddr_reg;
    assign t_vaddr    = v_base[ADDR_W-1:0] + offset;
    assign t_more     = (state_reg == F_LOOK && !poll_reg) || state_reg == F_KADD
                        || state_reg == F_TOKEN;
    assign put        = state_reg == F_LOOK && walk_end;
    assign put_count  = made_reg;
    assign kv_done    = kv_done_reg;
    assign rest       = state_reg == F_IDLE;

    always @* begin
        state_next    = state_reg;
        w_start_next  = 1'b0;
        vb_clear_next = 1'b0;
        vb_load_next  = 1'b0;
        vb_save_next  = 1'b0;
        kv_done_next  = 1'b0;
        w_off_next    = w_off_reg;
        vb_off_next   = vb_off_reg;
        buf_next      = buf_reg;
        mask_next     = mask_reg;
        made_next     = made_reg;
        poll_next     = poll_reg;

        case (state_reg)
            F_IDLE: begin
                if (!cfg_generate) begin
                    // The next job begins with its first KV head.
                    w_off_next  = {ADDR_W{1'b0}};
                    vb_off_next = {ADDR_W{1'b0}};
                end else if (p_valid && !p_td[`TD_KVNEW]) begin
                    state_next = F_RING;
                end else if (p_valid && cfg_vb_load) begin
                    vb_load_next = 1'b1;
                    state_next   = F_BITS;
                end else if (p_valid) begin
                    vb_clear_next = 1'b1;
                    w_start_next  = 1'b1;
                    state_next    = F_WGTS;
                end
            end
            F_BITS: begin
                if (!vb_load_reg && !vb_busy) begin
                    w_start_next = 1'b1;
                    state_next   = F_WGTS;
                end
            end
            F_WGTS: begin
                if (!w_start_reg && !w_busy && !vb_busy) begin
                    state_next = F_RING;
                end
            end
            F_RING: begin
                buf_next   = k_index;
                mask_next  = {KV_SLOTS{1'b0}};
                made_next  = 7'd0;
                poll_next  = 1'b0;
                if (ring_take) begin
                    state_next = F_LOOK;
                end
            end
            F_LOOK: begin
                if (walk_end) begin
                    state_next = F_OFFER;
                end
                if (look_done) begin
                    poll_next = look_claimed && !look_written;
                    if (!look_claimed) begin
                        state_next = F_KADD;
                    end
                end
                if (reused) begin
                    mask_next = mask_reg | ({{(KV_SLOTS - 1){1'b0}}, 1'b1} << c_slot_reg);
                end
            end
            F_KADD: begin
                state_next = F_TOKEN;
            end
            F_TOKEN: begin
                if (t_ready) begin
                    made_next  = made_reg + 7'd1;
                    state_next = F_LOOK;
                end
            end
            F_OFFER: begin
                if (u_ready) begin
                    state_next = p_td[`TD_KVLAST] ? F_QUIET : F_IDLE;
                end
            end
            F_QUIET: begin
                if (tokens_done && wb_done) begin
                    vb_save_next = 1'b1;
                    state_next   = F_SAVE;
                end
            end
            F_SAVE: begin
                if (!vb_save_reg && !vb_busy && wb_done) begin
                    kv_done_next = 1'b1;
                    w_off_next   = w_off_reg + w_hstride[ADDR_W-1:0];
                    vb_off_next  = vb_off_reg + vb_hstride[ADDR_W-1:0];
                    state_next   = F_IDLE;
                end
            end
            default: begin
                state_next = F_IDLE;
            end
        endcase
    end

    always @(posedge clk) begin
        state_reg    <= state_next;
        w_start_reg  <= w_start_next;
        vb_clear_reg <= vb_clear_next;
        vb_load_reg  <= vb_load_next;
        vb_save_reg  <= vb_save_next;
        kv_done_reg  <= kv_done_next;
        w_off_reg    <= w_off_next;
        vb_off_reg   <= vb_off_next;
        buf_reg      <= buf_next;
        mask_reg     <= mask_next;
        made_reg     <= made_next;
        poll_reg     <= poll_next;

        if (rst) begin
            state_reg    <= F_IDLE;
            w_start_reg  <= 1'b0;
            vb_clear_reg <= 1'b0;
            vb_load_reg  <= 1'b0;
            vb_save_reg  <= 1'b0;
            kv_done_reg  <= 1'b0;
            w_off_reg    <= {ADDR_W{1'b0}};
            vb_off_reg   <= {ADDR_W{1'b0}};
            poll_reg     <= 1'b0;
        end
    end

    wire unused = &{1'b0, p_td, k_base, v_base, w_hstride, vb_hstride};

endmodule

`resetall
