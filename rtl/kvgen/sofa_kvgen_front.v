// SPDX-License-Identifier: Apache-2.0
// Decides for every key, in order of issue, whether its K and V are made or read from memory.
//
// Why: a key is made when it is selected for the first time. An item waits in one register until a
// place of the landing buffer, the requests to fetch and the queue of tokens have room. A key is
// looked up when it comes in, so what the look-up claims is the next item that is issued; one that
// is being made waits until memory has both of its vectors. An end of a block takes a place, too:
// of its mean vector. The begin of a KV head waits for bitmap and weights, its end until memory has
// everything and the bitmap is saved. Without cfg_generate a begin and an end of a head pass, all
// keys are read.
// Not done here: the bitmap (sofa_kvgen_valid), places (sofa_kvgen_land), reading and making.
// Latency: an item is issued in the cycle after it came, with a look-up two cycles after.
// Throughput: an item a cycle, with look-ups one in two cycles.
// Source: docs/architecture.md sections 7, 10.3, 10.7.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_kvgen_front #(
    // Bits of a mask: rows of all places, 8..2048.
    parameter MASK_W = 64,
    // Bits of the number of a place, 1..3.
    parameter PLACE_W = 2,
    // Address bits, 32..48.
    parameter ADDR_W = 40
) (
    input  wire               clk,
    input  wire               rst,

    input  wire               cfg_generate,
    input  wire               cfg_mean,
    input  wire               cfg_vb_load,
    input  wire [ADDR_W-1:0]  cfg_w_base,
    input  wire [31:0]        cfg_w_hstride,
    input  wire [ADDR_W-1:0]  cfg_vb_base,
    input  wire [31:0]        cfg_vb_hstride,

    // Item: 0 key, 1 end of a block, 2 KV head begins, 3 KV head ends
    input  wire               p_valid,
    output wire               p_ready,
    input  wire [1:0]         p_kind,
    input  wire [16:0]        p_key,
    input  wire [ADDR_W-1:0]  p_kbase,
    input  wire [ADDR_W-1:0]  p_vbase,
    input  wire [MASK_W-1:0]  p_mask,
    input  wire [PLACE_W-1:0] p_place,
    input  wire [7:0]         p_rows,
    input  wire [ADDR_W-1:0]  p_maddr,
    input  wire [ADDR_W-1:0]  p_oaddr,
    input  wire [5:0]         p_shift_k,
    input  wire [5:0]         p_shift_v,

    // Next place of the landing buffer, for the item at hand: an end of a block, or a key
    input  wire               l_room,
    output wire               l_put,
    output wire               l_end,
    output wire [MASK_W-1:0]  l_mask,
    output wire [PLACE_W-1:0] l_place,
    output wire [7:0]         l_rows,
    output wire [ADDR_W-1:0]  l_oaddr,

    // It is read. Ready is waited for before valid, as below
    output wire               u_valid,
    input  wire               u_ready,
    output wire               u_mean,
    output wire [16:0]        u_key,
    output wire [ADDR_W-1:0]  u_kbase,
    output wire [ADDR_W-1:0]  u_vbase,

    // It is made. t_at: key, or with t_mean address of its row of X. t_more: another one may
    // follow soon
    output wire               t_valid,
    input  wire               t_ready,
    output wire               t_mean,
    output wire [ADDR_W-1:0]  t_at,
    output wire [ADDR_W-1:0]  t_kbase,
    output wire [ADDR_W-1:0]  t_vbase,
    output wire               t_more,

    // Of the head: shifts of the projection, weights, bitmap
    output wire [5:0]         shift_k,
    output wire [5:0]         shift_v,
    output wire               w_start,
    output wire [ADDR_W-1:0]  w_addr,
    input  wire               w_busy,
    output wire               vb_clear,
    output wire               vb_load,
    output wire               vb_save,
    output wire [ADDR_W-1:0]  vb_addr,
    input  wire               vb_busy,

    // State of a key (sofa_kvgen_valid)
    output wire               look_valid,
    input  wire               look_ready,
    output wire [16:0]        look_key,
    input  wire               look_done,
    input  wire               look_claimed,
    input  wire               look_written,

    // No token is under way; every beat written back was answered
    input  wire               tokens_done,
    input  wire               wb_done,
    output wire               kv_done,
    output wire               rest
);

    generate
        if (MASK_W < 8 || MASK_W > 2048 || PLACE_W < 1 || PLACE_W > 3 || ADDR_W < 32
                || ADDR_W > 48) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_kvgen_front_needs_the_ranges_at_its_parameters stop ();
        end
    endgenerate

    localparam [1:0]
        KIND_KEY   = 2'd0,
        KIND_END   = 2'd1,
        KIND_BEGIN = 2'd2;

    localparam [2:0]
        // issues keys and ends
        S_ITEM  = 3'd0,
        // waits for the bitmap from memory
        S_BITS  = 3'd1,
        // waits for the weights, and for the cleared bitmap
        S_WGTS  = 3'd2,
        // waits until memory has all vectors of the head
        S_QUIET = 3'd3,
        // waits until memory has the bitmap of the head
        S_SAVE  = 3'd4;

    // -----------------------------------------------------------------------------------------
    // The item at hand
    // -----------------------------------------------------------------------------------------
    reg               full_reg;
    // All clear without one.
    reg               is_key_reg, is_end_reg, is_head_reg, is_begin_reg;
    reg [16:0]        key_reg;
    reg [MASK_W-1:0]  mask_reg;
    reg [PLACE_W-1:0] place_reg;
    reg [7:0]         rows_reg;
    // Shifts of the KV head. Its begin comes in when the end of the one before has left.
    reg [5:0]         shift_k_reg, shift_v_reg;
    // Address of K, of the output; address of V, of the mean.
    reg [ADDR_W-1:0]  k_reg, v_reg;
    wire              leave;
    wire              is_end = p_kind == KIND_END;

    assign p_ready = !full_reg || leave;

    always @(posedge clk) begin
        full_reg <= (full_reg && !leave) || p_valid;
        if (p_ready) begin
            is_key_reg   <= p_valid && p_kind == KIND_KEY;
            is_end_reg   <= p_valid && is_end;
            is_head_reg  <= p_valid && p_kind[1];
            is_begin_reg <= p_valid && p_kind == KIND_BEGIN;
            key_reg      <= p_key;
            mask_reg     <= is_end ? {MASK_W{1'b0}} : p_mask;
            place_reg    <= p_place;
            rows_reg     <= p_rows;
            k_reg        <= is_end ? p_oaddr : p_kbase;
            v_reg        <= is_end ? p_maddr : p_vbase;
        end
        if (p_ready && p_valid && p_kind == KIND_BEGIN) begin
            shift_k_reg <= p_shift_k;
            shift_v_reg <= p_shift_v;
        end
        if (rst) begin
            full_reg     <= 1'b0;
            is_key_reg   <= 1'b0;
            is_end_reg   <= 1'b0;
            is_head_reg  <= 1'b0;
            is_begin_reg <= 1'b0;
        end
    end

    // -----------------------------------------------------------------------------------------
    // Sequence
    // -----------------------------------------------------------------------------------------
    reg [2:0]          state_reg, state_next;
    // The state is S_ITEM.
    reg                at_item_reg;
    // A pulse which begins what the state waits for.
    reg                w_start_reg, w_start_next;
    reg                vb_clear_reg, vb_clear_next;
    // Weights and bitmap were at rest, and nothing was started: a cycle late, since RASS hears in
    // the same cycle that the item leaves.
    reg                quiet_reg;
    reg                vb_load_reg, vb_load_next;
    reg                vb_save_reg, vb_save_next;
    reg                kv_done_reg, kv_done_next;
    // Offsets of the head's weights and bitmap.
    reg [ADDR_W-1:0]   w_off_reg, w_off_next;
    reg [ADDR_W-1:0]   vb_off_reg, vb_off_next;
    // The key at hand was asked about; it is not in memory yet.
    reg                asked_reg, poll_reg;
    // The begin, or the end, of a KV head is over.
    reg                head_over;

    wire [47:0] w_hstride = {16'd0, cfg_w_hstride};
    wire [47:0] vb_hstride = {16'd0, cfg_vb_hstride};
    wire        room = l_room && u_ready && t_ready;
    wire        key = is_key_reg && at_item_reg;
    wire        block_end = is_end_reg && at_item_reg && room;
    wire        look_now = key && !asked_reg;
    wire        look_early = p_valid && p_kind == KIND_KEY && at_item_reg && (!full_reg || l_put);
    wire        looked = key && asked_reg && look_done;
    wire        make = looked && room && !look_claimed;
    wire        reuse = key && room
                        && (!cfg_generate || (looked && look_claimed && look_written));

    assign leave      = make || reuse || block_end || head_over;
    assign l_put      = make || reuse || block_end;
    assign l_end      = is_end_reg;
    assign l_mask     = mask_reg;
    assign l_place    = place_reg;
    assign l_rows     = rows_reg;
    assign l_oaddr    = k_reg;
    assign u_valid    = reuse || (block_end && cfg_mean && !cfg_generate);
    assign u_mean     = is_end_reg;
    assign u_key      = key_reg;
    assign u_kbase    = k_reg;
    assign u_vbase    = v_reg;
    assign t_valid    = make || (block_end && cfg_mean && cfg_generate);
    assign t_mean     = is_end_reg;
    assign t_at       = is_end_reg ? v_reg : {{(ADDR_W - 17){1'b0}}, key_reg};
    assign t_kbase    = k_reg;
    assign t_vbase    = v_reg;
    assign t_more     = key && room && cfg_generate && !poll_reg;
    assign shift_k    = shift_k_reg;
    assign shift_v    = shift_v_reg;
    assign w_start    = w_start_reg;
    assign w_addr     = cfg_w_base + w_off_reg;
    assign vb_clear   = vb_clear_reg;
    assign vb_load    = vb_load_reg;
    assign vb_save    = vb_save_reg;
    assign vb_addr    = cfg_vb_base + vb_off_reg;
    assign look_valid = cfg_generate && (look_now || look_early);
    assign look_key   = look_now ? key_reg : p_key;
    assign kv_done    = kv_done_reg;
    assign rest       = state_reg == S_ITEM && !full_reg;

    always @* begin
        state_next    = state_reg;
        w_start_next  = 1'b0;
        vb_clear_next = 1'b0;
        vb_load_next  = 1'b0;
        vb_save_next  = 1'b0;
        kv_done_next  = 1'b0;
        w_off_next    = w_off_reg;
        vb_off_next   = vb_off_reg;
        head_over     = 1'b0;

        case (state_reg)
            S_ITEM: begin
                if (!cfg_generate) begin
                    // The next job begins with its first KV head.
                    w_off_next  = {ADDR_W{1'b0}};
                    vb_off_next = {ADDR_W{1'b0}};
                    head_over   = is_head_reg;
                end else if (is_head_reg) begin
                    if (!is_begin_reg) begin
                        state_next = S_QUIET;
                    end else if (cfg_vb_load) begin
                        vb_load_next = 1'b1;
                        state_next   = S_BITS;
                    end else begin
                        vb_clear_next = 1'b1;
                        w_start_next  = 1'b1;
                        state_next    = S_WGTS;
                    end
                end
            end
            S_BITS: begin
                if (!vb_load_reg && quiet_reg) begin
                    w_start_next = 1'b1;
                    state_next   = S_WGTS;
                end
            end
            S_WGTS: begin
                if (!w_start_reg && quiet_reg) begin
                    head_over  = 1'b1;
                    state_next = S_ITEM;
                end
            end
            S_QUIET: begin
                if (tokens_done && wb_done) begin
                    vb_save_next = 1'b1;
                    state_next   = S_SAVE;
                end
            end
            S_SAVE: begin
                if (!vb_save_reg && quiet_reg && wb_done) begin
                    kv_done_next = 1'b1;
                    w_off_next   = w_off_reg + w_hstride[ADDR_W-1:0];
                    vb_off_next  = vb_off_reg + vb_hstride[ADDR_W-1:0];
                    head_over    = 1'b1;
                    state_next   = S_ITEM;
                end
            end
            default: begin
                state_next = S_ITEM;
            end
        endcase
    end

    always @(posedge clk) begin
        state_reg    <= state_next;
        at_item_reg  <= state_next == S_ITEM;
        w_start_reg  <= w_start_next;
        vb_clear_reg <= vb_clear_next;
        vb_load_reg  <= vb_load_next;
        vb_save_reg  <= vb_save_next;
        kv_done_reg  <= kv_done_next;
        quiet_reg    <= !w_start_reg && !vb_load_reg && !vb_save_reg && !w_busy && !vb_busy;
        w_off_reg    <= w_off_next;
        vb_off_reg   <= vb_off_next;
        if (looked) begin
            poll_reg <= look_claimed && !look_written;
        end
        if (look_valid && look_ready) begin
            asked_reg <= 1'b1;
        end else if (p_ready || (looked && look_claimed && !look_written)) begin
            asked_reg <= 1'b0;
        end

        if (rst) begin
            state_reg    <= S_ITEM;
            at_item_reg  <= 1'b1;
            quiet_reg    <= 1'b0;
            w_start_reg  <= 1'b0;
            vb_clear_reg <= 1'b0;
            vb_load_reg  <= 1'b0;
            vb_save_reg  <= 1'b0;
            kv_done_reg  <= 1'b0;
            w_off_reg    <= {ADDR_W{1'b0}};
            vb_off_reg   <= {ADDR_W{1'b0}};
            asked_reg    <= 1'b0;
            poll_reg     <= 1'b0;
        end
    end

    wire unused = &{1'b0, w_hstride, vb_hstride};

endmodule

`resetall
