// SPDX-License-Identifier: Apache-2.0
// Queue of keys of a SU-FA unit: K and V vectors and, for each key, which rows want it.
//
// Why: units take keys at their own pace; the broadcast waits for none that has room. A key comes
// as cfg_c beats of K and as many of V; the end of a block as cfg_c beats of its mean of V.
// A key that no row of the unit wants passes by and is not written. K and V lie in rings of beats
// of their own, of the same size; V is read last, so where V has room K has it too.
// The rows that want the keys lie in a memory, too; those of the next key are in its read register.
// kv_ready says that a whole key has room. It matters at the first beat of a wanted key only; all
// further beats of the key are taken whenever they come.
// Latency: a key is offered on m_* in the cycle after its last beat, one of a single beat a cycle
// later. Throughput: one beat a cycle; one key a cycle on m_*.

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

    // Broadcast beats; with the first beat: whether the unit has rows that want the key or of the
    // block that ends; those of the key, or of the block {place, rows - 1}
    input  wire              kv_valid,
    output wire              kv_ready,
    input  wire [W*16-1:0]   kv_data,
    input  wire              kv_some,
    input  wire [ALL-1:0]    kv_mask,
    input  wire              kv_end,
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

    localparam PTR_W = $clog2(FIFO);
    localparam LEVEL_W = $clog2(FIFO + 1);
    localparam [31:0] LAST_32 = FIFO - 1;
    localparam [31:0] FIFO_32 = FIFO;
    localparam [LEVEL_W-1:0] ONE_KEY = 1;
    // Bits of a number of beats in use, with room for two vectors more.
    localparam USED_W = (KA_W > C_W ? KA_W : C_W) + 2;
    localparam [31:0] WORDS_32 = KV_WORDS;

    // The next beat is the first of a key, the last, one of V; beats left; whether they are taken.
    reg               first_reg, last_reg, v_reg;
    reg  [C_W:0]      left_reg;
    reg               take_reg;
    reg  [KA_W-1:0]   k_wr_reg, v_wr_reg;
    // Beats of V in use, from the first beat of a key on; room for one key more.
    reg  [USED_W-1:0] used_reg, used_next;
    reg               room_reg, room_next;
    // Keys in the memory of rows, from the first beat to the cycle after they are read; one more
    // has a place.
    reg  [PTR_W-1:0]  wr_reg, rd_reg;
    reg  [LEVEL_W-1:0] level_reg, level_next;
    reg               place_reg, read_reg;
    // Keys that are complete and were not read before the last cycle: 1 or more, 2 or more; the one
    // in the read register.
    reg  [LEVEL_W-1:0] whole_reg, whole_next;
    reg               one_reg, two_reg;
    reg               m_valid_reg;

    localparam [C_W-1:0] ONE_BEAT = 1;
    wire [USED_W-1:0] c_used = {{(USED_W - C_W){1'b0}}, cfg_c};
    wire              first = first_reg;
    wire              take = first ? kv_some : take_reg;
    wire              is_v = first ? kv_end : v_reg;
    wire              last = first ? kv_end && cfg_c == ONE_BEAT : last_reg;
    wire [C_W:0]      total = kv_end ? {1'b0, cfg_c} : {cfg_c, 1'b0};
    wire [C_W:0]      left_next = (first ? total : left_reg) - 1'b1;
    wire              accept = kv_valid && first && kv_some;
    wire              complete = kv_valid && last && take;
    // A key is read with its last beat, but one of a single beat, which is only being written.
    wire              whole = (read_reg ? two_reg : one_reg) || (complete && !first);
    wire              read = whole && (!m_valid_reg || m_ready);
    // Room for another key after one that is accepted.
    wire              room_after = used_reg + {c_used[USED_W-2:0], 1'b0} <= WORDS_32[USED_W-1:0];

    assign kv_ready = place_reg && room_reg;
    assign m_valid  = m_valid_reg;

    always @* begin
        used_next  = used_reg;
        room_next  = room_reg;
        level_next = level_reg;
        whole_next = whole_reg;
        if (accept && !release_key) begin
            used_next = used_reg + c_used;
            room_next = room_after;
        end else if (release_key && !accept) begin
            used_next = used_reg - c_used;
            room_next = 1'b1;
        end
        if (accept && !read_reg) begin
            level_next = level_reg + ONE_KEY;
        end else if (read_reg && !accept) begin
            level_next = level_reg - ONE_KEY;
        end
        if (complete && !read_reg) begin
            whole_next = whole_reg + ONE_KEY;
        end else if (read_reg && !complete) begin
            whole_next = whole_reg - ONE_KEY;
        end
    end

    always @(posedge clk) begin
        used_reg    <= used_next;
        room_reg    <= room_next;
        level_reg   <= level_next;
        place_reg   <= level_next != FIFO_32[LEVEL_W-1:0];
        read_reg    <= read;
        whole_reg   <= whole_next;
        one_reg     <= whole_next != {LEVEL_W{1'b0}};
        two_reg     <= whole_next > ONE_KEY;
        m_valid_reg <= whole || (m_valid_reg && !m_ready);
        if (accept) begin
            wr_reg <= wr_reg == LAST_32[PTR_W-1:0] ? {PTR_W{1'b0}} : wr_reg + 1'b1;
        end
        if (read) begin
            rd_reg <= rd_reg == LAST_32[PTR_W-1:0] ? {PTR_W{1'b0}} : rd_reg + 1'b1;
        end
        if (kv_valid) begin
            first_reg <= last;
            last_reg  <= left_next == {{C_W{1'b0}}, 1'b1};
            v_reg     <= left_next <= {1'b0, cfg_c};
            left_reg  <= left_next;
            take_reg  <= take;
            if (take && !is_v) begin
                k_wr_reg <= k_wr_reg + 1'b1;
            end
            if (take && is_v) begin
                v_wr_reg <= v_wr_reg + 1'b1;
            end
        end
        if (rst) begin
            first_reg   <= 1'b1;
            k_wr_reg    <= {KA_W{1'b0}};
            v_wr_reg    <= {KA_W{1'b0}};
            used_reg    <= {USED_W{1'b0}};
            room_reg    <= 1'b1;
            wr_reg      <= {PTR_W{1'b0}};
            rd_reg      <= {PTR_W{1'b0}};
            level_reg   <= {LEVEL_W{1'b0}};
            place_reg   <= 1'b0;
            read_reg    <= 1'b0;
            whole_reg   <= {LEVEL_W{1'b0}};
            one_reg     <= 1'b0;
            two_reg     <= 1'b0;
            m_valid_reg <= 1'b0;
        end
    end

    sofa_ram_1r1w #(
        .WIDTH  (ALL + 1 + IDX_W),
        .DEPTH  (FIFO),
        .ADDR_W (PTR_W)
    ) rows_ram_inst (
        .clk     (clk),
        .wr_en   (accept),
        .wr_addr (wr_reg),
        .wr_data ({kv_mask, kv_end, kv_end_idx}),
        .rd_en   (read),
        .rd_addr (rd_reg),
        .rd_data ({m_mask, m_end, m_end_idx})
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
