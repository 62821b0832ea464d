// SPDX-License-Identifier: Apache-2.0
// AXI4-Lite slave with 16 registers of 32 bits; exercises the AXI4-Lite master model.
//
// Why: answers 0x00-0x3f with OKAY, 0x40-0x7f with SLVERR, 0x80-0xbf with DECERR and never
// answers beyond, so that the test bench meets every outcome.
// Latency: an answer `delay` cycles after the request (AW and W both taken). One transfer at a
// time in each direction.

`resetall
`timescale 1ns / 1ps
`default_nettype none

module axil_regfile (
    input  wire        clk,
    input  wire        rst,

    // Cycles before an answer
    input  wire [3:0]  delay,
    // Break a rule: drop valid or change RDATA while it waits for ready
    input  wire        drop_valid,
    input  wire        change_data,

    // AXI4-Lite
    input  wire [7:0]  s_axil_awaddr,
    input  wire        s_axil_awvalid,
    output wire        s_axil_awready,
    input  wire [31:0] s_axil_wdata,
    input  wire [3:0]  s_axil_wstrb,
    input  wire        s_axil_wvalid,
    output wire        s_axil_wready,
    output wire [1:0]  s_axil_bresp,
    output wire        s_axil_bvalid,
    input  wire        s_axil_bready,
    input  wire [7:0]  s_axil_araddr,
    input  wire        s_axil_arvalid,
    output wire        s_axil_arready,
    output wire [31:0] s_axil_rdata,
    output wire [1:0]  s_axil_rresp,
    output wire        s_axil_rvalid,
    input  wire        s_axil_rready
);

    reg [31:0] mem [0:15];
    reg        aw_full_reg, w_full_reg, ar_full_reg, b_valid_reg, r_valid_reg;
    reg [7:0]  aw_reg, ar_reg;
    reg [31:0] w_reg, r_reg;
    reg [3:0]  strb_reg, w_wait_reg, r_wait_reg;
    reg        flip_reg;
    wire [31:0] old = mem[aw_reg[5:2]];

    assign s_axil_awready = !aw_full_reg;
    assign s_axil_wready = !w_full_reg;
    assign s_axil_arready = !ar_full_reg;
    assign s_axil_bvalid = b_valid_reg && !(drop_valid && flip_reg);
    assign s_axil_rvalid = r_valid_reg && !(drop_valid && flip_reg);
    assign s_axil_bresp = aw_reg[7] ? 2'b11 : {aw_reg[6], 1'b0};
    assign s_axil_rresp = ar_reg[7] ? 2'b11 : {ar_reg[6], 1'b0};
    assign s_axil_rdata = r_reg ^ {32{change_data && flip_reg}};

    always @(posedge clk) begin
        flip_reg <= (b_valid_reg || r_valid_reg) && !flip_reg;

        if (s_axil_awvalid && s_axil_awready) begin
            aw_full_reg <= 1'b1;
            aw_reg <= s_axil_awaddr;
        end
        if (s_axil_wvalid && s_axil_wready) begin
            w_full_reg <= 1'b1;
            w_reg <= s_axil_wdata;
            strb_reg <= s_axil_wstrb;
        end
        if (aw_full_reg && w_full_reg && !b_valid_reg && aw_reg[7:6] != 2'b11) begin
            w_wait_reg <= w_wait_reg + 4'd1;
            if (w_wait_reg >= delay) begin
                b_valid_reg <= 1'b1;
                w_wait_reg <= 4'd0;
                if (aw_reg[7:6] == 2'b00) begin
                    mem[aw_reg[5:2]] <= {
                        strb_reg[3] ? w_reg[31:24] : old[31:24],
                        strb_reg[2] ? w_reg[23:16] : old[23:16],
                        strb_reg[1] ? w_reg[15:8] : old[15:8],
                        strb_reg[0] ? w_reg[7:0] : old[7:0]
                    };
                end
            end
        end
        if (s_axil_bvalid && s_axil_bready) begin
            b_valid_reg <= 1'b0;
            aw_full_reg <= 1'b0;
            w_full_reg <= 1'b0;
        end

        if (s_axil_arvalid && s_axil_arready) begin
            ar_full_reg <= 1'b1;
            ar_reg <= s_axil_araddr;
        end
        if (ar_full_reg && !r_valid_reg && ar_reg[7:6] != 2'b11) begin
            r_wait_reg <= r_wait_reg + 4'd1;
            if (r_wait_reg >= delay) begin
                r_valid_reg <= 1'b1;
                r_wait_reg <= 4'd0;
                r_reg <= mem[ar_reg[5:2]];
            end
        end
        if (s_axil_rvalid && s_axil_rready) begin
            r_valid_reg <= 1'b0;
            ar_full_reg <= 1'b0;
        end

        if (rst) begin
            aw_full_reg <= 1'b0;
            w_full_reg <= 1'b0;
            ar_full_reg <= 1'b0;
            b_valid_reg <= 1'b0;
            r_valid_reg <= 1'b0;
            w_wait_reg <= 4'd0;
            r_wait_reg <= 4'd0;
            flip_reg <= 1'b0;
        end
    end

    // Word registers: the byte offset within a word does not matter.
    wire unused = &{1'b0, aw_reg[1:0], ar_reg[1:0]};

endmodule

`resetall
