// SPDX-License-Identifier: Apache-2.0
// Broadcast of keys and ends of blocks to the units of SU-FA.
//
// Why: all units see the same beats, so a first beat waits until each unit that wants the key has
// room; beats behind it never wait. All other waiting for a block is here too: a key waits for Q of
// the blocks that want it, an end for Q and f of its block and for room in the queue of ends.
// A skid buffer cuts the path of ready; data goes to the units from one register. The mask of a key
// has one register in all: a key has two beats or more, so that of the next one comes later than
// the units have seen this one; an end has none.
// A unit counts a first beat from the cycle behind it on, and its ready is looked at a cycle before
// the beat: so first beats are at least two cycles apart.
// Row r of a block is row floor(r/U) of unit r mod U.
// Latency: two cycles from a beat to the units. Throughput: a beat a cycle; an end of one beat
// takes two.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_sufa_kv #(
    // Elements of a beat, power of two, 4..32.
    parameter W = 8,
    // Rows of a block, power of two, W..128.
    parameter ROWS = 16,
    // Blocks in residence, power of two, 2..8.
    parameter PLACES = 4,
    // Derived: leave at their defaults.
    parameter U = 2 * ROWS / W,
    parameter ALL = PLACES * ROWS,
    parameter RCOUNT_W = $clog2(W / 2) + 1,
    parameter PLACE_W = $clog2(PLACES)
) (
    input  wire                  clk,
    input  wire                  rst,

    // Beats; with the first: rows that want the key, or the end of a block
    input  wire                  kv_valid,
    output wire                  kv_ready,
    input  wire                  kv_first,
    input  wire [W*16-1:0]       kv_data,
    input  wire [ALL-1:0]        kv_mask,
    input  wire                  kv_end,
    input  wire [PLACE_W-1:0]    kv_end_place,
    input  wire [7:0]            kv_end_rows,
    input  wire [47:0]           kv_end_addr,

    // Places whose block has its Q, its f
    input  wire [PLACES-1:0]     has_q,
    input  wire [PLACES-1:0]     has_f,

    // To the units; with a first beat: units that it concerns, mask of unit n at n*PLACES*ROWS/U,
    // rows of the block that ends likewise
    input  wire [U-1:0]          u_ready,
    output wire                  u_valid,
    output wire [W*16-1:0]       u_data,
    output wire [U-1:0]          u_some,
    output wire [ALL-1:0]        u_mask,
    output wire                  u_end,
    output wire [PLACE_W-1:0]    u_end_place,
    output wire [U*RCOUNT_W-1:0] u_end_rows,

    // An end is sent
    output wire                  end_valid,
    input  wire                  end_ready,
    output wire [PLACE_W-1:0]    end_place,
    output wire [7:0]            end_rows,
    output wire [47:0]           end_addr
);

    generate
        if (W < 4 || W > 32 || W != (1 << $clog2(W)) || ROWS < W || ROWS > 128
                || ROWS != (1 << $clog2(ROWS)) || PLACES < 2 || PLACES > 8
                || PLACES != (1 << $clog2(PLACES)) || U != 2 * ROWS / W || ALL != PLACES * ROWS
                || RCOUNT_W != $clog2(W / 2) + 1 || PLACE_W != $clog2(PLACES)) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_sufa_kv_see_the_comments_of_its_parameters stop ();
        end
    endgenerate

    localparam ROWS_U = W / 2;
    localparam U_W = $clog2(U);
    localparam S_W = W * 16 + U + PLACES + PLACE_W + 8 + 48 + 2;

    // -----------------------------------------------------------------------------------------
    // Rows by units; units and places that the item concerns
    // -----------------------------------------------------------------------------------------
    wire [ALL-1:0]    mask;
    wire [U-1:0]      units;
    wire [PLACES-1:0] places;

    genvar i, j, k;
    generate
        for (i = 0; i < U; i = i + 1) begin : g_unit
            localparam [7:0] INDEX = i;
            for (j = 0; j < PLACES; j = j + 1) begin : g_place
                for (k = 0; k < ROWS_U; k = k + 1) begin : g_row
                    assign mask[i*PLACES*ROWS_U + j*ROWS_U + k] = kv_mask[j*ROWS + k*U + i];
                end
            end
            assign units[i] = kv_end ? kv_end_rows > INDEX
                                     : |mask[i*PLACES*ROWS_U +: PLACES*ROWS_U];
        end
        for (j = 0; j < PLACES; j = j + 1) begin : g_place
            localparam [PLACE_W-1:0] INDEX = j;
            assign places[j] = kv_end ? kv_end_place == INDEX : |kv_mask[j*ROWS +: ROWS];
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // Input register
    // -----------------------------------------------------------------------------------------
    wire              s_valid, s_first, s_end, s_go;
    wire [W*16-1:0]   s_data;
    wire [U-1:0]      s_units;
    wire [PLACES-1:0] s_places;

    sofa_skid_buffer #(
        .WIDTH (S_W)
    ) skid_inst (
        .clk     (clk),
        .rst     (rst),
        .s_valid (kv_valid),
        .s_ready (kv_ready),
        .s_data  ({kv_first, kv_end, units, places, kv_end_place, kv_end_rows, kv_end_addr,
                   kv_data}),
        .m_valid (s_valid),
        .m_ready (s_go),
        .m_data  ({s_first, s_end, s_units, s_places, end_place, end_rows, end_addr, s_data})
    );

    // -----------------------------------------------------------------------------------------
    // Waiting, and the register that all units see
    // -----------------------------------------------------------------------------------------
    reg                   valid_reg, first_reg, end_reg;
    reg  [W*16-1:0]       data_reg;
    reg  [U-1:0]          some_reg;
    reg  [ALL-1:0]        mask_reg;
    reg  [PLACE_W-1:0]    end_place_reg;
    reg  [U*RCOUNT_W-1:0] end_rows_reg;
    wire [U*RCOUNT_W-1:0] rows_split;

    wire units_ok = &(u_ready | ~s_units);
    wire q_ok     = &(has_q | ~s_places);
    wire end_ok   = !s_end || (end_ready && &(has_f | ~s_places));

    assign s_go = s_valid && (!s_first || (!first_reg && units_ok && q_ok && end_ok));

    assign end_valid   = s_go && s_first && s_end;
    assign u_valid     = valid_reg;
    assign u_data      = data_reg;
    assign u_some      = some_reg;
    assign u_mask      = mask_reg;
    assign u_end       = end_reg;
    assign u_end_place = end_place_reg;
    assign u_end_rows  = end_rows_reg;

    generate
        for (i = 0; i < U; i = i + 1) begin : g_rows
            // Rows r with r mod U = i.
            localparam [31:0] UP = U - 1 - i;
            wire [8:0] rows = {1'b0, end_rows} + UP[8:0];
            wire       unused_rows = &{1'b0, rows};
            assign rows_split[i*RCOUNT_W +: RCOUNT_W] = rows[U_W +: RCOUNT_W];
        end
    endgenerate

    always @(posedge clk) begin
        valid_reg <= s_go;
        first_reg <= s_go && s_first;
        if (s_go) begin
            data_reg <= s_data;
        end
        if (s_go && s_first) begin
            some_reg      <= s_units;
            end_reg       <= s_end;
            end_place_reg <= end_place;
            end_rows_reg  <= rows_split;
        end
        if (kv_valid && kv_ready && kv_first && !kv_end) begin
            mask_reg <= mask;
        end
        if (rst) begin
            valid_reg <= 1'b0;
            first_reg <= 1'b0;
        end
    end

endmodule

`resetall
