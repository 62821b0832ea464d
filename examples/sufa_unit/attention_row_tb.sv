// SPDX-License-Identifier: Apache-2.0
// Bench of attention_row: a row with one key, whose output is the value of that key, and a row with
// two equal keys, whose output is the mean of their values.
//
// Every vector that goes in or comes out is printed, element 0 in the low bits.

`timescale 1ns / 1ps
`default_nettype none

module attention_row_tb;

    localparam int D = 16;
    localparam int W = 4;
    localparam logic [15:0] SCALE_M = 16'd20000;
    localparam logic [5:0] SCALE_SHIFT = 6'd16;

    logic            clk = 1'b0;
    logic            rst = 1'b1;
    logic            q_valid = 1'b0;
    logic            key_valid = 1'b0;
    logic            key_last = 1'b0;
    logic [D*16-1:0] q = '0;
    logic [D*16-1:0] k = '0;
    logic [D*16-1:0] v = '0;
    wire             q_ready, key_ready, o_valid;
    wire [D*16-1:0]  o;

    attention_row #(
        .D (D),
        .W (W)
    ) dut (
        .clk         (clk),
        .rst         (rst),
        .q_valid     (q_valid),
        .q_ready     (q_ready),
        .q           (q),
        .scale_m     (SCALE_M),
        .scale_shift (SCALE_SHIFT),
        .key_valid   (key_valid),
        .key_ready   (key_ready),
        .key_last    (key_last),
        .k           (k),
        .v           (v),
        .o_valid     (o_valid),
        .o           (o)
    );

    always #5 clk = !clk;

    // Element i of vector n, anything that fills 16 bits.
    function automatic logic [15:0] element(int n, int i);
        return 16'(((n * 7919 + i * 104729) % 65521) - 32760);
    endfunction

    function automatic logic [D*16-1:0] vector(int n);
        for (int i = 0; i < D; i++) vector[i*16 +: 16] = element(n, i);
    endfunction

    // Inputs change at falling edges. A row of queries, vector n.
    task automatic give_row(int n);
        @(negedge clk);
        q = vector(n);
        q_valid = 1'b1;
        while (!q_ready) @(negedge clk);
        @(negedge clk);
        q_valid = 1'b0;
        $display("q %h", q);
    endtask

    // A key of vectors n and m.
    task automatic give_key(int n, int m, logic last);
        k = vector(n);
        v = vector(m);
        key_last = last;
        key_valid = 1'b1;
        while (!key_ready) @(negedge clk);
        @(negedge clk);
        key_valid = 1'b0;
        $display("key %h %h", k, v);
    endtask

    // Waits for the output, the mean of the values n and m.
    task automatic take(int n, int m);
        int error;
        while (!o_valid) @(negedge clk);
        $display("o %h", o);
        for (int i = 0; i < D; i++) begin
            error = int'($signed(o[i*16 +: 16]))
                    - (int'($signed(element(n, i))) + int'($signed(element(m, i)))) / 2;
            if (error < -2 || error > 2)
                $fatal(1, "element %0d of o is off by %0d, at most 2 allowed", i, error);
        end
    endtask

    initial begin
        repeat (3) @(negedge clk);
        rst = 1'b0;
        give_row(1);
        give_key(2, 3, 1'b1);
        take(3, 3);
        give_row(4);
        give_key(5, 6, 1'b0);
        give_key(5, 7, 1'b1);
        take(6, 7);
        $display("passed at %0d ns", $time);
        $finish;
    end

    initial begin
        repeat (1000) @(negedge clk);
        $fatal(1, "no output within 1000 cycles");
    end

endmodule

`default_nettype wire
