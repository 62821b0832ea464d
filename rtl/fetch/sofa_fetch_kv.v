// SPDX-License-Identifier: Apache-2.0
// Asks memory for K and V of a key, or for one vector that is used as V.
//
// Why: only keys that some row wants are read (on-demand K, V). Whoever asks has a landing place
// for the key, which goes along with both requests and comes back with every beat.
// K is at kbase + key * cfg_k_stride, V at vbase + key * cfg_v_stride, a mean at vbase itself.
// One multiplier, 17 x 32 bits, takes K and V of a key in successive cycles.
// Not done here: places (kvgen), anything with the data (sofa_axi_read delivers it to the write
// ports), reuse of vectors.
// Latency: five cycles from u_valid to the first request (input; factors; two of products; sum).
// Throughput: one request every cycle.
// Source: H. Wang et al., "SOFA", MICRO 2024 (on-demand K,V; here out of a cache in memory).

`resetall
`timescale 1ns / 1ps
`default_nettype none

module sofa_fetch_kv #(
    // Address bits, 32..48.
    parameter ADDR_W = 40,
    // Bits of a landing place, 2..6.
    parameter LAND_W = 6
) (
    input  wire              clk,
    input  wire              rst,

    // Bytes between the vectors of neighbouring keys
    input  wire [31:0]       cfg_k_stride,
    input  wire [31:0]       cfg_v_stride,

    // Key, with the addresses of key 0; mean: only the vector at vbase
    input  wire              u_valid,
    output wire              u_ready,
    input  wire [LAND_W-1:0] u_land,
    input  wire              u_mean,
    input  wire [16:0]       u_key,
    input  wire [ADDR_W-1:0] u_kbase,
    input  wire [ADDR_W-1:0] u_vbase,

    // Requests; v: for V
    output wire              req_valid,
    input  wire              req_ready,
    output wire              req_v,
    output wire [LAND_W-1:0] req_land,
    output wire [ADDR_W-1:0] req_addr
);

    generate
        if (ADDR_W < 32 || ADDR_W > 48 || LAND_W < 2 || LAND_W > 6) begin : g_illegal
            // No such module exists: elaboration stops here, and its message gives this name.
            illegal_parameter_sofa_fetch_kv_needs_ADDR_W_32_to_48_LAND_W_2_to_6 stop ();
        end
    endgenerate

    // -----------------------------------------------------------------------------------------
    // The key, for a cycle each as K and as V
    // -----------------------------------------------------------------------------------------
    wire              a_valid;
    wire              a_ready;
    wire [LAND_W-1:0] a_land;
    wire              a_mean;
    wire [16:0]       a_key;
    wire [ADDR_W-1:0] a_kbase;
    wire [ADDR_W-1:0] a_vbase;
    // K of the key has gone.
    reg               second_reg, second_next;

    sofa_skid_buffer #(
        .WIDTH (LAND_W + 18 + 2 * ADDR_W)
    ) skid_inst (
        .clk     (clk),
        .rst     (rst),
        .s_valid (u_valid),
        .s_ready (u_ready),
        .s_data  ({u_land, u_mean, u_key, u_kbase, u_vbase}),
        .m_valid (a_valid),
        .m_ready (a_ready),
        .m_data  ({a_land, a_mean, a_key, a_kbase, a_vbase})
    );

    wire        a_v      = second_reg || a_mean;
    wire [31:0] a_stride = a_v ? cfg_v_stride : cfg_k_stride;
    wire [16:0] a_factor = a_mean ? 17'd0 : a_key;

    // -----------------------------------------------------------------------------------------
    // Factors; two stages of products; sum
    // -----------------------------------------------------------------------------------------
    reg              x_valid_reg, x_valid_next;
    reg              x_v_reg, x_v_next;
    reg [LAND_W-1:0] x_land_reg, x_land_next;
    reg [ADDR_W-1:0] x_base_reg, x_base_next;
    reg [31:0]       x_stride_reg, x_stride_next;
    reg [16:0]       x_factor_reg, x_factor_next;
    reg              n_valid_reg, n_valid_next;
    reg              n_v_reg, n_v_next;
    reg [LAND_W-1:0] n_land_reg, n_land_next;
    reg [ADDR_W-1:0] n_base_reg, n_base_next;
    reg              m_valid_reg, m_valid_next;
    reg              m_v_reg, m_v_next;
    reg [LAND_W-1:0] m_land_reg, m_land_next;
    reg [ADDR_W-1:0] m_base_reg, m_base_next;
    wire [32:0]      m_low, m_high;
    wire             s_ready;

    wire m_free = !m_valid_reg || s_ready;
    wire n_free = !n_valid_reg || m_free;
    wire x_free = !x_valid_reg || n_free;

    sofa_mult17x32 mult_inst (
        .clk     (clk),
        .part_en (n_free),
        .half_en (m_free),
        .a       (x_factor_reg),
        .b       (x_stride_reg),
        .low     (m_low),
        .high    (m_high)
    );

    wire [48:0] m_product = {16'd0, m_low} + {m_high, 16'd0};
    wire        unused_product = &{1'b0, m_product[48:ADDR_W]};

    assign a_ready   = x_free && a_v;

    // The sum: ready of the requests comes late, and ends here.
    sofa_skid_buffer #(
        .WIDTH (1 + LAND_W + ADDR_W)
    ) sum_inst (
        .clk     (clk),
        .rst     (rst),
        .s_valid (m_valid_reg),
        .s_ready (s_ready),
        .s_data  ({m_v_reg, m_land_reg, m_base_reg + m_product[ADDR_W-1:0]}),
        .m_valid (req_valid),
        .m_ready (req_ready),
        .m_data  ({req_v, req_land, req_addr})
    );

    always @* begin
        second_next  = second_reg;
        x_valid_next = x_valid_reg;
        x_v_next     = x_v_reg;
        x_land_next  = x_land_reg;
        x_base_next  = x_base_reg;
        x_stride_next = x_stride_reg;
        x_factor_next = x_factor_reg;
        n_valid_next = n_valid_reg;
        n_v_next     = n_v_reg;
        n_land_next  = n_land_reg;
        n_base_next  = n_base_reg;
        m_valid_next = m_valid_reg;
        m_v_next     = m_v_reg;
        m_land_next  = m_land_reg;
        m_base_next  = m_base_reg;

        if (m_free) begin
            m_valid_next = n_valid_reg;
            m_v_next     = n_v_reg;
            m_land_next  = n_land_reg;
            m_base_next  = n_base_reg;
        end
        if (n_free) begin
            n_valid_next = x_valid_reg;
            n_v_next     = x_v_reg;
            n_land_next  = x_land_reg;
            n_base_next  = x_base_reg;
        end
        if (x_free) begin
            x_valid_next  = a_valid;
            x_v_next      = a_v;
            x_land_next   = a_land;
            x_base_next   = a_v ? a_vbase : a_kbase;
            x_stride_next = a_stride;
            x_factor_next = a_factor;
        end
        if (x_free && a_valid) begin
            second_next = !a_v;
        end
    end

    always @(posedge clk) begin
        second_reg  <= second_next;
        x_valid_reg <= x_valid_next;
        x_v_reg     <= x_v_next;
        x_land_reg  <= x_land_next;
        x_base_reg  <= x_base_next;
        x_stride_reg <= x_stride_next;
        x_factor_reg <= x_factor_next;
        n_valid_reg <= n_valid_next;
        n_v_reg     <= n_v_next;
        n_land_reg  <= n_land_next;
        n_base_reg  <= n_base_next;
        m_valid_reg <= m_valid_next;
        m_v_reg     <= m_v_next;
        m_land_reg  <= m_land_next;
        m_base_reg  <= m_base_next;

        if (rst) begin
            second_reg  <= 1'b0;
            x_valid_reg <= 1'b0;
            n_valid_reg <= 1'b0;
            m_valid_reg <= 1'b0;
        end
    end

endmodule

`resetall
