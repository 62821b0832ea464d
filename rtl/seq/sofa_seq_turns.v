// SPDX-License-Identifier: Apache-2.0
// Turn descriptors of an attention job: every turn for every block of its part.
//
// Why: what a block has of its own, its rows, place, threshold and addresses, meets here what all
// blocks of the part share. A block is scored once in every turn, so what the table of heads says
// of it stays in a memory until its part is through; twice as many blocks fit as are ever at work,
// so that those of the next part are there when it begins.
// Order: turn after turn; in it heads of the part outer, row blocks inner.
// Not done here: tiles (sofa_seq_tiles), entries and thresholds (sofa_seq_blocks).
// Heads that share a block are one head here, its rows those of all of them, token by token: a key
// that row t of each sees is seen from row t*job_heads on, so what is compared with a row's number
// is that of positions times job_heads.
// Latency: a turn to its first descriptor 1 cycle. Throughput: a descriptor in 2 cycles; where
// heads share the block, whose four products come from one multiplier of two cycles, 6 more each.
// Source: docs/architecture.md sections 4 and 6.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_turn.vh"

module sofa_seq_turns #(
    // Query rows of a block, power of two, 4..128.
    parameter ROWS = 128,
    // Most blocks in residence, power of two, 2..8.
    parameter PLACES = 8,
    // Bits of a turn of sofa_seq_tiles. Fixed.
    parameter E_W = 114
) (
    input  wire         clk,
    input  wire         rst,

    // start is a pulse before the first turn
    input  wire         start,

    // Job, legal and stable from start on; blocks in residence at its head dimension; buffers as
    // bases, row and head strides in bytes
    input  wire         job_sum,
    input  wire         job_causal,
    input  wire [16:0]  job_offset,
    input  wire [16:0]  job_window,
    input  wire [3:0]   job_places,
    // Heads of a block; they share it, row r is row r / job_heads of head r mod job_heads; rows of
    // each
    input  wire [7:0]   job_heads,
    input  wire         job_share,
    input  wire [7:0]   job_tokens,
    input  wire [47:0]  job_k_base,
    input  wire [31:0]  job_k_hstride,
    input  wire [47:0]  job_v_base,
    input  wire [31:0]  job_v_hstride,
    input  wire [47:0]  job_o_base,
    input  wire [31:0]  job_o_stride,
    input  wire [38:0]  job_o_hstride,
    input  wire [47:0]  job_m_base,
    input  wire [31:0]  job_m_stride,
    input  wire [31:0]  job_m_hstride,

    // Selection of the next block; shifts of the projection {V, K}, of a KV head's first block
    input  wire         b_valid,
    output wire         b_ready,
    input  wire [15:0]  b_tau,
    input  wire [4:0]   b_octave,
    input  wire [31:0]  b_radius,
    input  wire [11:0]  b_shifts,

    // Turn of a part, see sofa_seq_tiles; taken with its last descriptor
    input  wire         e_valid,
    output wire         e_ready,
    input  wire [E_W-1:0] e_data,

    // Turn descriptor
    output wire         tn_valid,
    input  wire         tn_ready,
    output wire [`SOFA_TURN_W-1:0] tn_turn
);

    generate
        if (ROWS < 4 || ROWS > 128 || ROWS != (1 << $clog2(ROWS)) || PLACES < 2 || PLACES > 8
                || PLACES != (1 << $clog2(PLACES)) || E_W != 114) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_seq_turns_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam ROWS_W = $clog2(ROWS);
    localparam TABLE = 2 * PLACES;
    localparam TAB_W = $clog2(TABLE);
    localparam B_W = 12 + 16 + 5 + 32;
    localparam [TAB_W:0] ONE = 1;
    // The step of the last product
    localparam [2:0] LAST_STEP = 3'd5;
    // Rows before this position keep all that they see.
    localparam [17:0] EXACT = 18'd32;

    // waits for a turn and the selection of the block
    localparam S_READ  = 2'd0;
    // positions become rows, where heads share the block
    localparam S_SHARE = 2'd1;
    // offers the descriptor
    localparam S_OUT   = 2'd2;

    wire [7:0]  e_n;
    wire [16:0] e_k0, e_kstep, e_row;
    wire [31:0] e_ratio;
    wire [3:0]  e_blocks, e_heads;
    wire [7:0]  e_rows_last;
    wire        e_kv_first, e_job_end, e_kv_end, e_band_end, e_first, e_last, e_bound;
    assign {e_n, e_k0, e_kstep, e_ratio, e_row, e_blocks, e_rows_last, e_heads, e_kv_first,
            e_job_end, e_kv_end, e_band_end, e_first, e_last, e_bound} = e_data;

    reg  [1:0]      state_reg, state_next;
    // Block of its head, head of the part
    reg  [3:0]      block_reg, block_next;
    reg  [3:0]      sub_reg, sub_next;
    // Place of the block, of the part's first one
    reg  [2:0]      place_reg, place_next, part_place_reg, part_place_next;
    // Number of the block, of the part's first one, of the next to be written into the table
    reg  [TAB_W:0]  num_reg, num_next, part_num_reg, part_num_next, wr_num_reg, wr_num_next;
    // Row 0 in O of the head, of the part's first one, of the KV head's first one; bytes from there
    // to the block, to the first block of the band
    reg  [47:0]     o_head_reg, o_head_next, o_part_reg, o_part_next, o_kv_reg, o_kv_next;
    // unreached toggle: the rows of a head span less than 4 GiB
    reg  [47:0]     o_row_reg, o_row_next, o_band_reg, o_band_next;
    // First mean of the KV head; bytes as above; K and V of the KV head
    reg  [47:0]     m_kv_reg, m_kv_next;
    // unreached toggle: the rows of a head span less than 4 GiB
    reg  [47:0]     m_row_reg, m_row_next, m_band_reg, m_band_next;
    reg  [47:0]     k_kv_reg, k_kv_next, v_kv_reg, v_kv_next;
    // Shifts of the KV head
    reg  [11:0]     shifts_reg;
    // What is added up for the descriptor
    reg  [24:0]     rel_reg;
    reg  [23:0]     mstep_reg;
    reg  [23:0]     window_reg;
    reg  [7:0]      exact_reg;
    reg  [47:0]     oaddr_reg, maddr_reg;
    // Position of the block's first row
    reg  [17:0]     pos_reg;
    // Step of the products; factor, products with the halves of job_heads
    reg  [2:0]      step_reg;
    reg  [17:0]     factor_reg;
    reg  [24:0]     prod_lo_reg, prod_hi_reg;

    wire            read = state_reg == S_READ && e_valid && num_reg != wr_num_reg;
    wire            taken = tn_valid && tn_ready;
    wire            block_last = block_reg + 4'd1 == e_blocks;
    wire            head_last = sub_reg + 4'd1 == e_heads;
    // What the entry says of the turn that is offered, kept when that is read: a turn that is
    // taken meets registers and not the FIFO of entries
    reg             block_last_reg, head_last_reg, last_reg, kv_end_reg, band_end_reg;
    reg  [7:0]      rows_reg;
    wire            part_last = block_last_reg && head_last_reg;
    wire [7:0]      rows = block_last ? e_rows_last : ROWS[7:0];
    wire [10:0]     row_in = {7'd0, block_reg} << ROWS_W;
    wire [17:0]     pos = {1'b0, e_row} + {7'd0, row_in} + {1'b0, job_offset};
    wire [17:0]     rel = {1'b0, e_k0} - {1'b0, e_row} - {7'd0, row_in} - {1'b0, job_offset};
    wire [7:0]      room = EXACT[7:0] - {3'd0, pos_reg[4:0]};
    wire [7:0]      tokens = job_share ? job_tokens : rows_reg;
    wire [7:0]      exact = !job_sum || !job_causal || pos_reg >= EXACT ? 8'd0
                          : room < tokens ? room : tokens;
    wire [24:0]     factor = {{7{factor_reg[17]}}, factor_reg};
    wire [24:0]     prod = prod_lo_reg + {prod_hi_reg[20:0], 4'd0};
    wire            shared = step_reg == LAST_STEP;
    wire [TAB_W:0]  held = wr_num_reg - part_num_reg;
    wire            b_write = b_valid && b_ready;
    wire [B_W-1:0]  b_data;
    wire            kv_first = e_first && e_kv_first && block_reg == 4'd0 && sub_reg == 4'd0;
    wire [11:0]     shifts = kv_first ? b_data[64:53] : shifts_reg;

    assign b_ready  = held != TABLE[TAB_W:0];
    assign e_ready  = taken && part_last;
    assign tn_valid = state_reg == S_OUT;
    assign tn_turn[`SOFA_TURN_N]         = e_n;
    assign tn_turn[`SOFA_TURN_ROWS]      = rows_reg;
    assign tn_turn[`SOFA_TURN_CAUSAL]    = job_causal;
    assign tn_turn[`SOFA_TURN_REL]       = rel_reg;
    assign tn_turn[`SOFA_TURN_MSTEP]     = mstep_reg;
    assign tn_turn[`SOFA_TURN_WINDOW]    = window_reg;
    assign tn_turn[`SOFA_TURN_KSTEP]     = e_kstep;
    assign tn_turn[`SOFA_TURN_K0]        = e_k0;
    assign tn_turn[`SOFA_TURN_PLACE]     = place_reg;
    assign tn_turn[`SOFA_TURN_START]     = e_first;
    assign tn_turn[`SOFA_TURN_FINAL]     = last_reg;
    assign tn_turn[`SOFA_TURN_COUNT]     = e_first && job_sum;
    assign tn_turn[`SOFA_TURN_TILE_LAST] = part_last;
    assign tn_turn[`SOFA_TURN_KVNEW]     = kv_first;
    assign tn_turn[`SOFA_TURN_KVLAST]    = last_reg && kv_end_reg && part_last;
    assign tn_turn[`SOFA_TURN_EXACT]     = job_share ? exact_reg : exact;
    assign tn_turn[`SOFA_TURN_RATIO]     = e_ratio;
    assign tn_turn[`SOFA_TURN_TAU]       = b_data[52:37];
    assign tn_turn[`SOFA_TURN_OCTAVE]    = b_data[36:32];
    assign tn_turn[`SOFA_TURN_RADIUS]    = b_data[31:0];
    assign tn_turn[`SOFA_TURN_KBASE]     = k_kv_reg;
    assign tn_turn[`SOFA_TURN_VBASE]     = v_kv_reg;
    assign tn_turn[`SOFA_TURN_MADDR]     = maddr_reg;
    assign tn_turn[`SOFA_TURN_OADDR]     = oaddr_reg;
    assign tn_turn[`SOFA_TURN_KG_SHIFT_K] = shifts[5:0];
    assign tn_turn[`SOFA_TURN_KG_SHIFT_V] = shifts[11:6];

    sofa_ram_1r1w #(
        .WIDTH  (B_W),
        .DEPTH  (TABLE),
        .ADDR_W (TAB_W)
    ) table_inst (
        .clk     (clk),
        .wr_en   (b_write),
        .wr_addr (wr_num_reg[TAB_W-1:0]),
        .wr_data ({b_shifts, b_tau, b_octave, b_radius}),
        .rd_en   (read),
        .rd_addr (num_reg[TAB_W-1:0]),
        .rd_data (b_data)
    );

    always @* begin
        state_next      = state_reg;
        block_next      = block_reg;
        sub_next        = sub_reg;
        place_next      = place_reg;
        part_place_next = part_place_reg;
        num_next        = num_reg;
        part_num_next   = part_num_reg;
        wr_num_next     = wr_num_reg;
        o_head_next     = o_head_reg;
        o_part_next     = o_part_reg;
        o_kv_next       = o_kv_reg;
        o_row_next      = o_row_reg;
        o_band_next     = o_band_reg;
        m_kv_next       = m_kv_reg;
        m_row_next      = m_row_reg;
        m_band_next     = m_band_reg;
        k_kv_next       = k_kv_reg;
        v_kv_next       = v_kv_reg;

        if (b_write) begin
            wr_num_next = wr_num_reg + ONE;
        end
        if (read) begin
            state_next = job_share ? S_SHARE : S_OUT;
        end
        if (state_reg == S_SHARE && shared) begin
            state_next = S_OUT;
        end
        if (taken) begin
            state_next = S_READ;
            num_next   = num_reg + ONE;
            place_next = {1'b0, place_reg} + 4'd1 == job_places ? 3'd0 : place_reg + 3'd1;
            block_next = block_reg + 4'd1;
            o_row_next = o_row_reg + ({16'd0, job_o_stride} << ROWS_W);
            m_row_next = m_row_reg + {16'd0, job_m_stride};
            if (block_last_reg) begin
                block_next  = 4'd0;
                sub_next    = sub_reg + 4'd1;
                o_head_next = o_head_reg + {9'd0, job_o_hstride};
                if (head_last_reg) begin
                    sub_next = 4'd0;
                    if (!last_reg) begin
                        // The next turn has the same blocks.
                        num_next    = part_num_reg;
                        place_next  = part_place_reg;
                        o_head_next = o_part_reg;
                    end else if (kv_end_reg) begin
                        o_kv_next   = o_head_next;
                        o_band_next = 48'd0;
                        m_kv_next   = m_kv_reg + {16'd0, job_m_hstride};
                        m_band_next = 48'd0;
                        k_kv_next   = k_kv_reg + {16'd0, job_k_hstride};
                        v_kv_next   = v_kv_reg + {16'd0, job_v_hstride};
                    end else if (band_end_reg) begin
                        o_head_next = o_kv_reg;
                        o_band_next = o_row_next;
                        m_band_next = m_row_next;
                    end
                    part_num_next   = num_next;
                    part_place_next = place_next;
                    o_part_next     = o_head_next;
                end
                o_row_next = o_band_next;
                m_row_next = m_band_next;
            end
        end
        if (start) begin
            o_head_next = job_o_base;
            o_part_next = job_o_base;
            o_kv_next   = job_o_base;
            o_row_next  = 48'd0;
            o_band_next = 48'd0;
            m_kv_next   = job_m_base;
            m_row_next  = 48'd0;
            m_band_next = 48'd0;
            k_kv_next   = job_k_base;
            v_kv_next   = job_v_base;
            place_next      = 3'd0;
            part_place_next = 3'd0;
        end
    end

    always @(posedge clk) begin
        state_reg      <= state_next;
        block_reg      <= block_next;
        sub_reg        <= sub_next;
        place_reg      <= place_next;
        part_place_reg <= part_place_next;
        num_reg        <= num_next;
        part_num_reg   <= part_num_next;
        wr_num_reg     <= wr_num_next;
        o_head_reg     <= o_head_next;
        o_part_reg     <= o_part_next;
        o_kv_reg       <= o_kv_next;
        o_row_reg      <= o_row_next;
        o_band_reg     <= o_band_next;
        m_kv_reg       <= m_kv_next;
        m_row_reg      <= m_row_next;
        m_band_reg     <= m_band_next;
        k_kv_reg       <= k_kv_next;
        v_kv_reg       <= v_kv_next;
        if (taken) begin
            shifts_reg <= shifts;
        end
        if (read) begin
            block_last_reg <= block_last;
            head_last_reg  <= head_last;
            last_reg       <= e_last;
            kv_end_reg     <= e_kv_end;
            band_end_reg   <= e_band_end;
            rows_reg       <= rows;

            rel_reg   <= {{7{rel[17]}}, rel};
            mstep_reg <= {7'd0, e_kstep};
            window_reg <= {7'd0, job_window & {17{e_bound}}};
            pos_reg   <= pos;
            oaddr_reg <= o_head_reg + o_row_reg;
            maddr_reg <= m_kv_reg + m_row_reg;
        end

        step_reg <= state_reg == S_SHARE ? step_reg + 3'd1 : 3'd0;
        case (step_reg)
            3'd0:    factor_reg <= rel_reg[17:0];
            3'd1:    factor_reg <= {1'b0, mstep_reg[16:0]};
            3'd2:    factor_reg <= {1'b0, window_reg[16:0]};
            default: factor_reg <= {10'd0, exact};
        endcase
        prod_lo_reg <= (factor & {25{job_heads[0]}}) + ((factor << 1) & {25{job_heads[1]}})
                       + ((factor << 2) & {25{job_heads[2]}})
                       + ((factor << 3) & {25{job_heads[3]}});
        prod_hi_reg <= (factor & {25{job_heads[4]}}) + ((factor << 1) & {25{job_heads[5]}})
                       + ((factor << 2) & {25{job_heads[6]}})
                       + ((factor << 3) & {25{job_heads[7]}});
        if (state_reg == S_SHARE) begin
            case (step_reg)
                3'd2:    rel_reg    <= prod;
                3'd3:    mstep_reg  <= prod[23:0];
                3'd4:    window_reg <= prod[23:0];
                3'd5:    exact_reg  <= prod[7:0];
                default: begin
                end
            endcase
        end

        if (rst) begin
            state_reg    <= S_READ;
            block_reg    <= 4'd0;
            sub_reg      <= 4'd0;
            num_reg      <= {(TAB_W + 1){1'b0}};
            part_num_reg <= {(TAB_W + 1){1'b0}};
            wr_num_reg   <= {(TAB_W + 1){1'b0}};
        end
    end

    wire unused = &{1'b0, e_job_end, prod_hi_reg[24:21]};

endmodule

`resetall
