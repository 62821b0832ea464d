// SPDX-License-Identifier: Apache-2.0
// Queue of keys of a SU-FA unit: K and V vectors and, for each key, which rows want it.
//
// Why: units take keys at their own pace; the broadcast waits for none that has room. A key comes
// as cfg_c beats of K and as many of V; the end of a block as cfg_c beats of its mean of V.
// A key that no row of the unit wants passes by and is not written. K and V lie in rings of beats
// of their own, of the same size; V is read last, so where V has room K has it too.
// kv_ready says that a whole key has room. It matters at the first beat of a wanted key only; all
// further beats of the key are taken whenever they come.
// Latency: a key is offered on m_* in the cycle after its last beat.
// Throughput: one beat a cycle; one key a cycle on m_*.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sufa_keys #(
    // Elements of a beat, power of two, 4..32.
    parameter W = 8,
    // Rows of a block in the unit, power of two, 2..64.
    parameter ROWS_U = 4,
    // Blocks whose sums the unit holds, power of two, 2..16.
    parameter PLACES_O = 2,
    // Keys, 2..64.
    parameter FIFO = 16,
    // Beats of K, and of V, power of two, 2..1024, at least twice the beats of a vector.
    parameter KV_WORDS = 128,
    // Bits of a number of beats of a vector, 1..7.
    parameter C_W = 4,
    // Bits of a row in all places, of an address. Derived: leave at their defaults.
    parameter ALL = PLACES_O * ROWS_U,
    parameter IDX_W = $clog2(ALL),
    parameter KA_W = $clog2(KV_WORDS)
) (
    input  wire              clk,
    input  wire              rst,

    // Beats of a vector, 1 or more; static
    input  wire [C_W-1:0]    cfg_c,

    // Broadcast beats; with the first beat: rows that want the key, or the end of a block: {place,
    // rows - 1}, and whether the unit has rows of that block
    input  wire              kv_valid,
    output wire              kv_ready,
    input  wire [W*16-1:0]   kv_data,
    input  wire [ALL-1:0]    kv_mask,
    input  wire              kv_end,
    input  wire              kv_end_some,
    input  wire [IDX_W-1:0]  kv_end_idx,

    // Keys in their order
    output wire              m_valid,
    input  wire              m_ready,
    output wire [ALL-1:0]    m_mask,
    output wire              m_end,
    output wire [IDX_W-1:0]  m_end_idx,

    // Reads of K and V, and the end of the use of a key
    input  wire              k_rd_en,
    input  wire [KA_W-1:0]   k_rd_addr,
    output wire [W*16-1:0]   k_rd_data,
    input  wire              v_rd_en,
    input  wire [KA_W-1:0]   v_rd_addr,
    output wire [W*16-1:0]   v_rd_data,
    input  wire              release_key
);

    generate
        if (W < 4 || W > 32 || W != (1 << $clog2(W)) || ROWS_U < 2 || ROWS_U > 64
                || ROWS_U != (1 << $clog2(ROWS_U)) || PLACES_O < 2 || PLACES_O > 16
                || PLACES_O != (1 << $clog2(PLACES_O)) || FIFO < 2 || FIFO > 64 || KV_WORDS < 2
                || KV_WORDS > 1024 || KV_WORDS != (1 << $clog2(KV_WORDS)) || C_W < 1 || C_W > 7
                || ALL != PLACES_O * ROWS_U || IDX_W != $clog2(ALL)
                || KA_W != $clog2(KV_WORDS)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_sufa_keys_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam LEVEL_W = $clog2(FIFO + 1);
    // Bits of a number of beats in use, with room for one vector more.
    localparam USED_W = (KA_W > C_W ? KA_W : C_W) + 2;
    localparam [31:0] WORDS_32 = KV_WORDS;

    // Beats of the key that came; whether it is taken; whether it has no K.
    reg  [C_W:0]      beat_reg;
    reg               take_reg, end_reg;
    reg  [KA_W-1:0]   k_wr_reg, v_wr_reg;
    // Beats of V in use, from the first beat of a key on; room for one key more.
    reg  [USED_W-1:0] used_reg, used_next;
    reg               room_reg;
    // Keys that are complete and wait.
    reg  [LEVEL_W-1:0] whole_reg, whole_next;
    reg               some_reg;

    wire [C_W:0]      beats = {1'b0, cfg_c};
    wire [USED_W-1:0] c_used = {{(USED_W - C_W){1'b0}}, cfg_c};
    wire              first = beat_reg == {(C_W + 1){1'b0}};
    wire              wanted = kv_end ? kv_end_some : |kv_mask;
    wire              take = first ? wanted : take_reg;
    wire              is_end = first ? kv_end : end_reg;
    wire              is_v = is_end || beat_reg >= beats;
    wire [C_W:0]      total = is_end ? beats : {cfg_c, 1'b0};
    wire              last = beat_reg + 1'b1 == total;
    wire              accept = kv_valid && first && wanted;
    wire              complete = kv_valid && last && take;
    wire              pop = m_valid && m_ready;
    wire              fifo_ready, unused_valid;
    wire [LEVEL_W-1:0] unused_level;

    assign kv_ready = fifo_ready && room_reg;
    assign m_valid  = some_reg;

    always @* begin
        used_next  = used_reg;
        whole_next = whole_reg;
        if (accept && !release_key) begin
            used_next = used_reg + c_used;
        end else if (release_key && !accept) begin
            used_next = used_reg - c_used;
        end
        if (complete && !pop) begin
            whole_next = whole_reg + 1'b1;
        end else if (pop && !complete) begin
            whole_next = whole_reg - 1'b1;
        end
    end

    always @(posedge clk) begin
        used_reg  <= used_next;
        whole_reg <= whole_next;
        some_reg  <= whole_next != {LEVEL_W{1'b0}};
        room_reg  <= used_next + c_used <= WORDS_32[USED_W-1:0];
        if (kv_valid) begin
            beat_reg <= last ? {(C_W + 1){1'b0}} : beat_reg + 1'b1;
            take_reg <= take;
            end_reg  <= is_end;
            if (take && !is_v) begin
                k_wr_reg <= k_wr_reg + 1'b1;
            end
            if (take && is_v) begin
                v_wr_reg <= v_wr_reg + 1'b1;
            end
        end
        if (rst) begin
            beat_reg  <= {(C_W + 1){1'b0}};
            k_wr_reg  <= {KA_W{1'b0}};
            v_wr_reg  <= {KA_W{1'b0}};
            used_reg  <= {USED_W{1'b0}};
            whole_reg <= {LEVEL_W{1'b0}};
            some_reg  <= 1'b0;
            room_reg  <= 1'b0;
        end
    end

    // Entered at the first beat, offered when the key is whole.
    sofa_sync_fifo #(
        .WIDTH (ALL + 1 + IDX_W),
        .DEPTH (FIFO)
    ) fifo_inst (
        .clk     (clk),
        .rst     (rst),
        .clear   (1'b0),
        .s_valid (accept),
        .s_ready (fifo_ready),
        .s_data  ({kv_mask, kv_end, kv_end_idx}),
        .m_valid (unused_valid),
        .m_ready (pop),
        .m_data  ({m_mask, m_end, m_end_idx}),
        .level   (unused_level)
    );

    sofa_ram_1r1w #(
        .WIDTH  (W * 16),
        .DEPTH  (KV_WORDS),
        .ADDR_W (KA_W)
    ) k_ram_inst (
        .clk     (clk),
        .wr_en   (kv_valid && take && !is_v),
        .wr_addr (k_wr_reg),
        .wr_data (kv_data),
        .rd_en   (k_rd_en),
        .rd_addr (k_rd_addr),
        .rd_data (k_rd_data)
    );

    sofa_ram_1r1w #(
        .WIDTH  (W * 16),
        .DEPTH  (KV_WORDS),
        .ADDR_W (KA_W)
    ) v_ram_inst (
        .clk     (clk),
        .wr_en   (kv_valid && take && is_v),
        .wr_addr (v_wr_reg),
        .wr_data (kv_data),
        .rd_en   (v_rd_en),
        .rd_addr (v_rd_addr),
        .rd_data (v_rd_data)
    );

endmodule

`resetall
