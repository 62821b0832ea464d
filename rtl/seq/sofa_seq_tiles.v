// SPDX-License-Identifier: Apache-2.0
// Walk over the parts of an attention job and their turns: a K8 command a turn, and what the turn
// is for the blocks of the part.
//
// Why: tiles of a part follow from the keys that the last row of its band may see. A turn is handed
// on after its K8 command has been taken, so the commands run ahead of the blocks that work on the
// turns as far as the receiver's queue of turns reaches, and no turn waits for the command of a
// later tile.
// Order of the turns of a part with T tiles: tiles 0 .. T-1, and, where the row's sum selects, tile
// 0 once more.
// With a window, tiles hold the keys from the window of the band's first row on; with sinks the
// last tile holds these.
// ratio: floor(2^RATIO_FRAC * T/k), k of the T tiles counted when the turn is over. By a divider
// of two bits a cycle, which works while the command waits.
// Bytes to the first tile, and from slot to slot: by a multiplier of six bits a cycle beside the
// division of keys by tiles.
// Not done here: blocks of a turn (sofa_seq_turns). Dense jobs have no K8 commands.
// Latency: start to the first command 11 cycles, to the first turn 12. Throughput: a turn in
// 1 + ceil((RATIO_FRAC + 1 + clog2(KEYS_MAX/BC_MIN))/2) cycles, the first and the last of a part in
// 3, and 10 more a part, 11 with a window.
// Source: docs/architecture.md section 4; models/tiling.py, head.py.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_seq_tiles #(
    // Query rows of a block, power of two, 4..128.
    parameter ROWS = 128,
    // Largest number of keys, power of two, 64..65536.
    parameter KEYS_MAX = 4096,
    // Smallest tile, power of two, 4..64.
    parameter BC_MIN = 32,
    // Fraction bits of the ratio, 4..12.
    parameter RATIO_FRAC = 8,
    // Bits of a turn. Derived: leave at its default.
    parameter E_W = 8 + 17 + 17 + 32 + 17 + 4 + 8 + 4 + 7
) (
    input  wire         clk,
    input  wire         rst,

    // start is a pulse; active until the last turn has been taken
    input  wire         start,
    output wire         active,

    // Job, legal and stable while active; base, row and head stride of K8 in bytes; see
    // sofa_seq_parts for the others
    input  wire         job_sum,
    input  wire         job_dense,
    input  wire         job_causal,
    input  wire         job_contig,
    input  wire [16:0]  job_rows,
    input  wire [16:0]  job_keys,
    input  wire [10:0]  job_kv_heads,
    input  wire [15:0]  job_group,
    input  wire [16:0]  job_offset,
    input  wire [7:0]   job_bc,
    // Newest keys that a row sees, 0: all; first keys, which it sees as well, at most job_bc
    input  wire [16:0]  job_window,
    input  wire [6:0]   job_sinks,
    input  wire [3:0]   job_band,
    input  wire [3:0]   job_together,
    // Heads share blocks; query rows of each
    input  wire         job_share,
    input  wire [7:0]   job_tokens,
    input  wire [47:0]  job_base,
    input  wire [31:0]  job_stride,
    input  wire [31:0]  job_hstride,

    // K8 command: address of slot 0, bytes from slot to slot, slots
    output wire         tc_valid,
    input  wire         tc_ready,
    output wire [47:0]  tc_addr,
    output wire [31:0]  tc_inc,
    output wire [7:0]   tc_n,

    // Turn: slots, key of slot 0, keys between slots, ratio; of the part: first row, row blocks,
    // rows of the last of them, query heads, first of its KV head, last of the job, of its KV
    // head, of its band; the turn is its first, its last; the window bounds it
    output wire         e_valid,
    input  wire         e_ready,
    output wire [E_W-1:0] e_data
);

    generate
        if (KEYS_MAX < 64 || KEYS_MAX > 65536 || KEYS_MAX != (1 << $clog2(KEYS_MAX)) || BC_MIN < 4
                || BC_MIN > 64 || BC_MIN != (1 << $clog2(BC_MIN)) || RATIO_FRAC < 4
                || RATIO_FRAC > 12 || E_W != 114) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_seq_tiles_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    // Number of tiles; quotient of the divider, a whole number of pairs of bits
    localparam T_W = $clog2(KEYS_MAX / BC_MIN) + 1;
    localparam STEPS = (T_W + RATIO_FRAC + 1) / 2;
    localparam Q_W = 2 * STEPS;
    localparam [31:0] ONE = 1 << RATIO_FRAC;
    localparam [T_W-1:0] ONE_TURN = 1;

    // waits for start
    localparam S_IDLE = 3'd0;
    // keys that the band may see
    localparam S_BAND = 3'd1;
    // their number of tiles
    localparam S_SPLIT = 3'd2;
    // division of the keys by the tiles, beside it the step from slot to slot
    localparam S_DIV  = 3'd3;
    // K8 command, ratio, turn
    localparam S_TURN = 3'd4;
    // next part
    localparam S_NEXT = 3'd5;
    // keys of the band that are in the window of one of its rows
    localparam S_WINDOW = 3'd6;
    // slots of the next tile, its place among the turns
    localparam S_SIZE = 3'd7;

    reg  [2:0]     state_reg, state_next;
    // state_reg is not S_IDLE; what asks for it has a long way
    reg            active_reg;
    reg  [16:0]    len_reg, len_next;
    // First key of the tiles but that of the sinks, and the one behind them; sinks
    reg  [17:0]    start_reg;
    reg  [16:0]    end_reg, end_next;
    reg  [6:0]     sinks_reg, sinks_next;
    // Tiles, and without that of the sinks; turns with this one; this tile
    reg  [T_W-1:0] tiles_reg, tiles_next;
    reg  [T_W-1:0] split_reg, split_next;
    reg  [T_W-1:0] turn_reg, turn_next;
    reg  [T_W-1:0] tile_reg, tile_next;
    reg  [2:0]     cnt_reg, cnt_next;
    reg  [16:0]    rem_reg, rem_next;
    reg  [7:0]     quo_reg, quo_next;
    reg  [31:0]    inc_reg, inc_next;
    reg  [17:0]    k0_reg, k0_next;
    // K8 of the KV head, of the first tile but that of the sinks, of the tile
    reg  [47:0]    kv_reg, kv_next;
    reg  [47:0]    band_reg, band_next;
    reg  [47:0]    addr_reg, addr_next;
    // The K8 command has been taken
    reg            sent_reg, sent_next;
    // Divider: numerator and quotient, remainder, steps left
    reg  [Q_W-1:0] ratio_reg, ratio_next;
    reg  [T_W-1:0] over_reg, over_next;
    reg  [4:0]     step_reg, step_next;
    // Slots of the tile; its turn is the first, of the last tile, the last
    reg  [7:0]     n_reg;
    reg            first_reg, last_tile_reg, last_reg;
    // The next tile is that of the sinks
    reg            sinks_up_reg;
    // Multiplier: six bits of a number, the products of their halves with the row stride
    reg  [5:0]     mul_reg;
    reg  [28:0]    prod_hi_reg;
    reg  [31:0]    prod_lo_reg;

    wire [16:0] part_row;
    wire [3:0]  part_blocks, part_heads;
    wire [7:0]  part_rows_last;
    wire [16:0] part_end;
    wire        kv_first, band_end, kv_end, job_end;

    sofa_seq_parts #(
        .ROWS (ROWS)
    ) parts_inst (
        .clk          (clk),
        .rst          (rst),
        // Fields of this part are there for one more cycle, those of the next one in S_BAND.
        .step         (go && last_reg),
        .job_rows     (job_rows),
        .job_kv_heads (job_kv_heads),
        .job_group    (job_group),
        .job_band     (job_band),
        .job_together (job_together),
        .row          (part_row),
        .row_end      (part_end),
        .blocks       (part_blocks),
        .rows_last    (part_rows_last),
        .heads        (part_heads),
        .kv_first     (kv_first),
        .band_end     (band_end),
        .kv_end       (kv_end),
        .job_end      (job_end)
    );

    // log2 of the tile size, which is a power of two
    reg [2:0] bc_log;
    always @* begin
        case (1'b1)
            job_bc[2]: bc_log = 3'd2;
            job_bc[3]: bc_log = 3'd3;
            job_bc[4]: bc_log = 3'd4;
            job_bc[5]: bc_log = 3'd5;
            default:   bc_log = 3'd6;
        endcase
    end

    // Keys up to the position of the part's last row; these are not all
    wire [16:0] rows_end = job_share ? {9'd0, job_tokens} : part_end;
    wire [16:0] reach = rows_end + job_offset;
    wire [18:0] keys_left = {2'd0, job_keys} - {2'd0, job_offset};
    wire        short = job_causal && $signed({2'd0, rows_end}) < $signed(keys_left);
    wire [17:0] round = {1'b0, len_reg} + {10'd0, job_bc} - 18'd1;
    wire [17:0] tiles = round >> bc_log;
    wire [16:0] all = {{(17 - T_W){1'b0}}, split_reg};
    wire [17:0] sinks_18 = {11'd0, job_sinks};
    // The first row's window begins behind the sinks: at the key of that number.
    wire [18:0] apart_row = {2'd0, job_window} + {1'd0, sinks_18} - {2'd0, job_offset};
    wire        apart = $signed({2'd0, part_row}) >= $signed(apart_row);
    wire [17:0] oldest = {1'b0, part_row} + ({1'b0, job_offset} + 18'd1 - {1'b0, job_window});
    wire        sunk = job_sinks != 7'd0;

    // The division leaves quotient quo_reg and remainder rem_reg.
    wire [23:0] div_sub = {7'd0, all} << cnt_reg;
    wire        div_ge = {7'd0, rem_reg} >= div_sub;
    wire [23:0] div_rem = {7'd0, rem_reg} - div_sub;
    wire [17:0] len_left = {1'b0, end_reg} - k0_reg;
    wire        n_more = {{(17 - T_W){1'b0}}, tile_reg} < rem_reg;
    wire [7:0]  n_inter = quo_reg + {7'd0, n_more};
    wire [7:0]  n_contig = len_left > {10'd0, job_bc} ? job_bc : len_left[7:0];
    wire [16:0] kstep = job_contig ? 17'd1 : all;
    // The tile of the sinks
    wire        sinks = sunk && tile_reg == split_reg;
    reg  [5:0]  mul;
    always @* begin
        case (cnt_reg)
            3'd6:    mul = start_reg[11:6];
            3'd5:    mul = start_reg[5:0];
            3'd4:    mul = {1'b0, kstep[16:12]};
            3'd3:    mul = kstep[11:6];
            default: mul = kstep[5:0];
        endcase
        if (state_reg == S_SPLIT) begin
            mul = {1'b0, start_reg[16:12]};
        end
    end
    wire [34:0] prod_hi, prod_lo;

    sofa_times_digit #(
        .WIDTH (32)
    ) times_hi_inst (
        .job_number (job_stride),
        .digit      (mul_reg[5:3]),
        .product    (prod_hi)
    );

    sofa_times_digit #(
        .WIDTH (32)
    ) times_lo_inst (
        .job_number (job_stride),
        .digit      (mul_reg[2:0]),
        .product    (prod_lo)
    );

    wire [47:0] tile_step = {16'd0, job_stride} << (job_contig ? bc_log : 3'd0);

    wire [T_W-1:0] tile_up = tile_reg + ONE_TURN;
    wire        go = e_valid && e_ready;

    // Two steps of the division by the tiles counted, turn_reg of them
    wire [T_W:0]   over_1 = {over_reg, ratio_reg[Q_W-1]};
    wire           ge_1 = over_1 >= {1'b0, turn_reg};
    wire [T_W:0]   left_1 = ge_1 ? over_1 - {1'b0, turn_reg} : over_1;
    wire [T_W:0]   over_2 = {left_1[T_W-1:0], ratio_reg[Q_W-2]};
    wire           ge_2 = over_2 >= {1'b0, turn_reg};
    wire [T_W:0]   left_2 = ge_2 ? over_2 - {1'b0, turn_reg} : over_2;

    assign active   = active_reg;
    assign tc_valid = state_reg == S_TURN && !sent_reg;
    assign tc_addr  = addr_reg;
    assign tc_inc   = sinks ? job_stride : inc_reg;
    assign tc_n     = n_reg;
    assign e_valid  = state_reg == S_TURN && sent_reg && step_reg == 5'd0;
    assign e_data   = {tc_n, k0_reg[16:0], sinks ? 17'd1 : kstep, {{(32 - Q_W){1'b0}}, ratio_reg},
                       part_row, part_blocks, part_rows_last, part_heads, kv_first, job_end,
                       kv_end, band_end, first_reg, last_reg, job_window != 17'd0 && !sinks};

    always @* begin
        state_next = state_reg;
        len_next   = len_reg;
        end_next   = end_reg;
        sinks_next = sinks_reg;
        tiles_next = tiles_reg;
        split_next = split_reg;
        turn_next  = turn_reg;
        tile_next  = tile_reg;
        cnt_next   = cnt_reg;
        rem_next   = rem_reg;
        quo_next   = quo_reg;
        inc_next   = inc_reg;
        k0_next    = k0_reg;
        kv_next    = kv_reg;
        band_next  = band_reg;
        addr_next  = addr_reg;
        sent_next  = sent_reg;
        ratio_next = ratio_reg;
        over_next  = over_reg;
        step_next  = step_reg;

        if ((state_reg == S_SIZE || state_reg == S_TURN) && step_reg != 5'd0) begin
            ratio_next = {ratio_reg[Q_W-3:0], ge_1, ge_2};
            over_next  = left_2[T_W-1:0];
            step_next  = step_reg - 5'd1;
        end

        case (state_reg)
            S_IDLE: begin
                kv_next = job_base;
                if (start) begin
                    state_next = S_BAND;
                end
            end
            S_BAND: begin
                len_next = short ? reach : job_keys;
                end_next = len_next;
                state_next = job_window != 17'd0 ? S_WINDOW : S_SPLIT;
            end
            S_WINDOW: begin
                len_next = start_reg < {1'b0, end_reg} ? end_reg - start_reg[16:0] : 17'd0;
                sinks_next = {1'b0, end_reg} < sinks_18 ? end_reg[6:0] : job_sinks;
                state_next = S_SPLIT;
            end
            S_SPLIT: begin
                rem_next   = len_reg;
                quo_next   = 8'd0;
                split_next = tiles[T_W-1:0];
                tiles_next = tiles[T_W-1:0] + {{(T_W-1){1'b0}}, sunk};
                cnt_next   = 3'd6;
                state_next = S_DIV;
            end
            S_DIV: begin
                quo_next = {quo_reg[6:0], div_ge};
                if (div_ge) begin
                    rem_next = div_rem[16:0];
                end
                cnt_next  = cnt_reg - 3'd1;
                turn_next = ONE_TURN;
                tile_next = {T_W{1'b0}};
                // First the bytes to the first tile, then those from slot to slot
                inc_next = (cnt_reg == 3'd5 || cnt_reg == 3'd2 ? 32'd0 : {inc_reg[25:0], 6'd0})
                           + {prod_hi_reg, 3'd0} + prod_lo_reg;
                if (cnt_reg == 3'd2) begin
                    band_next = kv_reg + {16'd0, inc_reg};
                end
                k0_next   = sinks ? 18'd0 : start_reg;
                addr_next = sinks ? kv_reg : band_reg;
                sent_next = job_dense;
                // One tile is counted when the first turn is over.
                ratio_next = {{(Q_W - T_W){1'b0}}, tiles_reg} << RATIO_FRAC;
                step_next  = 5'd0;
                if (cnt_reg == 3'd0) begin
                    state_next = S_SIZE;
                end
            end
            S_SIZE: begin
                state_next = S_TURN;
            end
            S_TURN: begin
                if (tc_valid && tc_ready) begin
                    sent_next = 1'b1;
                end
                if (go) begin
                    state_next = S_SIZE;
                    turn_next  = turn_reg + ONE_TURN;
                    tile_next  = tile_up;
                    k0_next    = k0_reg + (job_contig ? {10'd0, job_bc} : 18'd1);
                    addr_next  = addr_reg + tile_step;
                    if (sinks_up_reg) begin
                        k0_next   = 18'd0;
                        addr_next = kv_reg;
                    end
                    sent_next  = job_dense;
                    ratio_next = {{(Q_W - T_W){1'b0}}, tiles_reg} << RATIO_FRAC;
                    over_next  = {T_W{1'b0}};
                    step_next  = STEPS[4:0];
                    if (last_tile_reg) begin
                        // Tile 0 once more; all are counted.
                        tile_next  = {T_W{1'b0}};
                        k0_next    = split_reg == {T_W{1'b0}} ? 18'd0 : start_reg;
                        addr_next  = split_reg == {T_W{1'b0}} ? kv_reg : band_reg;
                        ratio_next = ONE[Q_W-1:0];
                        step_next  = 5'd0;
                    end
                    if (last_reg) begin
                        state_next = S_NEXT;
                    end
                end
            end
            default: begin  // S_NEXT
                state_next = S_BAND;
                if (kv_end) begin
                    kv_next = kv_reg + {16'd0, job_hstride};
                end
                if (job_end) begin
                    state_next = S_IDLE;
                end
            end
        endcase
    end

    always @(posedge clk) begin
        state_reg <= state_next;
        active_reg <= state_next != S_IDLE;
        len_reg   <= len_next;
        if (state_reg == S_BAND) begin
            start_reg <= job_window == 17'd0 ? 18'd0 : apart ? oldest : sinks_18;
        end
        end_reg   <= end_next;
        sinks_reg <= sinks_next;
        tiles_reg <= tiles_next;
        split_reg <= split_next;
        turn_reg  <= turn_next;
        tile_reg  <= tile_next;
        cnt_reg   <= cnt_next;
        rem_reg   <= rem_next;
        quo_reg   <= quo_next;
        inc_reg   <= inc_next;
        k0_reg    <= k0_next;
        kv_reg    <= kv_next;
        band_reg  <= band_next;
        addr_reg  <= addr_next;
        sent_reg  <= sent_next;
        ratio_reg <= ratio_next;
        over_reg  <= over_next;
        step_reg  <= step_next;
        n_reg     <= sinks ? {1'b0, sinks_reg} : job_contig ? n_contig : n_inter;
        sinks_up_reg  <= sunk && tile_up == split_reg;
        first_reg     <= turn_reg == ONE_TURN;
        last_tile_reg <= turn_reg == tiles_reg;
        last_reg      <= turn_reg == (job_sum ? tiles_reg + ONE_TURN : tiles_reg);
        mul_reg       <= mul;
        prod_hi_reg   <= prod_hi[28:0];
        prod_lo_reg   <= prod_lo[31:0];

        if (rst) begin
            state_reg <= S_IDLE;
            active_reg <= 1'b0;
        end
    end

    wire unused = &{1'b0, tiles[17:T_W], div_rem[23:17], left_1[T_W], left_2[T_W],
                    prod_hi[34:29], prod_lo[34:32]};

endmodule

`resetall
